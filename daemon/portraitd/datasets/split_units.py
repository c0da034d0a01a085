"""Assigns units to train or val; an assignment never changes.

A *unit* must not be divided: a recording, a segment of one that no track crosses, or a track.
Each unit is assigned when it is first seen, and the assignment is stored.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from portraitd.datasets.annotations import Split


class SplitUnit(NamedTuple):
    """Something that is assigned as a whole.

    Attributes:
        key: Derived from its content, so equal in every home.
        faces: Number of faces of each person in it.
    """

    key: str
    faces: Mapping[int, int]


def assign_splits(
    units: Sequence[SplitUnit],
    known: Mapping[str, str],
    share: float,
    already: Mapping[Split, Mapping[int, int]] | None = None,
) -> dict[str, Split]:
    """Assign each new unit to a split.

    Units are processed in the order of a hash of their keys: random, but the same everywhere.
    Every person first gets a unit in train, then one in val if they have at least two, and then
    val is filled up to its share.

    Args:
        units: All units, new or not.
        known: The stored splits, by key.
        share: Share of the faces for val.
        already: Faces of each person in each split that belong to none of these units.

    Returns:
        The split of every unit that is not in ``known``.
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
        chosen[unit.key] = split = _choose_split(unit, counts, total, left, share)
        counts[split].update(unit.faces)
    return chosen


def _choose_split(
    unit: SplitUnit,
    counts: Mapping[str, Counter[int]],
    total: Counter[int],
    left: Counter[int],
    share: float,
) -> Split:
    """Choose the split of a unit, given the counts so far and the units still to come."""
    people = unit.faces.keys()
    if not people:
        return "val" if hash_to_fraction(unit.key) < share else "train"
    if any(not counts["train"][one] and left[one] <= 0 for one in people):
        return "train"
    for one in people:
        is_small = 2 * unit.faces[one] <= total[one]
        if not counts["val"][one] and share > 0 and (is_small or left[one] <= 0):
            return "val"
    filled = [(counts["val"][one] + unit.faces[one]) / total[one] for one in people]
    return "val" if sum(filled) / len(filled) <= share else "train"


def hash_to_fraction(key: str) -> float:
    """Return a pseudo-random number from 0 to 1 that depends only on the key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7]) / (1 << 56)


class Segment(NamedTuple):
    """A part of a recording that no track crosses; both ends are included."""

    start_s: float
    stop_s: float


def find_segments(spans: Iterable[tuple[float, float]]) -> list[Segment]:
    """Divide a recording where no track crosses.

    Args:
        spans: The first and the last time of each track, in seconds.

    Returns:
        The segments, by time.
    """
    found: list[Segment] = []
    for start_s, stop_s in sorted(spans):
        if found and start_s <= found[-1].stop_s:
            found[-1] = Segment(found[-1].start_s, max(stop_s, found[-1].stop_s))
        else:
            found.append(Segment(start_s, stop_s))
    return found
