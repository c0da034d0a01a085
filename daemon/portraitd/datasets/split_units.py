"""Train or val: what belongs together stays together, and stays where it is for ever.

A *unit* is what must not be torn apart: a recording, a stretch of one that no track crosses, or
a track. Which side a unit lies on is decided once, when it is first seen, and remembered.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from portraitd.datasets.annotations import Split


class SplitUnit(NamedTuple):
    """Something that lies on one side as a whole.

    Attributes:
        key: Made of its content, so that it is the same in every home.
        faces: How many faces of each person it holds.
    """

    key: str
    faces: Mapping[int, int]


def assign_splits(
    units: Sequence[SplitUnit],
    known: Mapping[str, str],
    share: float,
    already: Mapping[Split, Mapping[int, int]] | None = None,
) -> dict[str, Split]:
    """Give each unit that has none a side.

    They come in the order of a hash of their keys, which is as good as chance and the same
    everywhere. Everybody gets something into train, then something into val where they have two
    units or more, and then val is filled up to its share.

    Args:
        units: All of them, new or not.
        known: The sides that are known, by key.
        share: Of the faces that val should hold.
        already: Faces of each person that lie on a side and belong to none of these units.

    Returns:
        The side of every unit that is not among ``known``.
    """
    counts: dict[str, Counter[int]] = {
        split: Counter((already or {}).get(split, {})) for split in ("train", "val")
    }
    total, left = Counter(counts["train"]) + Counter(counts["val"]), Counter[int]()
    new = []
    for unit in sorted(units, key=lambda unit: hashlib.sha256(unit.key.encode()).digest()):
        total.update(unit.faces)
        split = known.get(unit.key)
        if split in counts:
            counts[split].update(unit.faces)
        else:
            new.append(unit)
            left.update(unit.faces.keys())
    chosen: dict[str, Split] = {}
    for unit in new:
        left.subtract(unit.faces.keys())
        chosen[unit.key] = split = _side(unit, counts, total, left, share)
        counts[split].update(unit.faces)
    return chosen


def _side(
    unit: SplitUnit,
    counts: Mapping[str, Counter[int]],
    total: Counter[int],
    left: Counter[int],
    share: float,
) -> Split:
    """Where one unit goes, given what lies where and how many units are still to come."""
    people = unit.faces.keys()
    if not people:
        return "val" if hash_fraction(unit.key) < share else "train"
    if any(not counts["train"][one] and left[one] <= 0 for one in people):
        return "train"
    for one in people:
        is_small = 2 * unit.faces[one] <= total[one]
        if not counts["val"][one] and share > 0 and (is_small or left[one] <= 0):
            return "val"
    filled = [(counts["val"][one] + unit.faces[one]) / total[one] for one in people]
    return "val" if sum(filled) / len(filled) <= share else "train"


def hash_fraction(key: str) -> float:
    """A number from 0 to 1 that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7]) / (1 << 56)


class Segment(NamedTuple):
    """A part of a recording that no track leaves; both ends are inside."""

    start_s: float
    stop_s: float


def find_segments(spans: Iterable[tuple[float, float]]) -> list[Segment]:
    """Cut a recording where no track crosses.

    Args:
        spans: The first and the last moment of each track, in seconds.

    Returns:
        By time.
    """
    found: list[Segment] = []
    for start_s, stop_s in sorted(spans):
        if found and start_s <= found[-1].stop_s:
            found[-1] = Segment(found[-1].start_s, max(stop_s, found[-1].stop_s))
        else:
            found.append(Segment(start_s, stop_s))
    return found
