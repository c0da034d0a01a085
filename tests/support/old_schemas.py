"""The names that tables and columns had before schema 10."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

from portraitd.store.database import APPLICATION_ID, FILE_NAME

FIRST_OF_TODAY = 10

TABLES = {
    "apart": "cannot_link",
    "beginnings": "partial_copies",
    "being_forgotten": "erasure_in_progress",
    "censuses": "grouping_runs",
    "close_people": "merge_candidates",
    "crew": "remote_workers",
    "erasures": "erased_portraits",
    "face_keys": "face_fingerprints",
    "forgettings": "erasures",
    "jobs": "slices",
    "key_faces": "fingerprint_matches",
    "showings": "gallery_versions",
    "shown": "published_faces",
    "troubles": "blocked_stages",
}

COLUMNS = {
    "census_id": "grouping_run_id",
    "forgetting_id": "erasure_id",
    "goodness": "quality",
    "job_id": "slice_id",
    "look": "render_version",
    "memory": "snapshot",
    "place": "placement",
    "room": "stage",
    "sends": "receives_files",
    "shown_at": "written_at",
    "spread": "variance",
    "whole": "whole_track",
}


def table_of_today(name: str, schema: int = 1) -> str:
    """Return the name that a table of an older schema has today."""
    return TABLES.get(name, name) if schema < FIRST_OF_TODAY else name


def column_of_today(table: str, name: str, schema: int = 1) -> str:
    """Return the name that a column of an older schema's table has today."""
    if schema >= FIRST_OF_TODAY:
        return name
    if name == "key_id" and table in ("key_faces", "ledger_faces"):
        return "fingerprint_id"
    return COLUMNS.get(name, name)


COPIED = ("files", "videos", "jobs", "faces", "portraits", "people", "publications")
"""Tables of the first schema that have the same columns, or more of them, in all later schemas."""


def first_store(folder: Path, source: Path) -> None:
    """Copy the rows of a current database into one of schema 1."""
    script = resources.files("portraitd.store") / "migrations" / "0001_initial.sql"
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as old:
        old.executescript(script.read_text(encoding="utf-8"))
        old.execute("pragma user_version = 1")
        old.execute(f"pragma application_id = {APPLICATION_ID}")
        old.execute("attach ? as today", (str(source / FILE_NAME),))
        for table in COPIED:
            names = [row[1] for row in old.execute(f"pragma table_info({table})")]
            today = ", ".join(column_of_today(table, name) for name in names)
            old.execute(
                f"insert into {table} ({', '.join(names)}) "
                f"select {today} from today.{table_of_today(table)}"
            )
        old.execute(
            """
            insert into censuses values (7, '{"eps": 0.5}', 6, 6, 2, 1, 0, 1.5, 99.0)
            """
        )
