"""Constrained average linkage from must-link groups to people, redone only where they changed.

Between two groupings the state keeps the must-link group of each track, three figures per
must-link group, and the dendrogram. When tracks come and go, the people with changed must-link
groups are split up and merged again, and so is each old person nearby that would have merged
differently beside the new groups. The result is exactly that of a run from scratch, with two
exceptions. If two distances are equal to the last bit, either pair may be merged first. And people
of more must-link groups than ``AgglomerationRule.large_group`` change at the edges only, until
they have changed enough to be merged again (see ``linkage_reuse``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.average_linkage import Dendrogram
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics
from portraitd.clustering.incremental_linkage import (
    IncrementalLinkage,
    KnownNodes,
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
from portraitd.model.grouping_rules import AgglomerationRule, DbscanRule


@dataclass(frozen=True, slots=True, eq=False)
class TrackTable:
    """The tracks that are grouped, and their constraints; row ``i`` is one track.

    Attributes:
        vectors: Shape ``(n, d)``, float32; may be memory-mapped. Rows are only appended.
        variances: Shape ``(n,)``; within each track, as in ``TrackSummaries``.
        pinned: Shape ``(n,)``; the person a user assigned the track to, 0 for none. Tracks
            pinned to one person stay together and apart from those pinned to others.
        cannot_link: Shape ``(m, 2)``; pairs of rows that are different people, because they
            were seen in one frame or a user separated them.
        seeds: Pinned rows that bring their whole density cluster to the person.
    """

    vectors: Vectors
    variances: Floats
    pinned: Indices
    cannot_link: Indices
    seeds: Indices = field(default_factory=lambda: NO_SEEDS)


@dataclass(frozen=True, eq=False)
class Agglomeration:
    """Groups of tracks, and the state needed to update them.

    Without slots, so that derived values can be cached.

    Attributes:
        joined: Shape ``(n,)``; from ``Seeding.join_clusters``.
        seeding: Pinned rows, seeds and density clusters.
        must_link: Shape ``(n,)``; the must-link group of each row, named after its lowest row;
            -1 for none.
        cannot_link: Shape ``(m, 2)``; the pairs of rows that were taken into account.
        running_sums: Of large must-link groups.
        linkage: The must-link groups and how they were merged.
        leaders: Shape ``(g,)``; for each must-link group, the position of the one that its
            group is named after. Not always the root of its tree, because groups on thin
            evidence are split again.
        rebuilt: Shape ``(n,)``; whether the row's group may have changed in this grouping.
        cannot_link_changed: Shape ``(n,)``; whether a cannot-link of the row was added or
            removed in this grouping.
    """

    joined: Indices
    seeding: Seeding
    must_link: Indices
    cannot_link: Indices
    running_sums: RunningSums
    linkage: LinkageState
    leaders: Indices
    rebuilt: NDArray[np.bool_]
    cannot_link_changed: NDArray[np.bool_]

    @classmethod
    def empty(cls, width: int) -> Self:
        """Return the state before the first grouping, for vectors of ``width`` dimensions."""
        none = np.empty(0, dtype=np.int64)
        no_pairs = np.empty((0, 2), dtype=np.int64)
        no_flags = np.empty(0, dtype=np.bool_)
        return cls(
            joined=none,
            seeding=Seeding(none, none),
            must_link=none,
            cannot_link=no_pairs,
            running_sums=RunningSums.empty(width),
            linkage=LinkageState.empty(width),
            leaders=none,
            rebuilt=no_flags,
            cannot_link_changed=no_flags,
        )

    @cached_property
    def groups(self) -> Indices:
        """Shape ``(n,)``: the group of each row, named after a row in it; -1 for none."""
        groups = np.full(len(self.must_link), NO_GROUP, dtype=np.int64)
        inside = self.must_link >= 0
        at = np.searchsorted(self.linkage.names, self.must_link[inside])
        groups[inside] = self.linkage.names[self.leaders[at]]
        return groups

    @cached_property
    def names(self) -> Indices:
        """Shape ``(g,)``: the names of the groups, ascending."""
        return np.unique(self.linkage.names[self.leaders])

    @cached_property
    def statistics(self) -> GroupStatistics:
        """Statistics of the groups, in ascending order of their names."""
        return self.linkage.statistics.combine(self.leaders)

    def update(
        self,
        dbscan: IncrementalDbscan,
        tracks: TrackTable,
        dbscan_rule: DbscanRule,
        rule: AgglomerationRule,
    ) -> Agglomeration:
        """Return the groups after tracks, clusters or constraints changed.

        Args:
            dbscan: Clusters of all rows; rows that are not included in it get no group.
            tracks: All rows; old rows keep their vectors and variances.
            dbscan_rule: The same in every call.
            rule: The same in every call.
        """
        seeding = Seeding.of(dbscan.labels, tracks.pinned, tracks.seeds)
        joined = seeding.join_clusters(dbscan.included)
        new_pairs = _find_differing_pairs(self.cannot_link, tracks.cannot_link)
        changed = _find_rows_to_rebuild(self.joined, joined, new_pairs)
        changed |= _find_seeding_changes(self.seeding, seeding, joined)
        rows = np.flatnonzero(changed & (joined != NO_GROUP))
        before = np.pad(
            self.must_link, (0, len(joined) - len(self.must_link)), constant_values=NO_GROUP
        )
        must_link = np.where(changed, NO_GROUP, before)
        must_link[rows] = build_must_link_groups(
            tracks.vectors, rows, joined, seeding, tracks.cannot_link, dbscan_rule
        )
        stale = np.isin(self.linkage.names, before[changed])
        running_sums = self.running_sums.update(tracks.vectors, tracks.variances, before, must_link)
        fresh = running_sums.measure_groups(tracks.vectors, tracks.variances, rows, must_link[rows])
        now = self.linkage.replace_groups(~stale, np.unique(must_link[rows]), fresh)

        cannot_link = _lift_to_groups(tracks.cannot_link, must_link, now.names)
        cannot_link_changed = np.isin(now.names, must_link[new_pairs])
        plan, redone = plan_reuse(
            self.linkage,
            now,
            stale,
            cannot_link_changed,
            cannot_link,
            large_group=rule.large_group,
        )
        owners = np.zeros(len(now.names), dtype=np.int64)
        pinned = np.flatnonzero((seeding.owners != 0) & (must_link >= 0))
        owners[np.searchsorted(now.names, must_link[pinned])] = seeding.pinned[pinned]
        tree, reopened = _merge(
            self.linkage[redone], now, plan, owners, cannot_link, limit=rule.limit
        )
        return Agglomeration(
            joined=joined,
            seeding=seeding,
            must_link=must_link,
            cannot_link=tracks.cannot_link,
            running_sums=running_sums,
            linkage=replace(
                now, tree=tree, settled_tracks=count_settled(plan, tree, now.statistics.counts)
            ),
            leaders=_split_thin_groups(tree, now.statistics.counts, rule),
            rebuilt=np.isin(must_link, now.names[reopened]),
            cannot_link_changed=np.isin(np.arange(len(joined)), new_pairs),
        )


def _merge(
    redone: LinkageState,
    now: LinkageState,
    plan: ReusePlan,
    owners: Indices,
    cannot_link: Indices,
    *,
    limit: float,
) -> tuple[Dendrogram, NDArray[np.bool_]]:
    """Merge what the plan reopens.

    Args:
        redone: The old trees that are merged again.
        now: The current must-link groups.
        plan: What they start from.
        owners: Shape ``(g,)``; the person each must-link group is pinned to, 0 for none.
        cannot_link: Shape ``(m, 2)``; pairs of must-link groups, by position.
        limit: Largest squared distance.

    Returns:
        The tree of all must-link groups, and for each whether it was merged again.
    """
    firsts, at = np.unique(plan.start, return_inverse=True)
    start_owners = np.zeros(len(firsts), dtype=np.int64)
    np.maximum.at(start_owners, at, owners)
    reopened = plan.reopened[firsts]
    into = np.where(reopened, firsts, plan.tree.into[firsts])
    linkage = IncrementalLinkage(
        statistics=now.statistics.combine(plan.start),
        owners=start_owners,
        hashes=np.where(
            plan.changed[firsts],
            hash_names(now.names[firsts], salt=1),
            hash_names(now.names[firsts]),
        ),
        tree=Dendrogram(
            np.searchsorted(firsts, into), np.where(reopened, np.inf, plan.tree.heights[firsts])
        ),
        reopened=reopened,
        limit=limit,
    )
    old = replay_merges(redone.statistics, redone.tree, hash_names(redone.names), limit)
    linkage.merge_reopened(at[cannot_link], KnownNodes.empty().add(old))
    into, heights = plan.start.copy(), np.full(len(now.names), COLLAPSED)
    into[firsts], heights[firsts] = firsts[linkage.tree.into], linkage.tree.heights
    return Dendrogram(into, heights), linkage.reopened[at]


def _find_rows_to_rebuild(
    before: Indices, joined: Indices, new_pairs: Indices
) -> NDArray[np.bool_]:
    """Return the rows of joined clusters whose rows or inner cannot-links changed."""
    changed = find_changed_rows(before, joined)
    inside = joined[new_pairs[:, 0]] == joined[new_pairs[:, 1]]
    changed |= np.isin(joined, joined[new_pairs[inside, 0]]) & (joined != NO_GROUP)
    return changed


def _find_seeding_changes(before: Seeding, seeding: Seeding, joined: Indices) -> NDArray[np.bool_]:
    """Return the rows of joined clusters whose pinned rows, or clusters, changed."""
    more = (0, len(joined) - len(before.owners))
    pinned_anew = np.pad(before.owners, more) != seeding.owners
    moved = np.pad(before.clusters, more, constant_values=NO_GROUP) != seeding.clusters
    changed = joined[pinned_anew | (moved & (joined < NO_GROUP))]
    result: NDArray[np.bool_] = np.isin(joined, changed[changed != NO_GROUP])
    return result


def _split_thin_groups(tree: Dendrogram, counts: Indices, rule: AgglomerationRule) -> Indices:
    """Undo merges on thin evidence; name each group after its lowest must-link group."""
    roots = tree.roots
    thin = np.bincount(roots, counts, minlength=len(roots))[roots] < rule.thin_tracks
    split = thin & (tree.heights > rule.thin_distance**2)
    return Dendrogram(np.where(split, np.arange(len(roots)), tree.into), tree.heights).roots


def _find_differing_pairs(before: Indices, after: Indices) -> Indices:
    """Return the pairs that are in only one of the two lists."""
    size = int(max(before.max(initial=0), after.max(initial=0))) + 1
    one, other = (pairs[:, 0] * size + pairs[:, 1] for pairs in (before, after))
    return np.stack(np.divmod(np.setxor1d(one, other), size), axis=1)


def _lift_to_groups(cannot_link: Indices, must_link: Indices, names: Indices) -> Indices:
    """Turn cannot-links of rows into cannot-links of must-link groups, by position in ``names``."""
    pairs = must_link[cannot_link]
    pairs = pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])]
    found: Indices = np.searchsorted(names, pairs)
    return found
