"""People, and the faces that are published for them.

A *cluster* is the result of one grouping run. A *person* is what people see, and is kept across
all grouping runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from portraitd.model.face import Box
from portraitd.model.track import Indices


@dataclass(frozen=True, slots=True)
class PublishedFace:
    """A face with what its portrait, annotation and mark are made from.

    Attributes:
        area: The part of the frame that the portrait shows.
        source: Name of the video or photo, for display.
        sha256: Hash of the whole video or photo, hexadecimal.
        t_s: Time in the video; 0 for a photo.
    """

    face_id: int
    box: Box
    area: Box
    score: float
    source: str
    sha256: str
    t_s: float


@dataclass(frozen=True, slots=True)
class PersonFolder:
    """A person and the faces to publish for them, as the database has them.

    This is the input of a publish. ``people.tree`` turns it into a ``DesiredFolder``, which also
    has a folder name, a class number and file names; the database knows none of these.
    """

    person_id: int
    name: str | None
    faces: tuple[PublishedFace, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CarriedOver:
    """The people after a grouping run, and what became of the previous ones.

    Attributes:
        people: Shape ``(n,)``; person of each track, 0 for none.
        merged_into: For each person who has no track any more, the person who has most of them.
            A person whose tracks are all unassigned now is not listed: they are empty.
        split_from: For each new person, the one who had most of their tracks before, if any.
        churn: Number of faces that had a person before, and have another one or none now.
        names_lost: Named people who had tracks and have none now. Empty, unless edits assigned
            every one of their tracks to another person.
        next_id: The lowest id that was never used.
    """

    people: Indices
    merged_into: dict[int, int]
    split_from: dict[int, int]
    churn: int
    names_lost: tuple[int, ...]
    next_id: int
