"""Merge part of the store again, and no more of it than a change can affect.

Two dendrograms that were made independently are what one run over both would have made if and
only if no node of one was ever nearer to a node of the other than both were to what they merged
with: the first merge across would be of two nodes that both still exist at that distance. So once
the reopened groups are merged, their new nodes are compared with the kept trees. A kept tree with
a conflict is reopened too, and so on until none has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.average_linkage import Dendrogram, agglomerate, widen_limit
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics, MergingStatistics
from portraitd.clustering.neighbours import find_neighbours

Hashes = NDArray[np.uint64]

CHUNK_NODES = 1024
# Distances are summed in another order than when the trees were made.
SLACK = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class DendrogramNodes:
    """Every group that existed at some point of the merging.

    Attributes:
        means: Shape ``(k, d)``, float64.
        variances: Shape ``(k,)``.
        end_heights: Shape ``(k,)``; squared distance at which the node was merged into another,
            the limit for those that were not.
        roots: Shape ``(k,)``; the group in which it ended.
        hashes: Shape ``(k,)``; sum of the hashes of the groups it consists of, which identifies
            the same node in another tree.
    """

    means: Floats
    variances: Floats
    end_heights: Floats
    roots: Indices
    hashes: Hashes

    def __getitem__(self, which: Indices | NDArray[np.bool_]) -> DendrogramNodes:
        """Return some of the nodes."""
        return DendrogramNodes(
            self.means[which],
            self.variances[which],
            self.end_heights[which],
            self.roots[which],
            self.hashes[which],
        )


@dataclass(frozen=True, slots=True, eq=False)
class KnownNodes:
    """Nodes that are known not to conflict with the kept trees, and how long each existed.

    Attributes:
        hashes: Shape ``(k,)``, ascending.
        end_heights: Shape ``(k,)``.
    """

    hashes: Hashes
    end_heights: Floats

    @classmethod
    def empty(cls) -> Self:
        """Return no nodes."""
        return cls(np.empty(0, np.uint64), np.empty(0))

    def add(self, nodes: DendrogramNodes) -> KnownNodes:
        """Return these nodes and more."""
        hashes = np.concatenate([self.hashes, nodes.hashes])
        end_heights = np.concatenate([self.end_heights, nodes.end_heights])
        order = np.lexsort((-end_heights, hashes))
        hashes, first = np.unique(hashes[order], return_index=True)
        return KnownNodes(hashes, end_heights[order[first]])

    def find_unknown(self, nodes: DendrogramNodes) -> NDArray[np.bool_]:
        """Return which nodes are new, or existed longer than those known."""
        unknown = np.ones(len(nodes.hashes), dtype=np.bool_)
        at = np.searchsorted(self.hashes, nodes.hashes)
        found = np.flatnonzero(at < len(self.hashes))
        found = found[self.hashes[at[found]] == nodes.hashes[found]]
        unknown[found] = nodes.end_heights[found] > self.end_heights[at[found]] * (1 + SLACK)
        return unknown


def hash_names(names: Indices, salt: int = 0) -> Hashes:
    """Return a pseudo-random number for each name.

    The mixing function of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
    Generators", 2014).

    Args:
        names: Shape ``(g,)``.
        salt: 0 or 1; gives the same names other numbers.

    Returns:
        Shape ``(g,)``.
    """
    # The mixing maps 0 to 0, and a hash of 0 would be lost in a sum.
    mixed = names.astype(np.uint64) * np.uint64(2) + np.uint64(salt + 1)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def replay_merges(
    groups: GroupStatistics, tree: Dendrogram, hashes: Hashes, limit: float
) -> DendrogramNodes:
    """List all nodes of a dendrogram, from the groups at the start to the roots.

    Args:
        groups: As given to ``agglomerate``.
        tree: What it returned, or whole trees of it.
        hashes: Shape ``(g,)``; from ``hash_names``.
        limit: As given to ``agglomerate``.
    """
    state, hashes, roots = MergingStatistics.of(groups), hashes.copy(), tree.roots
    merged = np.flatnonzero(tree.into != np.arange(len(groups)))
    # What merges into a group has a higher number, so among equal heights the higher is first.
    merged = merged[np.lexsort((-merged, tree.heights[merged], roots[merged]))]
    starts = np.flatnonzero(np.diff(roots[merged], prepend=-1))
    ranks = np.arange(len(merged)) - starts.repeat(np.diff(starts, append=len(merged)))
    steps = np.split(merged[np.argsort(ranks, kind="stable")], np.cumsum(np.bincount(ranks))[:-1])
    found = []
    for step in steps:
        both = np.concatenate([tree.into[step], step])
        heights = np.tile(tree.heights[step], 2)
        found.append(
            DendrogramNodes(
                state.means[both], state.variances[both], heights, roots[both], hashes[both]
            )
        )
        state.merge(tree.into[step], step)
        hashes[tree.into[step]] += hashes[step]
    last = np.unique(roots)
    heights = np.full(len(last), limit)
    found.append(
        DendrogramNodes(state.means[last], state.variances[last], heights, last, hashes[last])
    )
    return DendrogramNodes(
        np.concatenate([nodes.means for nodes in found]),
        np.concatenate([nodes.variances for nodes in found]),
        np.concatenate([nodes.end_heights for nodes in found]),
        np.concatenate([nodes.roots for nodes in found]),
        np.concatenate([nodes.hashes for nodes in found]),
    )


@dataclass(slots=True, eq=False)
class IncrementalLinkage:
    """Groups with a dendrogram, part of which has to be made again.

    Attributes:
        statistics: Of all groups.
        owners: Shape ``(g,)``; as for ``agglomerate``.
        hashes: Shape ``(g,)``; a group that changed has another hash.
        tree: Of the kept groups. In it the reopened ones are alone.
        reopened: Shape ``(g,)``; the groups to merge.
        limit: As for ``agglomerate``.
    """

    statistics: GroupStatistics
    owners: Indices
    hashes: Hashes
    tree: Dendrogram
    reopened: NDArray[np.bool_]
    limit: float

    def merge_reopened(self, cannot_link: Indices, known: KnownNodes) -> None:
        """Merge the reopened groups; reopen kept trees until none has a conflict.

        Args:
            cannot_link: Shape ``(m, 2)``; as for ``agglomerate``.
            known: Nodes that existed beside the kept trees when those were made.
        """
        roots = self.tree.roots
        more = self.reopened.any()
        while more:
            reopened = np.flatnonzero(self.reopened)
            self._merge(reopened, cannot_link)
            nodes = self._list_nodes(reopened)
            new = nodes[known.find_unknown(nodes)]
            nearby = np.isin(roots, roots[self._find_kept_near(new)]) & ~self.reopened
            kept = self._list_nodes(np.flatnonzero(nearby))
            in_conflict = np.isin(kept.roots, _find_conflicts(kept, new, self.limit))
            known = known.add(nodes).add(kept[in_conflict])
            self.reopened |= np.isin(roots, kept.roots[in_conflict])
            more = in_conflict.any()

    def _merge(self, reopened: Indices, cannot_link: Indices) -> None:
        inside = self.reopened[cannot_link].all(axis=1)
        tree = agglomerate(
            self.statistics[reopened],
            np.searchsorted(reopened, cannot_link[inside]),
            self.owners[reopened],
            self.limit,
        )
        self.tree.into[reopened] = reopened[tree.into]
        self.tree.heights[reopened] = tree.heights

    def _list_nodes(self, which: Indices) -> DendrogramNodes:
        """List the nodes of whole trees; their roots are positions among all groups."""
        part = self.tree.select(which)
        nodes = replay_merges(self.statistics[which], part, self.hashes[which], self.limit)
        return DendrogramNodes(
            nodes.means, nodes.variances, nodes.end_heights, which[nodes.roots], nodes.hashes
        )

    def _find_kept_near(self, nodes: DendrogramNodes) -> Indices:
        """Return the kept groups within the limit of a node, each once.

        A node of a kept tree is never nearer to anything than the nearest of its groups.
        """
        kept = np.flatnonzero(~self.reopened)
        is_near = np.zeros(len(kept), dtype=np.bool_)
        others = self.statistics[kept]
        for start in range(0, len(nodes.end_heights), CHUNK_NODES):
            some = slice(start, start + CHUNK_NODES)
            pairs = find_neighbours(
                nodes.means[some].astype(np.float32),
                others.means,
                widen_limit(self.limit),
                nodes.variances[some],
                others.variances,
            )
            for _, found in pairs:
                is_near[found] = True
        return kept[is_near]


def _find_conflicts(kept: DendrogramNodes, new: DendrogramNodes, limit: float) -> Indices:
    """Return the roots of kept trees that would have merged differently beside the new nodes.

    Equal distances count as nearer, which may name a tree too many.
    """
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(new.end_heights), CHUNK_NODES):
        some = new[np.arange(start, min(start + CHUNK_NODES, len(new.end_heights)))]
        pairs = find_neighbours(
            some.means.astype(np.float32),
            kept.means.astype(np.float32),
            widen_limit(limit),
            some.variances,
            kept.variances,
        )
        for i, j in pairs:
            gaps = some.means[i] - kept.means[j]
            squared = np.einsum("ij,ij->i", gaps, gaps) + some.variances[i] + kept.variances[j]
            end_heights = np.minimum(some.end_heights[i], kept.end_heights[j])
            found.append(kept.roots[j[squared <= end_heights * (1 + SLACK)]])
    return np.unique(np.concatenate(found))
