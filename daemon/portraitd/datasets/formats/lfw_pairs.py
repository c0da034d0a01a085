"""Pairs of faces to measure verification, in the format of Labeled Faces in the Wild (LFW)."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from portraitd.datasets.annotations import Plan, PlannedCrop
from portraitd.datasets.content import SetFiles, TextFile, join_lines
from portraitd.datasets.formats.imagefolder import make_portrait
from portraitd.datasets.split_units import hash_to_fraction

MAX_PAIRS = 3000
"""Most pairs of one person, and as many of two."""

MAX_FACES = 60
"""Faces of a person that take part: of more, the number of pairs would explode."""


def make_pair_files(plan: Plan, make: Callable[[PlannedCrop], bytes]) -> SetFiles:
    """Yield ``pairs/<name>/<name>_0001.jpg`` and ``pairs/pairs.txt`` of the faces outside train.

    As in LFW's ``pairsDevTest.txt``, the first line is the number of pairs of one person, which
    follow, and then as many of two people. A pair of one person comes from two recordings if
    possible. Names have no spaces, since many readers divide a line at any white space.
    """
    faces: defaultdict[int, list[PlannedCrop]] = defaultdict(list)
    for crop in plan.crops:
        if crop.split != "train":
            faces[crop.class_id].append(crop)
    places: dict[str, tuple[str, int]] = {}
    for number, crops in faces.items():
        name = _make_name(plan, number)
        crops.sort(key=lambda crop: hash_to_fraction(crop.stem))
        del crops[MAX_FACES:]
        for place, crop in enumerate(crops, 1):
            places[crop.stem] = name, place
            yield f"pairs/{name}/{name}_{place:04d}.jpg", make_portrait(crop, make)
    same = _choose(_find_same(crops) for crops in faces.values())
    different = _choose(
        itertools.product(faces[one], faces[other])
        for one, other in itertools.combinations(sorted(faces), 2)
    )
    count = min(len(same), len(different))
    lines = [str(count)]
    for left, right in same[:count]:
        name, place = places[left.stem]
        lines.append(f"{name}\t{place}\t{places[right.stem][1]}")
    for left, right in different[:count]:
        (name, place), (other, at) = places[left.stem], places[right.stem]
        lines.append(f"{name}\t{place}\t{other}\t{at}")
    yield "pairs/pairs.txt", TextFile(join_lines(lines))


def _make_name(plan: Plan, number: int) -> str:
    """Return a name without spaces; unique because of the class number where one was replaced."""
    label = plan.classes[number].label
    name = re.sub(r"\s", "_", label)
    return name if name == label else f"{name}_{number}"


def _find_same(crops: Sequence[PlannedCrop]) -> list[tuple[PlannedCrop, PlannedCrop]]:
    pairs = list(itertools.combinations(crops, 2))
    apart = [(left, right) for left, right in pairs if left.face.video_id != right.face.video_id]
    return apart or pairs


def _choose(
    groups: Iterator[Sequence[tuple[PlannedCrop, PlannedCrop]]]
    | Iterator[Iterator[tuple[PlannedCrop, PlannedCrop]]],
) -> list[tuple[PlannedCrop, PlannedCrop]]:
    """Return pairs at random, but the same everywhere; no group has many more than another."""
    ranked = []
    for group in groups:
        order = sorted(group, key=lambda pair: hash_to_fraction(f"{pair[0].stem} {pair[1].stem}"))
        ranked += [
            (rank, hash_to_fraction(f"{left.stem} {right.stem}"), left, right)
            for rank, (left, right) in enumerate(order[:MAX_PAIRS])
        ]
    ranked.sort(key=lambda one: one[:2])
    return [(left, right) for _, _, left, right in ranked[:MAX_PAIRS]]
