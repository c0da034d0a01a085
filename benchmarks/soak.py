"""A long disorderly day, bounded in time: ``python benchmarks/soak.py --minutes 20``.

A real daemon, and around it people who drop, rename, copy and remove, and a machine that kills.
Every minute everything is let come to rest and looked through; at the end one JSON line says
what was done, what was wrong, and whether memory, descriptors and the journal stayed flat.
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
    """Whether the last third is no higher than the first, but for so much."""
    third = max(1, len(values) // 3)
    return statistics.median(values[-third:]) <= statistics.median(values[:third]) * 1.3 + slack


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        day = Day(Path(folder), chosen.seed)
        began_s, looked_s = time.monotonic(), time.monotonic()
        try:
            while time.monotonic() - began_s < 60 * chosen.minutes:
                day.step()
                time.sleep(0.5)
                if time.monotonic() - looked_s >= 60.0:
                    day.look()
                    looked_s = time.monotonic()
            day.look()
            code = day.end()
            with closing(day.store()) as db:
                faces = db.execute("select count(*) from faces").fetchone()[0]
        finally:
            day.daemon.kill()
        # Kept for whoever wants to know why.
        if day.wrong:
            shutil.copyfile(Path(folder) / "log", Path(tempfile.gettempdir()) / "soak.log")
    print(json.dumps(summary(day, chosen.seed, code, faces, time.monotonic() - began_s)))
    return 1 if day.wrong else 0


def summary(day: Day, seed: int, code: int, faces: int, seconds: float) -> dict[str, Any]:
    names = ("memory_kb", "descriptors", "journal_kb")
    columns = {name: [sample[name] for sample in day.samples] or [0] for name in names}
    return {
        "seed": seed,
        "minutes": round(seconds / 60, 1),
        "done": dict(sorted(day.done.items())),
        "looks": len(day.samples),
        "faces": faces,
        "exit": code,
        "wrong": day.wrong,
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
