"""Scope of an edit: the faces it acts on, where a portrait represents its track."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from portraitd.model.edit import (
    AssignFaces,
    Edit,
    ExcludeFaces,
    IgnoreFaces,
    RejectPerson,
    SplitPerson,
)
from portraitd.store.database import Database

FACE_EDITS = (ExcludeFaces, IgnoreFaces, AssignFaces, SplitPerson, RejectPerson)


class ScopedFace(NamedTuple):
    """A face that an edit acts on.

    Attributes:
        person_id: Whose it is before.
        whole_track: Whether the edit is about its whole track.
    """

    face_id: int
    person_id: int | None
    whole_track: bool


class EditScope:
    """Which faces each edit of a batch acts on.

    Args:
        database: Where the tracks are.
        edits: The whole batch.
        whole_tracks: Whether a portrait represents its track.
    """

    def __init__(self, database: Database, edits: Sequence[Edit], whole_tracks: bool) -> None:
        self._db = database
        self._whole_tracks = whole_tracks
        self._edit_of: dict[int, Edit] = {}
        self._edits_of_track: dict[int, set[Edit]] = defaultdict(set)
        for edit in edits:
            if isinstance(edit, FACE_EDITS):
                for face_id in edit.face_ids:
                    self._edit_of[face_id] = edit
                    if (track_id := self._track_of(face_id)) is not None:
                        self._edits_of_track[track_id].add(edit)

    def faces_of(self, edit: Edit, face_ids: Collection[int]) -> list[ScopedFace]:
        """Return the faces that an edit acts on, starting with those it names.

        Where several edits name faces of one track, each acts on the faces it names. The rest of
        the track follows the edit that moves its faces, if exactly one does.
        """
        found: dict[int, ScopedFace] = {}
        for face_id in face_ids:
            if self._edit_of.get(face_id) != edit:
                continue
            track_id = self._track_of(face_id)
            is_contested = track_id is not None and len(self._edits_of_track[track_id]) > 1
            members = [face_id]
            if track_id is not None and self._whole_tracks and self._takes_rest(edit, track_id):
                members = [
                    member
                    for member in self._members(track_id)
                    if self._edit_of.get(member, edit) == edit
                ]
            for member in members:
                row = self._db.execute(
                    "select person_id from faces where id = ?", (member,)
                ).fetchone()
                if row is not None:
                    whole_track = self._whole_tracks and not is_contested
                    found[member] = ScopedFace(member, row["person_id"], whole_track)
        return list(found.values())

    def _takes_rest(self, edit: Edit, track_id: int) -> bool:
        """Return whether the faces of a track that no edit names follow this one."""
        edits = self._edits_of_track[track_id]
        if len(edits) == 1:
            return True
        moving = [one for one in edits if isinstance(one, AssignFaces | SplitPerson)]
        return len(moving) == 1 and moving[0] == edit

    def _track_of(self, face_id: int) -> int | None:
        row = self._db.execute("select track_id from faces where id = ?", (face_id,)).fetchone()
        return row["track_id"] if row else None

    def _members(self, track_id: int) -> list[int]:
        rows = self._db.execute("select id from faces where track_id = ? order by id", (track_id,))
        return [row["id"] for row in rows]
