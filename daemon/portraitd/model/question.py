"""Questions to reviewers: a picture asks whether one or several claims are right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_IDS = r"[0-9]{1,18}(?:,[0-9]{1,18})*"

_CLAIM = re.compile(rf"(same|is|new):({_IDS})(?::({_IDS}))?")

MAX_CLAIMS = 10
"""The most claims on one picture, each with a number."""

MAX_FACES = 12
"""The most faces, all of different tracks, in one claim."""

MAX_KEY_CHARACTERS = 900


class CardAnswer(StrEnum):
    """What a reviewer did with the card of a question."""

    YES = "yes"
    NO = "no"
    LATER = "later"
    """Deleted it: not now."""
    BOTH = "both"
    """Put copies into both folders, or gave copies different numbers: no answer."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Two people are one, a face shows a person, or some faces show one person who is new.

    Attributes:
        people: Ids of two people, where the first is kept; or of the one that the face shows; none
            if the person is new.
        face_ids: Faces without a person, one of each track, in ascending order: none, one, or at
            least two of a new person.
    """

    people: tuple[int, ...]
    face_ids: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """A short text that stands for the claim; equal for equal claims."""
        people, faces = (",".join(map(str, ids)) for ids in (self.people, self.face_ids))
        if not self.people:
            return f"new:{faces}"
        return f"is:{people}:{faces}" if self.face_ids else f"same:{people}"

    @property
    def is_usable(self) -> bool:
        """Whether it claims something."""
        sizes = len(self.people), len(self.face_ids)
        is_new = sizes[0] == 0 and 2 <= sizes[1] <= MAX_FACES
        return is_new or (sizes in ((2, 0), (1, 1)) and len(set(self.people)) == sizes[0])


@dataclass(frozen=True, slots=True)
class Question:
    """Which of some claims are right.

    Attributes:
        claims: At least one; a picture numbers them from 1.
    """

    claims: tuple[Claim, ...]

    @classmethod
    def same(cls, one: int, other: int) -> Self:
        """Ask whether two people are one."""
        return cls((Claim((one, other)),))

    @classmethod
    def about_face(cls, face_id: int, person_id: int) -> Self:
        """Ask whether a face shows a person."""
        return cls((Claim((person_id,), (face_id,)),))

    @property
    def key(self) -> str:
        """A short text that stands for the question; equal for equal questions."""
        return ".".join(claim.key for claim in self.claims)

    @property
    def face_ids(self) -> tuple[int, ...]:
        """All faces that it is about."""
        return tuple(face for claim in self.claims for face in claim.face_ids)

    @classmethod
    def of(cls, key: str) -> Self | None:
        """Return the question that a key stands for; None if it stands for none."""
        claims: list[Claim] = []
        for part in key.split("."):
            found = _CLAIM.fullmatch(part)
            if found is None:
                return None
            people = tuple(map(int, found[2].split(",")))
            faces = tuple(sorted(set(map(int, found[3].split(","))))) if found[3] else ()
            claims += _read_claims(found[1], people, faces)
        is_usable = all(claim.is_usable for claim in claims) and 0 < len(claims) <= MAX_CLAIMS
        return cls(tuple(claims)) if is_usable else None


def _read_claims(kind: str, people: tuple[int, ...], faces: tuple[int, ...]) -> list[Claim]:
    """Return the claims of one part of a key; several where an earlier version wrote it."""
    if kind == "new":
        return [Claim((), tuple(sorted(set(people))))] if not faces else [Claim(())]
    if kind == "is":
        return [Claim(people, (face,)) for face in faces] or [Claim(())]
    first, *others = people
    return [Claim((first, other)) for other in others] if not faces and others else [Claim(())]
