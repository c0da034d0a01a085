"""Find pairs of people so similar that a user should decide whether they are one person.

The faces of some people are closer together than the limit (children, and people whom the
network saw few in training), and some people change more than it allows. A grouping has to
decide either way near the limit; this finds the pairs to show side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics, MergingStatistics
from portraitd.clustering.neighbours import find_neighbours

CHUNK_GROUPS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class MergeCandidates:
    """Pairs of groups that may be one person, the nearest first.

    Attributes:
        groups: Shape ``(k, 2)``; names as in ``Agglomeration.groups``, lower first.
        distances: Shape ``(k,)``; root of the mean squared distance between their faces.
        tracks: Shape ``(k, 2)``; how many tracks each group has.
    """

    groups: Indices
    distances: Floats
    tracks: Indices


def find_merge_candidates(
    agglomeration: Agglomeration,
    tracks: TrackTable,
    max_distance: float,
    *,
    everywhere: bool = False,
) -> MergeCandidates:
    """Find for each group the nearest other one that no constraint keeps separate.

    Args:
        agglomeration: Of this grouping.
        tracks: The tracks that the agglomeration was made of.
        max_distance: Somewhat above ``AgglomerationRule.max_distance``.
        everywhere: Search around all groups, not only those that were rebuilt in this grouping.
    """
    groups = agglomeration.groups
    names, first = np.unique(groups, return_index=True)
    names, first = names[names >= 0], first[names >= 0]
    which = np.flatnonzero(agglomeration.rebuilt[first] | everywhere)
    owners = np.zeros(len(names), dtype=np.int64)
    inside = np.flatnonzero(groups >= 0)
    position = np.searchsorted(names, groups[inside])
    np.maximum.at(owners, position, agglomeration.seeding.pinned[inside])

    statistics = agglomeration.statistics
    pairs = _find_pairs_around(statistics, which, max_distance**2)
    separate = np.sort(groups[tracks.cannot_link], axis=1)
    size = len(groups) + 1
    barred = np.unique(separate[:, 0] * size + separate[:, 1])
    keys = names[pairs.min(axis=1)] * size + names[pairs.max(axis=1)]
    left, right = owners[pairs].T
    allowed = ~np.isin(keys, barred) & ((left == right) | (left == 0) | (right == 0))
    pairs = pairs[allowed & (pairs[:, 0] != pairs[:, 1])]

    distances = np.sqrt(MergingStatistics.of(statistics).distances(pairs))
    ends = np.concatenate([pairs[:, 0], pairs[:, 1]])
    others = np.concatenate([pairs[:, 1], pairs[:, 0]])
    order = np.lexsort((others, np.tile(distances, 2), ends))
    _, nearest = np.unique(ends[order], return_index=True)
    picked = np.isin(ends[order[nearest]], which)
    found = order[nearest[picked]] % max(len(pairs), 1)
    chosen, once = np.unique(np.sort(pairs[found], axis=1), axis=0, return_index=True)
    ranked = np.argsort(distances[found[once]], kind="stable")
    return MergeCandidates(
        groups=names[chosen][ranked],
        distances=distances[found[once]][ranked],
        tracks=statistics.counts[chosen][ranked],
    )


def _find_pairs_around(groups: GroupStatistics, which: Indices, limit: float) -> Indices:
    """Return pairs of a picked group and any group within the limit, shape ``(k, 2)``.

    Pairs are positions, the lower first. Each appears once, also if both groups were picked.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    picked = np.zeros(len(groups), dtype=np.bool_)
    picked[which] = True
    for start in range(0, len(which), CHUNK_GROUPS):
        some = groups[which[start : start + CHUNK_GROUPS]]
        for one, other in find_neighbours(
            some.means, groups.means, limit, some.variances, groups.variances
        ):
            pairs = np.sort(np.stack([which[one + start], other], axis=1), axis=1)
            # If both were picked, the pair is found from the lower one.
            found.append(pairs[(pairs[:, 0] == which[one + start]) | ~picked[pairs[:, 0]]])
    return np.concatenate(found)
