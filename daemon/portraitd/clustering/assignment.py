"""Poor tracks join a group that good ones founded; they never found one or move its mean.

A blurred face or a profile is near to many people, and means of such faces are nearer still,
so they are kept out of density and linkage and looked at last: each goes to the nearest person
within the limit who does not hold somebody seen beside it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.graph_components import Indices, connected_components
from portraitd.clustering.group_statistics import Floats, GroupStatistics, MergingStatistics
from portraitd.clustering.neighbours import find_neighbours

UNASSIGNED = -1
NOT_CANDIDATE = -2
CHUNK_TRACKS = 1024


@dataclass(frozen=True, slots=True)
class AssignmentRule:
    """How near a person must be for a poor track to join them.

    Attributes:
        max_distance: Root of the largest mean squared distance to the faces of a group.
        thin_tracks: Groups of fewer tracks than this rest on thin evidence.
        thin_distance: As ``max_distance``, for those.
    """

    max_distance: float = 0.54
    thin_tracks: int = 6
    thin_distance: float = 0.48

    def within(self, distance: float) -> AssignmentRule:
        """This rule where no distance may be larger than one."""
        nearer = min(self.max_distance, distance)
        return replace(self, max_distance=nearer, thin_distance=min(self.thin_distance, nearer))


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Where the poor tracks went.

    Attributes:
        homes: Shape ``(n,)``; the group each poor row joined, named as in
            ``Assembly.groups``; -1 if none is near enough, -2 for rows that are not poor.
    """

    homes: Indices

    @classmethod
    def empty(cls) -> Self:
        """Before the first grouping."""
        return cls(np.empty(0, dtype=np.int64))

    def updated(
        self,
        poor: NDArray[np.bool_],
        people: NDArray[np.bool_],
        assembly: Agglomeration,
        tracks: TrackTable,
        rule: AssignmentRule,
    ) -> Assignment:
        """Ask the poor tracks again whose groups may have changed, and the new ones.

        Gives what asking all of them would give.

        Args:
            poor: Shape ``(n,)``; rows that may join a group. None of them is in one.
            people: Shape ``(n,)``; whether the group named after a row may be joined. That may
                change only with the group.
            assembly: As of this grouping.
            tracks: The same that the assembly was made of.
            rule: The same in every call.
        """
        groups = assembly.groups
        names, first = np.unique(groups, return_index=True)
        names, first = names[names >= 0], first[names >= 0]
        statistics = assembly.statistics
        rebuilt = assembly.rebuilt[first]
        rows = np.flatnonzero(poor)
        homes = np.pad(self.homes, (0, len(poor) - len(self.homes)), constant_values=NOT_CANDIDATE)
        left = (homes != NOT_CANDIDATE) & ~poor
        homes[~poor] = NOT_CANDIDATE

        ask = np.isin(homes[rows], [NOT_CANDIDATE, *names[rebuilt].tolist()])
        ask |= (homes[rows] >= 0) & ~np.isin(homes[rows], names)
        ask[_candidates(rows, statistics[rebuilt], tracks, rule)[0]] = True
        # Who was told apart from whom changed, or a rival is gone or was found good.
        ask |= assembly.told_apart[rows]
        ask |= np.isin(rows, tracks.cannot_link[left[tracks.cannot_link].any(axis=1)])
        rivals = np.searchsorted(rows, tracks.cannot_link[poor[tracks.cannot_link].all(axis=1)])
        # Who goes where can depend on where those seen beside them go, and so on.
        rivalry = connected_components(rivals, len(rows))
        ask = np.isin(rivalry, rivalry[ask])

        asked = rows[ask]
        homes[asked] = UNASSIGNED
        track, group, distances = _candidates(asked, statistics, tracks, rule)
        allowed = people[names[group]] & ~_beside(
            asked[track], names[group], groups, tracks.cannot_link
        )
        order = np.lexsort((group[allowed], track[allowed], distances[allowed]))
        offers = np.stack([asked[track[allowed]], names[group[allowed]]], axis=1)[order]
        _settle(homes, offers, rows[rivals])
        return Assignment(homes)


def _candidates(
    rows: Indices, groups: GroupStatistics, tracks: TrackTable, rule: AssignmentRule
) -> tuple[Indices, Indices, Floats]:
    """Which rows are near enough to which groups, both by position, and how near."""
    limit = rule.max_distance**2
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(rows), CHUNK_TRACKS):
        some = rows[start : start + CHUNK_TRACKS]
        pairs = find_neighbours(
            tracks.vectors[some], groups.means, limit, tracks.variances[some], groups.variances
        )
        found += [np.stack([track + start, group], axis=1) for track, group in pairs]
    track, group = np.concatenate(found).T
    lone = GroupStatistics(
        np.ones(len(track), np.int64), tracks.vectors[rows[track]], tracks.variances[rows[track]]
    )
    both = MergingStatistics.of(lone.followed_by(groups[group]))
    count = np.arange(len(track))
    distances = both.distances(np.stack([count, count + len(track)], axis=1))
    thin = groups.counts[group] < rule.thin_tracks
    enough = ~thin | (distances <= rule.thin_distance**2)
    return track[enough], group[enough], distances[enough]


def _beside(
    rows: Indices, names: Indices, groups: Indices, cannot_link: Indices
) -> NDArray[np.bool_]:
    """Whether the group holds a good track that is apart from the row."""
    size = len(groups) + 1
    both_ways = np.concatenate([cannot_link, cannot_link[:, ::-1]])
    barred = np.unique(both_ways[:, 0] * size + groups[both_ways[:, 1]] + 1)
    beside: NDArray[np.bool_] = np.isin(rows * size + names + 1, barred)
    return beside


def _settle(homes: Indices, offers: Indices, rivals: Indices) -> None:
    """Accept offers in their order, unless a rival is in that group already."""
    contested = np.isin(offers[:, 0], rivals)
    free = offers[~contested]
    rows, first = np.unique(free[:, 0], return_index=True)
    homes[rows] = free[first, 1]
    others = defaultdict(list)
    for one, other in rivals.tolist():
        others[one].append(other)
        others[other].append(one)
    for row, group in offers[contested].tolist():
        if homes[row] < 0 and all(homes[other] != group for other in others[row]):
            homes[row] = group
