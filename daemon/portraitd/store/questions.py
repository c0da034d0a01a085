"""Questions to reviewers: what the last grouping leaves open, and answers that decide nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from portraitd.model.media_file import MediaKind
from portraitd.model.question import Question
from portraitd.model.suggestion import NearMiss, Newcomer
from portraitd.store.database import Database
from portraitd.store.files import display_path
from portraitd.store.recordings import recording_time_of


class DeferredAnswer(StrEnum):
    """Answers that decide nothing for good."""

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
        t_s: Time in the video; None for a photo.
        day: When it was recorded, as an ISO 8601 date; empty if nothing says so.
        centre_x, centre_y: Where the middle of the face is in its portrait, as fractions.
        width, height: Of the face, likewise.
    """

    recording: str
    t_s: float | None
    day: str
    centre_x: float
    centre_y: float
    width: float
    height: float


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
            from near_misses join tracks on tracks.id = near_misses.track_id
            join visible_faces as best on best.id = best_face_id
            where best.person_id is null and best.hidden = 0
            order by probability desc, face_id
            """
        )
        return [NearMiss(*row) for row in rows]

    def newcomers(self) -> list[Newcomer]:
        """Return the groups of tracks that still have no person and probably show one new one."""
        rows = self._db.execute(
            """
            select group_id, best_face_id, tracks.faces as faces
            from newcomers join tracks on tracks.id = newcomers.track_id
            join visible_faces as best on best.id = best_face_id
            where best.person_id is null and best.hidden = 0
            order by group_id, best_face_id
            """
        )
        groups = [list(group) for _, group in groupby(rows, itemgetter("group_id"))]
        return [
            Newcomer(
                tuple(row["best_face_id"] for row in group), sum(row["faces"] for row in group)
            )
            for group in groups
            if len(group) > 1
        ]

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

    def best_faces(self, person_id: int, limit: int) -> list[int]:
        """Return one face of each of a person's best tracks that may be shown."""
        rows = self._db.execute(
            """
            select faces.id from visible_faces as faces join portraits on face_id = faces.id
            join tracks on tracks.id = faces.track_id
            where person_id = ? and faces.rank = 0 order by quality desc, faces.id limit ?
            """,
            (person_id, limit),
        )
        return [row["id"] for row in rows]

    def face_facts(self, face_id: int) -> FaceFacts | None:
        """Return where a face was seen; None if it is not in the store."""
        row = self._db.execute(
            """
            select t_s, videos.kind, path, recorded_at, recorded_offset_min, box_left, box_top,
                box_right, box_bottom, area_left, area_top, area_right, area_bottom
            from faces join videos on videos.id = faces.video_id
            join portraits on face_id = faces.id
            left join files on files.id = (
                select id from files where files.video_id = videos.id
                order by state = 'duplicate', id limit 1)
            where faces.id = ?
            """,
            (face_id,),
        ).fetchone()
        if row is None:
            return None
        recorded = recording_time_of(row)
        width_px = max(row["area_right"] - row["area_left"], 1)
        height_px = max(row["area_bottom"] - row["area_top"], 1)
        return FaceFacts(
            Path(display_path(row["path"] or b"")).name,
            None if row["kind"] == MediaKind.PHOTO else row["t_s"],
            recorded.iso()[:10] if recorded else "",
            ((row["box_left"] + row["box_right"]) / 2 - row["area_left"]) / width_px,
            ((row["box_top"] + row["box_bottom"]) / 2 - row["area_top"]) / height_px,
            (row["box_right"] - row["box_left"]) / width_px,
            (row["box_bottom"] - row["box_top"]) / height_px,
        )
