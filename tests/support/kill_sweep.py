"""Kills a process at each system call that changes files; looks what the next start makes of it.

``python tests/kill_sweep.py FOLDER SCENARIO [EVERY [HOW]]`` prints a JSON line. One process loads
the libraries and looks at the media once; each attempt is a fork of it, with strace attached that
sends SIGKILL at the n-th call of one kind. Encoding is a pure job, so its answers are remembered
from attempt to attempt; everything that writes is done anew.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from portraitd.model.errors import PortraitdError
from support.home import Dump, assert_sound, dump
from support.kill_scenarios import SCENARIOS, home_at, work

CALLS = (
    "openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "renameat",
    "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "fchmod",
    "chmod",
)  # fmt: skip


KILL = "signal=SIGKILL"

ENDED_ITSELF = 3


class Attempt(NamedTuple):
    """One kind of call, and which of them."""

    call: str
    number: int


class Sweep:
    """One scenario, interrupted again and again.

    Args:
        folder: Where homes are made; best in memory.
        name: Which scenario.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._scenario = SCENARIOS[name]
        self._begin = folder / "begin"
        self._calm = folder / "calm"
        self.killed = 0

    def prepare(self) -> Counter[str]:
        """Do it once undisturbed. Returns how often each call is made."""
        self._scenario.prepare(self._begin)
        trace = self._folder / "trace"
        # Once without being watched, so that everything is loaded and remembered.
        for strace in ([], ["-o", str(trace), "-e", f"trace={','.join(CALLS)}"]):
            shutil.rmtree(self._calm, ignore_errors=True)
            copy_home(self._begin, self._calm)
            if not strace:
                in_child(lambda: self._scenario.act(self._calm), [])
                self._scenario.act(self._warm())
                shutil.rmtree(self._folder / "warm")
            else:
                assert 0 == in_child(lambda: self._scenario.act(self._calm), strace)
        self._scenario.finish(self._calm)
        found = re.findall(r"^(?:\d+\s+)?(\w+)\(", trace.read_text(), re.MULTILINE)
        return Counter(call for call in found if call in CALLS)

    def _warm(self) -> Path:
        copy_home(self._begin, self._folder / "warm")
        return self._folder / "warm"

    def strike(self, attempt: Attempt, how: str = KILL) -> str | None:
        """Strike at one point and start again. Returns what is wrong then; None if nothing is."""
        home = self._folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        copy_home(self._begin, home)
        kill = f"inject={attempt.call}:{how}:when={attempt.number}"
        killed = in_child(
            lambda: self._scenario.act(home),
            ["-o", os.devnull, "-e", f"trace={attempt.call}", "-e", kill],
        )
        # With an error of ours it says what is in the way, and is started again.
        if killed not in (0, ENDED_ITSELF, -signal.SIGKILL):
            return f"ended with {killed}"
        self.killed += killed == -signal.SIGKILL
        return in_child_said(lambda: self._look(home), self._folder / "said")

    def _look(self, home: Path) -> None:
        self._scenario.finish(home)
        assert_sound(home_at(home).settings)
        first, second = comparable(home), comparable(self._calm)
        assert second == first, f"not as undisturbed: {differing(second, first)}"
        self._scenario.check(home, self._calm)
        # Once more changes nothing at all.
        before = listing(home)
        work(home)
        assert before == listing(home), differing_files(before, listing(home))


def copy_home(source: Path, target: Path) -> None:
    """With other inodes, as they are different files; but with the same times."""
    shutil.copytree(source, target)


def comparable(folder: Path) -> Dump:
    """Without the folders' names; which face found its number first does not matter."""
    return dump(home_at(folder).settings)


def differing(one: Dump, other: Dump) -> str:
    fields = [name for name in Dump._fields if getattr(one, name) != getattr(other, name)]
    return "; ".join(f"{f}: {getattr(one, f)} | {getattr(other, f)}"[:900] for f in fields)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file people see, or that the store consists of."""
    return {
        os.fspath(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and "people" in path.parts
    }


def differing_files(one: dict[str, Any], other: dict[str, Any]) -> str:
    return str(sorted(set(one.items()) ^ set(other.items())))[:500]


def in_child(act: Callable[[], None], strace: list[str]) -> int:
    """Fork, attach strace where it is wanted, act. Returns the exit code, negative for a signal."""
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


def in_child_said(act: Callable[[], None], said: Path) -> str | None:
    """Fork and act. Returns what went wrong, in words."""
    said.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        end_with(act, said)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == 0 else said.read_text() if said.exists() else f"ended with {code}"


def end_with(act: Callable[[], None], said: Path | None = None) -> None:
    # What OpenCV and the service say is of no interest here.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if said:
        os.dup2(1, 2)
    try:
        act()
    except PortraitdError:
        if said:
            said.write_text(traceback.format_exc()[-2500:])
        os._exit(ENDED_ITSELF)
    except BaseException:
        if said:
            said.write_text(traceback.format_exc()[-2500:])
        else:
            traceback.print_exc()
        os._exit(1)
    os._exit(0)


def attempts(calls: Counter[str], every: int) -> Iterator[Attempt]:
    """The points to strike at: each, or each so many-th of a kind, always the first and last."""
    for call, count in sorted(calls.items()):
        # One more than was counted: the end itself.
        for number in range(1, count + 1):
            if (number - 1) % every == 0 or number == count:
                yield Attempt(call, number)


def sweep(folder: Path, name: str, every: int = 1, how: str = KILL) -> dict[str, Any]:
    """Strike at every point of a scenario. Returns the figures.

    Args:
        folder: Where homes are made.
        name: Of the scenario.
        every: Each so many-th call of a kind.
        how: ``signal=SIGKILL``, or ``error=EIO``: the call fails once. Then opening a file is
            left out: much else is opened.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began_s = time.monotonic()
    runner = Sweep(folder, name)
    calls = runner.prepare()
    failures: dict[str, str] = {}
    done = 0
    for attempt in attempts(calls, every):
        if how != KILL and attempt.call == "openat":
            continue
        done += 1
        wrong = runner.strike(attempt, how)
        if wrong:
            failures[f"{attempt.call}:{attempt.number}"] = wrong
    return {
        "scenario": name,
        "how": how,
        "calls": sum(calls.values()),
        "points": done,
        "killed": runner.killed,
        "failed": len(failures),
        "failures": failures,
        "seconds": round(time.monotonic() - began_s, 1),
    }


if __name__ == "__main__":
    every = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    print(json.dumps(sweep(Path(sys.argv[1]), sys.argv[2], every, *sys.argv[4:5])))
