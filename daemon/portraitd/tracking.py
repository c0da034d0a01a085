"""Gives the faces of every finished video their tracks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future

import numpy as np

from portraitd import jobs, logs
from portraitd.jobs import VideoTracks
from portraitd.store.tracks import Indices, TrackStore

log = logs.get("tracking")

BACK_OFF_S = 60.0


class Tracker:
    """Follows faces through the videos whose slices have all ended, one video at a time.

    Args:
        tracks: Where they are kept.
        executor: Where they are made.
        ring: Called, from any thread, when they have come back.

    Attributes:
        trouble: Why the last video got no tracks; empty if it did.
    """

    def __init__(self, tracks: TrackStore, executor: Executor, ring: Callable[[], None]) -> None:
        self._tracks = tracks
        self._executor = executor
        self._ring = ring
        self._running: Future[VideoTracks] | None = None
        self._video_id = 0
        self._face_ids: Indices = np.empty(0, np.int64)
        self._not_before_s = 0.0
        self.trouble = ""

    @property
    def pending(self) -> bool:
        """Whether a finished video still waits for its tracks."""
        return self._running is not None or self._tracks.any_untracked()

    def refresh(self, now_s: float) -> None:
        """Record the tracks that have come back, and begin with the next video."""
        while self._running is not None or (not self._pauses(now_s) and self._begin()):
            if self._running is None or not self._running.done():
                return
            self._record(self._running, now_s)
            self._running = None

    def park(self) -> None:
        """Forget what is out; the next start does it again."""
        self._running = None

    def _pauses(self, now_s: float) -> bool:
        # A clock that was set back must not make a short pause a long one.
        return 0 < self._not_before_s - now_s <= BACK_OFF_S

    def _begin(self) -> bool:
        video_id = self._tracks.untracked()
        if video_id is None:
            return False
        self._video_id = video_id
        self._face_ids, faces = self._tracks.faces_of(video_id)
        self._running = self._executor.submit(jobs.track, faces)
        self._running.add_done_callback(lambda _: self._ring())
        return True

    def _record(self, done: Future[VideoTracks], now_s: float) -> None:
        try:
            found = done.result()
        except Exception as error:
            # The next turn after the pause tries again; the people there are stay in force.
            self._not_before_s = now_s + BACK_OFF_S
            reason = f"{type(error).__name__}: {error}"
            self.trouble = f"the tracks of video {self._video_id} failed: {reason}"
            log.error("tracking_failed", video=self._video_id, reason=reason)
            return
        self.trouble = ""
        kept = self._tracks.record(
            self._video_id, self._face_ids, found.tracks, found.summary, found.apart
        )
        if kept:
            log.info("video_tracked", video=self._video_id, tracks=len(found.summary.faces))
