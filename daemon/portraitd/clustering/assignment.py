"""Assign low-quality tracks to the people whom good tracks founded.

A blurred face or a profile is near to many people, and means of such faces are nearer still. So
they take no part in DBSCAN and linkage, found no person and move no mean. At the end each one is
assigned to the nearest person within the limit who has no cannot-link with it.

With some models, the centre of many faces is near to a hard picture whose distance from each single
face is large. There, a low-quality track or a person of a single track is also assigned by the
distance between centres.

Which people are near enough to a track depends on nothing but the track and those people. These
offers are kept between two groupings: a grouping finds those of new tracks and of changed people,
and then decides again for all tracks.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics
from portraitd.clustering.neighbours import (
    NeighbourPairs,
    Vectors,
    find_neighbours,
    squared_distances,
)
from portraitd.model.grouping_rules import AssignmentRule

UNASSIGNED = -1
NOT_LOW_QUALITY = -2
CHUNK_TRACKS = 1024
# Fewer chunks are not worth a thread.
THREADED_CHUNKS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Offers:
    """Groups that are near enough for tracks to be assigned to, whatever else keeps them apart.

    Attributes:
        rows: Shape ``(k,)``; the tracks.
        groups: Shape ``(k,)``; the group beside each, named as in ``Agglomeration.groups``.
        squares: Shape ``(k,)``; the squared distance between the faces of both.
        by_centre: Shape ``(k,)``; whether the distance of centres makes it an offer.
    """

    rows: Indices
    groups: Indices
    squares: Floats
    by_centre: NDArray[np.bool_]

    @classmethod
    def empty(cls) -> Self:
        """Return no offers."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, none, np.empty(0), np.empty(0, dtype=np.bool_))

    def __getitem__(self, which: Indices | NDArray[np.bool_]) -> Offers:
        """Return some of the offers, by index or by mask."""
        return Offers(
            self.rows[which], self.groups[which], self.squares[which], self.by_centre[which]
        )

    @staticmethod
    def join(parts: Sequence[Offers]) -> Offers:
        """Return the offers of all parts, the nearest first."""
        rows, groups, squares, by_centre = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rows", "groups", "squares", "by_centre")
        )
        return Offers(rows, groups, squares, by_centre)[
            np.lexsort((by_centre, groups, rows, squares))
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """The groups of the low-quality tracks.

    Attributes:
        groups: Shape ``(n,)``; the group each low-quality or lone row is assigned to, named as
            in ``Agglomeration.groups``; -1 if none is near enough, -2 for all other rows.
        offers: All offers to those rows, the nearest first.
    """

    groups: Indices
    offers: Offers

    @classmethod
    def empty(cls) -> Self:
        """Return the state before the first grouping."""
        return cls(np.empty(0, dtype=np.int64), Offers.empty())

    def update(
        self,
        low_quality: NDArray[np.bool_],
        people: NDArray[np.bool_],
        agglomeration: Agglomeration,
        tracks: TrackTable,
        rule: AssignmentRule,
        lone: NDArray[np.bool_] | None = None,
        large: NDArray[np.bool_] | None = None,
    ) -> Assignment:
        """Assign the low-quality tracks; only what changed is measured again.

        The result is the same as from scratch.

        Args:
            low_quality: Shape ``(n,)``; rows to assign. None of them is in a group.
            people: Shape ``(n,)``; whether tracks may be assigned to the group named after a
                row. That may change only with the group.
            agglomeration: Of this grouping.
            tracks: The tracks that the agglomeration was made of.
            rule: The same in every call.
            lone: Shape ``(n,)``; rows that are a group of their own and may join another one by
                the distance of centres.
            large: Shape ``(n,)``; whether the group named after a row has enough faces for that.
                It may change only with the group.
        """
        by_face = low_quality
        if lone is not None:
            low_quality = low_quality | lone
        groups = agglomeration.groups
        names = agglomeration.names
        rebuilt = agglomeration.rebuilt[names]
        known = np.zeros(len(groups), dtype=np.bool_)
        known[: len(self.groups)] = self.groups != NOT_LOW_QUALITY
        known &= low_quality
        unchanged = np.zeros(len(groups), dtype=np.bool_)
        unchanged[names[~rebuilt]] = True

        may_join = people[names] if large is None else people[names] | large[names]
        find = partial(_find_offers, people=people, large=large, tracks=tracks, rule=rule)
        statistics = agglomeration.statistics
        changed, every = np.flatnonzero(may_join & rebuilt), np.flatnonzero(may_join)
        offers = Offers.join(
            [
                self.offers[known[self.offers.rows] & unchanged[self.offers.groups]],
                *find(np.flatnonzero(known), names[changed], statistics[changed]),
                *find(np.flatnonzero(low_quality & ~known), names[every], statistics[every]),
            ]
        )
        assigned = np.where(low_quality, UNASSIGNED, NOT_LOW_QUALITY)
        allowed = offers[offers.by_centre | by_face[offers.rows]]
        allowed = allowed[
            ~_has_cannot_link(allowed.rows, allowed.groups, groups, tracks.cannot_link)
        ]
        conflicts = tracks.cannot_link[low_quality[tracks.cannot_link].all(axis=1)]
        _accept_offers(assigned, np.stack([allowed.rows, allowed.groups], axis=1), conflicts)
        return Assignment(assigned, offers)


def _find_offers(
    rows: Indices,
    names: Indices,
    groups: GroupStatistics,
    *,
    people: NDArray[np.bool_],
    large: NDArray[np.bool_] | None,
    tracks: TrackTable,
    rule: AssignmentRule,
) -> list[Offers]:
    """Return the offers of some groups to some rows, in parts.

    Args:
        rows: Shape ``(k,)``.
        names: Shape ``(g,)``; of the groups.
        groups: Their statistics.
        people: As for ``Assignment.update``.
        large: As for ``Assignment.update``.
        tracks: As for ``Assignment.update``.
        rule: As for ``Assignment.update``.
    """
    if not len(rows) or not len(names):
        return []

    centres = None if large is None else scale_means(groups.means, groups.variances)

    def find(start: int) -> Offers:
        some = rows[start : start + CHUNK_TRACKS]
        singles = GroupStatistics.of_tracks(tracks.vectors[some], tracks.variances[some])
        track, group, squares = _find_candidates(singles, groups, rule)
        by_face = Offers(some[track], names[group], squares, np.zeros(len(track), np.bool_))
        by_face = by_face[people[by_face.groups]]
        if large is None or centres is None:
            return by_face
        track, group, squares = _find_near_centres(singles, groups, centres, rule)
        by_centre = Offers(some[track], names[group], squares, np.ones(len(track), np.bool_))
        return Offers.join([by_face, by_centre[large[by_centre.groups]]])

    starts = range(0, len(rows), CHUNK_TRACKS)
    if len(starts) < THREADED_CHUNKS or len(os.sched_getaffinity(0)) == 1:
        return list(map(find, starts))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(find, starts))


def _find_candidates(
    tracks: GroupStatistics, groups: GroupStatistics, rule: AssignmentRule
) -> tuple[Indices, Indices, Floats]:
    """Return tracks and near groups, both by position, and their squared distances."""
    limit = rule.max_distance**2
    track, group = _concatenate(
        find_neighbours(tracks.means, groups.means, limit, tracks.variances, groups.variances)
    )
    squares = _measure_face_distances(tracks, track, groups, group)
    thin = groups.counts[group] < rule.thin_tracks
    enough = ~thin | (squares <= rule.thin_distance**2)
    return track[enough], group[enough], squares[enough]


def _find_near_centres(
    tracks: GroupStatistics, groups: GroupStatistics, centres: Vectors, rule: AssignmentRule
) -> tuple[Indices, Indices, Floats]:
    """As ``_find_candidates``, by the distance between scaled means.

    The distances are those of faces, so that the offers of both can be compared.
    """
    if rule.centre_distance is None:
        none = np.empty(0, np.int64)
        return none, none, np.empty(0)
    scaled = scale_means(tracks.means, tracks.variances)
    track, group = _concatenate(find_neighbours(scaled, centres, rule.centre_distance**2))
    return track, group, _measure_face_distances(tracks, track, groups, group)


def _concatenate(pairs: Iterable[NeighbourPairs]) -> tuple[Indices, Indices]:
    found = list(pairs)
    none = np.empty(0, np.int64)
    return (
        np.concatenate([none, *(some.query for some in found)]),
        np.concatenate([none, *(some.row for some in found)]),
    )


def _measure_face_distances(
    tracks: GroupStatistics, track: Indices, groups: GroupStatistics, group: Indices
) -> Floats:
    """Return the squared distance between the faces of each track and of the group beside it.

    Args:
        tracks: Some tracks.
        track: Shape ``(k,)``; positions among the tracks.
        groups: All groups.
        group: Shape ``(k,)``; positions among the groups.
    """
    squares = squared_distances(tracks.means, track, groups.means, group)
    return squares + (tracks.variances[track] + groups.variances[group])


def scale_means(means: Vectors, variances: Floats) -> Vectors:
    """Return means scaled to the length of the vectors that they are the means of."""
    squares = np.einsum("ij,ij->i", means, means, dtype=np.float64)
    factor = np.sqrt((squares + variances) / np.maximum(squares, 1e-12))
    return np.asarray(means * factor[:, None], dtype=np.float32)


def _has_cannot_link(
    rows: Indices, names: Indices, groups: Indices, cannot_link: Indices
) -> NDArray[np.bool_]:
    """Return whether the group beside each row holds a track with a cannot-link to the row."""
    size = len(groups) + 1
    both_ways = np.concatenate([cannot_link, cannot_link[:, ::-1]])
    barred = np.unique(both_ways[:, 0] * size + groups[both_ways[:, 1]] + 1)
    found: NDArray[np.bool_] = np.isin(rows * size + names + 1, barred)
    return found


def _accept_offers(assigned: Indices, offers: Indices, conflicts: Indices) -> None:
    """Accept offers in their order, unless a track with a cannot-link has the group already."""
    contested = np.isin(offers[:, 0], conflicts)
    free = offers[~contested]
    rows, first = np.unique(free[:, 0], return_index=True)
    assigned[rows] = free[first, 1]
    others = defaultdict(list)
    for one, other in conflicts.tolist():
        others[one].append(other)
        others[other].append(one)
    for row, group in offers[contested].tolist():
        if assigned[row] < 0 and all(assigned[other] != group for other in others[row]):
            assigned[row] = group
