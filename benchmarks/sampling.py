"""Compare two ways to sample the same clip, end to end, alternating within one run.

    uv run benchmarks/sampling.py CLIP [--rounds 3] [--set …] [--against sampling.mode=keyframes]
        [--model yunet=FILE]

Prints one JSON line: medians in seconds, and the median ratio within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from encoder import portraitd

from portraitd.service import log_setup


def main() -> None:
    arguments = _arguments()
    log_setup.quiet()
    plain: list[float] = []
    other: list[float] = []
    for _ in range(arguments.rounds):
        plain.append(portraitd(arguments.clip, arguments.assignments, arguments.models))
        assignments = [*arguments.assignments, *arguments.against]
        other.append(portraitd(arguments.clip, assignments, arguments.models))
    print(
        json.dumps(
            {
                "settings": arguments.assignments,
                "against": arguments.against,
                "rounds": arguments.rounds,
                "plain_s": round(statistics.median(plain), 2),
                "against_s": round(statistics.median(other), 2),
                "times_faster": round(
                    statistics.median(a / b for a, b in zip(plain, other, strict=True)), 1
                ),
            }
        )
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    parser.add_argument("--against", action="append", required=True, metavar="SECTION.KEY=VALUE")
    parser.add_argument("--model", dest="models", action="append", default=[], metavar="NAME=FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
