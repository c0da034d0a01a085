"""Assigns units to the splits of a set; an assignment never changes by itself.

A *unit* must not be divided: a recording, a segment of one that no track crosses, or a track.
Each unit is assigned when it is first seen, and the assignment is stored. People share units, so
no assignment gives every person the wanted shares. The rarest people are placed first, as in
iterative stratification of multi-label data (Sechidis, Tsoumakas, Vlahavas 2011), which here
counts faces instead of examples. Then units are moved, alone and in pairs, while that brings the
people nearer to the wanted shares.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

MAX_HELD_SHARE = 0.5
"""With more of their faces outside train, a person is mostly lost for training."""

LARGE_CLASS = 30
"""That applies to people with so many faces; those with fewer often have no other choice."""

MAX_UNUSED_SHARE = 0.1
"""A segment outside train costs people who also appear elsewhere at most this share of theirs."""

_MAX_PASSES = 10
_MAX_PARTNERS = 48
"""How many units are tried together with another one."""

Shares = Mapping[str, float]
"""The wanted share of the faces in each split; together 1. Without train, all are alike."""

_Cost: TypeAlias = tuple[int, float, int, float]
"""Of an assignment; the first difference decides: the number of people without a face in train;
the number of faces that train lacks of people who are mostly outside it; how often a person is
missing in a split; the sum of the squared deviations from the wanted shares."""


class SplitUnit(NamedTuple):
    """Something that is assigned as a whole.

    Attributes:
        key: Derived from its content, so equal in every home.
        faces: Number of faces of each person in it.
        guests: The same for people whose faces in it are only used if it is in train.
    """

    key: str
    faces: Mapping[int, int]
    guests: Mapping[int, int] = {}


def make_shares(val_share: float, test_share: float) -> dict[str, float]:
    """Return the wanted share of each split."""
    return {"train": 1.0 - val_share - test_share, "val": val_share, "test": test_share}


def assign_splits(
    units: Sequence[SplitUnit],
    known: Mapping[str, str],
    shares: Shares,
    already: Mapping[str, Mapping[int, int]] | None = None,
) -> dict[str, str]:
    """Assign each new unit to a split.

    Every person who can be is in train with at least half of their faces, and in the other splits
    if they have enough units; beyond that, their shares are as near to the wanted ones as possible.

    Args:
        units: All units, new or not.
        known: The stored splits, by key.
        shares: The wanted shares.
        already: Faces of each person in each split that belong to none of these units.

    Returns:
        The split of every unit that is not in ``known``.
    """
    return _Stratification(units, known, shares, already or {}).assign()


class _Stratification:
    """The state of one assignment; deterministic, and independent of the order of the units."""

    def __init__(
        self,
        units: Sequence[SplitUnit],
        known: Mapping[str, str],
        shares: Shares,
        already: Mapping[str, Mapping[int, int]],
    ) -> None:
        self._shares = shares
        self._splits = [split for split in shares if split == "train" or shares[split] > 0]
        self._max_held_share = max(MAX_HELD_SHARE, 1.1 * (1.0 - shares.get("train", 0.0)))
        self._counts: dict[str, Counter[int]] = {
            split: Counter(already.get(split, {})) for split in shares
        }
        self._unused: Counter[int] = Counter()
        # How many units each person has: that many splits they can be in.
        self._places: Counter[int] = Counter(
            person for split in shares for person in self._counts[split]
        )
        self._total: Counter[int] = Counter()
        for split in shares:
            self._total.update(self._counts[split])
        self._new: list[SplitUnit] = []
        for unit in sorted(units, key=lambda unit: _hash(unit.key)):
            self._total.update(unit.faces)
            self._total.update(unit.guests)
            self._places.update(unit.faces.keys())
            split = known.get(unit.key, "")
            if split in self._counts:
                self._add(unit, split, 1)
            else:
                self._new.append(unit)
        self._of_person: defaultdict[int, list[SplitUnit]] = defaultdict(list)
        for unit in self._new:
            for person in unit.faces:
                self._of_person[person].append(unit)
        self._chosen: dict[str, str] = {}

    def assign(self) -> dict[str, str]:
        """Return the splits of the new units."""
        for unit in self._new:
            if not unit.faces:
                self._choose(unit, choose_by_hash(unit.key, self._shares))
        for person in sorted(self._of_person, key=lambda one: (self._total[one], one)):
            for unit in sorted(self._of_person[person], key=lambda one: -one.faces[person]):
                if unit.key not in self._chosen:
                    self._choose(unit, self._most_wanted(unit, person))
        for _ in range(_MAX_PASSES):
            if not (self._move_units() or self._move_pairs()):
                break
        return {unit.key: self._chosen[unit.key] for unit in self._new}

    def _most_wanted(self, unit: SplitUnit, person: int) -> str:
        """Return the split that lacks most faces of a person, and of the others in the unit."""

        def lacking(split: str, one: int) -> float:
            return self._shares[split] * self._total[one] - self._counts[split][one]

        return max(
            self._splits,
            key=lambda split: (
                round(lacking(split, person), 6),
                round(sum(lacking(split, one) for one in unit.faces), 6),
            ),
        )

    def _move_units(self) -> bool:
        """Move units while that is an improvement; return whether one was moved."""
        was_moved = False
        for unit in self._new:
            for split in self._splits if unit.faces else ():
                if self._try_moves([(unit, split)]):
                    was_moved = True
        return was_moved

    def _move_pairs(self) -> bool:
        """Move a unit together with another one of the same people, if that is an improvement."""
        was_moved = False
        for person in sorted(self._of_person, key=lambda one: (self._total[one], one)):
            if not self._could_improve(person):
                continue
            for unit in self._of_person[person][:_MAX_PARTNERS]:
                for partner in self._find_partners(unit):
                    was_moved |= self._try_pair(unit, partner)
        return was_moved

    def _could_improve(self, person: int) -> bool:
        """Return whether a person is missing in a split, or a face or more from their shares."""
        total = self._total[person]
        return any(
            abs(self._counts[split][person] - self._shares[split] * total) >= 1
            or not self._counts[split][person]
            for split in self._splits
        )

    def _find_partners(self, unit: SplitUnit) -> list[SplitUnit]:
        found = {
            partner.key: partner
            for person in sorted(unit.faces)
            for partner in self._of_person[person][:_MAX_PARTNERS]
            if partner.key != unit.key
        }
        return list(found.values())[:_MAX_PARTNERS]

    def _try_pair(self, unit: SplitUnit, partner: SplitUnit) -> bool:
        return any(
            self._try_moves([(unit, split), (partner, other)])
            for split in self._splits
            if split != self._chosen[unit.key]
            for other in self._splits
            if other != self._chosen[partner.key]
        )

    def _try_moves(self, moves: Sequence[tuple[SplitUnit, str]]) -> bool:
        """Move units if that is an improvement; return whether they were moved."""
        before = [(unit, self._chosen[unit.key]) for unit, _ in moves]
        if [split for _, split in before] == [split for _, split in moves]:
            return False
        people = {person for unit, _ in moves for person in (*unit.faces, *unit.guests)}
        old = self._sum_costs(people)
        for unit, split in moves:
            self._choose(unit, split)
        new = self._sum_costs(people)
        if _is_less(new, old):
            return True
        for unit, split in before:
            self._choose(unit, split)
        return False

    def _choose(self, unit: SplitUnit, split: str) -> None:
        earlier = self._chosen.get(unit.key)
        if earlier is not None:
            self._add(unit, earlier, -1)
        self._chosen[unit.key] = split
        self._add(unit, split, 1)

    def _add(self, unit: SplitUnit, split: str, sign: int) -> None:
        counts = self._counts[split]
        for person, faces in unit.faces.items():
            counts[person] += sign * faces
        used = counts if split == "train" else self._unused
        for person, faces in unit.guests.items():
            used[person] += sign * faces

    def _sum_costs(self, people: Iterable[int]) -> _Cost:
        without, lacking, missing, deviation = zip(*map(self._cost_of, people), strict=True)
        return sum(without), round(sum(lacking), 6), sum(missing), sum(deviation)

    def _cost_of(self, person: int) -> _Cost:
        total, unused = self._total[person], self._unused[person]
        faces = [self._counts[split][person] for split in self._splits]
        held = total - faces[0] if self._splits[0] == "train" else 0
        lacking = max(0.0, unused - MAX_UNUSED_SHARE * total)
        if total >= LARGE_CLASS:
            lacking += max(0.0, held - self._max_held_share * total)
        deviations = [
            count / total - self._shares[split]
            for split, count in zip(self._splits, faces, strict=True)
        ]
        return (
            int(held == total),
            lacking,
            faces[: self._places[person]].count(0),
            sum(deviation**2 for deviation in (*deviations, unused / total)),
        )


def _is_less(cost: _Cost, than: _Cost) -> bool:
    """Return whether a cost is less by more than an error of rounding."""
    return cost[:3] < than[:3] or (cost[:3] == than[:3] and cost[3] < than[3] - 1e-9)


def choose_by_hash(key: str, shares: Shares) -> str:
    """Return a split at random, but the same for a key everywhere."""
    place = hash_to_fraction(key)
    for split, share in reversed(list(shares.items())):
        if place < share:
            return split
        place -= share
    return next(iter(shares))


def hash_to_fraction(key: str) -> float:
    """Return a pseudo-random number from 0 to 1 that depends only on the key."""
    return int.from_bytes(_hash(key)[:7]) / (1 << 56)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


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
