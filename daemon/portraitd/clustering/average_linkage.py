"""Average linkage on squared distances, over sparse pairs, with pairs that must not merge.

The distance between two groups is the mean squared distance between their faces. The nearest
two that may merge are merged, up to a limit. This linkage is reducible: a merged group is
never nearer to a third than the nearer of its parts was. Two things follow (Murtagh, "A
Survey of Recent Advances in Hierarchical Clustering Algorithms", 1983):

- two groups that are each other's nearest can be merged at once, whatever happens elsewhere,
  so all such pairs are merged in one round of array operations;
- groups can only ever merge along pairs that are within the limit at the start, so those
  pairs are all that is needed of the distance matrix.

Forbidding pairs changes neither, as a forbidden distance is an infinite one.
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
# Shares of the limit at which the pairs are looked up anew.
STEPS = (0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0)
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Dendrogram:
    """How groups were merged: each into one of a lower number, once.

    Attributes:
        into: Shape ``(g,)``; the group it was merged into, itself for one that stayed.
        heights: Shape ``(g,)``; squared distance at which that happened, infinite if never.
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

    def part(self, which: Indices) -> Dendrogram:
        """The trees of some groups, renumbered; all groups of a tree or none of them.

        Args:
            which: Ascending.
        """
        return Dendrogram(np.searchsorted(which, self.into[which]), self.heights[which])


def agglomerate(
    groups: GroupStatistics, cannot_link: Indices, owners: Indices, limit: float
) -> Dendrogram:
    """Merge the nearest groups first, up to a limit.

    Merges below a lower limit need only the pairs within that one. So a large number of
    groups is merged step by step: as the limit rises there are more pairs to a group, but
    ever fewer groups.

    Args:
        groups: Where to begin.
        apart: Shape ``(m, 2)``; pairs of groups that must not end in one.
        owners: Shape ``(g,)``; groups with two different owners must not end in one either.
            0 for nobody.
        limit: Largest squared distance.
    """
    draft = _Draft(groups, cannot_link, owners)
    for step in STEPS if len(groups) > STEPWISE_GROUPS else STEPS[-1:]:
        active = np.flatnonzero(draft.tree.into == np.arange(len(groups)))
        edges = active[_pairs_within(draft.state.frozen(active), step * limit)]
        draft.merge(edges, step * limit)
    return draft.tree


def widen_limit(limit: float) -> float:
    """A limit for means that were rounded to float32, so that nothing within is missed."""
    return limit * (1 + ROUNDING) + ROUNDING


class _Draft:
    """Groups on their way."""

    def __init__(self, groups: GroupStatistics, cannot_link: Indices, owners: Indices) -> None:
        size = len(groups)
        self.state = MergingStatistics.of(groups)
        self.tree = Dendrogram(np.arange(size), np.full(size, np.inf))
        self._size = size
        self._owners = owners.copy()
        self._risen = np.zeros(size)
        self._forbidden = _keys(cannot_link, size)

    def merge(self, edges: Indices, limit: float) -> None:
        """Merge whatever is within the limit; all pairs that are must be among the edges."""
        edges, distances = self._allowed(edges, limit)
        while len(edges):
            chosen = _mutually_nearest(edges, distances, self._size)
            left, right = edges[chosen].T
            self._merge(left, right, distances[chosen])
            renamed = np.arange(self._size)
            renamed[right] = left
            self._forbidden = _keys(
                renamed[np.stack(np.divmod(self._forbidden, self._size), axis=1)], self._size
            )
            grown = np.zeros(self._size, dtype=np.bool_)
            grown[left] = True
            moved = renamed[edges]
            changed = grown[moved].any(axis=1)
            more, more_distances = self._allowed(moved[changed], limit)
            edges = np.concatenate([edges[~changed], more])
            distances = np.concatenate([distances[~changed], more_distances])

    def _merge(self, left: Indices, right: Indices, distances: Floats) -> None:
        # Rounding could let a merge come out below the ones inside it.
        heights = np.maximum(distances, np.maximum(self._risen[left], self._risen[right]))
        self.tree.into[right] = left
        self.tree.heights[right] = heights
        self._risen[left] = heights
        self.state.merge(left, right)
        self._owners[left] = np.maximum(self._owners[left], self._owners[right])

    def _allowed(self, pairs: Indices, limit: float) -> tuple[Indices, Floats]:
        """The pairs, each once, that may merge, and their distances."""
        keys = _keys(pairs, self._size)
        keys = keys[~np.isin(keys, self._forbidden)]
        pairs = np.stack(np.divmod(keys, max(self._size, 1)), axis=1)
        left, right = self._owners[pairs].T
        pairs = pairs[(left == right) | (left == 0) | (right == 0)]
        distances = self.state.distances(pairs)
        within = distances <= limit
        return pairs[within], distances[within]


def _pairs_within(groups: GroupStatistics, limit: float) -> Indices:
    """Shape ``(k, 2)``: every two groups within the limit, and some slightly beyond."""
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


def _keys(pairs: Indices, size: int) -> Indices:
    """Each unordered pair once, as one number; without pairs of a group and itself."""
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    return np.unique((low * size + high)[low != high])


def _mutually_nearest(edges: Indices, distances: Floats, size: int) -> NDArray[np.bool_]:
    """Edges that are the nearest of both their ends; among equals the lowest pair."""
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
