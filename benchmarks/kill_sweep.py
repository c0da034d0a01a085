"""The complete kill sweep: ``python benchmarks/kill_sweep.py [EVERY]``, one JSON line per scenario.

Needs strace and root. The tests kill at some calls of each kind; this takes 45 minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).absolute().parents[1] / "tests"

SCENARIOS = (
    "ingest",
    "more",
    "review",
    "dataset",
    "forget",
    "migrate",
    "backup",
    "change_over",
    "restore",
)


def main() -> int:
    """Sweep every scenario. Returns the exit code: 1 if a point failed."""
    every = sys.argv[1] if len(sys.argv) > 1 else "1"
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    failed = 0
    for scenario in SCENARIOS:
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            answer = subprocess.run(
                [sys.executable, "-m", "support.kill_sweep", folder, scenario, "--every", every],
                cwd=TESTS,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "ERROR"},
            )
        line = answer.stdout.splitlines()[-1]
        failed += json.loads(line)["failed"]
        print(line, flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
