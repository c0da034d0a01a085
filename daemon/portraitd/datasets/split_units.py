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


class Unit(NamedTuple):
    """Something that lies on one side as a whole.

    Attributes:
        key: Made of its content, so that it is the same in every home.
        faces: How many faces of each person it holds.
    """

    key: str
    faces: Mapping[int, int]


def assigned(
    units: Sequence[Unit],
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
    held: dict[str, Counter[int]] = {
        side: Counter((already or {}).get(side, {})) for side in ("train", "val")
    }
    total, left = Counter(held["train"]) + Counter(held["val"]), Counter[int]()
    new = []
    for unit in sorted(units, key=lambda unit: hashlib.sha256(unit.key.encode()).digest()):
        total.update(unit.faces)
        side = known.get(unit.key)
        if side in held:
            held[side].update(unit.faces)
        else:
            new.append(unit)
            left.update(unit.faces.keys())
    chosen: dict[str, Split] = {}
    for unit in new:
        left.subtract(unit.faces.keys())
        chosen[unit.key] = side = _side(unit, held, total, left, share)
        held[side].update(unit.faces)
    return chosen


def _side(
    unit: Unit,
    held: Mapping[str, Counter[int]],
    total: Counter[int],
    left: Counter[int],
    share: float,
) -> Split:
    """Where one unit goes, given what lies where and how many units are still to come."""
    people = unit.faces.keys()
    if not people:
        return "val" if chance(unit.key) < share else "train"
    if any(not held["train"][one] and left[one] <= 0 for one in people):
        return "train"
    for one in people:
        is_small = 2 * unit.faces[one] <= total[one]
        if not held["val"][one] and share > 0 and (is_small or left[one] <= 0):
            return "val"
    filled = [(held["val"][one] + unit.faces[one]) / total[one] for one in people]
    return "val" if sum(filled) / len(filled) <= share else "train"


def chance(key: str) -> float:
    """A number from 0 to 1 that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7]) / (1 << 56)


class Stretch(NamedTuple):
    """A part of a recording that no track leaves; both ends are inside."""

    start_s: float
    stop_s: float


def stretches(spans: Iterable[tuple[float, float]]) -> list[Stretch]:
    """Cut a recording where no track crosses.

    Args:
        spans: The first and the last moment of each track, in seconds.

    Returns:
        By time.
    """
    found: list[Stretch] = []
    for start_s, stop_s in sorted(spans):
        if found and start_s <= found[-1].stop_s:
            found[-1] = Stretch(found[-1].start_s, max(stop_s, found[-1].stop_s))
        else:
            found.append(Stretch(start_s, stop_s))
    return found
