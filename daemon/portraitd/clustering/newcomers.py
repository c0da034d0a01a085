"""Find tracks without a person that probably show one new person, so that a user is asked.

Tracks below a certain quality found no person, because faces of that quality are near to many
people. Where they are within the distance at which good tracks are certainly one person, it is
likely, and a user can see it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.graph_components import Indices, connected_components
from portraitd.clustering.group_statistics import Floats
from portraitd.clustering.neighbours import find_neighbours
from portraitd.model.grouping_rules import GroupingRule

MAX_ROWS = 4000
"""This many tracks, the best ones, are compared with each other."""

NO_NEWCOMER = -1


def find_newcomers(
    people: Indices,
    left_out: NDArray[np.bool_],
    tracks: TrackTable,
    quality: Floats,
    rule: GroupingRule,
) -> Indices:
    """Find groups of tracks that are no person's, and that probably show one.

    Args:
        people: Shape ``(n,)``; the person of each row, -1 for none.
        left_out: Shape ``(n,)``; rows that are not asked about.
        tracks: All rows.
        quality: Shape ``(n,)``; as in ``TrackSummaries``.
        rule: Of this grouping. Tracks below ``min_quality`` say nothing.

    Returns:
        Shape ``(n,)``; the lowest row of the group of each row, -1 for none.
    """
    found = np.full(len(people), NO_NEWCOMER, dtype=np.int64)
    rows = np.flatnonzero((people < 0) & ~left_out & (quality >= rule.min_quality))
    rows = np.sort(rows[np.argsort(-quality[rows], kind="stable")[:MAX_ROWS]])
    vectors = np.asarray(tracks.vectors[rows])
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for query, other in find_neighbours(vectors, vectors, rule.dbscan.eps**2):
        pairs.append(np.stack([query, other], axis=1)[query < other])
    groups = connected_components(np.concatenate(pairs), len(rows))
    found[rows] = rows[groups]
    sizes = np.bincount(found[rows], minlength=len(people))
    separate = found[tracks.cannot_link]
    # Who was seen beside each other is not one person, so the group says nothing.
    split = separate[(separate[:, 0] == separate[:, 1]) & (separate[:, 0] >= 0), 0]
    found[(found >= 0) & ((sizes[found] < 2) | np.isin(found, split))] = NO_NEWCOMER
    return found
