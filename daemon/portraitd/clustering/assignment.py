"""Assign low-quality tracks to the people whom good tracks founded.

A blurred face or a profile is near to many people, and means of such faces are nearer still. So
they take no part in DBSCAN and linkage, found no person and move no mean. At the end each one is
assigned to the nearest person within the limit who has no cannot-link with it.

With some models, the centre of many faces is near to a hard picture whose distance from each single
face is large. There, a low-quality track or a person of a single track is also assigned by the
distance between centres.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.graph_components import Indices, connected_components
from portraitd.clustering.group_statistics import Floats, GroupStatistics, MergingStatistics
from portraitd.clustering.neighbours import Vectors, find_neighbours
from portraitd.model.grouping_rules import AssignmentRule

UNASSIGNED = -1
NOT_LOW_QUALITY = -2
CHUNK_TRACKS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """The groups of the low-quality tracks.

    Attributes:
        groups: Shape ``(n,)``; the group each low-quality or lone row is assigned to, named as
            in ``Agglomeration.groups``; -1 if none is near enough, -2 for all other rows.
    """

    groups: Indices

    @classmethod
    def empty(cls) -> Self:
        """Return the state before the first grouping."""
        return cls(np.empty(0, dtype=np.int64))

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
        """Assign the new low-quality tracks, and again those whose choice may have changed.

        The result is the same as assigning all of them.

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
        names, first = np.unique(groups, return_index=True)
        names, first = names[names >= 0], first[names >= 0]
        statistics = agglomeration.statistics
        rebuilt = agglomeration.rebuilt[first]
        rows = np.flatnonzero(low_quality)
        assigned = np.pad(
            self.groups,
            (0, len(low_quality) - len(self.groups)),
            constant_values=NOT_LOW_QUALITY,
        )
        left = (assigned != NOT_LOW_QUALITY) & ~low_quality
        assigned[~low_quality] = NOT_LOW_QUALITY

        again = np.isin(assigned[rows], [NOT_LOW_QUALITY, *names[rebuilt].tolist()])
        again |= (assigned[rows] >= 0) & ~np.isin(assigned[rows], names)
        again |= agglomeration.rebuilt[rows]
        again[_find_candidates(rows, statistics[rebuilt], tracks, rule)[0]] = True
        again[_find_near_centres(rows, statistics[rebuilt], tracks, rule)[0]] = True
        # Cannot-links changed, or a track with a cannot-link was removed or became a good one.
        again |= agglomeration.cannot_link_changed[rows]
        again |= np.isin(rows, tracks.cannot_link[left[tracks.cannot_link].any(axis=1)])
        conflicts = np.searchsorted(
            rows, tracks.cannot_link[low_quality[tracks.cannot_link].all(axis=1)]
        )
        # A track's group can depend on those of the tracks seen beside it, and so on.
        component = connected_components(conflicts, len(rows))
        again = np.isin(component, component[again])

        open_rows = rows[again]
        assigned[open_rows] = UNASSIGNED
        track, group, distances = _find_candidates(open_rows, statistics, tracks, rule)
        allowed = people[names[group]] & by_face[open_rows[track]]
        if large is not None:
            near = _find_near_centres(open_rows, statistics, tracks, rule)
            allowed = np.concatenate([allowed, large[names[near[1]]]])
            track, group = np.concatenate([track, near[0]]), np.concatenate([group, near[1]])
            distances = np.concatenate([distances, near[2]])
        allowed &= ~_has_cannot_link(open_rows[track], names[group], groups, tracks.cannot_link)
        order = np.lexsort((group[allowed], track[allowed], distances[allowed]))
        offers = np.stack([open_rows[track[allowed]], names[group[allowed]]], axis=1)[order]
        _accept_offers(assigned, offers, rows[conflicts])
        return Assignment(assigned)


def _find_candidates(
    rows: Indices, groups: GroupStatistics, tracks: TrackTable, rule: AssignmentRule
) -> tuple[Indices, Indices, Floats]:
    """Return rows and near groups, both by position, and their squared distances."""
    limit = rule.max_distance**2
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(rows), CHUNK_TRACKS):
        some = rows[start : start + CHUNK_TRACKS]
        pairs = find_neighbours(
            tracks.vectors[some], groups.means, limit, tracks.variances[some], groups.variances
        )
        found += [np.stack([track + start, group], axis=1) for track, group in pairs]
    track, group = np.concatenate(found).T
    distances = _measure_face_distances(rows[track], group, groups, tracks)
    thin = groups.counts[group] < rule.thin_tracks
    enough = ~thin | (distances <= rule.thin_distance**2)
    return track[enough], group[enough], distances[enough]


def _find_near_centres(
    rows: Indices, groups: GroupStatistics, tracks: TrackTable, rule: AssignmentRule
) -> tuple[Indices, Indices, Floats]:
    """As ``_find_candidates``, by the distance between scaled means; a row's own group is none.

    The distances are those of faces, so that the offers of both can be compared.
    """
    none = np.empty(0, np.int64)
    if rule.centre_distance is None or not len(groups):
        return none, none, np.empty(0)
    centres = scale_means(groups.means, groups.variances)
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(rows), CHUNK_TRACKS):
        some = rows[start : start + CHUNK_TRACKS]
        scaled = scale_means(np.asarray(tracks.vectors[some]), tracks.variances[some])
        found += [
            np.stack([track + start, group], axis=1)
            for track, group in find_neighbours(scaled, centres, rule.centre_distance**2)
        ]
    track, group = np.concatenate(found).T
    return track, group, _measure_face_distances(rows[track], group, groups, tracks)


def _measure_face_distances(
    rows: Indices, group: Indices, groups: GroupStatistics, tracks: TrackTable
) -> Floats:
    """Return the squared distance between the faces of each row and of the group beside it.

    Args:
        rows: Shape ``(k,)``.
        group: Shape ``(k,)``; positions among the groups.
        groups: All groups.
        tracks: The tracks of the grouping.
    """
    found = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK_TRACKS):
        some = np.arange(start, min(start + CHUNK_TRACKS, len(rows)))
        vectors = np.asarray(tracks.vectors[rows[some]])
        single = GroupStatistics.of_tracks(vectors, tracks.variances[rows[some]])
        both = MergingStatistics.of(single.append(groups[group[some]]))
        count = np.arange(len(some))
        found[some] = both.distances(np.stack([count, count + len(some)], axis=1))
    return found


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
