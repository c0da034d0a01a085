"""The processes around a worker that has namespaces of its own end when it or the service does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from portraitd.workers.sandbox import namespaces
from support.processes import is_alive, wait_until

pytestmark = pytest.mark.skipif(
    not namespaces.available(), reason="no new namespaces are allowed here"
)

PROGRAM = """
import os, pathlib, signal, sys, time

sys.path[:] = sys.argv[2:]
from portraitd.workers.sandbox import namespaces

folder, fork, forked = pathlib.Path(sys.argv[1]), os.fork, []


def fork_slowly():
    pid = fork()
    forked.append(pid)
    # The first fork only tries whether namespaces are allowed.
    if len(forked) == 2 and pid == 0:
        # The first process is slow.
        time.sleep(0.3)
    elif len(forked) == 3 and pid == 0:
        # The worker is slower.
        while not (folder / "go on").exists():
            time.sleep(0.01)
    elif len(forked) == 3:
        (folder / "processes").write_text(f"{forked[1]} {forked[2]}")
        os.kill(os.getpid(), signal.SIGKILL)
    return pid


os.fork = fork_slowly
namespaces.isolate()
"""


def test_no_process_stays_behind_when_the_parent_ends_early(tmp_path: Path) -> None:
    """However slow the scheduler makes its children: it is killed when both were just forked."""
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path, *sys.path], check=False, timeout=60
    )
    first, worker = map(int, (tmp_path / "processes").read_text().split())

    wait_until(lambda: not is_alive(first) or not open_files(first), "the first one is idle")
    (tmp_path / "go on").touch()

    assert -9 == program.returncode
    wait_until(lambda: not is_alive(worker), "the worker has ended")
    wait_until(lambda: not is_alive(first), "the first process has ended")


def open_files(pid: int) -> list[str]:
    """Return the descriptors of a process, except the standard ones."""
    try:
        return [name for name in os.listdir(f"/proc/{pid}/fd") if int(name) > 2]
    except OSError:
        return []
