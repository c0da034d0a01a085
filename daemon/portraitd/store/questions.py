"""Questions to reviewers: what the last grouping leaves open, and answers that decide nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from portraitd.model.question import Question
from portraitd.model.suggestion import NearMiss
from portraitd.store.database import Database


class DeferredAnswer(StrEnum):
    """Answers that say nothing for good."""

    LATER = "later"
    NOT_ALL = "not-all"


@dataclass(frozen=True, slots=True)
class Deferred:
    """A question that was not decided."""

    question: Question
    answer: DeferredAnswer
    at: float


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """What a question needs to know of a person.

    Attributes:
        name: None for a person without one.
        faces: How many faces they have.
    """

    name: str | None
    faces: int


@dataclass(frozen=True, slots=True)
class FaceFacts:
    """Where a face was seen.

    Attributes:
        recording: Name of the video or photo.
        recorded: When it was recorded, as an ISO 8601 date; empty if nothing says so.
    """

    recording: str
    recorded: str


class QuestionStore:
    """Reads what may be asked, and keeps what was put off."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def near_misses(self) -> list[NearMiss]:
        """Return the tracks that still have no person, the most likely first."""
        rows = self._db.execute(
            """
            select tracks.best_face_id as face_id, near_misses.person_id, probability,
                tracks.faces as faces
            from near_misses join tracks on tracks.id = track_id
            join visible_faces as best on best.id = best_face_id
            where best.person_id is null and best.hidden = 0
            order by probability desc, face_id
            """
        )
        return [NearMiss(*row) for row in rows]

    def people(self) -> Mapping[int, PersonFacts]:
        """Return the people who have faces and are not ignored."""
        rows = self._db.execute(
            """
            select people.id, name, count(*) as faces from people
            join visible_faces as faces on faces.person_id = people.id
            where not ignored and faces.hidden = 0 group by people.id
            """
        )
        return {row["id"]: PersonFacts(row["name"], row["faces"]) for row in rows}

    def deferred(self) -> list[Deferred]:
        """Return the questions that were put off."""
        rows = self._db.execute("select key, answer, at from deferred_questions order by at, key")
        found = [(Question.of(row["key"]), row["answer"], row["at"]) for row in rows]
        return [
            Deferred(question, DeferredAnswer(answer), at)
            for question, answer, at in found
            if question is not None
        ]

    def defer(self, key: str, answer: DeferredAnswer, now_s: float) -> None:
        """Keep that a question was put off."""
        self._db.execute(
            "insert or replace into deferred_questions values (?, ?, ?)", (key, answer, now_s)
        )

    def forget(self, keys: Collection[str]) -> None:
        """Remove questions that were put off."""
        self._db.executemany("delete from deferred_questions where key = ?", [(k,) for k in keys])

    def existing_faces(self, face_ids: Sequence[int]) -> set[int]:
        """Return which of these faces are in the store."""
        return {
            face_id
            for face_id in face_ids
            if self._db.execute("select 1 from faces where id = ?", (face_id,)).fetchone()
        }
