"""People and their folders.

A *cluster* is what the density step says today. A *person* is what people see, and outlives
every regrouping.
"""

from __future__ import annotations

from dataclasses import dataclass

from portraitd.model.face import Box
from portraitd.model.track import Indices


@dataclass(frozen=True, slots=True)
class PublishedFace:
    """A face as the people tree shows it: enough for its annotation and for what its file says.

    Attributes:
        area: The part of the frame that the portrait shows.
        source: Name of the video or photo, for people to read.
        sha256: Of the whole video or photo, hexadecimal.
        t_s: When in the video; 0 for a photo.
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
    """A person and the faces their folder should hold."""

    person_id: int
    name: str | None
    faces: tuple[PublishedFace, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CarriedOver:
    """Who everybody is after a grouping, and what became of those who were there before.

    Attributes:
        people: Shape ``(n,)``; person of each track, 0 for nobody.
        merged_into: For each person who has no track any more, who has most of theirs.
            A person whose tracks belong to nobody now is in no list: they are empty.
        split_from: For each new person, who had most of their tracks before, if anybody.
        churn: Faces that had a person and have another one now, or none.
        names_lost: Kept people who had tracks and have none. Always empty, unless somebody
            placed every one of their tracks with somebody else.
        next_id: The lowest id never used.
    """

    people: Indices
    merged_into: dict[int, int]
    split_from: dict[int, int]
    churn: int
    names_lost: tuple[int, ...]
    next_id: int
