"""What may stay as it was when clumps changed, and what has to be merged anew.

A group is taken apart when any of its clumps changed. The exception is a bulky one: a person
of very many clumps is kept as one piece while little about it changes, because each grouping
brings somebody like that a few more tracks. It counts as settled until a tenth of its tracks
came or went, one of its clumps moved, or tracks in it turned out to be different people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.average_linkage import Dendrogram
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import GroupStatistics

Flags = NDArray[np.bool_]

# Height of a clump that is part of a piece: how the piece grew is forgotten.
COLLAPSED = -1.0
SETTLED_SHARE = 0.1
# About a tenth of the distance between two photographs of one person.
SETTLED_DISTANCE = 0.04


@dataclass(frozen=True, slots=True, eq=False)
class LinkageState:
    """All clumps and how they were merged to groups.

    Attributes:
        names: Shape ``(g,)``; the clumps, ascending.
        statistics: Of the clumps.
        tree: Its groups count the clumps.
        settled: Shape ``(g,)``; tracks in the clump's group when it was last put together.
    """

    names: Indices
    statistics: GroupStatistics
    tree: Dendrogram
    settled: Indices

    @classmethod
    def empty(cls, width: int) -> Self:
        """No clumps of ``width`` dimensions."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, GroupStatistics.empty(width), Dendrogram(none, np.empty(0)), none)

    def with_clumps(self, kept: Flags, names: Indices, statistics: GroupStatistics) -> LinkageState:
        """Some of these clumps and new ones, each alone.

        Args:
            kept: Shape ``(g,)``; which of these.
            names: Shape ``(k,)``; the new ones, ascending.
            statistics: Of the new ones.
        """
        every = np.concatenate([self.names[kept], names])
        order = np.argsort(every)
        every_statistics = self.statistics[kept].followed_by(statistics)[order]
        alone = Dendrogram(np.arange(len(every)), np.full(len(every), np.inf))
        return LinkageState(every[order], every_statistics, alone, every_statistics.counts)

    def __getitem__(self, which: Indices) -> LinkageState:
        """Whole trees of it, by the positions of their clumps, ascending."""
        return LinkageState(
            self.names[which], self.statistics[which], self.tree.part(which), self.settled[which]
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReusePlan:
    """What the clumps of now are before they are merged; all by clump.

    Attributes:
        piece: Shape ``(g,)``; the clump that stands for the piece, the lowest in it.
        changed: Shape ``(g,)``; whether the piece is not what it was.
        loose: Shape ``(g,)``; whether the piece is in no valid group.
        tree: Of the clumps whose groups are as they were; meaningless for the others.
        settled: Shape ``(g,)``; for clumps that were there before, as in ``LinkageState``.
    """

    piece: Indices
    changed: Flags
    loose: Flags
    tree: Dendrogram
    settled: Indices


def plan_reuse(
    before: LinkageState,
    now: LinkageState,
    stale: Flags,
    told_apart: Flags,
    cannot_link: Indices,
    *,
    bulk: int,
) -> tuple[ReusePlan, Indices]:
    """Decide what stays.

    Args:
        before: As the last grouping left it.
        now: The clumps there are now; of its tree nothing is read.
        stale: Shape ``(g before,)``; clumps that are gone, or have other tracks now.
        told_apart: Shape ``(g now,)``; clumps between which constraints came or went.
        apart: Shape ``(m, 2)``; pairs of clumps, by position now, that must not be together.
        bulk: Groups of more clumps than this may be kept as a piece.

    Returns:
        The pieces, and the positions before of all clumps whose groups are taken apart and
        had a known tree.
    """
    known = np.isin(now.names, before.names)
    then = np.searchsorted(before.names, now.names[known])
    here = np.flatnonzero(known)
    group_then = before.tree.roots

    moved = np.zeros(len(before.names), dtype=np.bool_)
    moved[then] = told_apart[known]
    other = stale[then]
    far = _far(before.statistics[then[other]], now.statistics[here[other]])
    moved[then[other]] |= far
    group_now = np.full(len(now.names), -1, dtype=np.int64)
    group_now[known] = group_then[then]
    within = (group_now[cannot_link[:, 0]] == group_now[cannot_link[:, 1]]) & (
        group_now[cannot_link[:, 0]] >= 0
    )
    moved[group_now[cannot_link[within, 0]]] = True

    def anywhere(flags: Flags) -> Flags:
        """Spread flags of clumps over their groups."""
        return np.isin(group_then, group_then[flags])

    tracks = np.bincount(group_then[then], now.statistics.counts[known], minlength=len(moved))
    grown = np.abs(tracks[group_then] - before.settled) > SETTLED_SHARE * before.settled
    sizes = np.bincount(group_then[then], minlength=len(moved))
    forgotten = anywhere(before.tree.heights == COLLAPSED)
    may_stay = (sizes[group_then] > bulk) | forgotten
    upset = anywhere(moved) | grown
    touched = anywhere(stale) | upset

    in_piece = (may_stay & ~upset)[then]
    _, first, group = np.unique(group_then[then], return_index=True, return_inverse=True)
    piece = np.arange(len(now.names))
    piece[known] = np.where(in_piece, here[first][group], here)
    loose = np.ones(len(now.names), dtype=np.bool_)
    loose[known] = touched[then]
    changed = np.ones(len(now.names), dtype=np.bool_)
    changed[known] = np.where(in_piece, touched[then], stale[then])

    place = np.full(len(before.names), -1, dtype=np.int64)
    place[then] = here
    tree = Dendrogram(np.arange(len(now.names)), np.full(len(now.names), np.inf))
    tree.into[known], tree.heights[known] = place[before.tree.into[then]], before.tree.heights[then]
    settled = np.zeros(len(now.names), dtype=np.int64)
    settled[known] = before.settled[then]
    return ReusePlan(piece, changed, loose, tree, settled), np.flatnonzero(touched & ~forgotten)


def count_settled(pieces: ReusePlan, tree: Dendrogram, counts: Indices) -> Indices:
    """Shape ``(g,)``: for each clump the tracks of its group when that was last put together."""
    roots = tree.roots
    total = np.bincount(roots, counts, minlength=len(roots)).astype(np.int64)
    kept = np.zeros(len(roots), dtype=np.int64)
    inside = tree.heights == COLLAPSED
    np.maximum.at(kept, roots[inside], pieces.settled[inside])
    settled: Indices = np.where(kept > 0, kept, total)[roots]
    return settled


def _far(before: GroupStatistics, now: GroupStatistics) -> Flags:
    gaps = now.means.astype(np.float64) - before.means
    shift = np.maximum(np.einsum("ij,ij->i", gaps, gaps), np.abs(now.variances - before.variances))
    far: Flags = shift > SETTLED_DISTANCE**2
    return far
