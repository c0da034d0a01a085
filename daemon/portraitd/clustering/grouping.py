"""One grouping from start to end: DBSCAN, linkage, assignment, and which groups are people.

All state between two groupings is in ``GroupingState``, as plain arrays, so a restart computes
nothing again and a crash leaves the state of the last recorded grouping.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.assignment import Assignment
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats
from portraitd.clustering.merge_candidates import NearPairs
from portraitd.clustering.recording_assignment import assign_in_recordings
from portraitd.clustering.tight_neighbourhoods import KeptApart, keep_apart
from portraitd.model.grouping_rules import GroupingRule

NO_GROUP = -1
ADDED_LATER = {"assignment.": "assignment.offers.", "near_pairs.": "near_pairs."}
"""Parts of a state that are empty where an older version stored no arrays of this prefix."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupingState:
    """The state of each step, for all tracks in the store.

    Attributes:
        dbscan: Clusters of the good tracks.
        agglomeration: Groups of the good tracks.
        assignment: The groups that low-quality tracks are assigned to.
        near_pairs: People who are near each other, among those who did not change since they were
            searched.
    """

    dbscan: IncrementalDbscan
    agglomeration: Agglomeration
    assignment: Assignment
    near_pairs: NearPairs

    @classmethod
    def empty(cls, width: int) -> Self:
        """Return the state before the first grouping, for vectors of ``width`` dimensions."""
        return cls(
            IncrementalDbscan.empty(),
            Agglomeration.empty(width),
            Assignment.empty(),
            NearPairs.empty(),
        )

    def can_continue(self, tracks: TrackTable, excluded: NDArray[np.bool_]) -> bool:
        """Return whether the vectors of all rows in this state can still be read.

        Rows that are excluded now have to be removed, which needs their vectors. A matrix that
        was written again lacks those of tracks that had been deleted before.
        """
        known = len(self.dbscan.counts)
        if known > len(excluded):
            return False
        leaving = np.flatnonzero(self.dbscan.included & excluded[:known])
        return bool(tracks.vectors[leaving].any(axis=1).all())

    def update(
        self,
        tracks: TrackTable,
        quality: Floats,
        faces: Indices,
        excluded: NDArray[np.bool_],
        rule: GroupingRule,
    ) -> GroupingState:
        """Return the state after adding new rows, removing excluded ones, and regrouping.

        Args:
            tracks: All rows; new ones follow the old, which keep their vectors and variances.
            quality: Shape ``(n,)``; as in ``TrackSummaries``.
            faces: Shape ``(n,)``; how many faces each track has.
            excluded: Shape ``(n,)``; rows that were deleted, or that a user excluded.
            rule: The same in every call.
        """
        # A pinned track counts as good: a user could tell who it is.
        good = (rule.find_good(quality, faces) | (tracks.pinned > 0)) & ~excluded
        was_in = np.zeros(len(good), dtype=np.bool_)
        was_in[: len(self.dbscan.counts)] = self.dbscan.included
        dbscan = self.dbscan.remove(
            tracks.vectors, np.flatnonzero(was_in & ~good), rule.dbscan
        ).insert(tracks.vectors, np.flatnonzero(good & ~was_in), rule.dbscan)
        agglomeration = self.agglomeration.update(dbscan, tracks, rule.dbscan, rule.agglomeration)
        groups = agglomeration.groups
        lone = large = None
        if rule.assignment.centre_distance is not None:
            sizes = _count_tracks(groups)
            lone = (groups >= 0) & (sizes[groups] == 1) & (tracks.pinned == 0)
            large = _find_large(groups, faces, rule)
        assignment = self.assignment.update(
            ~good & ~excluded,
            _find_people(groups, faces, rule),
            agglomeration,
            tracks,
            rule.assignment.within(rule.agglomeration.max_distance),
            lone,
            large,
        )
        names = agglomeration.names
        near_pairs = self.near_pairs.select(names[~agglomeration.rebuilt[names]])
        return GroupingState(dbscan, agglomeration, assignment, near_pairs)

    def select_people(self, faces: Indices, rule: GroupingRule) -> Indices:
        """Return the group of each row if that group is a person, else -1.

        Args:
            faces: Shape ``(n,)``; how many faces each track has.
            rule: As for ``update``.

        Returns:
            Shape ``(n,)``; named after a row of the group, for ``identity.carry_over``.
        """
        founded, assigned = self.agglomeration.groups, self.assignment.groups
        groups = np.where(assigned >= 0, assigned, founded)
        # Tracks that were assigned to a lone track follow it to the person that it joined.
        followers = np.flatnonzero((groups >= 0) & (assigned[groups] >= 0))
        groups[followers] = assigned[groups[followers]]
        pairs = self.agglomeration.cannot_link
        conflicts = pairs[(groups[pairs[:, 0]] == groups[pairs[:, 1]])]
        groups[np.intersect1d(conflicts, followers)] = NO_GROUP
        is_person = (groups >= 0) & _find_people(founded, faces, rule)[groups]
        people: Indices = np.where(is_person, groups, NO_GROUP)
        return people

    def join_in_recordings(
        self,
        people: Indices,
        tracks: TrackTable,
        faces: Indices,
        videos: Indices,
        fixed: NDArray[np.bool_],
        rule: GroupingRule,
    ) -> Indices:
        """Assign what is left over to people of its recording; see ``recording_assignment``.

        Args:
            people: From ``select_people``.
            tracks: As for ``update``.
            faces: Shape ``(n,)``; how many faces each track has.
            videos: Shape ``(n,)``; the recording of each row.
            fixed: Shape ``(n,)``; rows that are excluded, or whose person a user named or
                confirmed.
            rule: As for ``update``.
        """
        if rule.recording is None:
            return people
        return assign_in_recordings(
            people,
            self.agglomeration,
            tracks,
            videos,
            _find_large(self.agglomeration.groups, faces, rule),
            fixed | (tracks.pinned > 0),
            rule.recording,
        )

    def keep_apart(
        self,
        people: Indices,
        tracks: TrackTable,
        faces: Indices,
        protected: NDArray[np.bool_],
        rule: GroupingRule,
    ) -> KeptApart:
        """Split the people whom the model cannot tell apart; see ``tight_neighbourhoods``.

        Args:
            people: From ``select_people``.
            tracks: As for ``update``.
            faces: Shape ``(n,)``; how many faces each track has.
            protected: Shape ``(n,)``; rows of people whom a user named or confirmed.
            rule: As for ``update``.
        """
        if rule.tightness is None:
            return KeptApart(people, np.zeros(len(people), dtype=np.bool_))
        founded = self.agglomeration.groups
        kept = keep_apart(
            people,
            founded,
            self.agglomeration.statistics,
            tracks,
            protected | (tracks.pinned > 0),
            rule.tightness,
        )
        has_enough = _find_people(kept.groups, faces, rule)
        is_piece = kept.indistinct & (kept.groups >= 0)
        too_few = is_piece & ~has_enough[kept.groups]
        return KeptApart(np.where(too_few, NO_GROUP, kept.groups), kept.indistinct)


def _find_people(groups: Indices, faces: Indices, rule: GroupingRule) -> NDArray[np.bool_]:
    """Return, for the group named after each row, whether it has enough faces; shape ``(n,)``."""
    people: NDArray[np.bool_] = _count_faces(groups, faces) >= rule.min_faces
    return people


def _find_large(groups: Indices, faces: Indices, rule: GroupingRule) -> NDArray[np.bool_]:
    """Return whether others may join the group named after each row by the distance of centres."""
    enough = _count_faces(groups, faces) >= rule.assignment.centre_faces
    large: NDArray[np.bool_] = enough & (_count_tracks(groups) > 1)
    return large


def _count_faces(groups: Indices, faces: Indices) -> Indices:
    """Return how many faces the group named after each row has; shape ``(n,)``."""
    inside = groups >= 0
    counts = np.zeros(len(groups), dtype=np.int64)
    np.add.at(counts, groups[inside], faces[inside])
    return counts


def _count_tracks(groups: Indices) -> Indices:
    """Return how many tracks the group named after each row has; shape ``(n,)``."""
    return _count_faces(groups, np.ones(len(groups), dtype=np.int64))


def to_arrays(state: GroupingState) -> dict[str, NDArray[Any]]:
    """Flatten a state to named arrays that ``numpy.savez`` can store without pickle."""
    return dict(_flatten(state, ""))


def from_arrays(arrays: Mapping[str, NDArray[Any]], width: int) -> GroupingState:
    """Restore what ``to_arrays`` flattened, for vectors of ``width`` dimensions.

    Versions up to 0.2.0 kept neither offers nor near pairs: then both are found again for all.

    Raises:
        KeyError: If another array is missing.
    """
    missing = {
        part
        for part, added in ADDED_LATER.items()
        if not any(name.startswith(added) for name in arrays)
    }
    return cast(GroupingState, _unflatten(GroupingState.empty(width), "", arrays, missing))


def _flatten(state: object, prefix: str) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, value in _list_fields(state):
        if is_dataclass(value):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, cast(NDArray[Any], value)


def _unflatten(
    example: object, prefix: str, arrays: Mapping[str, NDArray[Any]], missing: set[str]
) -> object:
    """Return a state with the same structure as the example, whose missing parts it keeps."""
    if prefix in missing:
        return example
    values = {
        name: _unflatten(value, f"{prefix}{name}.", arrays, missing)
        if is_dataclass(value)
        else arrays[prefix + name]
        for name, value in _list_fields(example)
    }
    return type(example)(**values)


def _list_fields(state: object) -> Iterator[tuple[str, object]]:
    assert is_dataclass(state)
    for one in fields(state):
        yield one.name, getattr(state, one.name)
