"""How far a edit reaches: the faces it acts on, where a portrait stands for its track."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from portraitd.model.edit import AssignFaces, Edit, ExcludeFaces, IgnoreFaces, SplitPerson
from portraitd.store.database import Database

FACE_EDITS = (ExcludeFaces, IgnoreFaces, AssignFaces, SplitPerson)


class ScopedFace(NamedTuple):
    """A face that a edit acts on.

    Attributes:
        face_id: Which.
        person_id: Whose it is before.
        whole: Whether the edit is about its whole track.
    """

    face_id: int
    person_id: int | None
    whole: bool


class EditScope:
    """Which faces each of some edits acts on that were read together.

    Args:
        database: Where the tracks are.
        edits: All of them.
        whole_tracks: Whether a portrait stands for its track.
    """

    def __init__(self, database: Database, edits: Sequence[Edit], whole_tracks: bool) -> None:
        self._db = database
        self._whole_tracks = whole_tracks
        self._named: dict[int, Edit] = {}
        self._askers: dict[int, set[Edit]] = defaultdict(set)
        for edit in edits:
            if isinstance(edit, FACE_EDITS):
                for face_id in edit.face_ids:
                    self._named[face_id] = edit
                    if (track_id := self._track(face_id)) is not None:
                        self._askers[track_id].add(edit)

    def of(self, edit: Edit, face_ids: Collection[int]) -> list[ScopedFace]:
        """The faces that a edit acts on, beginning with those it names.

        Where others are named of the same track by another edit, each acts on what it names,
        and the rest of the track follows the only one that moves it, if there is one.
        """
        found: dict[int, ScopedFace] = {}
        for face_id in face_ids:
            if self._named.get(face_id) != edit:
                continue
            track_id = self._track(face_id)
            contested = track_id is not None and len(self._askers[track_id]) > 1
            members = [face_id]
            if track_id is not None and self._whole_tracks and self._leads(edit, track_id):
                members = [
                    one for one in self._members(track_id) if self._named.get(one, edit) == edit
                ]
            for one in members:
                person = self._db.execute(
                    "select person_id from faces where id = ?", (one,)
                ).fetchone()
                if person is not None:
                    whole = self._whole_tracks and not contested
                    found[one] = ScopedFace(one, person["person_id"], whole)
        return list(found.values())

    def _leads(self, edit: Edit, track_id: int) -> bool:
        askers = self._askers[track_id]
        if len(askers) == 1:
            return True
        moving = [one for one in askers if isinstance(one, AssignFaces | SplitPerson)]
        return len(moving) == 1 and moving[0] == edit

    def _track(self, face_id: int) -> int | None:
        row = self._db.execute("select track_id from faces where id = ?", (face_id,)).fetchone()
        return row["track_id"] if row else None

    def _members(self, track_id: int) -> list[int]:
        rows = self._db.execute("select id from faces where track_id = ? order by id", (track_id,))
        return [row["id"] for row in rows]
