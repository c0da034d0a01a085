"""Clumps: what linkage begins with, and never takes apart.

A clump is a density cluster, or a lone track, or all tracks that somebody placed with one
person, wherever they lie. A density cluster that holds tracks which were seen side by side
cannot be one person, so it is parted: by the density step again, at smaller and smaller eps,
and where that does not help, the tracks that stand beside each other leave as lone tracks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.grouping.components import Indices
from portraitd.grouping.density import Density, DensityRule
from portraitd.grouping.distances import Vectors

NO_UNIT = -1
SHRINK = 0.8
SHRINKINGS = 5
# Parting compares all rows of a cluster with each other, several times.
LARGEST_PARTED = 5_000


def units_of(density: Density, placed: Indices) -> Indices:
    """Name the unit each row is in, before anything is parted.

    Args:
        density: Which rows take part, and their clusters.
        placed: Shape ``(n,)``; the person somebody put the track with, 0 for nobody.

    Returns:
        Shape ``(n,)``: the cluster, or the row itself if it is in none, or
        ``-1 - person`` if it was placed, or ``NO_UNIT`` if it takes no part.
    """
    labels = density.labels
    units = np.where(labels >= 0, labels, np.arange(len(labels)))
    # One below, so that nobody's name is NO_UNIT.
    units = np.where(placed > 0, -1 - placed, units)
    return np.where(density.taking_part, units, NO_UNIT)


def owners_of(units: Indices) -> Indices:
    """The person each unit was placed with, 0 for nobody."""
    return np.where(units < NO_UNIT, -1 - units, 0)


def clumps_of(
    vectors: Vectors, rows: Indices, units: Indices, apart: Indices, rule: DensityRule
) -> Indices:
    """Put rows into clumps, each named after its lowest row.

    Args:
        vectors: Shape ``(n, d)``.
        rows: Shape ``(k,)``, ascending; all rows of the units they belong to.
        units: Shape ``(n,)``; as ``units_of`` gives it.
        apart: Shape ``(m, 2)``; rows that are different people.
        rule: That of the density step.

    Returns:
        Shape ``(k,)``; the clump of each of these rows.
    """
    clumps = np.full(len(units), -1, dtype=np.int64)
    _, first, unit = np.unique(units[rows], return_index=True, return_inverse=True)
    clumps[rows] = rows[first][unit]
    # Whoever placed both of a pair with one person knew better.
    inside = apart[(units[apart[:, 0]] == units[apart[:, 1]]) & (units[apart[:, 0]] >= 0)]
    inside = inside[clumps[inside[:, 0]] >= 0]
    for unit_name in np.unique(units[inside[:, 0]]):
        members = rows[units[rows] == unit_name]
        pairs = np.searchsorted(members, inside[units[inside[:, 0]] == unit_name])
        parts = _parted(vectors[members], pairs, rule)
        _, first, part = np.unique(parts, return_index=True, return_inverse=True)
        clumps[members] = members[first][part]
    found: Indices = clumps[rows]
    return found


def _parted(vectors: Vectors, apart: Indices, rule: DensityRule) -> Indices:
    """Number the parts of one cluster such that no part holds a pair."""
    size = len(vectors)
    parts = np.zeros(size, dtype=np.int64)
    for step in range(1, SHRINKINGS + 1):
        broken = parts[apart[parts[apart[:, 0]] == parts[apart[:, 1]], 0]]
        if not len(broken) or size > LARGEST_PARTED:
            break
        smaller = DensityRule(rule.eps * SHRINK**step, rule.min_samples)
        for part in np.unique(broken):
            members = np.flatnonzero(parts == part)
            finer = Density.empty().insert(vectors[members], np.arange(len(members)), smaller)
            labels = np.where(finer.labels >= 0, finer.labels, np.arange(len(members)))
            # Parts of different parts stay different: each is named after one of its rows.
            parts[members] = size * step + members[labels]
    beside = apart[parts[apart[:, 0]] == parts[apart[:, 1]]].ravel()
    parts[beside] = -1 - beside
    return parts


def changed_between(before: Indices, after: Indices) -> NDArray[np.bool_]:
    """Shape ``(n,)``: rows of every unit that gained or lost a row."""
    known = np.pad(before, (0, len(after) - len(before)), constant_values=NO_UNIT)
    moved = known != after
    changed = np.union1d(known[moved], after[moved])
    changed = changed[changed != NO_UNIT]
    result: NDArray[np.bool_] = np.isin(known, changed) | np.isin(after, changed)
    return result
