"""The system calls that sealed workers make, and those that the sandbox refuses them.

    python benchmarks/system_calls.py portraitd process FILE… --home HOME
    python benchmarks/system_calls.py pytest -n 0 tests/service/test_pools.py

Runs a command under strace and prints one line of JSON for each kind of worker: how often each call
was made after the worker was sealed, and the refused ones, with their arguments. A call that a
job needs is among the refused ones; it belongs in ``workers/sandbox/call_numbers.py`` if it is
harmless. ``frequent`` calls are not traced unless ``--all`` is given, which takes long.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from portraitd.workers.sandbox.calls import CallRights, build_filter

FREQUENT = (
    "read", "lseek", "futex", "pread64", "munmap", "madvise", "brk", "clock_gettime",
    "sched_yield", "getrusage",
)  # fmt: skip

KINDS = {
    "media, hashing": CallRights(),
    "media, OpenVINO": CallRights(generates_code=True),
    "computing": CallRights(may_save=True),
    "planning training sets": CallRights(may_lock=True),
    "writing training sets": CallRights(may_write=True),
}

LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)")
REFUSED = re.compile(r"= -1 (EPERM|ENOSYS|EACCES)")


def main() -> None:
    """Trace a command, and print what its workers did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    traced = [] if given.all else ["-e", f"trace=!{','.join(FREQUENT)}"]
    with tempfile.TemporaryDirectory(prefix="portraitd-trace-") as folder:
        log = Path(folder) / "log"
        # Not with --seccomp-bpf: strace would not see what another filter refuses.
        command = ["strace", "-f", "-qq", "-s", "40", "-o", str(log), *traced, *given.command]
        code = subprocess.run(command, check=False).returncode
        with log.open(errors="replace") as lines:
            for report in summarise(lines):
                print(json.dumps(report))
    raise SystemExit(code)


def summarise(lines: Iterable[str]) -> Iterator[dict[str, object]]:
    """Yield what the workers of each kind did."""
    kinds = {
        len(build_filter(platform.machine(), 0, rights)): name for name, rights in KINDS.items()
    }
    sealed: dict[str, str] = {}
    made: dict[str, Counter[str]] = defaultdict(Counter)
    refused: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        found = LINE.match(line)
        if found is None:
            continue
        process, call, rest = found.groups()
        if call == "seccomp" and (length := re.search(r"len=(\d+)", rest)):
            sealed[process] = kinds.get(int(length[1]), f"filter of {length[1]} steps")
        elif call in ("clone", "clone3") and (child := re.search(r"= (\d+)$", rest)):
            if process in sealed:
                sealed[child[1]] = sealed[process]
            else:
                sealed.pop(child[1], None)
        if kind := sealed.get(process):
            if "resumed" not in line:
                made[kind][call] += 1
            if error := REFUSED.search(rest):
                arguments = re.sub(r"0x[0-9a-f]+", "…", rest)[:80]
                refused[kind][f"{call}({arguments}: {error[1]}"] += 1
    for kind, counts in made.items():
        yield {
            "workers": kind,
            "calls": dict(sorted(counts.items())),
            "refused": dict(refused[kind].most_common(40)),
        }


if __name__ == "__main__":
    main()
