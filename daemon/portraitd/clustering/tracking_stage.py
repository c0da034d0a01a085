"""Gives the faces of every finished video their tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future

import numpy as np
import structlog

from portraitd.clustering import grouping_jobs
from portraitd.clustering.grouping_jobs import TrackConstraints, VideoTracks
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.store.tracks import Indices, TrackStore

log = structlog.get_logger(stage="tracking")

BACK_OFF_S = 60.0


class TrackingStage(Stage):
    """Follows faces through the videos whose slices have all ended, one video at a time.

    A video whose job dies waits a minute, and the others go on. After so many attempts its faces
    are followed no more: each is a track of its own. Where that dies as often, the video stays
    without tracks until the next start, with the reason beside its name.

    Args:
        tracks: Where they are kept.
        executor: Where they are made.
        ring: Called, from any thread, when they have come back.
        attempts: How often a job that dies is tried.
    """

    phase = "faces"
    updates_tree = True

    def __init__(
        self, tracks: TrackStore, executor: Executor, wake: Callable[[], None], attempts: int
    ) -> None:
        self._tracks = tracks
        self._executor = executor
        self._ring = wake
        self._attempts = attempts
        self._running: Future[VideoTracks] | None = None
        self._video_id = 0
        self._face_ids: Indices = np.empty(0, np.int64)
        # By video; forgotten with the process, so that each start tries again.
        self._died: Counter[int] = Counter()
        self._pauses: dict[int, BackOff] = {}
        self._given_up: set[int] = set()
        self._blocked = ""

    @property
    def blocked(self) -> str:
        """Return why the last video got no tracks; empty if it did."""
        return self._blocked

    @property
    def pending(self) -> bool:
        """Whether a finished video still waits for its tracks."""
        return self._running is not None or self._tracks.untracked(self._given_up) is not None

    def tick(self, now: Now) -> None:
        """Record the tracks that have come back, and begin with the next video."""
        while self._running is not None or self._begin(now):
            if self._running is None or not self._running.done():
                return
            self._record(self._running, now)
            self._running = None

    def release(self) -> None:
        """Forget what is out; the next start does it again."""
        self._running = None

    def _begin(self, now: Now) -> bool:
        pausing = {video for video, pause in self._pauses.items() if not pause.ready(now)}
        video_id = self._tracks.untracked(pausing | self._given_up)
        if video_id is None:
            return False
        self._video_id = video_id
        self._face_ids, faces = self._tracks.faces_of(video_id)
        said = TrackConstraints(*self._tracks.constraints_of(video_id, self._face_ids))
        if self._died[video_id] < self._attempts:
            self._running = self._executor.submit(grouping_jobs.track, faces, said)
        else:
            self._running = self._executor.submit(grouping_jobs.track_singly, faces)
        self._running.add_done_callback(lambda _: self._ring())
        return True

    def _record(self, done: Future[VideoTracks], now: Now) -> None:
        try:
            found = done.result()
        except Exception as error:
            self._lose(f"{type(error).__name__}: {error}", now)
            return
        self._blocked = ""
        kept = self._tracks.record(
            self._video_id,
            self._face_ids,
            found.tracks,
            found.summary,
            found.cannot_link,
            found.ranks,
        )
        if kept:
            log.info("video_tracked", video=self._video_id, tracks=len(found.summary.faces))

    def _lose(self, reason: str, now: Now) -> None:
        """A worker died on it: the people there are stay in force, and it is tried again."""
        video = self._video_id
        self._died[video] += 1
        self._pauses.setdefault(video, BackOff(BACK_OFF_S)).start(now)
        self._blocked = f"the tracks of video {video} failed: {reason}"
        log.error("tracking_failed", video=video, attempt=self._died[video], reason=reason)
        if self._died[video] == 2 * self._attempts:
            self._given_up.add(video)
            self._tracks.note_trouble(video, Reason.of(ReasonCode.TRACKING_FAILED, error=reason))
            log.error("tracking_given_up", video=video, reason=reason)
