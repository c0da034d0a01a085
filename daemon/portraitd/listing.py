"""``portraitd faces``: every face as a line that scripts can read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any, TextIO

from portraitd.config import Settings
from portraitd.people.tree import Tree
from portraitd.store import Database, Faces
from portraitd.store.files import shown

COLUMNS = (
    "face", "source", "sha256", "t", "box", "score", "track", "person", "name", "portrait",
)  # fmt: skip


def print_faces(settings: Settings, form: str, out: TextIO) -> None:
    """Write every face, by video and time.

    Args:
        settings: Which home.
        form: ``jsonl``, one object a line, or ``csv`` with the box in four columns.
        out: Where to.

    Raises:
        StoreError: Nothing has been processed in this home yet.
    """
    database = Database.open_to_read(settings.state_dir)
    try:
        rows = _rows(database, Tree(settings.people_dir).portraits())
        if form == "jsonl":
            for row in rows:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            return
        box_columns = ("left", "top", "right", "bottom")
        at = COLUMNS.index("box")
        writer = csv.writer(out)
        writer.writerow([*COLUMNS[:at], *box_columns, *COLUMNS[at + 1 :]])
        for row in rows:
            values = [row[column] for column in COLUMNS]
            writer.writerow([*values[:at], *values[at], *values[at + 1 :]])
    finally:
        database.close()


def _rows(database: Database, portraits: dict[int, str]) -> Iterator[dict[str, Any]]:
    for face in Faces(database).listing():
        yield {
            "face": face.id,
            "source": shown(face.source),
            "sha256": face.sha256,
            "t": round(face.t_s, 3),
            "box": list(face.box),
            "score": round(face.score, 4),
            "track": face.track_id,
            "person": face.person_id,
            "name": face.name,
            "portrait": portraits.get(face.id),
        }
