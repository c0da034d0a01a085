"""What people said, spread over the rows of a grouping: constraints, and never a patch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.grouping_jobs import GroupingConstraints
from portraitd.model.edit import Hidden
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.corrections.replay import NO_PERSON, Corrections, ResolvedCorrection

Indices = NDArray[np.int64]


class LedgerConstraints(NamedTuple):
    """What the ledger comes to at the time of a grouping.

    Attributes:
        ledger_id: The newest row that was read.
        told: By row of the grouping.
    """

    ledger_id: int
    told: GroupingConstraints

    @classmethod
    def nothing(cls, size: int = 0) -> Self:
        """Before anybody said anything."""
        return cls(0, _nothing_told(size))


def read_track_constraints(ledger: Ledger, size: int) -> LedgerConstraints:
    """By row of the matrix: a track's id less one.

    Args:
        ledger: What people did.
        size: How many rows there are.
    """
    held = ledger.corrections()

    def row_of(face_id: int) -> int:
        track_id = held.track_of[face_id]
        return -1 if track_id is None else track_id - 1

    fates = {track_id - 1: fate for track_id, fate in held.by_track().items()}
    return LedgerConstraints(ledger.last_id(), _spread(held, fates, row_of, size))


def read_face_constraints(ledger: Ledger, face_ids: Indices, tracks: Indices) -> LedgerConstraints:
    """By position among some faces.

    Args:
        ledger: What people did.
        face_ids: Shape ``(n,)``, rising.
        tracks: Shape ``(n,)``; the track of each, 0 while it has none.
    """
    held = ledger.corrections()
    rows = {face_id: row for row, face_id in enumerate(face_ids.tolist())}
    fates = {rows[face_id]: fate for face_id, fate in held.by_face.items() if face_id in rows}
    by_track = held.by_track()
    for row in np.flatnonzero(np.isin(tracks, list(by_track))).tolist():
        fate = by_track[int(tracks[row])]
        if fate.whole_track:
            fates.setdefault(row, fate)
    return LedgerConstraints(
        ledger.last_id(), _spread(held, fates, lambda face: rows.get(face, -1), len(face_ids))
    )


def _spread(
    held: Corrections, fates: dict[int, ResolvedCorrection], row_of: Callable[[int], int], size: int
) -> GroupingConstraints:
    told = _nothing_told(size)
    for row, fate in fates.items():
        # A track of nobody known takes no part: who is near it may still be anybody.
        told.gone[row] = fate.hidden is Hidden.EXCLUDED or fate.person_id == NO_PERSON
        if told.gone[row]:
            told.aside[row] = fate.hidden is not Hidden.EXCLUDED
        elif fate.person_id is not None:
            told.pinned[row] = fate.person_id
    seeds = set()
    for face_id, person in held.exemplars.items():
        row = row_of(face_id)
        if row >= 0 and row not in fates:
            told.pinned[row] = person
            seeds.add(row)
    pairs = {
        (min(pair), max(pair))
        for face_id, others in held.cannot_link.items()
        for other in _all(others.values())
        if (pair := (row_of(face_id), row_of(other)))[0] != pair[1] and min(pair) >= 0
    }
    return told._replace(
        seeds=np.array(sorted(seeds), np.int64),
        against=np.array(sorted(pairs), np.int64).reshape(-1, 2),
    )


def _all(sets: Iterable[set[int]]) -> Iterable[int]:
    return (one for some in sets for one in some)


def _nothing_told(size: int) -> GroupingConstraints:
    return GroupingConstraints(
        np.zeros(size, np.int64),
        np.empty(0, np.int64),
        np.empty((0, 2), np.int64),
        np.zeros(size, np.bool_),
        np.zeros(size, np.bool_),
    )
