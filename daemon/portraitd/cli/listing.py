"""``portraitd faces`` and ``portraitd ledger``: every face, and what people did, as lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TextIO

from portraitd.config import Settings
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.store import Database, Faces, Ledger
from portraitd.store.corrections.ledger import LedgerRow
from portraitd.store.files import display_path

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
        rows = _rows(database, PeopleTree(settings.people_dir).portraits())
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
            "source": display_path(face.source),
            "sha256": face.sha256,
            "t": round(face.t_s, 3),
            "box": list(face.box),
            "score": round(face.score, 4),
            "track": face.track_id,
            "person": face.person_id,
            "name": face.name,
            "portrait": portraits.get(face.id),
        }


def print_ledger(settings: Settings, as_json: bool, out: TextIO) -> None:
    """Every row of the ledger, the oldest first.

    Raises:
        StoreError: There is no store yet.
    """
    database = Database.open_to_read(settings.state_dir)
    try:
        rows = Ledger(database).rows()
    finally:
        database.close()
    for row in rows:
        if as_json:
            out.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
        else:
            when = datetime.fromtimestamp(row.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
            undone = "  (undone)" if row.is_undone else ""
            out.write(f"{row.id:>6}  {when}  {_told(row)}{undone}\n")


def _told(row: LedgerRow) -> str:
    """A row in words."""
    who, into = f"person {row.person_id}", f"person {row.into_id}"
    faces = f"{row.faces} face{'' if row.faces == 1 else 's'}"
    words = {
        "name": f"{who} is called {row.name!r}",
        "merge": f"{who} is {into}",
        "place": f"{faces} belong to {who if row.person_id else 'nobody known'}",
        "split": f"{faces} are {who}, called {row.name!r}",
        "exclude": f"{faces} are not to be shown",
        "ignore-faces": f"{faces} are out of sight",
        "ignore-person": f"{who} is out of sight",
        "recall-person": f"{who} is in sight again",
        "undo": f"row {row.undoes} is undone",
    }
    return words[row.kind]
