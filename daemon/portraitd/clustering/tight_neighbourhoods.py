"""Keep people apart where the model cannot tell them apart.

A model that saw few faces of some population puts all of its people into one ball, each about as
far from every other as from their own pictures, and linkage merges them. The pictures of one person
look different: some are near twins, others far apart. So the distances in the neighbourhood of a
group are compared with their mean. Where even the tenth part of them that is smallest is nearly as
large as the mean, the neighbourhood is flat, and the group says nothing about who is who. Only
tracks that are much nearer to each other than that stay together; the rest get no person.

Intrinsic dimension shows in the same way: the more directions points differ in, the less their
distances vary (Beyer et al., "When Is 'Nearest Neighbor' Meaningful?", 1999). The numbers are on
the card of each model.

This is redone for all groups in every grouping, and depends on nothing but its input. Large groups
are left alone: they are not made of few pictures that happen to be near each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.average_linkage import agglomerate
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics
from portraitd.clustering.neighbours import Vectors, find_neighbours
from portraitd.model.grouping_rules import TightnessRule

Flags = NDArray[np.bool_]

NO_GROUP = -1
RIVALS = 4
"""How many tracks outside a group say how far the next people are."""

MIN_NEIGHBOURS = 8
MAX_RIVALS = 64
SAMPLE = 32
"""A group is judged by so many of its tracks, those of the lowest rows."""

MIN_JUDGED_ALONE = 8
"""The distances inside a group of fewer tracks do not show that its neighbourhood is not flat."""


class KeptApart(NamedTuple):
    """The groups after those that cannot be told apart were split.

    Attributes:
        groups: Shape ``(n,)``; the group of each row, named after a row in it, -1 for none.
        indistinct: Shape ``(n,)``; whether the row was in a group that was split.
    """

    groups: Indices
    indistinct: Flags


def keep_apart(
    groups: Indices,
    founded: Indices,
    statistics: GroupStatistics,
    tracks: TrackTable,
    protected: Flags,
    rule: TightnessRule,
) -> KeptApart:
    """Split the groups in flat neighbourhoods; keep only what is near beyond doubt together.

    Args:
        groups: Shape ``(n,)``; the person of each row, -1 for none.
        founded: Shape ``(n,)``; the group of each good track, as in ``Agglomeration.groups``.
        statistics: Of the founded groups, in ascending order of their names.
        tracks: The tracks of the grouping.
        protected: Shape ``(n,)``; rows whose groups are never split: a user told who they are.
        rule: When a neighbourhood is flat.
    """
    found = _find_indistinct(groups, founded, statistics, tracks, protected, rule)
    indistinct: Flags = np.isin(groups, found)
    rows = np.flatnonzero(indistinct & (founded >= 0))
    rows = rows[np.argsort(groups[rows], kind="stable")]
    after = np.where(indistinct, NO_GROUP, groups)
    for some in np.split(rows, np.flatnonzero(np.diff(groups[rows])) + 1):
        if len(some):
            after[some] = _split(some, tracks, rule)
    return KeptApart(after, indistinct)


def _find_indistinct(
    groups: Indices,
    founded: Indices,
    statistics: GroupStatistics,
    tracks: TrackTable,
    protected: Flags,
    rule: TightnessRule,
) -> list[int]:
    """Return the names of the groups to split."""
    rows = np.flatnonzero(founded >= 0)
    order = rows[np.argsort(founded[rows], kind="stable")]
    names, starts, sizes = np.unique(founded[order], return_index=True, return_counts=True)
    members = np.split(order, starts[1:])
    user_told = np.isin(names, groups[protected & (groups >= 0)])
    # A track that joined another group does not stand for a group of its own.
    is_person = np.isin(names, groups[rows[groups[rows] == founded[rows]]])
    open_groups = np.flatnonzero(is_person & ~user_told & (sizes >= 2) & (sizes <= rule.max_tracks))
    if not len(open_groups):
        return []
    if _is_store_flat(order, tracks, rule):
        return [int(name) for name in names[open_groups]]
    means, flatness = _measure_inside(open_groups, sizes, members, tracks)
    # Few distances do not show that a neighbourhood is not flat.
    suspect = (sizes[open_groups] < MIN_JUDGED_ALONE) | (flatness >= rule.min_own_flatness)
    at, means, flatness = open_groups[suspect], means[suspect], flatness[suspect]
    rivals = _list_rivals(at, statistics, sizes, members, rule)
    around = statistics[at]
    return [
        int(names[one])
        for order, (one, inside, own, others) in enumerate(
            zip(at.tolist(), means.tolist(), flatness.tolist(), rivals, strict=True)
        )
        if _is_flat(members[one], around.means[order], inside, own, others, tracks, rule)
    ]


def _measure_inside(
    at: Indices, sizes: Indices, members: list[Indices], tracks: TrackTable
) -> tuple[Floats, Floats]:
    """Return the mean distance inside each group, and its flatness, for groups by position."""
    means, flatness = np.empty(len(at)), np.empty(len(at))
    counts = np.minimum(sizes[at], SAMPLE)
    for count in np.unique(counts).tolist():
        # Groups of one size at a time, so that each step is one array operation.
        which = np.flatnonzero(counts == count)
        rows = np.stack([members[one][:count] for one in at[which].tolist()])
        vectors = np.asarray(tracks.vectors[rows.ravel()]).reshape(*rows.shape, -1)
        variances = tracks.variances[rows]
        lengths = np.einsum("gij,gij->gi", vectors, vectors, dtype=np.float64) + variances
        squares = lengths[:, :, None] + lengths[:, None, :]
        squares -= 2 * (vectors @ vectors.transpose(0, 2, 1))
        one, other = np.triu_indices(count, 1)
        pairs = np.sqrt(np.maximum(squares[:, one, other], 0))
        means[which] = pairs.mean(axis=1)
        flatness[which] = np.quantile(pairs, 0.1, axis=1) / np.maximum(means[which], 1e-12)
    return means, flatness


def _is_store_flat(rows: Indices, tracks: TrackTable, rule: TightnessRule) -> bool:
    """Return whether all good tracks there are form one flat neighbourhood.

    Then there are no other people to compare with, and a lower flatness is enough.
    """
    sizes, limits = rule.store_tracks, rule.store_flatness
    if not sizes[0] <= len(rows) <= rule.max_store_tracks:
        return False
    distances = _measure(tracks, rows)
    pairs = _pairs(distances)
    if np.sqrt(np.mean(pairs**2)) > rule.store_distance:
        return False
    return _flatness(distances) >= float(np.interp(len(rows), sizes, limits))


def _list_rivals(
    suspects: Indices,
    statistics: GroupStatistics,
    sizes: Indices,
    members: list[Indices],
    rule: TightnessRule,
) -> list[Indices]:
    """Return, for each suspect, the rows of the groups near it, those of the nearest first."""
    found = [np.empty((0, 2), dtype=np.int64)]
    some = statistics[suspects]
    for one, other in find_neighbours(
        some.means, statistics.means, rule.rival_distance**2, some.variances, statistics.variances
    ):
        found.append(np.stack([one, other], axis=1)[suspects[one] != other])
    suspect, group = np.concatenate(found).T
    gaps = some.means[suspect].astype(np.float64) - statistics.means[group]
    squares = np.einsum("ij,ij->i", gaps, gaps) + statistics.variances[group]
    order = np.lexsort((group, squares, suspect))
    suspect, group = suspect[order], group[order]
    bounds = np.searchsorted(suspect, np.arange(len(suspects) + 1))
    rivals = []
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        near = group[start:stop]
        near = near[: int(np.searchsorted(np.cumsum(sizes[near]), MAX_RIVALS)) + 1]
        rows = [members[one] for one in near.tolist()]
        rivals.append(np.concatenate(rows)[:MAX_RIVALS] if rows else np.empty(0, np.int64))
    return rivals


def _is_flat(
    rows: Indices,
    centre: Vectors,
    inside: float,
    own: float,
    rivals: Indices,
    tracks: TrackTable,
    rule: TightnessRule,
) -> bool:
    """Return whether the neighbourhood of a group is flat.

    Args:
        rows: The tracks of the group.
        centre: Their mean.
        inside: The mean of their distances.
        own: The flatness of the group alone.
        rivals: The tracks that are near it.
        tracks: All tracks.
        rule: When it is flat.
    """
    rows, is_judged_alone = rows[:SAMPLE], len(rows) >= rule.min_tracks_alone
    if len(rivals) < 2:
        return is_judged_alone and own >= rule.min_flatness
    gaps = tracks.vectors[rivals] - centre
    squares = np.einsum("ij,ij->i", gaps, gaps, dtype=np.float64) + tracks.variances[rivals]
    # Half of the mean square inside is what the group adds around its centre.
    to_group = np.sqrt(squares + inside**2 / 2)
    nearest = np.argsort(to_group, kind="stable")[: max(MIN_NEIGHBOURS, len(rows))]
    near = rivals[nearest[to_group[nearest] <= rule.reach]]
    if len(near) < 2:
        return is_judged_alone and own >= rule.min_flatness
    if len(rows) + len(near) < rule.min_tracks:
        return False
    if to_group[nearest[:RIVALS]].mean() >= rule.max_ratio * inside:
        return False
    return _flatness(_measure(tracks, np.concatenate([rows, near]))) >= rule.min_flatness


def _split(rows: Indices, tracks: TrackTable, rule: TightnessRule) -> Indices:
    """Return the new group of each row of a group; each is named after its lowest row."""
    limit = min(rule.split_distance, rule.split_share * _pairs(_measure(tracks, rows)).mean())
    alone = GroupStatistics.of_tracks(tracks.vectors[rows], tracks.variances[rows])
    no_pairs, no_owners = np.empty((0, 2), np.int64), np.zeros(len(rows), np.int64)
    result: Indices = rows[agglomerate(alone, no_pairs, no_owners, float(limit) ** 2).roots]
    return result


def _measure(tracks: TrackTable, rows: Indices) -> Floats:
    """Return the root mean squared distance between the faces of each two tracks."""
    vectors = np.asarray(tracks.vectors[rows], dtype=np.float64)
    own = np.einsum("ij,ij->i", vectors, vectors) + tracks.variances[rows]
    distances: Floats = np.sqrt(np.maximum(own[:, None] + own - 2 * (vectors @ vectors.T), 0))
    return distances


def _pairs(distances: Floats) -> Floats:
    """Return the distance of each pair, once."""
    pairs: Floats = distances[np.triu_indices(len(distances), 1)]
    return pairs


def _flatness(distances: Floats) -> float:
    """Return the tenth percentile of the distances of all pairs over their mean."""
    pairs = _pairs(distances)
    return float(np.quantile(pairs, 0.1) / max(pairs.mean(), 1e-12))
