"""Find for people of few tracks a larger person whom they may be, so that a user is asked.

Some of a person's pictures differ so much from the others that a grouping makes another person of
them. The mean squared distance between the faces of both is then large, but that between the
centres says more, because a few faces are compared with the centre of many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.assignment import scale_means
from portraitd.clustering.group_statistics import Floats
from portraitd.clustering.merge_candidates import MergeCandidates
from portraitd.model.grouping_rules import NearMissRule
from portraitd.model.suggestion import ASKED_PAIR_PROBABILITY

MAX_TRACKS = 5
"""People of more tracks are not looked at."""

MAX_GROUPS = 2000
"""So many people of few tracks, the best ones, are compared with all."""


def find_small_people(
    agglomeration: Agglomeration,
    tracks: TrackTable,
    rule: NearMissRule,
    best_quality: Floats,
    kept: NDArray[np.bool_],
) -> MergeCandidates:
    """Find the nearest larger person of each of the people of few tracks.

    Args:
        agglomeration: Of this grouping.
        tracks: The tracks that the agglomeration was made of.
        rule: How likely a track shows the nearest person.
        best_quality: Shape ``(n,)``; from ``find_best_quality``.
        kept: Shape ``(n,)``; whether a user named, locked or ignored the person the row has: they
            are not looked at.
    """
    groups, names = agglomeration.groups, agglomeration.names
    is_person = best_quality[names] >= 0
    names, statistics = names[is_person], agglomeration.statistics[is_person]
    counts, quality = statistics.counts, best_quality[names]
    known = np.unique(groups[(groups >= 0) & (kept | (tracks.pinned > 0))])
    small = np.flatnonzero((counts <= MAX_TRACKS) & ~np.isin(names, known))
    small = np.sort(small[np.argsort(-quality[small], kind="stable")[:MAX_GROUPS]])
    if len(names) < 3 or not len(small):
        none = np.empty(0, dtype=np.int64)
        return MergeCandidates(none.reshape(0, 2), np.empty(0), np.empty(0))
    centres = scale_means(statistics.means, statistics.variances).astype(np.float64)
    own = np.einsum("ij,ij->i", centres, centres)
    squares = own - 2 * centres[small] @ centres.T + own[small, None]
    # The smaller one of two, and the second one of two equal ones, may be the other.
    order = np.lexsort((names, -counts))
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    squares[rank[None, :] >= rank[small, None]] = np.inf
    separate = np.sort(groups[tracks.cannot_link], axis=1)
    both = np.concatenate([separate, separate[:, ::-1]])
    at = np.flatnonzero(np.isin(both, names).all(axis=1))
    one, other = np.searchsorted(names, both[at]).T
    is_small = np.isin(one, small)
    squares[np.searchsorted(small, one[is_small]), other[is_small]] = np.inf
    nearest = np.argmin(squares, axis=1)
    distances = np.sqrt(np.maximum(squares.min(axis=1), 0))
    squares[np.arange(len(small)), nearest] = np.inf
    following = np.sqrt(np.maximum(squares.min(axis=1), 0))
    found = np.flatnonzero(np.isfinite(distances))
    gaps = np.where(np.isfinite(following[found]), following[found] - distances[found], 0.0)
    probabilities = rule.estimate_probability(
        distances[found], gaps, quality[small[found]], counts[nearest[found]]
    )
    asked = np.flatnonzero(probabilities >= ASKED_PAIR_PROBABILITY)
    asked = asked[np.lexsort((distances[found[asked]], -probabilities[asked]))]
    pairs = np.stack([small[found[asked]], nearest[found[asked]]], axis=1)
    return MergeCandidates(
        np.sort(names[pairs], axis=1), distances[found[asked]], probabilities[asked]
    )
