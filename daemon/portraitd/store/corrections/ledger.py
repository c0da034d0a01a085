"""Ledger of edits: entries are added and never changed.

Entries name faces by fingerprint, so an entry means the same after everything was reprocessed.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from portraitd.model.edit import Hidden
from portraitd.model.face import SAME_FACE_IOU, SAME_FRAME_S, Box
from portraitd.store.corrections.face_fingerprints import FingerprintStore, box_of
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

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from portraitd.model.track import Indices


class DrawnFingerprint(NamedTuple):
    """A box that a person drew, as a ledger entry names it.

    Attributes:
        replaces_id: The face whose box it corrects; None for one that was missed.
        person_id: Whose that face was.
    """

    fingerprint_id: int
    replaces_id: int | None
    person_id: int | None


@dataclass(frozen=True, slots=True)
class EntrySummary:
    """A ledger entry for people to read.

    Attributes:
        id, at: Rising; when, in seconds since 1970.
        kind: What was done.
        person_id, into_id, name, undoes: Whom or what it is about.
        faces: How many faces it moved; ``recognised`` of them are in the store today.
        portraits: How many portraits the reviewer moved; None if an earlier version wrote it.
        person_name, into_name: What these people are called now.
        name_before: What the person was called before, by the ledger.
        former_people: How many people the faces belonged to; ``former_id`` is one of them, 0 for
            none, and ``former_name`` what that person is called now.
        is_undone: Whether a later entry undid it.
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
    portraits: int | None
    person_name: str | None
    into_name: str | None
    name_before: str | None
    former_people: int
    former_id: int | None
    former_name: str | None
    is_undone: bool


class Ledger:
    """Reads and adds ledger entries."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._fingerprints = FingerprintStore(database)
        self._cached_at = -1
        self._corrections = Corrections()

    def last_id(self) -> int:
        """Return the id of the newest entry; 0 if there is none."""
        return int(self._db.read_row("select coalesce(max(id), 0) from ledger")[0])

    def last_at(self) -> float:
        """Return when the newest entry was written; 0.0 if there is none."""
        row = self._db.execute("select at from ledger order by id desc limit 1").fetchone()
        return float(row["at"]) if row else 0.0

    def summaries(self, newest: int = -1) -> list[EntrySummary]:
        """Return entries for people to read, oldest first.

        Args:
            newest: How many of the newest entries; by default, all.
        """
        rows = self._db.execute(
            """
            with chosen as (select * from ledger order by id desc limit ?),
            moves as (
                select chosen.*, count(fingerprint_id) as faces, count(face_id) as recognised,
                    count(distinct iif(
                        fingerprint_id is null, null, coalesce(ledger_faces.person_id, 0)
                    )) as former_people,
                    iif(count(fingerprint_id), max(coalesce(ledger_faces.person_id, 0)), null)
                        as former_id
                from chosen
                left join ledger_faces
                    on ledger_id = chosen.id and role in ('moved', 'drawn')
                left join fingerprint_matches using (fingerprint_id)
                group by chosen.id
            )
            select moves.*, person.name as person_name, target.name as into_name,
                former.name as former_name,
                (
                    select earlier.name from ledger as earlier
                    where earlier.person_id = moves.person_id and earlier.id < moves.id
                        and earlier.kind in ('name', 'split')
                        and earlier.id not in (select undoes from ledger where undoes is not null)
                    order by earlier.id desc limit 1
                ) as name_before
            from moves
            left join people as person on person.id = moves.person_id
            left join people as target on target.id = moves.into_id
            left join people as former on former.id = moves.former_id
            order by moves.id
            """,
            (newest,),
        ).fetchall()
        undoes = self._db.execute("select id, undoes from ledger where undoes is not null")
        undone = undone_entries((row["id"], row["undoes"]) for row in undoes.fetchall())
        columns = [name for name in EntrySummary.__dataclass_fields__ if name != "is_undone"]
        return [
            EntrySummary(**{name: row[name] for name in columns}, is_undone=row["id"] in undone)
            for row in rows
        ]

    def corrections(self) -> Corrections:
        """Return what all entries add up to. Do not change it: it is cached until a write."""
        if self._db.changes != self._cached_at:
            self._corrections = replay(self.entries())
            self._cached_at = self._db.changes
        return self._corrections

    def keep_cache(self) -> None:
        """Keep the cached corrections although something else was written since."""
        self._cached_at = self._db.changes

    def entries(self) -> list[LedgerEntry]:
        """Return every entry with those of its faces that are in the store today."""
        faces: dict[int, list[EntryFace]] = defaultdict(list)
        rows = self._db.execute(
            """
            select ledger_id, role, ledger_faces.person_id, whole_track, face_id, track_id
            from ledger_faces join fingerprint_matches using (fingerprint_id)
            join faces on faces.id = face_id
            where replaced_by is null
                or replaced_by in (select fingerprint_id from fingerprint_matches)
            order by ledger_id, face_id
            """
        )
        for row in rows:
            faces[row["ledger_id"]].append(_entry_face(row, row["face_id"], row["track_id"]))
        return self._with_faces(faces)

    def append(
        self,
        kind: EditKind,
        now_s: float,
        faces: Iterable[EntryFace] = (),
        *,
        person_id: int | None = None,
        into_id: int | None = None,
        name: str | None = None,
        undoes: int | None = None,
        portraits: int | None = None,
        drawn: Iterable[DrawnFingerprint] = (),
    ) -> int:
        """Add an entry within the caller's transaction. Return its id."""
        row = self._db.execute(
            """
            insert into ledger (at, kind, person_id, into_id, name, undoes, portraits)
            values (?, ?, ?, ?, ?, ?, ?) returning id
            """,
            (now_s, kind, person_id, into_id, name, undoes, portraits),
        ).fetchone()
        self._db.executemany(
            """
            insert or ignore into ledger_faces
                (ledger_id, fingerprint_id, role, person_id, whole_track)
            values (?, ?, ?, ?, ?)
            """,
            [
                (
                    row["id"],
                    self._fingerprints.fingerprint_of(face.face_id),
                    face.role,
                    face.person_id,
                    face.whole_track,
                )
                for face in faces
            ],
        )
        for one in drawn:
            rows: list[tuple[int, FaceRole, int | None]] = [
                (one.fingerprint_id, FaceRole.DRAWN, None)
            ]
            if one.replaces_id is not None:
                replaced = self._fingerprints.fingerprint_of(one.replaces_id)
                rows.append((replaced, FaceRole.REPLACED, one.fingerprint_id))
            self._db.executemany(
                "insert or ignore into ledger_faces values (?, ?, ?, ?, 0, ?)",
                [(row["id"], number, role, one.person_id, by) for number, role, by in rows],
            )
        return int(row["id"])

    def fingerprint_at(self, video_id: int, t_s: float, box: Box) -> int:
        """Return the fingerprint of a place in a video, within the caller's transaction."""
        return self._fingerprints.fingerprint_at(video_id, t_s, box)

    def match(self, fingerprint_id: int, face_id: int) -> None:
        """Record that a face is what a fingerprint says, within the caller's transaction."""
        self._fingerprints.match(fingerprint_id, face_id)

    def match_of(self, fingerprint_id: int) -> int | None:
        """Return the face that a fingerprint matches today; None for none."""
        return self._fingerprints.match_of(fingerprint_id)

    def reapply(self, video_id: int) -> None:
        """Match a video's fingerprints to its new tracks and apply their corrections.

        Runs within the caller's transaction. A correction of a part of a track moves all of it:
        no track holds faces with different outcomes.
        """
        if not self._fingerprints.rematch(video_id):
            return
        tracks = self._db.execute("select id from tracks where video_id = ?", (video_id,))
        track_ids = {row["id"] for row in tracks}
        self._db.executemany(
            """
            update faces set hidden = iif(hidden = 3, hidden, ?),
                person_id = iif(? = ?, null, iif(? is null, person_id, nullif(?, 0)))
            where track_id = ?
            """,
            [
                (
                    correction.hidden,
                    correction.hidden,
                    Hidden.EXCLUDED,
                    correction.person_id,
                    correction.person_id,
                    track_id,
                )
                for track_id, correction in replay(self.entries()).by_track().items()
                if track_id in track_ids
            ],
        )
        self._db.execute(
            "update faces set person_id = null where video_id = ? and hidden = 4", (video_id,)
        )

    def hide_replaced(self, video_id: int) -> None:
        """Hide the faces of a video that drawn boxes replace, and show the others again.

        Runs before the faces are tracked: a face and the one drawn in its place are in one frame,
        and could share no track. Where another detector finds the face near its drawn box, that
        box is replaced as well.
        """
        drawn = self._db.execute(
            """
            select * from faces where is_drawn
                and video_id in (?1, (select replaces from videos where id = ?1))
            """,
            (video_id,),
        ).fetchall()
        if not drawn:
            return
        matches = self._fingerprints.matches(video_id)
        corrections = replay(self._entries_of_fingerprints(list(matches)))
        replaced = {
            face_id
            for fingerprint_id, correction in corrections.by_face.items()
            if correction.hidden is Hidden.REPLACED
            and (face_id := matches[fingerprint_id]) is not None
        }
        boxes = [(row["t_s"], box_of(row)) for row in drawn if row["id"] not in replaced]
        for row in self._db.execute(
            "select * from faces where video_id = ? and not is_drawn", (video_id,)
        ):
            if any(
                abs(t_s - row["t_s"]) < SAME_FRAME_S and box.iou(box_of(row)) >= SAME_FACE_IOU
                for t_s, box in boxes
            ):
                replaced.add(row["id"])
        ids = json.dumps(sorted(replaced))
        with self._db.transaction():
            self._db.execute(
                """
                update faces set hidden = 4, person_id = null, track_id = null, rank = null
                where id in (select value from json_each(?)) and hidden in (0, 1, 2)
                """,
                (ids,),
            )
            self._db.execute(
                """
                update faces set hidden = 0
                where video_id = ? and hidden = 4 and id not in (select value from json_each(?))
                """,
                (video_id, ids),
            )

    def track_constraints(
        self, video_id: int, face_ids: Indices
    ) -> tuple[Indices, NDArray[np.bool_]]:
        """Return which faces of a video were given different outcomes, and may share no track.

        Args:
            video_id: The video; also one that is being reprocessed.
            face_ids: Shape ``(n,)``; its faces.

        Returns:
            Shape ``(n,)`` both: a number for each outcome, 0 for no correction; and whether the
            correction is about the whole track.
        """
        import numpy as np

        labels, whole = np.zeros(len(face_ids), np.int64), np.ones(len(face_ids), np.bool_)
        matches = self._fingerprints.matches(video_id)
        if matches:
            at = {face_id: index for index, face_id in enumerate(face_ids.tolist())}
            numbers: dict[object, int] = {}
            corrections = replay(self._entries_of_fingerprints(list(matches)))
            for fingerprint_id, correction in corrections.by_face.items():
                face_id = matches[fingerprint_id]
                # A face with another box in its place has no track.
                if face_id is not None and face_id in at:
                    number = numbers.setdefault(correction.outcome, len(numbers) + 1)
                    labels[at[face_id]] = number
                    whole[at[face_id]] = correction.whole_track
        return labels, whole

    def _entries_of_fingerprints(self, fingerprint_ids: list[int]) -> list[LedgerEntry]:
        """Return every entry with these faces, whose ids are fingerprints: also lost faces."""
        faces: dict[int, list[EntryFace]] = defaultdict(list)
        for fingerprint_id in fingerprint_ids:
            rows = self._db.execute(
                """
                select ledger_id, role, person_id, whole_track from ledger_faces
                where fingerprint_id = ? and (replaced_by is null
                    or replaced_by in (select fingerprint_id from fingerprint_matches))
                """,
                (fingerprint_id,),
            )
            for row in rows:
                faces[row["ledger_id"]].append(_entry_face(row, fingerprint_id, None))
        return self._with_faces(faces)

    def _with_faces(self, faces: Mapping[int, Sequence[EntryFace]]) -> list[LedgerEntry]:
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


def _entry_face(row: sqlite3.Row, face_id: int, track_id: int | None) -> EntryFace:
    return EntryFace(
        face_id, FaceRole(row["role"]), row["person_id"], bool(row["whole_track"]), track_id
    )
