"""Desired people tree, and where each portrait was last published or placed by an edit."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from portraitd.config import ReviewSettings
from portraitd.model.edit import Hidden, Placement
from portraitd.model.face import Box
from portraitd.model.person import PersonFolder, PublishedFace
from portraitd.store.database import Database


class Publication(NamedTuple):
    """What the tree was last published from; all zero if it never was."""

    grouping_run_id: int
    ledger_id: int
    render_version: str


@dataclass(frozen=True, slots=True)
class DesiredTree:
    """The tree as it should be.

    Attributes:
        folders: Visible people, by id; those without a portrait to show come last.
        ignored: Ignored people, likewise.
        unsorted: Faces without a person.
        ignored_faces: Single faces that were ignored.
    """

    folders: tuple[PersonFolder, ...]
    ignored: tuple[PersonFolder, ...]
    unsorted: tuple[PublishedFace, ...]
    ignored_faces: tuple[PublishedFace, ...]

    def placements(self) -> dict[int, int]:
        """Return where each portrait belongs, by face: a person's id or a ``Placement``."""
        people = (*self.folders, *self.ignored)
        return {
            **{face.face_id: Placement.UNSORTED for face in self.unsorted},
            **{face.face_id: Placement.IGNORED for face in self.ignored_faces},
            **{face.face_id: folder.person_id for folder in people for face in folder.faces},
        }


class Publications:
    """Reads the desired tree, and keeps where each portrait was published."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._placements: dict[int, int] | None = None

    def last(self) -> Publication:
        """Return what the tree was last published from."""
        row = self._db.read_row(
            "select grouping_run_id, ledger_id, render_version from publications"
        )
        return Publication(*row) if row else Publication(0, 0, "")

    def desired_tree(self, review: ReviewSettings) -> DesiredTree:
        """Return what to publish now. The number of queries does not depend on that of people.

        Args:
            review: How many portraits of each track, and of tracks without a person, to publish.
        """
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
        rows = self._faces_of_people(review.portraits_per_track)
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
        unsorted = [_published(row, sources) for row in self._unsorted_faces(review)]
        return DesiredTree(tuple(visible), tuple(ignored), tuple(unsorted), tuple(hidden))

    def placements(self) -> dict[int, int]:
        """Return where each portrait is, by face; see ``DesiredTree``. Do not change it."""
        if self._placements is None:
            rows = self._db.execute("select face_id, placement from published_faces")
            self._placements = {row["face_id"]: row["placement"] for row in rows}
        return self._placements

    def place(self, face_ids: Iterable[int], placement: int | None) -> None:
        """Keep where an edit put portraits, None for removed. Within the caller's transaction."""
        self._placements = None
        faces = list(face_ids)
        self._db.executemany(
            "delete from published_faces where face_id = ?", [(one,) for one in faces]
        )
        if placement is not None:
            self._db.executemany(
                "insert into published_faces select id, ? from faces where id = ?",
                [(placement, one) for one in faces],
            )

    def record(
        self,
        publication: Publication,
        placements: Mapping[int, int],
        now_s: float,
    ) -> None:
        """Record that the tree was published.

        Args:
            publication: What it was made from.
            placements: Where each portrait is.
            now_s: When.
        """
        before, self._placements = self.placements(), None
        with self._db.transaction():
            self._db.executemany(
                "delete from published_faces where face_id = ?",
                [(face_id,) for face_id in before if face_id not in placements],
            )
            self._db.executemany(
                "insert or replace into published_faces values (?, ?)",
                [one for one in placements.items() if before.get(one[0]) != one[1]],
            )
            self._db.execute(
                """
                insert into publications
                    (id, grouping_run_id, ledger_id, render_version, finished_at)
                values (1, ?, ?, ?, ?) on conflict (id) do update set
                    grouping_run_id = excluded.grouping_run_id, ledger_id = excluded.ledger_id,
                    render_version = excluded.render_version, finished_at = excluded.finished_at
                """,
                (*publication, now_s),
            )

    def _faces_of_people(self, per_track: int) -> Iterable[sqlite3.Row]:
        """Return the portraits of people and those that were ignored, by person."""
        has_rank = "rank < ?" if per_track else "? = 0"
        return self._db.execute(
            f"""
            select faces.*, area_left, area_top, area_right, area_bottom
            from faces join portraits on face_id = faces.id
            where {has_rank} and (person_id is not null or hidden = ?) and hidden not in (?, ?)
            order by person_id, faces.id
            """,  # noqa: S608 - one of two constants
            (per_track, Hidden.IGNORED, Hidden.EXCLUDED, Hidden.REFERENCE),
        )

    def _unsorted_faces(self, review: ReviewSettings) -> Iterable[sqlite3.Row]:
        """Return the best portraits of tracks without a person."""
        per_track = review.portraits_per_track
        has_rank = "rank < ?" if per_track else "? = 0"
        chosen = self._db.execute(
            f"""
            select faces.id from faces left join tracks on tracks.id = track_id
            where {has_rank} and person_id is null and hidden = 0 and faces.video_id not in
                (select id from videos where replaces is not null)
            order by tracks.quality desc, faces.id limit ?
            """,  # noqa: S608 - one of two constants
            (min(per_track, 1), review.unsorted_portraits or -1),
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
