"""A process that is killed at a system call is made good by the next start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import environment

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]

EVERY = {
    "ingest": 200,
    "more": 150,
    "review": 150,
    "dataset": 300,
    "forget": 300,
    "migrate": 150,
    "backup": 40,
    "change_over": 100,
    "restore": 60,
}
"""Kill at every n-th call of a kind, and always at the first and the last."""


def sweep(folder: Path, scenario: str, every: int) -> dict[str, object]:
    answer = subprocess.run(
        [sys.executable, "-m", "support.kill_sweep", folder, scenario, str(every)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
        env=environment(OMP_NUM_THREADS="1", OPENCV_LOG_LEVEL="ERROR"),
    )
    assert 0 == answer.returncode, answer.stderr[-3000:]
    found: dict[str, object] = json.loads(answer.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(
    shutil.which("strace") is None or os.geteuid() != 0,
    reason="needs strace, and the right to trace another process",
)
@pytest.mark.parametrize("scenario", EVERY)
def test_nothing_is_lost_wherever_it_is_killed(memory_path: Path, scenario: str) -> None:
    """At some calls of each kind. `python benchmarks/kill_sweep.py` kills at all of them."""
    found = sweep(memory_path, scenario, EVERY[scenario])

    assert {} == found["failures"]
    assert found["points"] == found["killed"]
