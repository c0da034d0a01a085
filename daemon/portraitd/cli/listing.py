"""``portraitd faces`` and ``portraitd ledger``: all faces and all edits, as lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TextIO

from portraitd.config import Settings
from portraitd.model.wording import escape_unprintable, make_spreadsheet_cell
from portraitd.people.pages.edit_words import describe_entries
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.faces import Faces
from portraitd.store.files import display_path

COLUMNS = (
    "face", "source", "sha256", "t", "box", "score", "track", "person", "name", "portrait",
    "date", "date_is",
)  # fmt: skip


def print_faces(settings: Settings, form: str, out: TextIO) -> None:
    """Write all faces, sorted by video and time.

    Args:
        settings: The home.
        form: ``jsonl``, one object per line, or ``csv``, with the box in four columns.
        out: The stream to write to.

    Raises:
        StoreError: Nothing has been processed in this home yet.
    """
    with Database.open_to_read(settings.state_dir) as database:
        rows = _rows(database, PeopleTree(settings.people_dir).locate_portraits())
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
            cells = [*values[:at], *values[at], *values[at + 1 :]]
            writer.writerow(map(make_spreadsheet_cell, cells))


def _rows(database: Database, portraits: dict[int, str]) -> Iterator[dict[str, Any]]:
    for face in Faces(database).listing():
        yield {
            "face": face.id,
            "source": display_path(face.source),
            "sha256": face.sha256,
            "t": round(face.t_s, 3),
            "box": list(face.box),
            "score": round(face.score, 4),
            "track": face.track_id,
            "person": face.person_id,
            "name": face.name,
            "portrait": portraits.get(face.id),
            "date": face.date.time.iso(),
            "date_is": face.date.kind,
        }


def print_ledger(settings: Settings, as_json: bool, out: TextIO) -> None:
    """Write all entries of the ledger, oldest first.

    Raises:
        StoreError: Nothing has been processed in this home yet.
    """
    with Database.open_to_read(settings.state_dir) as database:
        rows = Ledger(database).summaries()
    words = describe_entries(rows)
    for row in rows:
        if as_json:
            out.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
        else:
            when = datetime.fromtimestamp(row.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
            undone = "  (undone)" if row.is_undone else ""
            out.write(f"{row.id:>6}  {when}  {escape_unprintable(str(words[row.id]))}{undone}\n")
