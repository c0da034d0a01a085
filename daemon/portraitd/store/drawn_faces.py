"""Faces whose boxes a person drew: those that are still to be embedded, and their rows.

The ledger names a drawn face by its fingerprint. As long as no face of the store matches it, a
worker has to read it from its file; what comes of that is a face like any other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from portraitd.model.edit import Hidden
from portraitd.model.face import Box, DetectedFace, SliceFaces
from portraitd.model.media_file import MediaKind
from portraitd.store.corrections.effects import KEEP_PERSON, Affected, Effects
from portraitd.store.corrections.face_fingerprints import CONTENTS_SQL, box_of
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.corrections.replay import ResolvedCorrection
from portraitd.store.database import Database
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.faces import FaceWriter

_OPEN = """
    from ledger_faces join face_fingerprints on face_fingerprints.id = fingerprint_id
    where role = 'drawn' and fingerprint_id not in (select fingerprint_id from fingerprint_matches)
"""
"""The drawn faces that have no row yet, also those of entries that were undone."""


@dataclass(frozen=True, slots=True)
class DrawnBatch:
    """Drawn faces of one slice of a recording that are not in the store.

    Attributes:
        start_s: Start of the slice.
        boxes: The fingerprint, time and box of each, rising by time.
    """

    video_id: int
    slice_id: int
    kind: MediaKind
    start_s: float
    boxes: tuple[tuple[int, float, Box], ...]


class DrawnFaces:
    """Reads what is to be embedded, and adds the faces.

    Args:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._ledger = Ledger(database)
        self._effects = Effects(database)
        self._writer = FaceWriter(database, Tombstones(database))

    def next_batch(self, without: Collection[int] = (), limit: int = 32) -> DrawnBatch | None:
        """Return drawn faces of a slice whose recording is processed; None if there are none.

        Args:
            without: Fingerprints to leave out.
            limit: Largest number of faces.
        """
        # Several ask at every tick, and nearly always nothing is drawn.
        if self._db.read_row(f"select 1 {_OPEN} limit 1") is None:
            return None
        rows = self._db.execute(
            f"select distinct face_fingerprints.*, ledger_id {_OPEN} order by t_s, fingerprint_id"
        ).fetchall()
        undone = self._ledger.corrections().undone
        open_rows = {
            row["id"]: row
            for row in rows
            if row["id"] not in without and row["ledger_id"] not in undone
        }
        for first in open_rows.values():
            piece = self._find_slice(first)
            if piece is None:
                continue
            contents = {row[0] for row in self._db.execute(CONTENTS_SQL, (piece["video_id"],))}
            boxes = [
                (row["id"], row["t_s"], box_of(row))
                for row in open_rows.values()
                if row["sha256"] in contents and piece["start_s"] <= row["t_s"] < piece["stop_s"]
            ]
            return DrawnBatch(
                piece["video_id"],
                piece["id"],
                MediaKind(piece["kind"]),
                piece["start_s"],
                tuple(boxes[:limit]),
            )
        return None

    def _find_slice(self, row: sqlite3.Row) -> sqlite3.Row | None:
        """Return the slice that a drawn face is in; None while its recording is not processed."""
        found: sqlite3.Row | None = self._db.execute(
            """
            select slices.*, kind from slices join videos on videos.id = video_id
            where replaces is null and videos.state = 'done' and start_s <= ?2 and stop_s > ?2
                and (sha256 = ?1 or 'pictures ' || picture_hash = ?1 or video_id in
                    (select video_id from partial_copies where sha256 = ?1))
            order by slices.id limit 1
            """,
            (row["sha256"], row["t_s"]),
        ).fetchone()
        return found

    def add(
        self, batch: DrawnBatch, found: Sequence[DetectedFace], encoder: str, now_s: float
    ) -> int:
        """Add the faces that were read, each with the person whom its entry says.

        Args:
            batch: What was asked for.
            found: What a worker read; a face that it could not read is left out.
            encoder: The embedding space.
            now_s: When.

        Returns:
            How many were added.
        """
        numbers = {(t_s, box): number for number, t_s, box in batch.boxes}
        added = 0
        with self._db.transaction():
            before = self._ledger.corrections()
            affected = Affected()
            for one in found:
                number = numbers.get((one.t_s, one.face.box))
                if number is None or self._ledger.match_of(number) is not None:
                    continue
                result = SliceFaces([one], 0, 0, None, 0.0)
                ids = self._writer.add(batch.video_id, batch.slice_id, result, encoder, now_s)
                for face_id in ids:
                    self._db.execute("update faces set is_drawn = 1 where id = ?", (face_id,))
                    self._ledger.match(number, face_id)
                    affected.faces[face_id] = self._former_person(number)
                    added += 1
            if added:
                now, one_shown = self._ledger.corrections(), ResolvedCorrection()
                affected.faces |= {
                    face_id: KEEP_PERSON
                    for face_id, one in now.by_face.items()
                    if one.hidden is Hidden.REPLACED
                    and before.by_face.get(face_id, one_shown).hidden is not Hidden.REPLACED
                }
                self._effects.apply(before, now, affected)
                self._db.execute(
                    "update videos set tracked = 0 where id = ? and state <> 'queued'",
                    (batch.video_id,),
                )
        return added

    def _former_person(self, fingerprint_id: int) -> int:
        """Return whose the face was that a drawn one replaces; 0 for an unknown or missed one."""
        row = self._db.execute(
            """
            select person_id from ledger_faces where fingerprint_id = ? and role = 'drawn'
            order by ledger_id desc limit 1
            """,
            (fingerprint_id,),
        ).fetchone()
        return int(row["person_id"] or 0)
