"""Which photos of the inbox were read for the names in their regions, and their faces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from portraitd.model.face import Box
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.corrections.replay import Corrections
from portraitd.store.database import Database
from portraitd.store.files import INBOX, KnownFile
from portraitd.store.tracks import HAS_BOX

_STAMP = "files.size || ' ' || files.mtime_ns"
"""Stands for the content of a file, in SQL."""


class PhotoFaces(NamedTuple):
    """The faces of a photo.

    Attributes:
        width_px, height_px: Of the upright picture.
        boxes: Of each face, by number, in pixels of that picture; hidden ones included.
    """

    width_px: int
    height_px: int
    boxes: dict[int, Box]


class RegionReadings:
    """Finds photos whose regions were not read, and records those that were."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._ledger = Ledger(database)

    def version(self) -> int:
        """Return the newest step of any file, to see that there may be another photo."""
        return int(self._db.read_row("select coalesce(max(id), 0) from file_steps")[0])

    def unread(self, limit: int) -> list[int]:
        """Return files with photos that were processed and not read, the oldest first."""
        rows = self._db.execute(
            f"""
            select files.id from files join videos on videos.id = files.video_id
                left join region_readings as readings on readings.file_id = files.id
            where root = ? and files.state in ('done', 'duplicate') and not files.is_reference
                and videos.state = 'done' and videos.kind = 'photo'
                and readings.stamp is not {_STAMP}
            order by files.id limit ?
            """,  # noqa: S608 - a constant
            (INBOX, limit),
        )
        return [row["id"] for row in rows]

    def faces_of(self, video_id: int) -> PhotoFaces:
        """Return the faces of a photo."""
        size = self._db.execute(
            "select width_px, height_px from videos where id = ?", (video_id,)
        ).fetchone()
        rows = self._db.execute(
            f"select * from faces where video_id = ? and {HAS_BOX} order by id",  # noqa: S608
            (video_id,),
        )
        boxes = {
            row["id"]: Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])
            for row in rows
        }
        return PhotoFaces(size["width_px"], size["height_px"], boxes)

    def record(self, files: Iterable[KnownFile]) -> None:
        """Record that photos were read; one that was written to since is read again."""
        with self._db.transaction():
            self._db.executemany(
                "insert or replace into region_readings (file_id, stamp) values (?, ?)",
                [(file.id, f"{file.stamp.size} {file.stamp.mtime_ns}") for file in files],
            )

    def corrections(self) -> Corrections:
        """Return what the ledger adds up to. Do not change it."""
        return self._ledger.corrections()
