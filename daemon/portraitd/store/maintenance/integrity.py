"""What may be wrong with the rows, and can be set right without losing any."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from portraitd.model.face import EMBEDDING_SIZE
from portraitd.store.database import Database, migrated
from portraitd.store.track_matrix import ROW_BYTES
from portraitd.store.tracks import TrackStore

_INDEX_ONLY = re.compile(r"(row \d+ missing from index|wrong # of entries in index|non-unique)")


class IntegrityCheck:
    """Looks through a store; what it repairs is derived from other rows."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def damage(self) -> tuple[list[str], bool]:
        """What SQLite finds wrong, and whether making the indexes anew sets it right."""
        found = self._db.problems()
        return found, bool(found) and all(_INDEX_ONLY.search(line) for line in found)

    def rebuild_indexes(self) -> None:
        """From the rows of their tables."""
        self._db.execute("reindex")

    def missing(self) -> dict[str, str]:
        """Indexes, triggers and views that the schema has and the store has not: how to make each.

        A missing table is damage; nothing makes its rows anew.
        """
        with closing(migrated()) as ideal:
            wanted = _schema(ideal.execute("select name, sql, type from sqlite_master"))
        present = _schema(self._db.execute("select name, sql, type from sqlite_master"))
        return {name: sql for name, sql in wanted.items() if name not in present}

    def make(self, statement: str) -> None:
        """Carry out one of the statements of ``missing``."""
        self._db.execute(statement)

    def claimed(self) -> int:
        """Slices and files that count as being worked on."""
        row = self._db.execute(
            """
            select (select count(*) from slices where state = 'running')
                + (select count(*) from files where state = 'probing')
            """
        ).fetchone()
        return int(row[0])

    def without_tracks(self) -> list[int]:
        """Videos that count as tracked although a face has no track, or a track lost its best."""
        rows = self._db.execute(
            """
            select id from videos where tracked = 1 and (
                exists (select 1 from faces where video_id = videos.id and track_id is null)
                or exists (select 1 from tracks where video_id = videos.id and not exists
                    (select 1 from faces where faces.id = best_face_id)))
            order by id
            """
        ).fetchall()
        return [row["id"] for row in rows]

    def track_again(self, video_ids: list[int]) -> None:
        """Have these videos followed anew."""
        self._db.executemany(
            "update videos set tracked = 0 where id = ?", [(one,) for one in video_ids]
        )

    def without_portrait(self) -> list[str]:
        """Videos in which a face has no picture, by the beginning of their SHA-256."""
        rows = self._db.execute(
            """
            select distinct substr(sha256, 1, 12) as video from faces
            join videos on videos.id = video_id
            where not exists (select 1 from portraits where face_id = faces.id) order by 1
            """
        ).fetchall()
        return [row["video"] for row in rows]

    def snapshot(self) -> str:
        """The file that the next grouping goes on from."""
        row = self._db.execute(
            "select snapshot from grouping_runs order by id desc limit 1"
        ).fetchone()
        return str(row["snapshot"]) if row else ""

    def forget_memory(self) -> None:
        """Have the next grouping begin anew."""
        self._db.execute("update grouping_runs set snapshot = ''")

    def show_again(self) -> None:
        """Have the people tree compared and brought up to date."""
        self._db.execute("update publications set render_version = ''")

    def matrix_problem(self, path: Path) -> str:
        """What is wrong with the copy of the tracks' embeddings; every row is compared."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return ""
        tracks = TrackStore(self._db)
        if size % ROW_BYTES or size > tracks.last_id() * ROW_BYTES:
            return f"{size} bytes are no whole number of the rows there are"
        if size == 0:
            return ""
        rows = np.memmap(path, "<f4", mode="r", shape=(size // ROW_BYTES, EMBEDDING_SIZE))
        for ids, embeddings in tracks.embeddings(0):
            known = ids[ids <= len(rows)]
            if not np.array_equal(rows[known - 1], embeddings[: len(known)]):
                return "a row is not what the database says"
        return ""


def _schema(rows: sqlite3.Cursor) -> dict[str, str]:
    """What can be made from a table's rows, by name."""
    return {row[0]: row[1] for row in rows if row[1] and row[2] in ("index", "trigger", "view")}
