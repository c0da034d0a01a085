"""Continue a partial copy with the full file, without detecting any face twice.

An interrupted copy equals the start of the full file, byte by byte. When the full file arrives,
the video of the partial copy keeps its faces and all edits made on them, and only the rest is
processed. If the full file is removed before it is done, the video is the partial copy again.
"""

from __future__ import annotations

import math
import sqlite3

from portraitd.model.fingerprints import split_key_parts
from portraitd.model.media_file import MediaFacts, MediaKind
from portraitd.store.database import Database

_MAX_CANDIDATES = 2000
"""How many contents, the newest, a new file is compared with: an interrupted copy is recent."""

_MIN_BYTES = 4096


class PartialCopies:
    """Joins a partial copy and the full file into one video."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def candidates(self, below_bytes: int) -> tuple[tuple[int, str], ...]:
        """Return size and SHA-256 of the videos that a file of this size may start with."""
        rows = self._db.execute(
            """
            select content_size, sha256 from videos
            where kind = 'video' and state <> 'queued' and content_size between ? and ?
            order by id desc limit ?
            """,
            (_MIN_BYTES, below_bytes - 1, _MAX_CANDIDATES),
        )
        return tuple((row[0], row[1]) for row in rows)

    def full_video_of(self, sha256: str) -> int | None:
        """Return the video that continued a partial copy; None if the content is not one."""
        row = self._db.execute(
            "select video_id from partial_copies where sha256 = ?", (sha256,)
        ).fetchone()
        return row and int(row[0])

    def extend(
        self, facts: MediaFacts, size: int, stretches: list[tuple[float, float]]
    ) -> int | None:
        """Continue the video of a partial copy, within the caller's transaction.

        Args:
            facts: Facts of the full file; ``extends`` names the partial copy.
            size: Size of the full file in bytes.
            stretches: Start and stop of its slices.

        Returns:
            The video, with its new slices queued; None if no video can be continued.
        """
        # A video that is being reprocessed would lose the new part to the result of the old one;
        # and new faces cannot be compared with faces of another encoder.
        old = self._db.execute(
            """
            select * from videos where sha256 = ? and state <> 'queued' and not frozen
                and not exists (select 1 from videos as again where again.replaces = videos.id)
            """,
            (facts.extends,),
        ).fetchone()
        if old is None or facts.kind is not MediaKind.VIDEO:
            return None
        video_id = int(old["id"])
        self._record(old)
        self._copy_splits(old["sha256"], facts.sha256)
        self._db.execute(
            """
            update videos set sha256 = ?, picture_hash = ?, duration_s = ?, fps = ?,
                content_size = ?, state = 'queued', reason = '', reason_code = '',
                finished_at = null
            where id = ?
            """,
            (facts.sha256, facts.picture_hash, facts.duration_s, facts.fps, size, video_id),
        )
        self._db.execute("delete from slices where video_id = ? and state <> 'done'", (video_id,))
        from_s = self._resume_s(video_id, facts.fps)
        self._db.executemany(
            "insert into slices (video_id, start_s, stop_s, state) values (?, ?, ?, 'queued')",
            [(video_id, max(start, from_s), stop) for start, stop in stretches if stop > from_s],
        )
        return video_id

    def revert(self, video_id: int) -> bool:
        """Turn a continued video back into its partial copy, within the caller's transaction.

        Returns:
            Whether the video was a continued one.
        """
        old = self._db.execute(
            "select * from partial_copies where video_id = ? order by content_size desc limit 1",
            (video_id,),
        ).fetchone()
        if old is None:
            return False
        self._db.execute("delete from partial_copies where sha256 = ?", (old["sha256"],))
        self._db.execute("delete from slices where video_id = ? and state <> 'done'", (video_id,))
        self._db.execute(
            """
            update videos set sha256 = ?, picture_hash = ?, duration_s = ?, fps = ?,
                content_size = ?, state = 'done', reason = ?, reason_code = ?, tracked = 0
            where id = ?
            """,
            (
                old["sha256"],
                old["picture_hash"],
                old["duration_s"],
                old["fps"],
                old["content_size"],
                old["reason"],
                old["reason_code"],
                video_id,
            ),
        )
        return True

    def _record(self, old: sqlite3.Row) -> None:
        """Keep the facts of the partial copy."""
        self._db.execute(
            """
            insert into partial_copies
                (sha256, picture_hash, video_id, content_size, duration_s, fps, reason,
                    reason_code)
            values (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            (
                old["sha256"],
                old["picture_hash"],
                old["id"],
                old["content_size"],
                old["duration_s"],
                old["fps"],
                old["reason"],
                old["reason_code"],
            ),
        )

    def _copy_splits(self, partial_sha256: str, full_sha256: str) -> None:
        """Keep each training or validation split: a model may have seen the images."""
        parts = zip(split_key_parts(partial_sha256), split_key_parts(full_sha256), strict=True)
        for old, new in parts:
            self._db.execute(
                """
                insert or ignore into splits (key, split, since)
                select replace(key, ?1, ?2), split, since from splits where instr(key, ?1)
                """,
                (old, new),
            )
            self._db.execute(
                """
                insert into split_edits (kind, key, split, made_at)
                select kind, replace(key, ?1, ?2), split, made_at from split_edits
                where instr(key, ?1) order by id
                """,
                (old, new),
            )

    def _resume_s(self, video_id: int, fps: float) -> float:
        """Return from when on footage is new; end the done slices there."""
        row = self._db.execute(
            "select max(ended_s) from slices where video_id = ? and state = 'done'", (video_id,)
        ).fetchone()
        if row[0] is None:
            return 0.0
        from_s = float(row[0]) + (0.5 / fps if fps > 0 else 0.001)
        self._db.execute(
            "update slices set stop_s = ? where video_id = ? and stop_s > ?",
            (from_s, video_id, from_s),
        )
        return from_s if math.isfinite(from_s) else 0.0
