"""A soak test with random events: ``python benchmarks/soak.py --minutes 20``.

Runs a real daemon while files are dropped, folders edited and processes killed. Every minute it
waits until everything is idle and checks the home. At the end it prints one JSON line: the events,
the faults, and whether memory, descriptors and journal stayed flat.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from disorderly_day import Day


def is_flat(values: list[int], slack: int) -> bool:
    """Return whether the last third exceeds the first by less than 30 % and ``slack``."""
    third = max(1, len(values) // 3)
    return statistics.median(values[-third:]) <= statistics.median(values[:third]) * 1.3 + slack


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        day = Day(Path(folder), chosen.seed)
        began_s, checked_s = time.monotonic(), time.monotonic()
        try:
            while time.monotonic() - began_s < 60 * chosen.minutes:
                day.step()
                time.sleep(0.5)
                if time.monotonic() - checked_s >= 60.0:
                    day.check()
                    checked_s = time.monotonic()
            day.check()
            code = day.end()
            with closing(day.store()) as db:
                faces = db.execute("select count(*) from faces").fetchone()[0]
        finally:
            day.daemon.kill()
        # Keep the log of a failed run.
        if day.faults:
            shutil.copyfile(Path(folder) / "log", Path(tempfile.gettempdir()) / "soak.log")
    print(json.dumps(summary(day, chosen.seed, code, faces, time.monotonic() - began_s)))
    return 1 if day.faults else 0


def summary(day: Day, seed: int, code: int, faces: int, seconds: float) -> dict[str, Any]:
    names = ("memory_kb", "descriptors", "journal_kb")
    columns = {name: [sample[name] for sample in day.samples] or [0] for name in names}
    return {
        "seed": seed,
        "minutes": round(seconds / 60, 1),
        "done": dict(sorted(day.done.items())),
        "checks": len(day.samples),
        "faces": faces,
        "exit": code,
        "faults": day.faults,
        "memory_kb": columns["memory_kb"],
        "descriptors": columns["descriptors"],
        "journal_kb": columns["journal_kb"],
        "flat": {
            "memory": is_flat(columns["memory_kb"], 20_000),
            "descriptors": is_flat(columns["descriptors"], 5),
            "journal": max(columns["journal_kb"]) < 64 * 1024,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
