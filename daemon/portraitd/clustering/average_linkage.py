"""Average linkage (UPGMA) on squared distances, over sparse pairs, with cannot-links.

UPGMA: Sokal and Michener, "A Statistical Method for Evaluating Systematic Relationships", 1958.
Here the distance between two groups is the mean squared distance between their faces, and the
nearest two groups without a cannot-link are merged, up to a limit. This linkage is reducible: a
merged group is never nearer to a third than the nearer of its parts was. Two things follow
(Murtagh, "A Survey of Recent Advances in Hierarchical Clustering Algorithms", 1983):

- Two groups that are each other's nearest neighbours can be merged at once, whatever happens
  elsewhere, so all such pairs are merged in one round of array operations.
- Groups can only ever merge along pairs that are within the limit at the start, so only those
  pairs of the distance matrix are needed.

Cannot-links change neither, because they amount to infinite distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics, MergingStatistics
from portraitd.clustering.neighbours import find_neighbours

CHUNK_GROUPS = 2048
STEPWISE_GROUPS = 8192
# Fractions of the limit at which the pairs are searched again.
STEPS = (0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0)
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Dendrogram:
    """How groups were merged: each at most once, into one with a lower number.

    Attributes:
        into: Shape ``(g,)``; the group it was merged into, or itself.
        heights: Shape ``(g,)``; squared distance of that merge, infinite if there was none.
    """

    into: Indices
    heights: Floats

    @property
    def roots(self) -> Indices:
        """Shape ``(g,)``: the group in which each one ended."""
        roots = self.into
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
        return roots

    def select(self, which: Indices) -> Dendrogram:
        """Return whole trees, renumbered.

        Args:
            which: Ascending; all groups of each tree.
        """
        return Dendrogram(np.searchsorted(which, self.into[which]), self.heights[which])


def agglomerate(
    groups: GroupStatistics, cannot_link: Indices, owners: Indices, limit: float
) -> Dendrogram:
    """Merge groups, the nearest first, up to a limit.

    Merges below a lower limit need only the pairs within it. So a large number of groups is
    merged in steps: as the limit rises, each group has more pairs, but fewer groups are left.

    Args:
        groups: The groups to merge.
        cannot_link: Shape ``(m, 2)``; pairs of groups that must stay separate.
        owners: Shape ``(g,)``; the person each group is pinned to, 0 for none. Groups of
            different people must stay separate, too.
        limit: Largest squared distance.
    """
    draft = _LinkageDraft(groups, cannot_link, owners)
    for step in STEPS if len(groups) > STEPWISE_GROUPS else STEPS[-1:]:
        active = np.flatnonzero(draft.tree.into == np.arange(len(groups)))
        edges = active[_find_pairs_within(draft.state.freeze(active), step * limit)]
        draft.merge(edges, step * limit)
    return draft.tree


def widen_limit(limit: float) -> float:
    """Return a limit that misses nothing although the means were rounded to float32."""
    return limit * (1 + ROUNDING) + ROUNDING


class _LinkageDraft:
    """Groups while they are merged."""

    def __init__(self, groups: GroupStatistics, cannot_link: Indices, owners: Indices) -> None:
        size = len(groups)
        self.state = MergingStatistics.of(groups)
        self.tree = Dendrogram(np.arange(size), np.full(size, np.inf))
        self._size = size
        self._owners = owners.copy()
        self._heights = np.zeros(size)
        self._forbidden = _encode_pairs(cannot_link, size)

    def merge(self, edges: Indices, limit: float) -> None:
        """Merge all groups within the limit; the edges must hold every pair within it."""
        edges, distances = self._select_allowed(edges, limit)
        while len(edges):
            chosen = _find_mutual_neighbours(edges, distances, self._size)
            left, right = edges[chosen].T
            self._merge(left, right, distances[chosen])
            renamed = np.arange(self._size)
            renamed[right] = left
            self._forbidden = _encode_pairs(
                renamed[np.stack(np.divmod(self._forbidden, self._size), axis=1)], self._size
            )
            grown = np.zeros(self._size, dtype=np.bool_)
            grown[left] = True
            moved = renamed[edges]
            changed = grown[moved].any(axis=1)
            more, more_distances = self._select_allowed(moved[changed], limit)
            edges = np.concatenate([edges[~changed], more])
            distances = np.concatenate([distances[~changed], more_distances])

    def _merge(self, left: Indices, right: Indices, distances: Floats) -> None:
        # Rounding could let a merge come out below the ones inside it.
        heights = np.maximum(distances, np.maximum(self._heights[left], self._heights[right]))
        self.tree.into[right] = left
        self.tree.heights[right] = heights
        self._heights[left] = heights
        self.state.merge(left, right)
        self._owners[left] = np.maximum(self._owners[left], self._owners[right])

    def _select_allowed(self, pairs: Indices, limit: float) -> tuple[Indices, Floats]:
        """Return the pairs that may merge, each once, and their distances."""
        keys = _encode_pairs(pairs, self._size)
        keys = keys[~np.isin(keys, self._forbidden)]
        pairs = np.stack(np.divmod(keys, max(self._size, 1)), axis=1)
        left, right = self._owners[pairs].T
        pairs = pairs[(left == right) | (left == 0) | (right == 0)]
        distances = self.state.distances(pairs)
        within = distances <= limit
        return pairs[within], distances[within]


def _find_pairs_within(groups: GroupStatistics, limit: float) -> Indices:
    """Shape ``(k, 2)``: all pairs of groups within the limit, and some slightly beyond."""
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(groups), CHUNK_GROUPS):
        some, rest = slice(start, start + CHUNK_GROUPS), slice(start, None)
        pairs = find_neighbours(
            groups.means[some],
            groups.means[rest],
            widen_limit(limit),
            groups.variances[some],
            groups.variances[rest],
        )
        found += [np.stack(pair, axis=1) + start for pair in pairs]
    return np.concatenate(found)


def _encode_pairs(pairs: Indices, size: int) -> Indices:
    """Return each unordered pair once, as one number; drop pairs of a group with itself."""
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    return np.unique((low * size + high)[low != high])


def _find_mutual_neighbours(edges: Indices, distances: Floats, size: int) -> NDArray[np.bool_]:
    """Return the edges that are the nearest of both ends; among equals the lowest pair."""
    left, right = edges.T
    nearest = np.full(size, np.inf)
    np.minimum.at(nearest, left, distances)
    np.minimum.at(nearest, right, distances)
    keys = left * size + right
    first = np.full(size, np.iinfo(np.int64).max)
    for end in (left, right):
        best = distances == nearest[end]
        np.minimum.at(first, end[best], keys[best])
    mutual: NDArray[np.bool_] = (first[left] == keys) & (first[right] == keys)
    return mutual
