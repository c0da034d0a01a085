"""The names that tables and columns had before schema 10."""

from __future__ import annotations

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
