"""Integrity of the database: find damage, and repair what derives from other rows."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from portraitd.store.database import Database, new_in_memory
from portraitd.store.embedding_space import stored_embedder
from portraitd.store.tracks import TrackStore

_INDEX_ONLY = re.compile(r"(row \d+ missing from index|wrong # of entries in index|non-unique)")


class IntegrityCheck:
    """Checks a database; it repairs only what derives from other rows."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def damage(self) -> tuple[list[str], bool]:
        """Return what SQLite finds wrong, and whether rebuilding the indexes repairs it."""
        found = self._db.problems()
        return found, bool(found) and all(_INDEX_ONLY.search(line) for line in found)

    def rebuild_indexes(self) -> None:
        """Rebuild all indexes from their tables."""
        self._db.execute("reindex")

    def missing(self) -> dict[str, str]:
        """Return the SQL of each index, trigger and view that is missing, by name.

        A missing table is damage: its rows cannot be restored.
        """
        with closing(new_in_memory()) as ideal:
            wanted = _schema(ideal.execute("select name, sql, type from sqlite_master"))
        present = _schema(self._db.execute("select name, sql, type from sqlite_master"))
        return {name: sql for name, sql in wanted.items() if name not in present}

    def create(self, statement: str) -> None:
        """Run one of the statements of ``missing``."""
        self._db.execute(statement)

    def claimed(self) -> int:
        """Return how many slices and files are marked as in progress."""
        row = self._db.execute(
            """
            select (select count(*) from slices where state = 'running')
                + (select count(*) from files where state = 'probing')
            """
        ).fetchone()
        return int(row[0])

    def without_tracks(self) -> list[int]:
        """Return tracked videos with a face without a track, or a track without its best face."""
        rows = self._db.execute(
            """
            select id from videos where tracked = 1 and (
                exists (select 1 from faces
                    where video_id = videos.id and track_id is null and hidden <> 4)
                or exists (select 1 from tracks where video_id = videos.id and not exists
                    (select 1 from faces where faces.id = best_face_id)))
            order by id
            """
        ).fetchall()
        return [row["id"] for row in rows]

    def queue_tracking(self, video_ids: list[int]) -> None:
        """Have these videos tracked again."""
        self._db.executemany(
            "update videos set tracked = 0 where id = ?", [(one,) for one in video_ids]
        )

    def without_portrait(self) -> list[str]:
        """Return the videos with a face that has no portrait, as the start of their SHA-256."""
        rows = self._db.execute(
            """
            select distinct substr(sha256, 1, 12) as video from faces
            join videos on videos.id = video_id
            where not exists (select 1 from portraits where face_id = faces.id) order by 1
            """
        ).fetchall()
        return [row["video"] for row in rows]

    def snapshot(self) -> str:
        """Return the name of the file that the next grouping continues from; empty for none."""
        row = self._db.execute(
            "select snapshot from grouping_runs order by id desc limit 1"
        ).fetchone()
        return str(row["snapshot"]) if row else ""

    def drop_snapshot(self) -> None:
        """Have the next grouping start from scratch."""
        self._db.execute("update grouping_runs set snapshot = ''")

    def publish_again(self) -> None:
        """Have the people tree compared and published again."""
        self._db.execute("update publications set render_version = ''")

    def matrix_problem(self, path: Path) -> str:
        """Return what is wrong with the track matrix; empty if every row matches."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return ""
        tracks = TrackStore(self._db)
        card = stored_embedder(self._db)
        if card is None:
            # Rows of deleted tracks alone; the next grouping writes the file again.
            return ""
        row_bytes = 4 * card.embedding_size
        if size % row_bytes or size > tracks.last_id() * row_bytes:
            return f"its size of {size} bytes does not match the number of tracks"
        if size == 0:
            return ""
        rows = np.memmap(path, "<f4", mode="r", shape=(size // row_bytes, card.embedding_size))
        for ids, embeddings in tracks.embeddings(0, card.embedding_size):
            known = ids[ids <= len(rows)]
            if not np.array_equal(rows[known - 1], embeddings[: len(known)]):
                return "a row differs from the database"
        return ""


def _schema(rows: sqlite3.Cursor) -> dict[str, str]:
    """Return the SQL of indexes, triggers and views, by name."""
    return {row[0]: row[1] for row in rows if row[1] and row[2] in ("index", "trigger", "view")}
