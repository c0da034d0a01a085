"""A process that is killed at a system call is made good by the next start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from support.processes import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Figures = dict[str, Any]

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

SAMPLE = 5
"""Kill at so many calls in the usual run of the tests, spread over each scenario."""

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None or os.geteuid() != 0,
    reason="needs strace, and the right to trace another process",
)


def sweep(folder: Path, *arguments: str) -> dict[str, Figures]:
    """Return the figures of each scenario."""
    answer = subprocess.run(
        [sys.executable, "-m", "support.kill_sweep", folder, *arguments],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
        env=environment(OMP_NUM_THREADS="1", OPENCV_LOG_LEVEL="ERROR"),
    )
    assert 0 == answer.returncode, answer.stderr[-3000:]
    figures = map(json.loads, answer.stdout.splitlines())
    return {found["scenario"]: found for found in figures}


@pytest.fixture(scope="module")
def samples() -> dict[str, Figures]:
    """All scenarios in one process, which loads the libraries and encodes the media once."""
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=above, prefix="portraitd-") as folder:
        return sweep(Path(folder), *EVERY, "--sample", str(SAMPLE))


@needs_strace
@pytest.mark.parametrize("scenario", EVERY)
def test_nothing_is_lost_where_it_is_killed(samples: dict[str, Figures], scenario: str) -> None:
    """At calls of all kinds, from the beginning of a scenario to its end."""
    found = samples[scenario]

    assert {} == found["failures"]
    assert SAMPLE == found["points"] == found["killed"]


@needs_strace
@pytest.mark.exhaustive
@pytest.mark.parametrize("scenario", EVERY)
def test_nothing_is_lost_wherever_it_is_killed(memory_path: Path, scenario: str) -> None:
    """At some calls of each kind. `python benchmarks/kill_sweep.py` kills at all of them."""
    found = sweep(memory_path, scenario, "--every", str(EVERY[scenario]))[scenario]

    assert {} == found["failures"]
    assert found["points"] == found["killed"]
