"""What happens where the kernel supports less than the sandbox needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import make_home
from support.sealing import needs_sandbox

pytestmark = needs_sandbox


LESS = """
import pathlib, sys
from support import bad_jobs, sandbox_jobs
from portraitd.workers import sandbox
from portraitd.workers.sandbox import FileAccess
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import SandboxPolicy, WorkerLimits

if __name__ == "__main__":
    print(*sandbox.missing_features(), *sandbox.missing_namespaces(), sep="\\n")
    accepts = sys.argv[2] == "reduced"
    policy = SandboxPolicy(FileAccess((), (pathlib.Path(sys.argv[1]),), accepts_less=accepts))
    executor = LocalExecutor(1, WorkerLimits(0, 0, 60.0), policy)
    try:
        print(executor.submit(bad_jobs.add, 2, 3).result())
    finally:
        executor.shutdown(cancel_futures=True)
"""


def run_without(
    calls: str, *command: str | Path, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Python program for which the kernel refuses some calls."""
    return subprocess.run(
        [sys.executable, "-m", "support.lesser_kernel", calls, sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_jobs_run_without_support_of_the_kernel_if_that_is_accepted(tmp_path: Path) -> None:
    """As in a container that forbids it; the missing features are reported."""
    script = tmp_path / "less.py"
    script.write_text(LESS)

    answer = run_without(
        "landlock_create_ruleset,seccomp,unshare", script, tmp_path / "cache", "reduced"
    )

    assert "no Landlock: workers can read every file" in answer.stdout
    assert "no system call filter" in answer.stdout
    assert "no namespaces of their own" in answer.stdout
    assert answer.stdout.endswith("\n5\n")


@pytest.mark.parametrize("call", ["landlock_create_ruleset", "seccomp"])
def test_no_job_runs_without_a_sandbox_that_is_required(tmp_path: Path, call: str) -> None:
    """Whatever the service knew when it started."""
    script = tmp_path / "less.py"
    script.write_text(LESS)

    answer = run_without(call, script, tmp_path / "cache", "required")

    assert 1 == answer.returncode
    assert "WorkerDied" in answer.stderr
    assert not answer.stdout.endswith("\n5\n")


CHECK = """
import sys
from pathlib import Path
from portraitd.cli.check import _workers
from portraitd.config import load

if __name__ == "__main__":
    for finding in _workers(load(home=Path(sys.argv[1]), assignments=sys.argv[2:])):
        print(finding.sound, finding.what, finding.detail, sep="|")
"""


def test_a_check_says_what_workers_do_without(tmp_path: Path) -> None:
    """It is no fault where the service starts all the same, as it does without namespaces."""
    home = make_home(tmp_path / "home")
    script = tmp_path / "check.py"
    script.write_text(CHECK)
    # Nothing is loaded: this detector is part of a library.
    settings = ("encoder.kind=dlib", "encoder.detector=hog")

    answer = run_without("unshare", script, home, *settings)

    lines = [line.split("|") for line in answer.stdout.splitlines()]
    assert {"True"} == {sound for sound, _, _ in lines}, answer.stderr
    assert "no namespaces of their own" in lines[0][2]
    assert 5 == [detail for _, _, detail in lines].count("blocked")


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        (("run",), "workers.sandbox = "),
        (("worker", "tcp://127.0.0.1:1"), "--reduced-sandbox"),
    ],
)
def test_nothing_starts_without_a_sandbox(
    tmp_path: Path, command: tuple[str, ...], remedy: str
) -> None:
    """Unless that is accepted; the message says how."""
    home = make_home(tmp_path / "home")
    options = [] if command[0] == "worker" else ["--home", home]

    answer = run_without("seccomp", "-m", "portraitd", *command, *options, folder=home)

    assert 78 == answer.returncode
    assert "no system call filter: workers can open sockets" in answer.stderr + answer.stdout
    assert remedy in answer.stderr + answer.stdout
