"""Clumps: what linkage begins with, and never takes apart.

A clump is a density cluster, or a lone track, or all that somebody said belongs to one person,
wherever it lies. A density cluster that holds tracks which were seen side by side cannot be one
person, so it is parted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.cannot_link_split import split_by_cannot_links
from portraitd.clustering.dbscan import DbscanRule
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.neighbours import Vectors
from portraitd.clustering.seeding import Seeding

NO_GROUP = -1


def build_must_link_groups(
    vectors: Vectors,
    rows: Indices,
    units: Indices,
    claims: Seeding,
    cannot_link: Indices,
    rule: DbscanRule,
) -> Indices:
    """Put rows into clumps, each named after its lowest row.

    Args:
        vectors: Shape ``(n, d)``.
        rows: Shape ``(k,)``, ascending; all rows of the units they belong to.
        units: Shape ``(n,)``; as ``Claims.units`` gives it.
        claims: Of all rows.
        apart: Shape ``(m, 2)``; rows that are different people.
        rule: That of the density step.

    Returns:
        Shape ``(k,)``; the clump of each of these rows.
    """
    clumps = np.full(len(units), -1, dtype=np.int64)
    _, first, unit = np.unique(units[rows], return_index=True, return_inverse=True)
    clumps[rows] = rows[first][unit]
    inside = cannot_link[units[cannot_link[:, 0]] == units[cannot_link[:, 1]]]
    inside = inside[clumps[inside[:, 0]] >= 0]
    broken = units[inside[:, 0]]
    # People's units that hold more than what was pinned with one of them.
    shared = units[rows][-1 - claims.pinned[rows] > units[rows]]
    for name in np.unique(np.concatenate([broken[broken >= 0], shared])).tolist():
        members = rows[units[rows] == name]
        pairs = np.searchsorted(members, inside[units[inside[:, 0]] == name])
        if name < NO_GROUP:
            parts = claims.divided(vectors, members, pairs, rule)
        else:
            parts = split_by_cannot_links(vectors[members], pairs, rule)
        _, first, part = np.unique(parts, return_index=True, return_inverse=True)
        clumps[members] = members[first][part]
    found: Indices = clumps[rows]
    return found


def apply_constraints(
    vectors: Vectors, labels: Indices, claims: Seeding, cannot_link: Indices, rule: DbscanRule
) -> Indices:
    """Clusters as they are once what somebody said is respected; nothing is merged otherwise.

    Args:
        vectors: Shape ``(n, d)``.
        labels: Shape ``(n,)``; clusters, -1 for none.
        claims: Of all rows.
        apart: Shape ``(m, 2)``; rows that are different people.
        rule: What the clusters were found with.

    Returns:
        Shape ``(n,)``; the group of each row, -1 for none.
    """
    rows = np.arange(len(labels))
    units = claims.units(np.ones(len(labels), np.bool_))
    clumps = build_must_link_groups(vectors, rows, units, claims, cannot_link, rule)
    _, at, sizes = np.unique(clumps, return_inverse=True, return_counts=True)
    alone = (sizes[at] == 1) & (claims.told == 0) & (np.isin(rows, cannot_link) | (labels < 0))
    groups: Indices = np.where(alone, NO_GROUP, clumps)
    return groups


def find_changed_rows(before: Indices, after: Indices) -> NDArray[np.bool_]:
    """Shape ``(n,)``: rows of every unit that gained or lost a row."""
    known = np.pad(before, (0, len(after) - len(before)), constant_values=NO_GROUP)
    moved = known != after
    changed = np.union1d(known[moved], after[moved])
    changed = changed[changed != NO_GROUP]
    result: NDArray[np.bool_] = np.isin(known, changed) | np.isin(after, changed)
    return result
