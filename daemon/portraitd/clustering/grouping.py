"""The steps of one grouping in their order: density, assembly, joining, and who is a person.

Everything that is remembered between two grouping_runs is in ``GroupingState``, as plain arrays, so a
restart computes nothing again and a crash leaves the last one in force.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, AgglomerationRule, TrackTable
from portraitd.clustering.assignment import Assignment, AssignmentRule
from portraitd.clustering.dbscan import DbscanRule, IncrementalDbscan
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats

NO_GROUP = -1


@dataclass(frozen=True, slots=True)
class GroupingRule:
    """How tracks become people. A state made with one rule is of no use to another.

    Attributes:
        density: Of which tracks are sure to be one person.
        assembly: Of which clusters and leftovers are.
        joining: Whom poor tracks may join.
        poor_goodness: Tracks below this may join a person but do not found one.
        fleeting_goodness: The same for tracks of fewer than ``fleeting_faces``: the chance
            likenesses of poor faces average out over many of them, and not over few.
        fleeting_faces: As many faces make up for some of their poorness.
        least_faces: A group of fewer faces, those of poor tracks not counted, is nobody yet.
    """

    density: DbscanRule = field(default_factory=lambda: DbscanRule(eps=0.36, min_samples=3))
    assembly: AgglomerationRule = field(default_factory=AgglomerationRule)
    joining: AssignmentRule = field(default_factory=AssignmentRule)
    poor_goodness: float = 0.2
    fleeting_goodness: float = 0.4
    fleeting_faces: int = 4
    least_faces: int = 2

    def good(self, quality: Floats, faces: Indices) -> NDArray[np.bool_]:
        """Which tracks may found a person.

        Args:
            quality: Shape ``(n,)``; as in ``tracks.Tracks``.
            faces: Shape ``(n,)``; how many faces each track has.
        """
        fleeting = (faces < self.fleeting_faces) & (quality < self.fleeting_goodness)
        good: NDArray[np.bool_] = (quality >= self.poor_goodness) & ~fleeting
        return good


@dataclass(frozen=True, slots=True, eq=False)
class GroupingState:
    """The state of a store: what each step remembers.

    Attributes:
        density: Clusters of the good tracks.
        assembly: Groups of those.
        joining: The groups that poor tracks joined.
    """

    density: IncrementalDbscan
    assembly: Agglomeration
    joining: Assignment

    @classmethod
    def empty(cls, width: int = 128) -> Self:
        """Before the first grouping."""
        return cls(IncrementalDbscan.empty(), Agglomeration.empty(width), Assignment.empty())

    def can_go_on(self, tracks: TrackTable, gone: NDArray[np.bool_]) -> bool:
        """Whether every row it still counts on can be read, also where that is gone.

        A matrix that was made anew has no vectors of rows that were deleted before.
        """
        known = len(self.density.counts)
        if known > len(gone):
            return False
        leaving = np.flatnonzero(self.density.taking_part & gone[:known])
        return bool(tracks.vectors[leaving].any(axis=1).all())

    def updated(
        self,
        tracks: TrackTable,
        quality: Floats,
        faces: Indices,
        gone: NDArray[np.bool_],
        rule: GroupingRule,
    ) -> GroupingState:
        """One grouping: take in what is new, let go what is gone, group what that changed.

        Args:
            tracks: All rows; new ones behind the old, which keep their vectors and variances.
            quality: Shape ``(n,)``; as in ``tracks.Tracks``.
            faces: Shape ``(n,)``; how many faces each track has.
            gone: Shape ``(n,)``; rows that were deleted or excluded.
            rule: The same in every call.
        """
        # What somebody pinned counts as good: they could tell who it is.
        good = (rule.good(quality, faces) | (tracks.pinned > 0)) & ~gone
        was_in = np.zeros(len(good), dtype=np.bool_)
        was_in[: len(self.density.counts)] = self.density.taking_part
        density = self.density.remove(
            tracks.vectors, np.flatnonzero(was_in & ~good), rule.density
        ).insert(tracks.vectors, np.flatnonzero(good & ~was_in), rule.density)
        assembly = self.assembly.updated(density, tracks, rule.density, rule.assembly)
        poor = ~good & ~gone
        people = _are_people(assembly.groups, faces, rule)
        joining = self.joining.updated(
            poor, people, assembly, tracks, rule.joining.within(rule.assembly.max_distance)
        )
        return GroupingState(density, assembly, joining)

    def groups(self, faces: Indices, rule: GroupingRule) -> Indices:
        """The group of each row that may be shown as a person, -1 for all others.

        Args:
            faces: Shape ``(n,)``; how many faces each track has.
            rule: As for ``updated``.

        Returns:
            Shape ``(n,)``; named after a row of the group, for ``identity.carry_over``.
        """
        founding = self.assembly.groups
        everyone = np.where(self.joining.homes >= 0, self.joining.homes, founding)
        shown = (everyone >= 0) & _are_people(founding, faces, rule)[everyone]
        groups: Indices = np.where(shown, everyone, NO_GROUP)
        return groups


def _are_people(founding: Indices, faces: Indices, rule: GroupingRule) -> NDArray[np.bool_]:
    """Shape ``(n,)``: whether the group that is named after a row has faces enough."""
    inside = founding >= 0
    counts = np.zeros(len(founding), dtype=np.int64)
    np.add.at(counts, founding[inside], faces[inside])
    people: NDArray[np.bool_] = counts >= rule.least_faces
    return people


def to_arrays(grouping: GroupingState) -> dict[str, NDArray[Any]]:
    """Flatten a state to named arrays, as ``numpy.savez`` takes them; no pickle needed."""
    return dict(_flattened(grouping, ""))


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> GroupingState:
    """Undo ``to_arrays``.

    Raises:
        KeyError: If an array is missing, as in a state of another version.
    """
    return cast(GroupingState, _built(GroupingState.empty(), "", arrays))


def _flattened(state: object, prefix: str) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, value in _parts(state):
        if is_dataclass(value):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, cast(NDArray[Any], value)


def _built(example: object, prefix: str, arrays: Mapping[str, NDArray[Any]]) -> object:
    """A state of the same make as the example."""
    values = {
        name: _built(value, f"{prefix}{name}.", arrays)
        if is_dataclass(value)
        else arrays[prefix + name]
        for name, value in _parts(example)
    }
    return type(example)(**values)


def _parts(state: object) -> Iterator[tuple[str, object]]:
    assert is_dataclass(state)
    for one in fields(state):
        yield one.name, getattr(state, one.name)
