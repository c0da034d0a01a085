"""What happened and was not announced yet: people who were found, and files that are done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from portraitd.model.media_file import VideoState
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.store.database import Database
from portraitd.store.files import display_path, reason_of
from portraitd.store.people import GroupingRun

MAX_AT_ONCE = 500
"""Of each kind; the rest follows with the next call."""


@dataclass(frozen=True, slots=True)
class SeenPerson:
    """A person in an announcement.

    Attributes:
        id: The person.
        name: Their name; None if they have none.
        faces: How many of their faces are known, or were found in the recording.
    """

    id: int
    name: str | None
    faces: int


@dataclass(frozen=True, slots=True)
class FinishedRecording:
    """A video or photo that was processed, and grouped.

    Attributes:
        id: The video.
        path: Its file, below the inbox or as it was given to ``process``.
        state: Done or failed.
        reason: Why it failed, or what is missing.
        people: Who was seen in it.
    """

    id: int
    path: str
    state: VideoState
    reason: Reason
    people: tuple[SeenPerson, ...]


class Announcements:
    """Finds what is to be announced. The caller writes it somewhere, then marks it.

    A crash in between announces it twice, never not at all.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def changes(self) -> int:
        """Rises with every write of this process: without one, there is nothing new."""
        return self._db.changes

    def people(self) -> list[SeenPerson]:
        """Return the people with faces who were not announced yet, oldest first."""
        rows = self._db.execute(
            """
            select people.id, name, count(*) as faces
            from people join visible_faces on person_id = people.id
            where not announced group by people.id order by people.id limit ?
            """,
            (MAX_AT_ONCE,),
        )
        return [SeenPerson(row["id"], row["name"], row["faces"]) for row in rows]

    def recordings(self, grouped: GroupingRun | None) -> list[FinishedRecording]:
        """Return what is finished, grouped and not announced yet, oldest first.

        Args:
            grouped: The last grouping.
        """
        unit, last_id = (grouped.unit, grouped.last_id) if grouped else ("tracks", 0)
        rows = self._db.execute(
            f"""
            select id, state, reason, reason_code from videos
            where not announced and state <> 'queued' and replaces is null and not is_reference
                and (state = 'failed' or reason_code = ? or (tracked and not exists
                    (select 1 from grouped_{unit} where video_id = videos.id and id > ?)))
            order by id limit ?
            """,  # noqa: S608 - one of two constants
            (ReasonCode.TRACKING_FAILED, last_id, MAX_AT_ONCE),
        ).fetchall()
        return [
            FinishedRecording(
                row["id"],
                self._path(row["id"]),
                VideoState(row["state"]),
                reason_of(row),
                self._people_in(row["id"]),
            )
            for row in rows
        ]

    def mark(self, people: Iterable[int], recordings: Iterable[int]) -> None:
        """Record that these were announced."""
        with self._db.transaction():
            self._db.executemany(
                "update people set announced = 1 where id = ?", [(one,) for one in people]
            )
            self._db.executemany(
                "update videos set announced = 1 where id = ?", [(one,) for one in recordings]
            )

    def questions(self) -> set[str]:
        """Return the keys of the questions that were announced and are still asked."""
        return {row["key"] for row in self._db.execute("select key from announced_questions")}

    def mark_questions(self, keys: Iterable[str]) -> None:
        """Record which questions are still asked, all of them announced."""
        with self._db.transaction():
            self._db.execute("delete from announced_questions")
            self._db.executemany(
                "insert into announced_questions values (?)", [(key,) for key in keys]
            )

    def blocked(self) -> Reason:
        """Return the reason that was announced last, if nothing was announced since."""
        row = self._db.execute("select reason, reason_code from announced_block").fetchone()
        return reason_of(row) if row else NO_REASON

    def mark_blocked(self, reason: Reason) -> None:
        """Record that a reason was announced, or with ``NO_REASON`` that it has passed."""
        with self._db.transaction():
            self._db.execute("delete from announced_block")
            if reason:
                self._db.execute(
                    "insert into announced_block (id, reason, reason_code) values (1, ?, ?)",
                    (reason.text, reason.code),
                )

    def _path(self, video_id: int) -> str:
        row = self._db.execute(
            "select root, path from files where video_id = ? order by id limit 1", (video_id,)
        ).fetchone()
        return (
            display_path(Path(os.fsdecode(row["root"])) / os.fsdecode(row["path"])) if row else ""
        )

    def _people_in(self, video_id: int) -> tuple[SeenPerson, ...]:
        rows = self._db.execute(
            """
            select people.id, name, count(*) as faces
            from visible_faces join people on people.id = person_id
            where video_id = ? and not ignored group by people.id order by people.id
            """,
            (video_id,),
        )
        return tuple(SeenPerson(row["id"], row["name"], row["faces"]) for row in rows)
