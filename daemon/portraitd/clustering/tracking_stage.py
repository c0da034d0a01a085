"""Build the tracks of every finished video, and of a long one already while it is processed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future

import numpy as np
import structlog

from portraitd.clustering import grouping_jobs
from portraitd.clustering.grouping_jobs import TrackConstraints, VideoTracks
from portraitd.model.errors import code_of, is_of_machine
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.store.tracks import Indices, TrackStore

log = structlog.get_logger(stage="tracking")

BACK_OFF_S = 60.0

FIRST_FOOTAGE_S = 120.0
"""A video gets tracks before it is done once this much of it is processed."""


class TrackingStage(Stage):
    """Submits the faces of videos whose slices are all done to a worker, one video at a time.

    While a video is processed, it gets tracks each time its faces have doubled since the last
    time, so that its people appear while it is processed; those tracks are replaced at its end.

    A video whose job fails is tried again after a minute; the others continue. After
    ``attempts`` failures each of its faces becomes a track of its own. If that fails as often,
    the video stays without tracks until the next start, and the reason is recorded.

    Args:
        tracks: Where tracks are recorded.
        space: The embedding space in use; a video with faces of another one waits for them.
        rules: Of the model that made the embeddings.
        executor: Where they are built.
        wake: Called, from any thread, when a result has arrived.
        attempts: How often a failing job is tried.
    """

    phase = "faces"
    updates_tree = True

    def __init__(
        self,
        tracks: TrackStore,
        space: str,
        rules: EmbeddingRules,
        executor: Executor,
        wake: Callable[[], None],
        attempts: int,
    ) -> None:
        self._tracks = tracks
        self._space = space
        self._rules = rules
        self._executor = executor
        self._wake = wake
        self._attempts = attempts
        self._running: Future[VideoTracks] | None = None
        self._video_id = 0
        self._face_ids: Indices = np.empty(0, np.int64)
        # By video; not stored, so that each start tries again.
        self._failures: Counter[int] = Counter()
        self._pauses: dict[int, BackOff] = {}
        self._given_up: set[int] = set()
        self._is_partial = False
        self._waits_for_end: set[int] = set()
        self._blocked = NO_REASON

    @property
    def blocked(self) -> Reason:
        """Return why tracking the last video failed; empty if it did not."""
        return self._blocked

    @property
    def pending(self) -> bool:
        """Return whether a finished video still has no tracks."""
        if self._running is not None:
            return True
        return self._tracks.untracked(self._given_up, self._space) is not None

    def tick(self, now: Now) -> None:
        """Record a result that has arrived, and submit the next video."""
        while self._running is not None or self._begin(now):
            if self._running is None or not self._running.done():
                return
            self._record(self._running, now)
            self._running = None

    def release(self) -> None:
        """Drop the running job; the next start repeats it."""
        self._running = None

    def _begin(self, now: Now) -> bool:
        pausing = {video for video, pause in self._pauses.items() if not pause.ready(now)}
        video_id = self._tracks.untracked(pausing | self._given_up, self._space)
        self._is_partial = video_id is None
        if self._is_partial:
            video_id = self._tracks.partly_processed(
                self._waits_for_end, self._space, FIRST_FOOTAGE_S
            )
        if video_id is None:
            return False
        self._video_id = video_id
        self._tracks.hide_replaced(video_id)
        self._face_ids, faces = self._tracks.faces_of(video_id, self._rules.quality)
        constraints = TrackConstraints(*self._tracks.constraints_of(video_id, self._face_ids))
        if self._is_partial or self._failures[video_id] < self._attempts:
            self._running = self._executor.submit(
                grouping_jobs.track, faces, self._rules, constraints
            )
        else:
            self._running = self._executor.submit(grouping_jobs.track_singly, faces, self._rules)
        self._running.add_done_callback(lambda _: self._wake())
        return True

    def _record(self, done: Future[VideoTracks], now: Now) -> None:
        try:
            found = done.result()
            kept = self._tracks.record(
                self._video_id,
                self._face_ids,
                found.tracks,
                found.summary,
                found.cannot_link,
                found.ranks,
            )
        except Exception as error:
            if is_of_machine(error):
                raise
            self._handle_failure(error, now)
            return
        self._blocked = NO_REASON
        if kept:
            log.info(
                "video_tracked",
                video=self._video_id,
                tracks=len(found.summary.faces),
                partial=self._is_partial,
            )

    def _handle_failure(self, error: Exception, now: Now) -> None:
        """Schedule another attempt; the current people are kept."""
        video, reason = self._video_id, f"{type(error).__name__}: {error}"
        if self._is_partial:
            self._waits_for_end.add(video)
            log.warning("tracking_put_off", video=video, reason=reason, reason_code=code_of(error))
            return
        self._failures[video] += 1
        self._pauses.setdefault(video, BackOff(BACK_OFF_S)).start(now)
        self._blocked = Reason.of(ReasonCode.TRACKING_PAUSED, video=video, error=reason)
        log.error(
            "tracking_failed",
            video=video,
            attempt=self._failures[video],
            reason=reason,
            reason_code=code_of(error),
        )
        if self._failures[video] == 2 * self._attempts:
            self._given_up.add(video)
            self._tracks.record_failure(video, Reason.of(ReasonCode.TRACKING_FAILED, error=reason))
            log.error("tracking_given_up", video=video, reason=reason, reason_code=code_of(error))
