"""What a row of the ledger does to the store at once, before any grouping."""

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


@dataclass(slots=True)
class Affected:
    """Whom and what some rows are about.

    Attributes:
        faces: By face, whose it becomes if nobody says otherwise; -1 to leave that as it is.
        people: People whose name, folder or fate may change.
    """

    faces: dict[int, int] = field(default_factory=dict)
    people: set[int] = field(default_factory=set)


KEEP_PERSON = -1


class Effects:
    """Brings faces and people to what the ledger says. Within the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def enforce(self, before: Corrections, now: Corrections, affected: Affected) -> None:
        """Make the store say of these what the ledger says now.

        Args:
            before: What the ledger said when the transaction began.
            now: What it says.
            affected: Whom and what to look at; all else stays untouched.
        """
        for one in sorted(affected.people):
            self._enforce_person(one, before, now)
        rows = []
        for face_id, fallback in affected.faces.items():
            fate = now.fates.get(face_id, ResolvedCorrection())
            person: int | None = (
                fallback if fallback in (KEEP_PERSON, NO_PERSON) else now.who(fallback)
            )
            if fate.person is not None:
                person = fate.person
            if fate.hidden is Hidden.EXCLUDED:
                person = NO_PERSON
            rows.append((fate.hidden, person, person, face_id))
        self._db.executemany(
            """
            update faces set hidden = ?, person_id = iif(? = -1, person_id, nullif(?, 0))
            where id = ?
            """,
            rows,
        )
        self._part_tracks(now, affected)

    def taken_back(self, entry: LedgerEntry) -> Affected:
        """Whom and what undoing a row, or redoing it, is about."""
        affected = Affected()
        affected.people |= {one for one in (entry.person_id, entry.into_id) if one is not None}
        for touched in entry.faces:
            if touched.role is FaceRole.MOVED:
                affected.faces[touched.face_id] = touched.person_id or NO_PERSON
            elif touched.role is FaceRole.MEMBER and touched.person_id is not None:
                for face_id in self._companions(touched.face_id):
                    affected.faces[face_id] = touched.person_id
        if entry.kind is EditKind.IGNORE_FACES:
            affected.faces = dict.fromkeys(affected.faces, KEEP_PERSON)
        return affected

    def _enforce_person(self, person: int, before: Corrections, now: Corrections) -> None:
        if person in now.names or person in before.names:
            self._db.execute(
                "update people set name = ? where id = ?", (now.names.get(person), person)
            )
        if person in now.ignored or person in before.ignored:
            self._db.execute(
                "update people set ignored = ? where id = ?",
                (now.ignored.get(person, False), person),
            )
        into = now.merged.get(person)
        if into is not None:
            self._db.execute(
                "update faces set person_id = ? where person_id = ?", (now.who(into), person)
            )
        if into is not None or person in before.merged:
            self._db.execute("update people set merged_into = ? where id = ?", (into, person))

    def _companions(self, face_id: int) -> list[int]:
        rows = self._db.execute(
            """
            select other.id from faces join faces as other
                on other.id = faces.id or other.track_id = faces.track_id
            where faces.id = ?
            """,
            (face_id,),
        )
        return [row["id"] for row in rows]

    def _part_tracks(self, now: Corrections, affected: Affected) -> None:
        """Videos whose tracks hold what must not be in one are to be tracked again."""
        tracks: dict[int, set[object]] = defaultdict(set)
        videos: dict[int, int] = {}
        for face_id in affected.faces:
            fate = now.fates.get(face_id)
            if fate is not None and fate.whole:
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
                other = now.fates.get(row["id"])
                tracks[row["track_id"]].add(other.verdict if other else None)
                videos[row["track_id"]] = row["video_id"]
        self._db.executemany(
            "update videos set tracked = 0 where id = ?",
            sorted({(videos[track],) for track, recorder in tracks.items() if len(recorder) > 1}),
        )
