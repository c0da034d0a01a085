"""Find for tracks without a person the one whom each may show, so that a user is asked.

Most faces without a person show a person who has a folder, but in profile, blurred, or much older.
Their distance is just above what the grouping accepts. How likely the nearest person is the right
one is calculated from the distance, from how much farther the next one is, and from how good the
face is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.assignment import scale_means
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats
from portraitd.clustering.neighbours import BLOCK_CELLS
from portraitd.model.grouping_rules import NearMissRule
from portraitd.model.suggestion import ASKED_PROBABILITY

MAX_ROWS = 4000
"""This many tracks, the best ones, are compared with all people."""


@dataclass(frozen=True, slots=True, eq=False)
class NearMisses:
    """Tracks without a person, and whom each may show; the most likely first.

    Attributes:
        rows: Shape ``(k,)``; the tracks.
        people: Shape ``(k,)``; the person beside each, named as the rows of a grouping are.
        probabilities: Shape ``(k,)``; that the track shows that person.
    """

    rows: Indices
    people: Indices
    probabilities: Floats

    @classmethod
    def empty(cls) -> Self:
        """Return none."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, none, np.empty(0))


NO_NEAR_MISSES = NearMisses.empty()


def find_near_misses(
    people: Indices,
    left_out: NDArray[np.bool_],
    agglomeration: Agglomeration,
    tracks: TrackTable,
    quality: Floats,
    rule: NearMissRule,
) -> NearMisses:
    """Find the nearest person of each track that has none.

    Args:
        people: Shape ``(n,)``; the person of each row, -1 for none.
        left_out: Shape ``(n,)``; rows that are not asked about, and that represent no person.
        agglomeration: Of this grouping.
        tracks: The tracks that the agglomeration was made of.
        quality: Shape ``(n,)``; as in ``TrackSummaries``.
        rule: How likely a track shows the nearest person.
    """
    names = agglomeration.names
    person_of_group = people[names]
    is_known = (person_of_group >= 0) & ~left_out[names]
    rows = np.flatnonzero((people < 0) & ~left_out)
    rows = np.sort(rows[np.argsort(-quality[rows], kind="stable")[:MAX_ROWS]])
    if not is_known.any() or not len(rows):
        return NearMisses.empty()
    statistics, person_of_group = agglomeration.statistics[is_known], person_of_group[is_known]
    barred = _find_barred(rows, people, tracks.cannot_link)
    nearest = np.empty(len(rows), dtype=np.int64)
    squares = np.empty((len(rows), 2))
    centres = scale_means(statistics.means, statistics.variances)
    own = np.einsum("ij,ij->i", centres, centres)
    step = max(1, BLOCK_CELLS // len(own))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        some = rows[part]
        vectors = scale_means(np.asarray(tracks.vectors[some]), tracks.variances[some])
        block = (-2 * vectors @ centres.T).astype(np.float64) + own
        block += np.einsum("ij,ij->i", vectors, vectors)[:, None]
        for at, person in barred:
            if start <= at < start + len(some):
                block[at - start, person_of_group == person] = np.inf
        nearest[part] = np.argmin(block, axis=1)
        squares[part, 0] = block.min(axis=1)
        block[person_of_group[nearest[part]][:, None] == person_of_group] = np.inf
        squares[part, 1] = block.min(axis=1)
    distances, following = np.sqrt(np.maximum(squares, 0)).T
    found = np.flatnonzero(np.isfinite(distances))
    nearest, distances, rows = nearest[found], distances[found], rows[found]
    # Where there is no other person, nothing is known of strangers.
    gaps = np.where(np.isfinite(following[found]), following[found] - distances, 0.0)
    chosen = person_of_group[nearest]
    probabilities = rule.estimate_probability(
        distances, gaps, quality[rows], statistics.counts[nearest]
    )
    order = np.lexsort((rows, -probabilities))
    order = order[probabilities[order] >= ASKED_PROBABILITY]
    return NearMisses(rows[order], chosen[order], probabilities[order])


def _find_barred(rows: Indices, people: Indices, cannot_link: Indices) -> list[tuple[int, int]]:
    """Return the positions in ``rows`` with a cannot-link to a person, and that person."""
    both = np.concatenate([cannot_link, cannot_link[:, ::-1]])
    both = both[np.isin(both[:, 0], rows) & (people[both[:, 1]] >= 0)]
    pairs = np.stack([np.searchsorted(rows, both[:, 0]), people[both[:, 1]]], axis=1)
    return [(int(at), int(person)) for at, person in np.unique(pairs, axis=0)]
