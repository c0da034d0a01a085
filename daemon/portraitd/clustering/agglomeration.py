"""Clumps to groups: average linkage over the whole store, redone only where it changed.

What is remembered is which clump each track is in, three figures a clump, and the tree of
merges. When tracks come and go, the groups of the clumps they changed are taken apart and
merged anew, and every old group nearby that would not have grown as it did beside the new
ones as well. So the result is the one that a fresh assembly gives, exactly, with two
exceptions: where two distances are equal to the last bit, either may be merged first; and
people of more clumps than ``AgglomerationRule.bulk`` change at the edges only, until they have
changed enough to be put together anew (``pieces`` says when).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.average_linkage import Dendrogram
from portraitd.clustering.dbscan import DbscanRule, IncrementalDbscan
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics
from portraitd.clustering.incremental_linkage import (
    NO_LIFE,
    IncrementalLinkage,
    hash_names,
    replay_merges,
)
from portraitd.clustering.linkage_reuse import (
    COLLAPSED,
    LinkageState,
    ReusePlan,
    count_settled,
    plan_reuse,
)
from portraitd.clustering.must_link_groups import (
    NO_GROUP,
    build_must_link_groups,
    find_changed_rows,
)
from portraitd.clustering.neighbours import Vectors
from portraitd.clustering.running_sums import RunningSums
from portraitd.clustering.seeding import NO_SEEDS, Seeding

NO_GROUP = -1


@dataclass(frozen=True, slots=True)
class AgglomerationRule:
    """When groups are one person.

    Attributes:
        max_distance: Root of the largest mean squared distance between the faces of two
            groups that are merged.
        thin_tracks: Groups of fewer tracks than this rest on thin evidence: one distance
            between two pictures, or a few that are hardly independent.
        thin_distance: As ``max_distance``, for those.
        bulk: Groups of more clumps than this change at the edges only.
    """

    max_distance: float = 0.55
    thin_tracks: int = 3
    thin_distance: float = 0.46
    bulk: int = 100

    @property
    def limit(self) -> float:
        """The largest distance, squared."""
        return self.max_distance**2


@dataclass(frozen=True, slots=True, eq=False)
class TrackTable:
    """What a grouping knows of the tracks; row ``i`` is one track.

    Attributes:
        vectors: Shape ``(n, 128)``, float32; may be memory-mapped. Rows are appended only.
        variances: Shape ``(n,)``; within each track, as ``tracks.summarise`` gives it.
        pinned: Shape ``(n,)``; the person somebody put the track with, 0 for nobody. These
            stay together, and apart from what was pinned with others.
        apart: Shape ``(m, 2)``; pairs of rows that are different people: seen in one frame,
            or told apart by somebody.
        seeds: Rows that bring their whole density cluster to the person they were pinned
            with.
    """

    vectors: Vectors
    variances: Floats
    pinned: Indices
    cannot_link: Indices
    seeds: Indices = field(default_factory=lambda: NO_SEEDS)


@dataclass(frozen=True, eq=False)
class Agglomeration:
    """Groups of tracks, and what is remembered to change them.

    Without slots, so that what follows from the rest is worked out once.

    Attributes:
        units: Shape ``(n,)``; what each row belonged to before clumps were parted.
        claims: What was said about each row, and its density cluster.
        clumps: Shape ``(n,)``; the clump of each row, by its lowest row; -1 for none.
        apart: Shape ``(m, 2)``; the pairs taken into account.
        ledger: Running sums of large clumps.
        forest: How the clumps were merged.
        founders: Shape ``(g,)``; the clump, by position, after which each one's group is
            named. Not always the root of its tree: a thin group is parted.
        rebuilt: Shape ``(n,)``; whether the row's group may have changed in this grouping.
        told_apart: Shape ``(n,)``; whether a constraint of the row came or went in this one.
    """

    units: Indices
    claims: Seeding
    clumps: Indices
    cannot_link: Indices
    ledger: RunningSums
    forest: LinkageState
    founders: Indices
    rebuilt: NDArray[np.bool_]
    told_apart: NDArray[np.bool_]

    @classmethod
    def empty(cls, width: int) -> Self:
        """Before the first grouping."""
        none = np.empty(0, dtype=np.int64)
        no_pairs = np.empty((0, 2), dtype=np.int64)
        no_flags = np.empty(0, dtype=np.bool_)
        return cls(
            units=none,
            claims=Seeding(none, none),
            clumps=none,
            cannot_link=no_pairs,
            ledger=RunningSums.empty(width),
            forest=LinkageState.empty(width),
            founders=none,
            rebuilt=no_flags,
            told_apart=no_flags,
        )

    @cached_property
    def groups(self) -> Indices:
        """Shape ``(n,)``: the group of each row, named after a row in it; -1 for none."""
        groups = np.full(len(self.clumps), NO_GROUP, dtype=np.int64)
        inside = self.clumps >= 0
        at = np.searchsorted(self.forest.names, self.clumps[inside])
        groups[inside] = self.forest.names[self.founders[at]]
        return groups

    @cached_property
    def statistics(self) -> GroupStatistics:
        """Of the groups, in ascending order of their names."""
        return self.forest.statistics.combined(self.founders)

    def updated(
        self,
        density: IncrementalDbscan,
        tracks: TrackTable,
        density_rule: DbscanRule,
        rule: AgglomerationRule,
    ) -> Agglomeration:
        """The groups after tracks, clusters or constraints changed.

        Args:
            density: Of all rows; rows that take no part are in no group.
            tracks: All rows, with the same vectors and variances as ever for the old ones.
            density_rule: The same in every call.
            rule: The same in every call.
        """
        claims = Seeding.of(density.labels, tracks.pinned, tracks.seeds)
        units = claims.units(density.taking_part)
        told = _differing(self.cannot_link, tracks.cannot_link)
        changed = _changed_rows(self.units, units, told) | _claimed_anew(self.claims, claims, units)
        rows = np.flatnonzero(changed & (units != NO_GROUP))
        before = np.pad(self.clumps, (0, len(units) - len(self.clumps)), constant_values=NO_GROUP)
        clumps = np.where(changed, NO_GROUP, before)
        clumps[rows] = build_must_link_groups(
            tracks.vectors, rows, units, claims, tracks.cannot_link, density_rule
        )
        stale = np.isin(self.forest.names, before[changed])
        ledger = self.ledger.updated(tracks.vectors, tracks.variances, before, clumps)
        fresh = ledger.measure_groups(tracks.vectors, tracks.variances, rows, clumps[rows])
        now = self.forest.with_clumps(~stale, np.unique(clumps[rows]), fresh)

        cannot_link = _between(tracks.cannot_link, clumps, now.names)
        told_apart = np.isin(now.names, clumps[told])
        pieces, opened = plan_reuse(
            self.forest, now, stale, told_apart, cannot_link, bulk=rule.bulk
        )
        owners = np.zeros(len(now.names), dtype=np.int64)
        spoken_for = np.flatnonzero((claims.told != 0) & (clumps >= 0))
        owners[np.searchsorted(now.names, clumps[spoken_for])] = claims.pinned[spoken_for]
        tree, loose = _grown(
            self.forest[opened], now, pieces, owners, cannot_link, limit=rule.limit
        )
        return Agglomeration(
            units=units,
            claims=claims,
            clumps=clumps,
            cannot_link=tracks.cannot_link,
            ledger=ledger,
            forest=replace(
                now, tree=tree, settled=count_settled(pieces, tree, now.statistics.counts)
            ),
            founders=_founders(tree, now.statistics.counts, rule),
            rebuilt=np.isin(clumps, now.names[loose]),
            told_apart=np.isin(np.arange(len(units)), told),
        )


def _grown(
    opened: LinkageState,
    now: LinkageState,
    pieces: ReusePlan,
    owners: Indices,
    cannot_link: Indices,
    *,
    limit: float,
) -> tuple[Dendrogram, NDArray[np.bool_]]:
    """Merge the pieces; give the tree of all clumps, and which of them were loose.

    Args:
        opened: The old trees that were taken apart.
        now: The clumps there are now.
        pieces: What they are at the start.
        owners: Shape ``(g,)``; by clump.
        apart: Shape ``(m, 2)``; by clump.
        limit: Largest squared distance.
    """
    reps, at = np.unique(pieces.piece, return_inverse=True)
    piece_owners = np.zeros(len(reps), dtype=np.int64)
    np.maximum.at(piece_owners, at, owners)
    loose = pieces.loose[reps]
    into = np.where(loose, reps, pieces.tree.into[reps])
    growth = IncrementalLinkage(
        statistics=now.statistics.combined(pieces.piece),
        owners=piece_owners,
        marks=np.where(
            pieces.changed[reps], hash_names(now.names[reps], salt=1), hash_names(now.names[reps])
        ),
        tree=Dendrogram(
            np.searchsorted(reps, into), np.where(loose, np.inf, pieces.tree.heights[reps])
        ),
        loose=loose,
        limit=limit,
    )
    old = replay_merges(opened.statistics, opened.tree, hash_names(opened.names), limit)
    growth.grow(at[cannot_link], NO_LIFE.and_of(old))
    into, heights = pieces.piece.copy(), np.full(len(now.names), COLLAPSED)
    into[reps], heights[reps] = reps[growth.tree.into], growth.tree.heights
    return Dendrogram(into, heights), growth.loose[at]


def _changed_rows(before: Indices, units: Indices, told: Indices) -> NDArray[np.bool_]:
    """Rows of units that gained or lost a row, or have to be parted otherwise."""
    changed = find_changed_rows(before, units)
    inside = units[told[:, 0]] == units[told[:, 1]]
    changed |= np.isin(units, units[told[inside, 0]]) & (units != NO_GROUP)
    return changed


def _claimed_anew(before: Seeding, claims: Seeding, units: Indices) -> NDArray[np.bool_]:
    """Rows of units that people claim in another way, or of which other clusters are claimed."""
    more = (0, len(units) - len(before.told))
    told = np.pad(before.told, more) != claims.told
    moved = np.pad(before.clusters, more, constant_values=NO_GROUP) != claims.clusters
    anew = units[told | (moved & (units < NO_GROUP))]
    result: NDArray[np.bool_] = np.isin(units, anew[anew != NO_GROUP])
    return result


def _founders(tree: Dendrogram, counts: Indices, rule: AgglomerationRule) -> Indices:
    """Part what was merged on thin evidence; name each group after its lowest clump."""
    roots = tree.roots
    thin = np.bincount(roots, counts, minlength=len(roots))[roots] < rule.thin_tracks
    parted = thin & (tree.heights > rule.thin_distance**2)
    return Dendrogram(np.where(parted, np.arange(len(roots)), tree.into), tree.heights).roots


def _differing(before: Indices, after: Indices) -> Indices:
    """Pairs that are in one of the two lists only."""
    size = int(max(before.max(initial=0), after.max(initial=0))) + 1
    one, other = (pairs[:, 0] * size + pairs[:, 1] for pairs in (before, after))
    return np.stack(np.divmod(np.setxor1d(one, other), size), axis=1)


def _between(cannot_link: Indices, clumps: Indices, names: Indices) -> Indices:
    """Pairs of clumps, by position in ``names``, that hold a pair of rows that are apart."""
    pairs = clumps[cannot_link]
    pairs = pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])]
    found: Indices = np.searchsorted(names, pairs)
    return found
