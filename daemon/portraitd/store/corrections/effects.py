"""Effect of ledger entries on the store, at once and before any grouping."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from portraitd.model.edit import Hidden
from portraitd.store.corrections.replay import (
    NO_PERSON,
    Corrections,
    EditKind,
    FaceRole,
    LedgerEntry,
    ResolvedCorrection,
)
from portraitd.store.database import Database

KEEP_PERSON = -1


@dataclass(slots=True)
class Affected:
    """The faces and people that some entries are about.

    Attributes:
        faces: By face, whose it becomes where no correction says; ``KEEP_PERSON`` to leave it.
        people: People whose name, folder or merge may change.
    """

    faces: dict[int, int] = field(default_factory=dict)
    people: set[int] = field(default_factory=set)


class Effects:
    """Brings faces and people to what the corrections say, in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def apply(self, before: Corrections, now: Corrections, affected: Affected) -> None:
        """Write the corrections to the affected faces and people.

        Args:
            before: The corrections when the transaction began.
            now: The corrections now.
            affected: What to write; all other rows stay untouched.
        """
        for person_id in sorted(affected.people):
            self._apply_to_person(person_id, before, now)
        rows = []
        for face_id, fallback in affected.faces.items():
            correction = now.by_face.get(face_id, ResolvedCorrection())
            person_id = fallback
            if correction.hidden in (Hidden.EXCLUDED, Hidden.REPLACED):
                person_id = NO_PERSON
            elif correction.person_id is not None:
                person_id = correction.person_id
            elif fallback not in (KEEP_PERSON, NO_PERSON):
                person_id = now.current_person(fallback)
            rows.append((correction.hidden, person_id, KEEP_PERSON, person_id, face_id))
        self._db.executemany(
            """
            update faces set hidden = iif(hidden = 3, hidden, ?),
                person_id = iif(? = ?, person_id, nullif(?, 0))
            where id = ?
            """,
            rows,
        )
        self._queue_mixed_tracks(now, affected)
        self._queue_drawn(affected)

    def affected_by_undo(self, entry: LedgerEntry) -> Affected:
        """Return what undoing or redoing an entry is about."""
        affected = Affected()
        affected.people |= {one for one in (entry.person_id, entry.into_id) if one is not None}
        for face in entry.faces:
            if face.role in (FaceRole.MOVED, FaceRole.DRAWN, FaceRole.REPLACED):
                affected.faces[face.face_id] = face.person_id or NO_PERSON
            elif face.role is FaceRole.MEMBER and face.person_id is not None:
                for face_id in self._faces_of_track(face.face_id):
                    affected.faces[face_id] = face.person_id
        if entry.kind in (EditKind.IGNORE_FACES, EditKind.REJECT):
            affected.faces = dict.fromkeys(affected.faces, KEEP_PERSON)
        return affected

    def _apply_to_person(self, person_id: int, before: Corrections, now: Corrections) -> None:
        if person_id in now.names or person_id in before.names:
            self._db.execute(
                "update people set name = ? where id = ?", (now.names.get(person_id), person_id)
            )
        if person_id in now.ignored or person_id in before.ignored:
            self._db.execute(
                "update people set ignored = ? where id = ?",
                (now.ignored.get(person_id, False), person_id),
            )
        into = now.merged.get(person_id)
        if into is not None:
            self._db.execute(
                "update faces set person_id = ? where person_id = ?",
                (now.current_person(into), person_id),
            )
        if into is not None or person_id in before.merged:
            self._db.execute("update people set merged_into = ? where id = ?", (into, person_id))

    def _faces_of_track(self, face_id: int) -> list[int]:
        """Return a face and the others of its track."""
        rows = self._db.execute(
            """
            select other.id from faces join faces as other
                on other.id = faces.id or other.track_id = faces.track_id
            where faces.id = ?
            """,
            (face_id,),
        )
        return [row["id"] for row in rows]

    def _queue_mixed_tracks(self, now: Corrections, affected: Affected) -> None:
        """Queue videos for tracking where a track holds faces with different outcomes."""
        outcomes: dict[int, set[object]] = defaultdict(set)
        video_of: dict[int, int] = {}
        for face_id in affected.faces:
            correction = now.by_face.get(face_id)
            if correction is not None and correction.whole_track:
                continue
            rows = self._db.execute(
                """
                select other.id, other.track_id, other.video_id from faces join faces as other
                    on other.track_id = faces.track_id
                where faces.id = ?
                """,
                (face_id,),
            )
            for row in rows:
                other = now.by_face.get(row["id"])
                outcomes[row["track_id"]].add(other.outcome if other else None)
                video_of[row["track_id"]] = row["video_id"]
        self._db.executemany(
            "update videos set tracked = 0 where id = ?",
            sorted({(video_of[track_id],) for track_id, of in outcomes.items() if len(of) > 1}),
        )

    def _queue_drawn(self, affected: Affected) -> None:
        """Queue videos for tracking where another box counts now; a replaced face has no track."""
        for face_id in affected.faces:
            self._db.execute(
                """
                update videos set tracked = 0 where state <> 'queued' and id = (
                    select video_id from faces
                    where faces.id = ? and (hidden = 4) <> (track_id is null))
                """,
                (face_id,),
            )
            self._db.execute(
                """
                update faces set track_id = null, rank = null
                where id = ? and hidden = 4 and track_id is not null
                """,
                (face_id,),
            )
