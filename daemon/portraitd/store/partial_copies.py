"""A copy that was broken off, and later the whole file: one video, and nothing found twice.

A broken-off copy is the beginning of the whole one, byte by byte. What was found in it stays, with
all that people decided about it; only the rest is worked on. If the whole file goes away before it
is done, the video is the beginning again.
"""

from __future__ import annotations

import math
import sqlite3

from portraitd.model.fingerprints import split_key_parts
from portraitd.model.media_file import MediaFacts, MediaKind
from portraitd.store.database import Database

_MOST = 2000
"""Contents that a new file is compared with: the newest. A broken-off copy is a recent one."""

_SMALLEST_BYTES = 4096


class Beginnings:
    """Makes one video of a beginning and its whole."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def known(self, below_bytes: int) -> tuple[tuple[int, str], ...]:
        """Size and SHA-256 of the videos that a file of this size may begin with."""
        rows = self._db.execute(
            """
            select content_size, sha256 from videos
            where kind = 'video' and state <> 'queued' and content_size between ? and ?
            order by id desc limit ?
            """,
            (_SMALLEST_BYTES, below_bytes - 1, _MOST),
        )
        return tuple((row[0], row[1]) for row in rows)

    def whole_of(self, sha256: str) -> int | None:
        """The video that begins with a content, if it was broken off once."""
        row = self._db.execute(
            "select video_id from partial_copies where sha256 = ?", (sha256,)
        ).fetchone()
        return row and int(row[0])

    def extend(self, facts: MediaFacts, size: int, pieces: list[tuple[float, float]]) -> int | None:
        """Make the video that a file begins with the whole one, within the caller's transaction.

        Args:
            facts: Of the whole file.
            size: Its bytes.
            pieces: Its slices.

        Returns:
            The video, of which what is new is queued; None if there is nothing to go on from.
        """
        # One that is being rebuilt would lose what is new to what its beginning gave; and what is
        # found now cannot stand beside faces of another encoder.
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
        self._remember(old)
        self._keep_sides(old["sha256"], facts.sha256)
        self._db.execute(
            """
            update videos set sha256 = ?, duration_s = ?, fps = ?, content_size = ?,
                state = 'queued', reason = '', reason_code = '', finished_at = null
            where id = ?
            """,
            (facts.sha256, facts.duration_s, facts.fps, size, video_id),
        )
        self._db.execute("delete from slices where video_id = ? and state <> 'done'", (video_id,))
        from_s = self._resumed(video_id, facts.fps)
        self._db.executemany(
            "insert into slices (video_id, start_s, stop_s, state) values (?, ?, ?, 'queued')",
            [(video_id, max(start, from_s), stop) for start, stop in pieces if stop > from_s],
        )
        return video_id

    def revert(self, video_id: int) -> bool:
        """Make a video that is not done the beginning again, within the caller's transaction.

        Returns:
            Whether it was one.
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
            update videos set sha256 = ?, duration_s = ?, fps = ?, content_size = ?,
                state = 'done', reason = ?, reason_code = ?, tracked = 0
            where id = ?
            """,
            (
                old["sha256"],
                old["duration_s"],
                old["fps"],
                old["content_size"],
                old["reason"],
                old["reason_code"],
                video_id,
            ),
        )
        return True

    def _remember(self, old: sqlite3.Row) -> None:
        self._db.execute(
            """
            insert into partial_copies
                (sha256, video_id, content_size, duration_s, fps, reason, reason_code)
            values (?, ?, ?, ?, ?, ?, ?)
            """,
            (
                old["sha256"],
                old["id"],
                old["content_size"],
                old["duration_s"],
                old["fps"],
                old["reason"],
                old["reason_code"],
            ),
        )

    def _keep_sides(self, beginning: str, whole: str) -> None:
        """What was train or val of the beginning is so of the whole: a model may have seen it."""
        for old, new in zip(split_key_parts(beginning), split_key_parts(whole), strict=True):
            self._db.execute(
                """
                insert or ignore into splits (key, split, since)
                select replace(key, ?1, ?2), split, since from splits where instr(key, ?1)
                """,
                (old, new),
            )

    def _resumed(self, video_id: int, fps: float) -> float:
        """From when on there is something new; what is done ends there."""
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
