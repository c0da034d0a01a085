"""What the people tree is to show, and where each portrait lies in it as far as is known."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from portraitd.model.edit import Hidden, Placement
from portraitd.model.face import Box
from portraitd.model.person import PersonFolder, PublishedFace
from portraitd.store.database import Database


class Publication(NamedTuple):
    """What the tree was last made from; all zero if it never was."""

    grouping_run_id: int
    ledger_id: int
    render_version: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How many portraits are published.

    Attributes:
        per_track: Of each track; 0 for every face.
        unsorted: Tracks of nobody, the best first; 0 for all.
    """

    per_track: int
    unsorted: int


@dataclass(frozen=True, slots=True)
class DesiredTree:
    """The tree as it should be.

    Attributes:
        folders: People in sight, by id; those who have nothing to show now come last.
        ignored: People who were put out of sight, likewise.
        unsorted: Faces of nobody.
        ignored_faces: Single faces that were put out of sight.
    """

    folders: tuple[PersonFolder, ...]
    ignored: tuple[PersonFolder, ...]
    unsorted: tuple[PublishedFace, ...]
    ignored_faces: tuple[PublishedFace, ...]

    def places(self) -> dict[int, int]:
        """Where each portrait belongs: a person's id, ``Placement.UNSORTED`` or ``Placement.IGNORED``."""
        people = (*self.folders, *self.ignored)
        return {
            **{face.face_id: Placement.UNSORTED for face in self.unsorted},
            **{face.face_id: Placement.IGNORED for face in self.ignored_faces},
            **{face.face_id: folder.person_id for folder in people for face in folder.faces},
        }


class Publications:
    """The tree as it should be and as it was left."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._shown: dict[int, int] | None = None

    def last(self) -> Publication:
        """What the tree was last made from."""
        row = self._db.execute(
            "select grouping_run_id, ledger_id, render_version from publications"
        ).fetchone()
        return Publication(*row) if row else Publication(0, 0, "")

    def wanted(self, limits: Limits) -> DesiredTree:
        """What is to be published now, in as many queries whatever the number of people."""
        sources = {
            row["video_id"]: (Path(os.fsdecode(row["path"])).name, row["sha256"])
            for row in self._db.execute(
                """
                select videos.id as video_id, sha256, coalesce(path, x'') as path
                from videos left join files on files.id = (
                    select id from files where files.video_id = videos.id
                    order by state = 'duplicate', id limit 1)
                """
            )
        }
        everyone = {
            row["id"]: (row["name"], bool(row["ignored"]), row["merged_into"])
            for row in self._db.execute("select id, name, ignored, merged_into from people")
        }
        visible: list[PersonFolder] = []
        ignored: list[PersonFolder] = []
        hidden: list[PublishedFace] = []
        rows = self._faces_of_people(limits.per_track)
        for person_id, group in groupby(rows, key=lambda row: int(row["person_id"] or 0)):
            faces: list[PublishedFace] = []
            for row in group:
                face = _published(row, sources)
                (hidden if row["hidden"] == Hidden.IGNORED else faces).append(face)
            if person_id and faces:
                name, is_ignored, _ = everyone.pop(person_id)
                folder = PersonFolder(person_id, name, tuple(faces))
                (ignored if is_ignored else visible).append(folder)
        for person_id, (name, is_ignored, merged_into) in sorted(everyone.items()):
            if merged_into is None:
                (ignored if is_ignored else visible).append(PersonFolder(person_id, name, ()))
        unsorted = [_published(row, sources) for row in self._faces_of_nobody(limits)]
        return DesiredTree(tuple(visible), tuple(ignored), tuple(unsorted), tuple(hidden))

    def shown(self) -> dict[int, int]:
        """Where each portrait lies, by face; see ``Wanted.places``. Not to be changed."""
        if self._shown is None:
            rows = self._db.execute("select face_id, placement from published_faces")
            self._shown = {row["face_id"]: row["placement"] for row in rows}
        return self._shown

    def lie(self, face_ids: Iterable[int], place: int | None) -> None:
        """Somebody put portraits somewhere, or away. Within the caller's transaction."""
        self._shown = None
        faces = list(face_ids)
        self._db.executemany(
            "delete from published_faces where face_id = ?", [(one,) for one in faces]
        )
        if place is not None:
            self._db.executemany(
                "insert into published_faces select id, ? from faces where id = ?",
                [(place, one) for one in faces],
            )

    def note(
        self,
        publication: Publication,
        places: Mapping[int, int],
        now_s: float,
    ) -> None:
        """The tree is as wanted now. Writes what differs from before.

        Args:
            publication: What it was made from.
            places: Where each portrait lies.
            now_s: When.
        """
        before, self._shown = self.shown(), None
        with self._db.transaction():
            self._db.executemany(
                "delete from published_faces where face_id = ?",
                [(face_id,) for face_id in before if face_id not in places],
            )
            self._db.executemany(
                "insert or replace into published_faces values (?, ?)",
                [one for one in places.items() if before.get(one[0]) != one[1]],
            )
            self._db.execute(
                """
                insert into publications (id, grouping_run_id, ledger_id, render_version, finished_at)
                values (1, ?, ?, ?, ?) on conflict (id) do update set
                    grouping_run_id = excluded.grouping_run_id, ledger_id = excluded.ledger_id,
                    render_version = excluded.render_version, finished_at = excluded.finished_at
                """,
                (*publication, now_s),
            )

    def _faces_of_people(self, per_track: int) -> Iterable[sqlite3.Row]:
        """The portraits of people and those that were put out of sight, by person."""
        in_sight = "rank < ?" if per_track else "? = 0"
        return self._db.execute(
            f"""
            select faces.*, area_left, area_top, area_right, area_bottom
            from faces join portraits on face_id = faces.id
            where {in_sight} and (person_id is not null or hidden = 2) and hidden <> 1
            order by person_id, faces.id
            """,  # noqa: S608 - one of two constants
            (per_track,),
        )

    def _faces_of_nobody(self, limits: Limits) -> Iterable[sqlite3.Row]:
        """The best portraits of tracks that belong to nobody."""
        in_sight = "rank < ?" if limits.per_track else "? = 0"
        chosen = self._db.execute(
            f"""
            select faces.id from faces left join tracks on tracks.id = track_id
            where {in_sight} and person_id is null and hidden = 0 and faces.video_id not in
                (select id from videos where replaces is not null)
            order by tracks.quality desc, faces.id limit ?
            """,  # noqa: S608 - one of two constants
            (min(limits.per_track, 1), limits.unsorted or -1),
        ).fetchall()
        for row in sorted(chosen, key=lambda row: int(row["id"])):
            yield self._db.execute(
                """
                select faces.*, area_left, area_top, area_right, area_bottom
                from faces join portraits on face_id = faces.id where faces.id = ?
                """,
                (row["id"],),
            ).fetchone()


def _published(row: sqlite3.Row, sources: Mapping[int, tuple[str, str]]) -> PublishedFace:
    source, sha256 = sources[row["video_id"]]
    return PublishedFace(
        face_id=row["id"],
        box=Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"]),
        area=Box(row["area_left"], row["area_top"], row["area_right"], row["area_bottom"]),
        score=row["score"],
        source=source,
        sha256=sha256,
        t_s=row["t_s"],
    )
