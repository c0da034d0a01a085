"""The faces of reference pictures, and the pictures that show each of them now."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from portraitd.store.corrections.ledger import Ledger
from portraitd.store.corrections.replay import Corrections
from portraitd.store.database import Database


class ReferenceFace(NamedTuple):
    """The face of a reference picture.

    Attributes:
        person_id: Whom it represents; None if it represents no person.
        pictures: The files that hold it, below the root of the tree; none after they were removed.
        is_read_again: Whether a file that held it was written to, and is not read yet.
    """

    face_id: int
    person_id: int | None
    pictures: tuple[Path, ...]
    is_read_again: bool


class ReferenceFaces:
    """Reads the faces of reference pictures."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._ledger = Ledger(database)

    def all(self) -> list[ReferenceFace]:
        """Return every face, with its pictures that were read completely."""
        pictures: dict[int, list[Path]] = defaultdict(list)
        for row in self._db.execute(
            """
            select video_id, path from files
            where is_reference and state in ('done', 'duplicate') and video_id is not null
            order by id
            """
        ):
            pictures[row["video_id"]].append(Path(os.fsdecode(row["path"])))
        rows = self._db.execute(
            """
            select faces.id, video_id, person_id, exists (
                select 1 from files where earlier_video_id = faces.video_id
                    and state in ('waiting', 'ready', 'probing', 'encoding')) as is_read_again
            from faces where video_id in (select id from videos
                where is_reference and replaces is null and state = 'done')
            order by faces.id
            """
        )
        return [
            ReferenceFace(
                row["id"],
                row["person_id"],
                tuple(pictures.get(row["video_id"], ())),
                bool(row["is_read_again"]),
            )
            for row in rows
        ]

    def corrections(self) -> Corrections:
        """Return what the ledger adds up to. Do not change it."""
        return self._ledger.corrections()

    def version(self) -> tuple[int, int]:
        """Return the newest step of a reference picture and ledger entry, to see changes."""
        row = self._db.read_row(
            """
            select coalesce(max(id), 0) from file_steps
            where file_id in (select id from files where is_reference)
            """
        )
        return int(row[0]), self._ledger.last_id()
