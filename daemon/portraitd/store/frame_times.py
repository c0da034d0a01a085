"""Times of the frames of videos, by which frame numbers are exact at every frame rate."""

from __future__ import annotations

import zlib

import numpy as np

from portraitd.model.face import FrameTimes
from portraitd.store.database import Database

MAX_BYTES = 1 << 30
"""Of the times of a video, unpacked."""


class FrameTimeStore:
    """Keeps the times that workers read."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def find(self, video_id: int, sha256: str) -> FrameTimes | None:
        """Return the times of a video, to a microsecond; None if they are not known.

        Args:
            video_id: The video.
            sha256: Its content.
        """
        row = self._db.execute(
            "select times from frame_times where video_id = ? and sha256 = ?", (video_id, sha256)
        ).fetchone()
        if row is None:
            return None
        steps = np.frombuffer(zlib.decompressobj().decompress(row["times"], MAX_BYTES), "<i8")
        return np.cumsum(steps) / 1e6

    def record(self, video_id: int, sha256: str, times_s: FrameTimes) -> None:
        """Keep the times of a video; one that was erased meanwhile has none."""
        microseconds = np.round(times_s * 1e6).astype("<i8")
        steps = np.diff(microseconds, prepend=0).astype("<i8")
        self._db.execute(
            """
            insert or replace into frame_times (video_id, sha256, times)
            select id, ?, ? from videos where id = ? and sha256 = ?
            """,
            (sha256, zlib.compress(steps.tobytes()), video_id, sha256),
        )
