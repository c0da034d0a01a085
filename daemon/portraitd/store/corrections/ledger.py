"""The ledger: what people did, as rows that are added and never changed.

Faces are kept as keys, so a row means the same after everything was found anew.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.store.corrections.face_fingerprints import FingerprintStore
from portraitd.store.corrections.replay import (
    Corrections,
    EditKind,
    EntryFace,
    FaceRole,
    LedgerEntry,
    replay,
    undone_entries,
)
from portraitd.store.database import Database

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EntrySummary:
    """A row for people to read.

    Attributes:
        id, at: Rising; when.
        kind: What was done.
        person_id, into_id, name, undoes: Whom or what it is about.
        faces: How many faces it moved; of these ``recognised`` are in the store today.
        is_undone: Whether a later row took it back.
    """

    id: int
    at: float
    kind: str
    person_id: int | None
    into_id: int | None
    name: str | None
    undoes: int | None
    faces: int
    recognised: int
    is_undone: bool


@dataclass(frozen=True, slots=True)
class Mention:
    """A face as a new row mentions it; see ``EntryFace``."""

    face_id: int
    role: FaceRole
    person_id: int | None
    whole: bool = True


class Ledger:
    """What people did."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._recognition = FingerprintStore(database)
        self._read_at = -1
        self._corrections = Corrections()

    def last_id(self) -> int:
        """The newest row; 0 if there is none."""
        row = self._db.execute("select coalesce(max(id), 0) from ledger").fetchone()
        return int(row[0])

    def last_at(self) -> float:
        """When the newest row was written."""
        row = self._db.execute("select at from ledger order by id desc limit 1").fetchone()
        return float(row["at"]) if row else 0.0

    def rows(self) -> list[EntrySummary]:
        """Every row, the oldest first."""
        rows = self._db.execute(
            """
            select ledger.*, count(fingerprint_id) as faces, count(face_id) as recognised
            from ledger left join ledger_faces on ledger_id = ledger.id and role = 'moved'
            left join fingerprint_matches using (fingerprint_id)
            group by ledger.id order by ledger.id
            """
        ).fetchall()
        undone = undone_entries((row["id"], row["undoes"]) for row in rows)
        return [
            EntrySummary(
                **{
                    key: row[key] for key in EntrySummary.__dataclass_fields__ if key != "is_undone"
                },
                is_undone=row["id"] in undone,
            )
            for row in rows
        ]

    def corrections(self) -> Corrections:
        """What all rows come to. Not to be changed: it is kept until something is written."""
        if self._db.changes != self._read_at:
            self._corrections = replay(self.entries())
            self._read_at = self._db.changes
        return self._corrections

    def keep(self) -> None:
        """What was written since is not about the ledger: what it comes to is as it was read."""
        self._read_at = self._db.changes

    def entries(self) -> list[LedgerEntry]:
        """Every row with the faces that are in the store today."""
        faces: dict[int, list[EntryFace]] = defaultdict(list)
        touched = self._db.execute(
            """
            select ledger_id, role, ledger_faces.person_id, whole, face_id, track_id
            from ledger_faces join fingerprint_matches using (fingerprint_id) join faces on faces.id = face_id
            order by ledger_id, face_id
            """
        )
        for row in touched:
            faces[row["ledger_id"]].append(_touched(row, row["face_id"], row["track_id"]))
        return self._filled(faces)

    def write(
        self,
        kind: EditKind,
        now_s: float,
        mentions: Iterable[Mention] = (),
        *,
        person_id: int | None = None,
        into_id: int | None = None,
        name: str | None = None,
        undoes: int | None = None,
    ) -> int:
        """Add a row, within the caller's transaction. Returns its id."""
        row = self._db.execute(
            """
            insert into ledger (at, kind, person_id, into_id, name, undoes)
            values (?, ?, ?, ?, ?, ?) returning id
            """,
            (now_s, kind, person_id, into_id, name, undoes),
        ).fetchone()
        self._db.executemany(
            "insert or ignore into ledger_faces values (?, ?, ?, ?, ?)",
            [
                (row["id"], self._recognition.key(one.face_id), one.role, one.person_id, one.whole)
                for one in mentions
            ],
        )
        return int(row["id"])

    def recognise(self, video_id: int) -> None:
        """Find what was said about a video in its faces and tracks of now, and put it in force.

        Within the caller's transaction. Where a part of a track was meant, all of it follows:
        tracks are made such that they hold nothing contrary.
        """
        if not self._recognition.rematch(video_id):
            return
        tracks = self._db.execute("select id from tracks where video_id = ?", (video_id,))
        mine = {row["id"] for row in tracks}
        self._db.executemany(
            """
            update faces set hidden = ?,
                person_id = iif(? = 1, null, iif(? is null, person_id, nullif(?, 0)))
            where track_id = ?
            """,
            [
                (fate.hidden, fate.hidden, fate.person, fate.person, track)
                for track, fate in replay(self.entries()).by_track().items()
                if track in mine
            ],
        )

    def labels(self, video_id: int, face_ids: Indices) -> tuple[Indices, NDArray[np.bool_]]:
        """What people said about the faces of a video, so that its tracks hold nothing contrary.

        Args:
            video_id: Which; also one that only stands beside the one it will replace.
            face_ids: Shape ``(n,)``; its faces.

        Returns:
            Shape ``(n,)`` both: a number for each verdict, 0 for none; and whether that is
            about the whole track.
        """
        labels, whole = np.zeros(len(face_ids), np.int64), np.ones(len(face_ids), np.bool_)
        matched = self._recognition.matched(video_id)
        if matched:
            at = {face_id: index for index, face_id in enumerate(face_ids.tolist())}
            numbers: dict[object, int] = {}
            for fingerprint_id, fate in replay(self._entries_by_key(list(matched))).fates.items():
                face_id = matched[fingerprint_id]
                if face_id is not None:
                    labels[at[face_id]] = numbers.setdefault(fate.verdict, len(numbers) + 1)
                    whole[at[face_id]] = fate.whole
        return labels, whole

    def _entries_by_key(self, key_ids: list[int]) -> list[LedgerEntry]:
        """Every row with these faces, by their keys: also those that are not in the store."""
        faces: dict[int, list[EntryFace]] = defaultdict(list)
        for fingerprint_id in key_ids:
            rows = self._db.execute(
                "select ledger_id, role, person_id, whole from ledger_faces where fingerprint_id = ?",
                (fingerprint_id,),
            )
            for row in rows:
                faces[row["ledger_id"]].append(_touched(row, fingerprint_id, None))
        return self._filled(faces)

    def _filled(self, faces: Mapping[int, Sequence[EntryFace]]) -> list[LedgerEntry]:
        rows = self._db.execute("select * from ledger order by id")
        return [
            LedgerEntry(
                row["id"],
                EditKind(row["kind"]),
                row["person_id"],
                row["into_id"],
                row["name"],
                row["undoes"],
                faces.get(row["id"], ()),
            )
            for row in rows
        ]


def _touched(row: sqlite3.Row, face_id: int, track_id: int | None) -> EntryFace:
    return EntryFace(face_id, track_id, FaceRole(row["role"]), row["person_id"], bool(row["whole"]))
