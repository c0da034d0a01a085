"""Sidecars: what each should say, and what it says at present."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterator
from itertools import groupby
from pathlib import Path

from portraitd.model.face import Box
from portraitd.model.media_file import MediaKind
from portraitd.model.sidecar import NamedRecording, SidecarKey, SidecarKind, WrittenSidecar
from portraitd.store.database import Database
from portraitd.store.files import INBOX

_KIND_OF = {MediaKind.PHOTO: SidecarKind.XMP, MediaKind.VIDEO: SidecarKind.NFO}

_NAMED = """
    select files.id as file_id, files.path, videos.kind, width_px, height_px, people.name,
        box_left, box_top, box_right, box_bottom
    from files join videos on videos.id = files.video_id
        join visible_faces as faces on faces.video_id = videos.id
        join people on people.id = faces.person_id
    where root = ? and files.state in ('done', 'duplicate') and not files.is_reference
        and videos.state = 'done' and people.name is not null and not people.ignored
        and people.merged_into is null
"""


class Sidecars:
    """Reads the people of recordings in the inbox, and keeps what their sidecars say."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def version(self) -> tuple[int, ...]:
        """Return what changes whenever a sidecar may have to change; not if a file is moved."""
        row = self._db.read_row(
            """
            select (select coalesce(max(id), 0) from ledger),
                (select coalesce(max(id), 0) from grouping_runs),
                (select coalesce(max(id), 0) from erasures),
                (select coalesce(max(id), 0) from file_steps)
            """
        )
        return tuple(row)

    def desired(self, kinds: Collection[SidecarKind]) -> Iterator[NamedRecording]:
        """Yield the recordings with named people, by file."""
        media = [media for media, kind in _KIND_OF.items() if kind in kinds]
        if not media:
            return
        rows = self._db.execute(
            f"{_NAMED} and videos.kind in ({','.join('?' * len(media))}) "
            "order by files.id, faces.id",
            (INBOX, *media),
        )
        for file_id, found in groupby(rows, lambda row: int(row["file_id"])):
            yield _recording(file_id, list(found))

    def in_work(self) -> set[int]:
        """Return the files whose people are not known again yet."""
        rows = self._db.execute(
            """
            select id from files where root = ?
                and state in ('waiting', 'ready', 'probing', 'encoding')
            """,
            (INBOX,),
        )
        return {row["id"] for row in rows}

    def written(self) -> list[WrittenSidecar]:
        """Return the sidecars that portraitd has written to, by file."""
        rows = self._db.execute("select * from sidecars order by file_id, kind")
        return [
            WrittenSidecar(
                row["file_id"],
                SidecarKind(row["kind"]),
                Path(os.fsdecode(row["path"])),
                row["identity"],
            )
            for row in rows
        ]

    def record(self, sidecar: WrittenSidecar) -> None:
        """Record what a sidecar says now."""
        self._db.execute(
            "insert or replace into sidecars (file_id, kind, path, identity) values (?, ?, ?, ?)",
            (sidecar.file_id, sidecar.kind, os.fsencode(sidecar.path), sidecar.identity),
        )

    def forget(self, key: SidecarKey) -> None:
        """Record that a sidecar says nothing of portraitd's any more."""
        self._db.execute("delete from sidecars where file_id = ? and kind = ?", key)


def _recording(file_id: int, rows: list[sqlite3.Row]) -> NamedRecording:
    first = rows[0]
    kind = _KIND_OF[MediaKind(first["kind"])]
    faces: list[tuple[str, Box | None]]
    if kind is SidecarKind.NFO:
        faces = [(name, None) for name in sorted({row["name"] for row in rows})]
    else:
        faces = [
            (
                row["name"],
                Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"]),
            )
            for row in rows
        ]
    facts = json.dumps([first["width_px"], first["height_px"], faces])
    return NamedRecording(
        file_id,
        Path(os.fsdecode(first["path"])),
        kind,
        first["width_px"],
        first["height_px"],
        faces,
        hashlib.sha256(facts.encode()).hexdigest()[:32],
    )
