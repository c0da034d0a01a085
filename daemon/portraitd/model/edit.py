"""What people do in the tree, as values: read there by ``people``, kept by the ledger.

A portrait stands for its face, and with ``review.unit = "track"`` for the whole track. A edit
says what is, not what moved: reading the same tree twice gives the same edits, and one that
already holds changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Placement(IntEnum):
    """Where a portrait belongs that is in no person's folder; a person's id is positive."""

    UNSORTED = 0
    IGNORED = -1


class Hidden(IntEnum):
    """Whether a face is kept out of the tree, and why."""

    NO = 0
    EXCLUDED = 1
    IGNORED = 2


@dataclass(frozen=True, slots=True)
class NamePerson:
    """A person's folder has a name that a human gave it."""

    person_id: int
    name: str


@dataclass(frozen=True, slots=True)
class MergePeople:
    """A person's folder lies in another's, or has the same name: the two are one.

    The one named ``into_id`` remains.
    """

    person_id: int
    into_id: int


@dataclass(frozen=True, slots=True)
class AssignFaces:
    """Portraits lie in the folder of a person who is not theirs: these faces are that person.

    Attributes:
        face_ids: Rising.
        person_id: Whose folder; None for ``_unsorted``: nobody known, and not who they were.
    """

    face_ids: tuple[int, ...]
    person_id: int | None


@dataclass(frozen=True, slots=True)
class SplitPerson:
    """Portraits lie in a folder that is nobody's: they are a person of their own.

    Attributes:
        face_ids: Rising.
        name: The folder's, and the person's from now on.
        location: The folder's path below the root; it becomes the person's folder.
    """

    face_ids: tuple[int, ...]
    name: str
    location: str


@dataclass(frozen=True, slots=True)
class ExcludeFaces:
    """Portraits are gone: never to be shown again, and in no dataset."""

    face_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IgnoreFaces:
    """Portraits lie in ``_ignored``: out of sight until they are moved back."""

    face_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IgnorePerson:
    """A person's folder lies in ``_ignored``, or was deleted with all that was in it."""

    person_id: int


@dataclass(frozen=True, slots=True)
class RecallPerson:
    """The folder of an ignored person lies among the others again."""

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
