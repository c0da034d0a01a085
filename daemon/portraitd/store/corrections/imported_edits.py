"""Edits that were made in another program: as text for a request, and recorded.

A face is named by its number: numbers are never used again, so a face that was replaced meanwhile
is left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from portraitd.model.edit import AssignFaces, DrawFaces, DrawnBox, ExcludeFaces
from portraitd.model.errors import ConfigError
from portraitd.model.face import Box
from portraitd.model.wording import counted
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database

ImportedEdit = AssignFaces | ExcludeFaces | DrawFaces


class ImportedEdits(NamedTuple):
    """The edits of one import.

    Attributes:
        of_tracks: Edits of all faces of a track, which also count for faces of it that are found
            later.
        of_faces: Edits of single faces.
    """

    of_tracks: Sequence[ImportedEdit] = ()
    of_faces: Sequence[ImportedEdit] = ()

    def __bool__(self) -> bool:
        return bool(self.of_tracks or self.of_faces)


def pack_edits(edits: ImportedEdits) -> str:
    """Return edits as text."""
    return json.dumps([[_pack(one) for one in group] for group in edits])


def unpack_edits(text: str) -> ImportedEdits:
    """Return the edits of a text.

    Raises:
        ConfigError: It is not from ``pack_edits``.
    """
    try:
        of_tracks, of_faces = ([_unpack(*one) for one in group] for group in json.loads(text))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"these are no edits of an import: {error}") from error
    return ImportedEdits(of_tracks, of_faces)


def record_imported(
    database: Database, ledger: Ledger, edits: ImportedEdits, unit: str, now_s: float
) -> str:
    """Record edits, and return what was recorded in a sentence.

    Args:
        database: The store.
        ledger: Where the entries go.
        edits: What to record.
        unit: ``review.unit``.
        now_s: When.
    """
    recorded = []
    for group, whole_tracks in ((edits.of_tracks, unit == "track"), (edits.of_faces, False)):
        recorder = EditRecorder(database, ledger, None, whole_tracks)
        recorded += recorder.record(group, now_s) if group else []
    if not recorded:
        return "Nothing was recorded."
    numbers = [one.entry_id for one in recorded]
    what = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f"Recorded {counted(len(numbers), 'ledger entry', 'ledger entries')}: {what}."


def _pack(edit: ImportedEdit) -> list[Any]:
    if isinstance(edit, AssignFaces):
        return ["assign", edit.person_id, list(edit.face_ids)]
    if isinstance(edit, ExcludeFaces):
        return ["exclude", None, list(edit.face_ids)]
    boxes = [[one.video_id, one.t_s, *one.box, one.replaces_id] for one in edit.boxes]
    return ["draw", edit.person_id, boxes]


def _unpack(kind: str, person_id: int | None, items: Sequence[Any]) -> ImportedEdit:
    person_id = None if person_id is None else int(person_id)
    if kind == "draw":
        if not items:
            raise ValueError("no box")
        return DrawFaces(tuple(_unpack_box(*one) for one in items), person_id)
    face_ids = tuple(map(int, items))
    if kind == "assign":
        return AssignFaces(face_ids, person_id)
    if kind == "exclude":
        return ExcludeFaces(face_ids)
    raise ValueError(f"{kind!r} is no edit of an import")


def _unpack_box(
    video_id: int, t_s: float, left: int, top: int, right: int, bottom: int, replaces: int | None
) -> DrawnBox:
    box = Box(int(left), int(top), int(right), int(bottom))
    return DrawnBox(int(video_id), float(t_s), box, None if replaces is None else int(replaces))
