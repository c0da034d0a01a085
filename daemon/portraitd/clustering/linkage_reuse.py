"""Decide what of the previous dendrogram is reused, and what has to be merged again.

The dendrogram of a person is merged again when any of their must-link groups changed. Large
people are the exception: someone with very many must-link groups is kept as one collapsed group
while little changes, because each grouping brings such people a few more tracks. They count as
settled until a tenth of their tracks came or went, one of their must-link groups moved, or a
cannot-link appeared between their tracks.
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

COLLAPSED = -1.0
"""Height of a must-link group inside a collapsed group, whose inner merges are not kept."""

SETTLED_SHARE = 0.1
# About a tenth of the distance between two photographs of one person.
SETTLED_DISTANCE = 0.04


@dataclass(frozen=True, slots=True, eq=False)
class LinkageState:
    """All must-link groups, and how they were merged to people.

    Attributes:
        names: Shape ``(g,)``; the must-link groups, ascending.
        statistics: Of the must-link groups.
        tree: How they were merged, by position.
        settled_tracks: Shape ``(g,)``; how many tracks the person of each must-link group had
            when they were last merged from all of their must-link groups.
    """

    names: Indices
    statistics: GroupStatistics
    tree: Dendrogram
    settled_tracks: Indices

    @classmethod
    def empty(cls, width: int) -> Self:
        """Return a state without groups, for vectors of ``width`` dimensions."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, GroupStatistics.empty(width), Dendrogram(none, np.empty(0)), none)

    def replace_groups(
        self, kept: Flags, names: Indices, statistics: GroupStatistics
    ) -> LinkageState:
        """Return some of these groups and new ones, none of them merged.

        Args:
            kept: Shape ``(g,)``; which of these groups.
            names: Shape ``(k,)``; the new groups, ascending.
            statistics: Of the new groups.
        """
        every = np.concatenate([self.names[kept], names])
        order = np.argsort(every)
        every_statistics = self.statistics[kept].append(statistics)[order]
        alone = Dendrogram(np.arange(len(every)), np.full(len(every), np.inf))
        return LinkageState(every[order], every_statistics, alone, every_statistics.counts)

    def __getitem__(self, which: Indices) -> LinkageState:
        """Return whole trees, by the ascending positions of their must-link groups."""
        return LinkageState(
            self.names[which],
            self.statistics[which],
            self.tree.select(which),
            self.settled_tracks[which],
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReusePlan:
    """What linkage starts from; every array has one entry per current must-link group.

    Attributes:
        start: Shape ``(g,)``; the starting group that each must-link group is part of, named
            after the lowest position in it. Most are alone; large settled people are collapsed
            into one.
        changed: Shape ``(g,)``; whether the starting group differs from the previous one.
        reopened: Shape ``(g,)``; whether the starting group has to be merged again.
        tree: How the others are merged; meaningless for the reopened.
        settled_tracks: Shape ``(g,)``; as in ``LinkageState``, 0 for new must-link groups.
    """

    start: Indices
    changed: Flags
    reopened: Flags
    tree: Dendrogram
    settled_tracks: Indices


def plan_reuse(
    before: LinkageState,
    now: LinkageState,
    stale: Flags,
    cannot_link_changed: Flags,
    cannot_link: Indices,
    *,
    large_group: int,
) -> tuple[ReusePlan, Indices]:
    """Decide what is reused.

    Args:
        before: As the last grouping left it.
        now: The current must-link groups; their tree is not read.
        stale: Shape ``(g before,)``; must-link groups that are gone or have other tracks now.
        cannot_link_changed: Shape ``(g now,)``; must-link groups whose cannot-links changed.
        cannot_link: Shape ``(m, 2)``; pairs of current must-link groups, by position.
        large_group: People of more must-link groups than this may be collapsed.

    Returns:
        The plan, and the previous positions of all must-link groups whose dendrogram was known
        and is merged again.
    """
    known = np.isin(now.names, before.names)
    then = np.searchsorted(before.names, now.names[known])
    here = np.flatnonzero(known)
    person_then = before.tree.roots

    moved = np.zeros(len(before.names), dtype=np.bool_)
    moved[then] = cannot_link_changed[known]
    other = stale[then]
    far = _find_moved(before.statistics[then[other]], now.statistics[here[other]])
    moved[then[other]] |= far
    person_now = np.full(len(now.names), -1, dtype=np.int64)
    person_now[known] = person_then[then]
    within = (person_now[cannot_link[:, 0]] == person_now[cannot_link[:, 1]]) & (
        person_now[cannot_link[:, 0]] >= 0
    )
    moved[person_now[cannot_link[within, 0]]] = True

    def spread_over_people(flags: Flags) -> Flags:
        """Flag all must-link groups of a person if one of them is flagged."""
        return np.isin(person_then, person_then[flags])

    tracks = np.bincount(person_then[then], now.statistics.counts[known], minlength=len(moved))
    grown = (
        np.abs(tracks[person_then] - before.settled_tracks) > SETTLED_SHARE * before.settled_tracks
    )
    sizes = np.bincount(person_then[then], minlength=len(moved))
    collapsed = spread_over_people(before.tree.heights == COLLAPSED)
    may_collapse = (sizes[person_then] > large_group) | collapsed
    unsettled = spread_over_people(moved) | grown
    touched = spread_over_people(stale) | unsettled

    collapses = (may_collapse & ~unsettled)[then]
    _, first, person = np.unique(person_then[then], return_index=True, return_inverse=True)
    start = np.arange(len(now.names))
    start[known] = np.where(collapses, here[first][person], here)
    reopened = np.ones(len(now.names), dtype=np.bool_)
    reopened[known] = touched[then]
    changed = np.ones(len(now.names), dtype=np.bool_)
    changed[known] = np.where(collapses, touched[then], stale[then])

    position = np.full(len(before.names), -1, dtype=np.int64)
    position[then] = here
    tree = Dendrogram(np.arange(len(now.names)), np.full(len(now.names), np.inf))
    tree.into[known] = position[before.tree.into[then]]
    tree.heights[known] = before.tree.heights[then]
    settled = np.zeros(len(now.names), dtype=np.int64)
    settled[known] = before.settled_tracks[then]
    plan = ReusePlan(start, changed, reopened, tree, settled)
    return plan, np.flatnonzero(touched & ~collapsed)


def count_settled(plan: ReusePlan, tree: Dendrogram, counts: Indices) -> Indices:
    """Return ``settled_tracks`` for the next grouping.

    Args:
        plan: What the tree started from.
        tree: How the current must-link groups were merged.
        counts: Shape ``(g,)``; tracks of each must-link group.

    Returns:
        Shape ``(g,)``.
    """
    roots = tree.roots
    total = np.bincount(roots, counts, minlength=len(roots)).astype(np.int64)
    kept = np.zeros(len(roots), dtype=np.int64)
    inside = tree.heights == COLLAPSED
    np.maximum.at(kept, roots[inside], plan.settled_tracks[inside])
    settled: Indices = np.where(kept > 0, kept, total)[roots]
    return settled


def _find_moved(before: GroupStatistics, now: GroupStatistics) -> Flags:
    """Return which groups have another mean or variance, beyond ``SETTLED_DISTANCE``."""
    gaps = now.means.astype(np.float64) - before.means
    shift = np.maximum(np.einsum("ij,ij->i", gaps, gaps), np.abs(now.variances - before.variances))
    moved: Flags = shift > SETTLED_DISTANCE**2
    return moved
