"""Edits: what reviewers did in the people folder, as values.

``people.tree`` detects an edit; what the store keeps of it is a *ledger entry*. A portrait stands
for its face, and with ``review.unit = "track"`` for the whole track. An edit describes a state, not
a movement: reading the same tree twice gives the same edits, and one that is already recorded
changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Placement(IntEnum):
    """Where a portrait belongs that is not in a person's folder. Ids of people are positive."""

    UNSORTED = 0
    IGNORED = -1


class Hidden(IntEnum):
    """Whether and why a face is hidden from the tree."""

    NO = 0
    EXCLUDED = 1
    IGNORED = 2


@dataclass(frozen=True, slots=True)
class NamePerson:
    """A person's folder was renamed."""

    person_id: int
    name: str


@dataclass(frozen=True, slots=True)
class MergePeople:
    """A person's folder was moved into another's, or given the same name: merge the two.

    The person ``into_id`` is kept.
    """

    person_id: int
    into_id: int


@dataclass(frozen=True, slots=True)
class AssignFaces:
    """Portraits were moved into a person's folder: these faces are that person.

    Attributes:
        face_ids: In ascending order.
        person_id: The person; None for ``_unsorted``: not the person they were assigned to.
    """

    face_ids: tuple[int, ...]
    person_id: int | None


@dataclass(frozen=True, slots=True)
class SplitPerson:
    """Portraits were moved into a folder that belongs to no person: they are a new person.

    Attributes:
        face_ids: In ascending order.
        name: Name of the folder, and of the new person.
        location: Path of the folder below the root; it becomes the person's folder.
    """

    face_ids: tuple[int, ...]
    name: str
    location: str


@dataclass(frozen=True, slots=True)
class ExcludeFaces:
    """Portraits were deleted: never show these faces again, nor use them in a training set."""

    face_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IgnoreFaces:
    """Portraits were moved into ``_ignored``: hide these faces until they are moved back."""

    face_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IgnorePerson:
    """A person's folder was moved into ``_ignored``, or deleted with everything in it."""

    person_id: int


@dataclass(frozen=True, slots=True)
class RecallPerson:
    """The folder of an ignored person was moved out of ``_ignored``."""

    person_id: int


Edit = (
    NamePerson
    | MergePeople
    | AssignFaces
    | SplitPerson
    | ExcludeFaces
    | IgnoreFaces
    | IgnorePerson
    | RecallPerson
)
