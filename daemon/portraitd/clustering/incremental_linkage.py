"""Merging part of the store anew, and no more of it than a change can reach.

Two trees that grew apart are what they would have become together if and only if no node of
one was ever nearer to a node of the other than both were to what they merged with: the first
merge across would be of two nodes that both still exist at that distance. So once the loose
groups are merged, those of their nodes that are new are held against the trees that stood
firm. A tree that objects is loosened too, and so on until none does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.average_linkage import Dendrogram, agglomerate, widen_limit
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics, MergingStatistics
from portraitd.clustering.neighbours import find_neighbours

Hashes = NDArray[np.uint64]

CHUNK_NODES = 1024
# Distances are summed in another order than when the trees grew.
SLACK = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class DendrogramNodes:
    """Every group that existed at some time while trees grew.

    Attributes:
        means: Shape ``(k, d)``, float64.
        variances: Shape ``(k,)``.
        ends: Shape ``(k,)``; squared distance at which it became part of another, the limit
            for those that stayed.
        roots: Shape ``(k,)``; the group in which it ended.
        marks: Shape ``(k,)``; sum of the marks of the groups it was made of, so that the same
            node is recognised in another tree.
    """

    means: Floats
    variances: Floats
    ends: Floats
    roots: Indices
    marks: Hashes

    def __getitem__(self, which: Indices | NDArray[np.bool_]) -> DendrogramNodes:
        """Some of the nodes."""
        return DendrogramNodes(
            self.means[which],
            self.variances[which],
            self.ends[which],
            self.roots[which],
            self.marks[which],
        )


@dataclass(frozen=True, slots=True, eq=False)
class KnownNodes:
    """When nodes ended that were found not to disturb the trees that stand firm.

    Attributes:
        marks: Shape ``(k,)``, ascending.
        ends: Shape ``(k,)``.
    """

    marks: Hashes
    ends: Floats

    def and_of(self, nodes: DendrogramNodes) -> KnownNodes:
        """These and more."""
        marks = np.concatenate([self.marks, nodes.marks])
        ends = np.concatenate([self.ends, nodes.ends])
        order = np.lexsort((-ends, marks))
        marks, first = np.unique(marks[order], return_index=True)
        return KnownNodes(marks, ends[order[first]])

    def lacks(self, nodes: DendrogramNodes) -> NDArray[np.bool_]:
        """Which nodes are new, or lasted longer than they did."""
        lacking = np.ones(len(nodes.marks), dtype=np.bool_)
        at = np.searchsorted(self.marks, nodes.marks)
        found = np.flatnonzero(at < len(self.marks))
        found = found[self.marks[at[found]] == nodes.marks[found]]
        lacking[found] = nodes.ends[found] > self.ends[at[found]] * (1 + SLACK)
        return lacking


NO_LIFE = KnownNodes(np.empty(0, np.uint64), np.empty(0))


def hash_names(names: Indices, salt: int = 0) -> Hashes:
    """A number for each name, as good as random (Steele et al., "SplittableRandom", 2014).

    Args:
        names: Shape ``(g,)``.
        salt: 0 or 1; gives the same names other numbers.
    """
    # The mixing leaves 0 as it is, and a mark of 0 would be lost in a sum.
    mixed = names.astype(np.uint64) * np.uint64(2) + np.uint64(salt + 1)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def replay_merges(
    groups: GroupStatistics, tree: Dendrogram, marks: Hashes, limit: float
) -> DendrogramNodes:
    """List the groups that existed on the way, from the ones at the start to those that stayed.

    Args:
        groups: As given to ``agglomerate``.
        tree: What it returned, or whole trees of it.
        marks: Shape ``(g,)``; as ``hash_names`` gives them.
        limit: As given to ``agglomerate``.
    """
    state, marks, roots = MergingStatistics.of(groups), marks.copy(), tree.roots
    merged = np.flatnonzero(tree.into != np.arange(len(groups)))
    # What merges into a group has a higher number, so among equal heights the higher is first.
    merged = merged[np.lexsort((-merged, tree.heights[merged], roots[merged]))]
    starts = np.flatnonzero(np.diff(roots[merged], prepend=-1))
    ranks = np.arange(len(merged)) - starts.repeat(np.diff(starts, append=len(merged)))
    steps = np.split(merged[np.argsort(ranks, kind="stable")], np.cumsum(np.bincount(ranks))[:-1])
    found = []
    for step in steps:
        both = np.concatenate([tree.into[step], step])
        ends = np.tile(tree.heights[step], 2)
        found.append(
            DendrogramNodes(
                state.means[both], state.variances[both], ends, roots[both], marks[both]
            )
        )
        state.merge(tree.into[step], step)
        marks[tree.into[step]] += marks[step]
    stayed = np.unique(roots)
    ends = np.full(len(stayed), limit)
    found.append(
        DendrogramNodes(state.means[stayed], state.variances[stayed], ends, stayed, marks[stayed])
    )
    return DendrogramNodes(
        np.concatenate([nodes.means for nodes in found]),
        np.concatenate([nodes.variances for nodes in found]),
        np.concatenate([nodes.ends for nodes in found]),
        np.concatenate([nodes.roots for nodes in found]),
        np.concatenate([nodes.marks for nodes in found]),
    )


@dataclass(slots=True, eq=False)
class IncrementalLinkage:
    """Groups of which some are loose: in no valid tree yet.

    Attributes:
        statistics: Of all groups.
        owners: Shape ``(g,)``; as for ``agglomerate``.
        marks: Shape ``(g,)``; a group that is not what it was has another mark.
        tree: Of the groups that stand firm. Loose ones stand alone in it.
        loose: Shape ``(g,)``.
        limit: As for ``agglomerate``.
    """

    statistics: GroupStatistics
    owners: Indices
    marks: Hashes
    tree: Dendrogram
    loose: NDArray[np.bool_]
    limit: float

    def grow(self, cannot_link: Indices, known: KnownNodes) -> None:
        """Merge the loose groups, loosening firm trees until none objects.

        Args:
            apart: Shape ``(m, 2)``; as for ``agglomerate``.
            known: Nodes that existed beside the firm trees when those grew.
        """
        roots = self.tree.roots
        more = self.loose.any()
        while more:
            loose = np.flatnonzero(self.loose)
            self._merge(loose, cannot_link)
            nodes = self._nodes(loose)
            unseen = nodes[known.lacks(nodes)]
            asked = np.flatnonzero(np.isin(roots, roots[self._beside(unseen)]) & ~self.loose)
            firm = self._nodes(asked)
            objecting = np.isin(firm.roots, _disturbed(firm, unseen, self.limit))
            known = known.and_of(nodes).and_of(firm[objecting])
            self.loose |= np.isin(roots, firm.roots[objecting])
            more = objecting.any()

    def _merge(self, loose: Indices, cannot_link: Indices) -> None:
        inside = self.loose[cannot_link].all(axis=1)
        tree = agglomerate(
            self.statistics[loose],
            np.searchsorted(loose, cannot_link[inside]),
            self.owners[loose],
            self.limit,
        )
        self.tree.into[loose] = loose[tree.into]
        self.tree.heights[loose] = tree.heights

    def _nodes(self, which: Indices) -> DendrogramNodes:
        """Of whole trees; their roots count all groups."""
        part = self.tree.part(which)
        nodes = replay_merges(self.statistics[which], part, self.marks[which], self.limit)
        return DendrogramNodes(
            nodes.means, nodes.variances, nodes.ends, which[nodes.roots], nodes.marks
        )

    def _beside(self, nodes: DendrogramNodes) -> Indices:
        """Firm groups within the limit of a node, each once.

        A node of a firm tree is no nearer to anything than the nearest of its groups.
        """
        firm = np.flatnonzero(~self.loose)
        near_by = np.zeros(len(firm), dtype=np.bool_)
        others = self.statistics[firm]
        for start in range(0, len(nodes.ends), CHUNK_NODES):
            some = slice(start, start + CHUNK_NODES)
            pairs = find_neighbours(
                nodes.means[some].astype(np.float32),
                others.means,
                widen_limit(self.limit),
                nodes.variances[some],
                others.variances,
            )
            for _, found in pairs:
                near_by[found] = True
        return firm[near_by]


def _disturbed(firm: DendrogramNodes, new: DendrogramNodes, limit: float) -> Indices:
    """Roots of firm trees that would not have grown as they did beside the new nodes.

    Equal distances count as nearer, which may name a tree too many.
    """
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(new.ends), CHUNK_NODES):
        some = new[np.arange(start, min(start + CHUNK_NODES, len(new.ends)))]
        pairs = find_neighbours(
            some.means.astype(np.float32),
            firm.means.astype(np.float32),
            widen_limit(limit),
            some.variances,
            firm.variances,
        )
        for i, j in pairs:
            gaps = some.means[i] - firm.means[j]
            squared = np.einsum("ij,ij->i", gaps, gaps) + some.variances[i] + firm.variances[j]
            nearer = squared <= np.minimum(some.ends[i], firm.ends[j]) * (1 + SLACK)
            found.append(firm.roots[j[nearer]])
    return np.unique(np.concatenate(found))
