"""Turn the corrections in the ledger into constraints on the rows of a grouping."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.grouping_jobs import GroupingConstraints
from portraitd.model.edit import Hidden
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.corrections.replay import NO_PERSON, Corrections, ResolvedCorrection

Indices = NDArray[np.int64]


class LedgerConstraints(NamedTuple):
    """The constraints that follow from the ledger at the time of a grouping.

    Attributes:
        ledger_id: The newest entry that was read.
        by_row: The constraints on the rows of the grouping.
    """

    ledger_id: int
    by_row: GroupingConstraints

    @classmethod
    def empty(cls, size: int = 0) -> Self:
        """Return the constraints of an empty ledger on ``size`` rows."""
        return cls(0, GroupingConstraints.empty(size))


def read_track_constraints(ledger: Ledger, size: int) -> LedgerConstraints:
    """Read the constraints on tracks, by row of the track matrix (track id minus one).

    Args:
        ledger: The user edits.
        size: Number of rows.
    """
    corrections = ledger.corrections()

    def row_of(face_id: int) -> int:
        track_id = corrections.track_of[face_id]
        return -1 if track_id is None else track_id - 1

    by_row = {track_id - 1: one for track_id, one in corrections.by_track().items()}
    return LedgerConstraints(ledger.last_id(), _to_constraints(corrections, by_row, row_of, size))


def read_face_constraints(ledger: Ledger, face_ids: Indices, tracks: Indices) -> LedgerConstraints:
    """Read the constraints on faces, by position in ``face_ids``.

    Args:
        ledger: The user edits.
        face_ids: Shape ``(n,)``, ascending.
        tracks: Shape ``(n,)``; the track of each face, 0 if it has none yet.
    """
    corrections = ledger.corrections()
    rows = {face_id: row for row, face_id in enumerate(face_ids.tolist())}
    by_row = {rows[face]: one for face, one in corrections.by_face.items() if face in rows}
    by_track = corrections.by_track()
    for row in np.flatnonzero(np.isin(tracks, list(by_track))).tolist():
        correction = by_track[int(tracks[row])]
        if correction.whole_track:
            by_row.setdefault(row, correction)
    constraints = _to_constraints(
        corrections, by_row, lambda face: rows.get(face, -1), len(face_ids)
    )
    return LedgerConstraints(ledger.last_id(), constraints)


def _to_constraints(
    corrections: Corrections,
    by_row: dict[int, ResolvedCorrection],
    row_of: Callable[[int], int],
    size: int,
) -> GroupingConstraints:
    constraints = GroupingConstraints.empty(size)
    for row, correction in by_row.items():
        is_unsorted = correction.person_id == NO_PERSON
        # Unsorted tracks are left out, too: tracks near them may still be anyone's.
        constraints.excluded[row] = correction.hidden is Hidden.EXCLUDED or is_unsorted
        if constraints.excluded[row]:
            constraints.unsorted[row] = correction.hidden is not Hidden.EXCLUDED
        elif correction.person_id is not None:
            constraints.pinned[row] = correction.person_id
    # The face of a reference picture, or of a named region, represents its person.
    seeds = {
        row
        for row, correction in by_row.items()
        if correction.is_exemplar and constraints.pinned[row] > 0
    }
    for face_id, person in corrections.exemplars.items():
        row = row_of(face_id)
        if row >= 0 and row not in by_row:
            constraints.pinned[row] = person
            seeds.add(row)
    separate = [
        *((face, other) for face, by in corrections.cannot_link.items() for other in by.values()),
        *((face, one.exemplars) for one in corrections.separations for face in one.faces),
    ]
    pairs = {
        (min(pair), max(pair))
        for face_id, others in separate
        for other in others
        if (pair := (row_of(face_id), row_of(other)))[0] != pair[1] and min(pair) >= 0
    }
    return constraints._replace(
        seeds=np.array(sorted(seeds), np.int64),
        cannot_link=np.array(sorted(pairs), np.int64).reshape(-1, 2),
    )
