"""A question to reviewers: whether some people, or some faces and a person, are one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_KEY = re.compile(r"(same|is):([0-9]{1,18}(?:,[0-9]{1,18})*)(?::([0-9]{1,18}(?:,[0-9]{1,18})*))?")

MAX_PEOPLE = 6
"""The most people on one card."""

MAX_FACES = 12
"""The most faces, all of different tracks, on one card."""


class CardAnswer(StrEnum):
    """What a reviewer did with the card of a question."""

    YES = "yes"
    NO = "no"
    LATER = "later"
    """Deleted it: not now."""
    BOTH = "both"
    """Put copies into both folders: no answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whether all of these are one person.

    Attributes:
        people: Ids of people. Of several, the first is kept if they are one; of a question about
            faces, the only one.
        face_ids: Faces without a person, one of each track, in ascending order; empty if the
            question is about people.
    """

    people: tuple[int, ...]
    face_ids: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """A short text that stands for the question; equal for equal questions."""
        people = ",".join(map(str, self.people))
        faces = ",".join(map(str, self.face_ids))
        return f"is:{people}:{faces}" if self.face_ids else f"same:{people}"

    @classmethod
    def of(cls, key: str) -> Self | None:
        """Return the question that a key stands for; None if it stands for none."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        people = tuple(map(int, found[2].split(",")))
        face_ids = tuple(map(int, found[3].split(","))) if found[3] else ()
        is_about_faces = found[1] == "is"
        if len(set(people)) < len(people) or len(people) > MAX_PEOPLE or len(face_ids) > MAX_FACES:
            return None
        if is_about_faces != bool(face_ids) or (len(people) == 1) != is_about_faces:
            return None
        return cls(people, tuple(sorted(set(face_ids))))

    @property
    def is_single(self) -> bool:
        """Whether a no says who is not whom, and not only that one of several is not."""
        return len(self.people) + len(self.face_ids) == 2
