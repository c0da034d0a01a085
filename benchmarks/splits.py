"""Measure how near the splits of training sets come to the wanted share of each person.

    python benchmarks/splits.py [--homes 200] [--share 0.2] [--before OLD/daemon]

Each random home has a star with about 110 faces in one film and some in a few other recordings,
and cameos with a few faces beside the star and in one or two other recordings. Near-duplicates are
not counted: each face is from a shot of its own. The *deviation* of a person is the difference
between the share of the person's faces that is in val and the wanted share, for the people who
could be in both splits because they are in two recordings. A person without a face in val counts
like one with all faces there, because both are equally useless. ``optimum`` tries all assignments
of whole recordings and takes the smallest possible largest deviation. It covers the homes in which
all these people can be in both splits at once, while no person with many faces has most of them in
val (``solvable``).

Prints one JSON line: over the homes, the median, 90th percentile and maximum of the largest
deviation of any person; homes in which most of the star's faces are in val; people of two or more
recordings without a face in val; people without a face in train. ``--before`` measures the same
homes with another version of the package.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from portraitd.datasets.split_assignment import SplitAssignment, SplitRecording
from portraitd.model.face import Box
from portraitd.store.dataset_store import DatasetFace

STAR = 1
LARGE, MAX_SHARE = 30, 0.5
MAX_TRIED = 14
"""With more recordings, trying all assignments takes too long."""

QUALITY = {"sharpness": 100.0, "frontal": 1.0, "confidence": 1.0}
FIELDS = DatasetFace.__dataclass_fields__
"""An earlier version has fewer of them."""

Home = list[dict[int, int]]
"""Number of faces of each person, by recording."""


def make_home(seed: int) -> Home:
    """Return a random home: a film with a star, and other recordings."""
    chance = random.Random(seed)
    film = {STAR: chance.randint(95, 125)}
    others: Home = [{STAR: chance.randint(4, 30)} for _ in range(chance.randint(2, 5))]
    others += [{} for _ in range(chance.randint(2, 6))]
    for cameo in range(2, 2 + chance.randint(3, 12)):
        film[cameo] = chance.randint(1, 4)
        for recording in chance.sample(others, chance.choice((1, 1, 2, 3))):
            recording[cameo] = chance.randint(1, 12)
    return [film, *(recording for recording in others if recording)]


def make_recording(number: int, faces: dict[int, int], seed: int) -> SplitRecording:
    """Return a recording with one face per shot, the people in turn."""
    sha256 = hashlib.sha256(f"{seed} {number}".encode()).hexdigest()
    order = [person for person, count in sorted(faces.items()) for _ in range(count)]
    random.Random(sha256).shuffle(order)
    found = [
        DatasetFace(
            id=1000 * number + place,
            video_id=number + 1,
            t_s=10.0 * place,
            box=Box(10 * person, 0, 10 * person + 9, 9),
            score=1.0,
            size_px=90.0,
            **{name: value for name, value in QUALITY.items() if name in FIELDS},
            landmarks=None,
            track_id=1000 * number + place + 1,
            person_id=person,
            hidden=False,
        )
        for place, person in enumerate(order)
    ]
    return SplitRecording(number + 1, sha256, found, found)


def find_optimum(home: Home, share: float) -> float | None:
    """Return the smallest possible largest deviation, with every shared person in both splits."""
    if len(home) > MAX_TRIED:
        return None
    shared = sorted(find_shared(home))
    faces = np.array([[recording.get(one, 0) for one in shared] for recording in home])
    choices = np.array(list(itertools.product((0, 1), repeat=len(home))))
    shares = choices @ faces / faces.sum(axis=0)
    is_allowed = ((shares > 0) & (shares < 1)).all(axis=1)
    is_allowed &= (shares[:, faces.sum(axis=0) >= LARGE] <= MAX_SHARE).all(axis=1)
    return float(np.abs(shares[is_allowed] - share).max(axis=1).min()) if is_allowed.any() else None


def find_shared(home: Home) -> set[int]:
    """Return the people who are in two recordings or more."""
    seen = Counter(person for recording in home for person in recording)
    return {person for person, count in seen.items() if count > 1}


def measure_home(home: Home, seed: int, share: float) -> dict[str, Any]:
    """Split a home, and return the figures of it."""
    recordings = [make_recording(number, faces, seed) for number, faces in enumerate(home)]
    splits = SplitAssignment(recordings, {}, share)
    counts: dict[str | None, Counter[int]] = {"train": Counter(), "val": Counter(), None: Counter()}
    for recording in recordings:
        for face in recording.distinct:
            counts[splits.split_of(face)][face.person_id or 0] += 1
    total = Counter(person for faces in home for person in Counter(faces).elements())
    shared = find_shared(home)
    shares = {one: counts["val"][one] / total[one] for one in shared}
    return {
        "deviation": max(abs((part or 1.0) - share) for part in shares.values()),
        "star": shares[STAR],
        "star_in_val": shares[STAR] > 0.5,
        "without_val": sum(not counts["val"][one] for one in shared),
        "without_train": sum(not counts["train"][one] for one in total),
        "unused": sum(counts[None].values()),
    }


def measure(homes: int, share: float) -> dict[str, Any]:
    """Return the figures over random homes."""
    made = [make_home(seed) for seed in range(homes)]
    start_s = time.process_time()
    found = [measure_home(home, seed, share) for seed, home in enumerate(made)]
    taken_s = time.process_time() - start_s
    optima = [best for best in (find_optimum(home, share) for home in made) if best is not None]
    return {
        "homes": homes,
        "people": sum(len({one for faces in home for one in faces}) for home in made),
        "deviation": describe([one["deviation"] for one in found]),
        "optimum": describe(optima),
        "solvable": len(optima),
        "star_share": describe([one["star"] for one in found]),
        "star_in_val": sum(one["star_in_val"] for one in found),
        "without_val": sum(one["without_val"] for one in found),
        "without_train": sum(one["without_train"] for one in found),
        "unused_faces": sum(one["unused"] for one in found),
        "cpu_s": round(taken_s, 2),
    }


def describe(values: list[float]) -> dict[str, float]:
    """Return the median, the 90th percentile and the maximum."""
    return {
        name: round(float(np.quantile(values, at)), 3)
        for name, at in (("median", 0.5), ("p90", 0.9), ("max", 1.0))
    }


def main() -> None:
    """Run the trial, and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--homes", type=int, default=200)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--before", help="the daemon folder of another version")
    arguments = parser.parse_args()
    figures = {"now": measure(arguments.homes, arguments.share)}
    if arguments.before:
        answer = subprocess.run(
            [sys.executable, __file__, f"--homes={arguments.homes}", f"--share={arguments.share}"],
            env={**os.environ, "PYTHONPATH": arguments.before},
            check=True,
            capture_output=True,
            text=True,
        )
        figures["before"] = json.loads(answer.stdout)["now"]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
