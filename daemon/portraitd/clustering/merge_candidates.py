"""Groups that lie so close that somebody should say whether they are one person.

Some faces lie closer together than the limit, children's and those of people the network saw
few of, and some people change more than it allows. Where a distance falls near the limit, a
grouping decides for two folders, and this says which two to show side by side.
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
        groups: Shape ``(k, 2)``; names as in ``Assembly.groups``, lower first.
        distances: Shape ``(k,)``; root of the mean squared distance between their faces.
        tracks: Shape ``(k, 2)``; how many tracks each group rests on.
    """

    groups: Indices
    distances: Floats
    tracks: Indices


def find_merge_candidates(
    assembly: Agglomeration, tracks: TrackTable, reach: float, *, everywhere: bool = False
) -> MergeCandidates:
    """Find for each group the nearest other one that is not known to be somebody else.

    Args:
        assembly: As of this grouping.
        tracks: The same that the assembly was made of.
        reach: Largest distance; somewhat above ``AgglomerationRule.max_distance``.
        everywhere: Look around all groups, not only those that were rebuilt in this grouping.
    """
    groups = assembly.groups
    names, first = np.unique(groups, return_index=True)
    names, first = names[names >= 0], first[names >= 0]
    which = np.flatnonzero(assembly.rebuilt[first] | everywhere)
    owners = np.zeros(len(names), dtype=np.int64)
    inside = np.flatnonzero(groups >= 0)
    position = np.searchsorted(names, groups[inside])
    np.maximum.at(owners, position, assembly.claims.pinned[inside])

    statistics = assembly.statistics
    pairs = _within(statistics, which, reach**2)
    beside = np.sort(groups[tracks.cannot_link], axis=1)
    size = len(groups) + 1
    barred = np.unique(beside[:, 0] * size + beside[:, 1])
    keys = names[pairs.min(axis=1)] * size + names[pairs.max(axis=1)]
    left, right = owners[pairs].T
    allowed = ~np.isin(keys, barred) & ((left == right) | (left == 0) | (right == 0))
    pairs = pairs[allowed & (pairs[:, 0] != pairs[:, 1])]

    distances = np.sqrt(MergingStatistics.of(statistics).distances(pairs))
    ends = np.concatenate([pairs[:, 0], pairs[:, 1]])
    others = np.concatenate([pairs[:, 1], pairs[:, 0]])
    order = np.lexsort((others, np.tile(distances, 2), ends))
    _, nearest = np.unique(ends[order], return_index=True)
    asked = np.isin(ends[order[nearest]], which)
    found = order[nearest[asked]] % max(len(pairs), 1)
    chosen, once = np.unique(np.sort(pairs[found], axis=1), axis=0, return_index=True)
    ranked = np.argsort(distances[found[once]], kind="stable")
    return MergeCandidates(
        groups=names[chosen][ranked],
        distances=distances[found[once]][ranked],
        tracks=statistics.counts[chosen][ranked],
    )


def _within(groups: GroupStatistics, which: Indices, limit: float) -> Indices:
    """Shape ``(k, 2)``: the picked groups and all within the limit, by position, lower first.

    Each pair once, also where both groups were picked.
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
            # Of two that were picked, the lower finds the higher.
            found.append(pairs[(pairs[:, 0] == which[one + start]) | ~picked[pairs[:, 0]]])
    return np.concatenate(found)
