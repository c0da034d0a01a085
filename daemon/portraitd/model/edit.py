"""Edits: what reviewers did in the people folder, as values.

``people.tree`` detects an edit; what the store keeps of it is a *ledger entry*. A portrait stands
for its face, and with ``review.unit = "track"`` for the whole track. An edit describes a state, not
a movement: reading the same tree twice gives the same edits, and one that is already recorded
changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from portraitd.model.face import Box


class Placement(IntEnum):
    """Where a portrait belongs that is not in a person's folder. Ids of people are positive."""

    UNSORTED = 0
    IGNORED = -1


class Hidden(IntEnum):
    """Whether and why a face is hidden from the tree."""

    NO = 0
    EXCLUDED = 1
    IGNORED = 2
    REFERENCE = 3
    """It is on a picture of the reviewer's own, which only says who a person is."""
    REPLACED = 4
    """A person drew another box for it, or drew this one and took it back."""


@dataclass(frozen=True, slots=True)
class NamePerson:
    """A person's folder was renamed.

    Attributes:
        name: The new name; None if the folder was given the person's own number again.
    """

    person_id: int
    name: str | None


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
        name: Name of the folder, and of the new person; empty for a person without one, whom a
            question was about.
        location: Path of the folder below the root; it becomes the person's folder. Empty for a
            question.
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


@dataclass(frozen=True, slots=True)
class SeparatePeople:
    """A question was answered with no: these two are not one person. ``person_id`` is the lower."""

    person_id: int
    other_id: int


@dataclass(frozen=True, slots=True)
class RejectPerson:
    """A question was answered with no: these faces are not that person; the grouping decides.

    Attributes:
        face_ids: In ascending order.
        person_id: Who they are not.
    """

    face_ids: tuple[int, ...]
    person_id: int


@dataclass(frozen=True, slots=True)
class DeferQuestion:
    """A question got an answer that decides nothing for good; see ``store.questions``.

    Attributes:
        key: The question's.
        answer: A ``DeferredAnswer``; empty if both were given at once, which counts as none.
    """

    key: str
    answer: str


@dataclass(frozen=True, slots=True)
class AddReference:
    """A picture of the reviewer's own was put into a folder: its face is that person's.

    Attributes:
        person_id: Whose folder it is; None if it belongs to no person yet.
        name: Name of the folder; of a person who has that name, or of a new one.
    """

    face_id: int
    person_id: int | None
    name: str


@dataclass(frozen=True, slots=True)
class NameRegion:
    """Another program wrote a name around a face in a photo: it is the person of that name."""

    face_id: int
    name: str


@dataclass(frozen=True, slots=True)
class RemoveReference:
    """A picture of the reviewer's own was removed or replaced: its face represents no person."""

    face_id: int


ReferenceEdit = AddReference | RemoveReference


class DrawnBox(NamedTuple):
    """A box that a person drew around a face.

    Attributes:
        t_s: Time of its frame; 0 in a photo.
        replaces_id: The face whose box it corrects; None for a face that was missed.
    """

    video_id: int
    t_s: float
    box: Box
    replaces_id: int | None = None


@dataclass(frozen=True, slots=True)
class DrawFaces:
    """Boxes were drawn for faces that were missed, or to correct boxes.

    Attributes:
        boxes: All for missed faces, or all to correct boxes.
        person_id: Whose the faces are; None if the grouping decides.
    """

    boxes: tuple[DrawnBox, ...]
    person_id: int | None


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """The card of an edit was moved into ``_edits/undo``: undo this entry of the ledger."""

    entry_id: int


@dataclass(frozen=True, slots=True)
class AnswerLosses:
    """A person said whether missing portraits were deleted. No entry of the ledger by itself.

    Attributes:
        key: Stands for what was missing when they were asked.
        are_deleted: Otherwise they are to be written again.
    """

    key: str
    are_deleted: bool


Edit = (
    NamePerson
    | MergePeople
    | AssignFaces
    | SplitPerson
    | ExcludeFaces
    | IgnoreFaces
    | IgnorePerson
    | RecallPerson
    | SeparatePeople
    | RejectPerson
    | DeferQuestion
    | UndoEntry
    | AddReference
    | NameRegion
    | RemoveReference
    | DrawFaces
)
