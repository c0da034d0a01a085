"""Must-link groups: the groups that linkage starts from and never splits.

A must-link group is a density cluster, a single track, or all tracks that user edits assign to
one person, wherever they are. A density cluster that holds a cannot-link (two tracks seen in one
frame) cannot be one person, so it is split.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.cannot_link_split import split_by_cannot_links
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.neighbours import Vectors
from portraitd.clustering.seeding import Seeding
from portraitd.model.grouping_rules import DbscanRule

NO_GROUP = -1


def build_must_link_groups(
    vectors: Vectors,
    rows: Indices,
    joined: Indices,
    seeding: Seeding,
    cannot_link: Indices,
    rule: DbscanRule,
) -> Indices:
    """Put rows into must-link groups, each named after its lowest row.

    Args:
        vectors: Shape ``(n, d)``.
        rows: Shape ``(k,)``, ascending; all rows of the joined clusters they belong to.
        joined: Shape ``(n,)``; from ``Seeding.join_clusters``.
        seeding: Of all rows.
        cannot_link: Shape ``(m, 2)``; pairs of rows.
        rule: The rule of the density step.

    Returns:
        Shape ``(k,)``; the must-link group of each of these rows.
    """
    groups = np.full(len(joined), NO_GROUP, dtype=np.int64)
    _, first, at = np.unique(joined[rows], return_index=True, return_inverse=True)
    groups[rows] = rows[first][at]
    inside = cannot_link[joined[cannot_link[:, 0]] == joined[cannot_link[:, 1]]]
    inside = inside[groups[inside[:, 0]] >= 0]
    conflicting = joined[inside[:, 0]]
    # Groups of people that hold more than what is pinned to one of them.
    shared = joined[rows][-1 - seeding.pinned[rows] > joined[rows]]
    for name in np.unique(np.concatenate([conflicting[conflicting >= 0], shared])).tolist():
        members = rows[joined[rows] == name]
        pairs = np.searchsorted(members, inside[joined[inside[:, 0]] == name])
        if name < NO_GROUP:
            parts = seeding.split(vectors, members, pairs, rule)
        else:
            parts = split_by_cannot_links(vectors[members], pairs, rule)
        _, first, part = np.unique(parts, return_index=True, return_inverse=True)
        groups[members] = members[first][part]
    found: Indices = groups[rows]
    return found


def apply_constraints(
    vectors: Vectors, labels: Indices, seeding: Seeding, cannot_link: Indices, rule: DbscanRule
) -> Indices:
    """Change clusters no more than the constraints require.

    Args:
        vectors: Shape ``(n, d)``.
        labels: Shape ``(n,)``; clusters, -1 for noise.
        seeding: Of all rows.
        cannot_link: Shape ``(m, 2)``; pairs of rows.
        rule: The rule that the clusters were found with.

    Returns:
        Shape ``(n,)``; the group of each row, -1 for none.
    """
    rows = np.arange(len(labels))
    joined = seeding.join_clusters(np.ones(len(labels), np.bool_))
    groups = build_must_link_groups(vectors, rows, joined, seeding, cannot_link, rule)
    _, at, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    alone = (sizes[at] == 1) & (seeding.owners == 0) & (np.isin(rows, cannot_link) | (labels < 0))
    result: Indices = np.where(alone, NO_GROUP, groups)
    return result


def find_changed_rows(before: Indices, after: Indices) -> NDArray[np.bool_]:
    """Return the rows of every group that gained or lost a row.

    Args:
        before: Shape ``(m,)``, ``m <= n``; the group of each row, -1 for none.
        after: Shape ``(n,)``.

    Returns:
        Shape ``(n,)``.
    """
    known = np.pad(before, (0, len(after) - len(before)), constant_values=NO_GROUP)
    moved = known != after
    changed = np.union1d(known[moved], after[moved])
    changed = changed[changed != NO_GROUP]
    result: NDArray[np.bool_] = np.isin(known, changed) | np.isin(after, changed)
    return result
