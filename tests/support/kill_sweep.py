"""Kill a process at each system call that changes files, and check the result of the next start.

``python -m support.kill_sweep FOLDER SCENARIO…``, run in tests/, prints a JSON line for each. It
kills at every call, at every n-th of a kind (``--every``), or at some of all (``--sample``).

One process loads the libraries and encodes the media once; each attempt is a fork of it. strace
sends SIGKILL at the n-th call of one kind. Encoding is a pure job, so its results are cached
between attempts; everything that writes is repeated.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from portraitd.model.errors import PortraitdError
from support.home import Dump, assert_sound, dump
from support.kill_scenarios import SCENARIOS, home_at, run_until_idle

CALLS = (
    "openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "renameat",
    "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "fchmod",
    "chmod",
)  # fmt: skip


KILL = "signal=SIGKILL"

ENDED_ITSELF = 3


class Attempt(NamedTuple):
    """The n-th call of one kind."""

    call: str
    number: int


class Sweep:
    """One scenario, interrupted at many points.

    Args:
        folder: Where homes are created; best on a RAM disk.
        name: Of the scenario.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._scenario = SCENARIOS[name]
        self._begin = folder / "begin"
        self._undisturbed = folder / "undisturbed"
        self.killed = 0

    def prepare(self) -> list[Attempt]:
        """Run the scenario undisturbed. Returns every call that it makes, in order."""
        self._scenario.prepare(self._begin)
        trace = self._folder / "trace"
        # Once without strace, so that everything is loaded and cached.
        for strace in ([], ["-o", str(trace), "-e", f"trace={','.join(CALLS)}"]):
            shutil.rmtree(self._undisturbed, ignore_errors=True)
            copy_home(self._begin, self._undisturbed)
            if not strace:
                fork_and_run(lambda: self._scenario.act(self._undisturbed), [])
                self._scenario.act(self._warm())
                shutil.rmtree(self._folder / "warm")
            else:
                assert 0 == fork_and_run(lambda: self._scenario.act(self._undisturbed), strace)
        self._scenario.finish(self._undisturbed)
        found = re.findall(r"^(?:\d+\s+)?(\w+)\(", trace.read_text(), re.MULTILINE)
        counted = Counter[str]()
        calls = []
        for call in found:
            if call in CALLS:
                counted[call] += 1
                calls.append(Attempt(call, counted[call]))
        return calls

    def _warm(self) -> Path:
        copy_home(self._begin, self._folder / "warm")
        return self._folder / "warm"

    def interrupt(self, attempt: Attempt, how: str = KILL) -> str | None:
        """Interrupt at one point and start again. Returns the fault found then, or None."""
        home = self._folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        copy_home(self._begin, home)
        kill = f"inject={attempt.call}:{how}:when={attempt.number}"
        killed = fork_and_run(
            lambda: self._scenario.act(home),
            ["-o", os.devnull, "-e", f"trace={attempt.call}", "-e", kill],
        )
        # After one of our errors it has reported the cause, and is started again.
        if killed not in (0, ENDED_ITSELF, -signal.SIGKILL):
            return f"ended with {killed}"
        self.killed += killed == -signal.SIGKILL
        return run_and_report(lambda: self._check(home), self._folder / "error")

    def _check(self, home: Path) -> None:
        self._scenario.finish(home)
        assert_sound(home_at(home).settings)
        first, second = comparable(home), comparable(self._undisturbed)
        assert second == first, f"not as undisturbed: {differing(second, first)}"
        self._scenario.check(home, self._undisturbed)
        # Another run changes nothing.
        before = listing(home)
        run_until_idle(home)
        assert before == listing(home), differing_files(before, listing(home))


def copy_home(source: Path, target: Path) -> None:
    """Copy with the same times; the inodes differ, as they are different files."""
    shutil.copytree(source, target)


def comparable(folder: Path) -> Dump:
    """Dump a home without the names of its folders and without the order of face ids."""
    return dump(home_at(folder).settings)


def differing(one: Dump, other: Dump) -> str:
    fields = [name for name in Dump._fields if getattr(one, name) != getattr(other, name)]
    return "; ".join(f"{f}: {getattr(one, f)} | {getattr(other, f)}"[:900] for f in fields)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of every file in people/; the lease is renewed at every start."""
    return {
        os.fspath(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and "people" in path.parts and path.name != ".portraitd-lease"
    }


def differing_files(one: dict[str, Any], other: dict[str, Any]) -> str:
    return str(sorted(set(one.items()) ^ set(other.items())))[:500]


def fork_and_run(act: Callable[[], None], strace: list[str]) -> int:
    """Run in a fork, under strace if asked for. Returns the exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        if strace:
            os.kill(os.getpid(), signal.SIGSTOP)
        end_with(act)
    if not strace:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.waitpid(child, os.WUNTRACED)
    watcher = subprocess.Popen(
        ["strace", "-f", "-qq", "-p", str(child), *strace],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 20.0
    while f"TracerPid:\t{watcher.pid}" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline_s, "strace did not attach"
        time.sleep(0.002)
    os.kill(child, signal.SIGCONT)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert watcher.stderr
    watcher.stderr.close()
    watcher.wait()
    return code


def run_and_report(act: Callable[[], None], report: Path) -> str | None:
    """Run in a fork. Returns the traceback of an error, or None."""
    report.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        end_with(act, report)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == 0 else report.read_text() if report.exists() else f"ended with {code}"


def end_with(act: Callable[[], None], report: Path | None = None) -> None:
    # The output of OpenCV and of the service is not needed.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if report:
        os.dup2(1, 2)
    try:
        act()
    except PortraitdError:
        if report:
            report.write_text(traceback.format_exc()[-2500:])
        os._exit(ENDED_ITSELF)
    except BaseException:
        if report:
            report.write_text(traceback.format_exc()[-2500:])
        else:
            traceback.print_exc()
        os._exit(1)
    os._exit(0)


def select(calls: list[Attempt], every: int, sample: int | None) -> list[Attempt]:
    """Return the points to interrupt at.

    Args:
        calls: All, in order.
        every: At every n-th call of a kind, and always at the first and last of it.
        sample: Instead, at so many calls of any kind, evenly spread over the whole run.
    """
    if sample is not None:
        return [calls[(2 * number + 1) * len(calls) // (2 * sample)] for number in range(sample)]
    last = dict(calls)
    return sorted(
        attempt
        for attempt in calls
        if (attempt.number - 1) % every == 0 or attempt.number == last[attempt.call]
    )


def sweep(
    folder: Path, name: str, every: int = 1, how: str = KILL, sample: int | None = None
) -> dict[str, Any]:
    """Interrupt a scenario at every point. Returns the figures.

    Args:
        folder: Where homes are created.
        name: Of the scenario.
        every: See ``select``.
        how: ``signal=SIGKILL``, or ``error=EIO``: the call fails once. Then ``openat`` is
            skipped: libraries open many files.
        sample: See ``select``.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began_s = time.monotonic()
    runner = Sweep(folder, name)
    calls = runner.prepare()
    failures: dict[str, str] = {}
    done = 0
    for attempt in select(calls, every, sample):
        if how != KILL and attempt.call == "openat":
            continue
        done += 1
        wrong = runner.interrupt(attempt, how)
        if wrong:
            failures[f"{attempt.call}:{attempt.number}"] = wrong
    return {
        "scenario": name,
        "how": how,
        "calls": len(calls),
        "points": done,
        "killed": runner.killed,
        "failed": len(failures),
        "failures": failures,
        "seconds": round(time.monotonic() - began_s, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("scenarios", nargs="+", choices=SCENARIOS)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--how", default=KILL)
    options = parser.parse_args()
    for name in options.scenarios:
        folder = options.folder / name
        folder.mkdir()
        print(json.dumps(sweep(folder, name, options.every, options.how, options.sample)))
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
