"""Read recordings of earlier versions again, for the hash of their pictures and their date.

Without that hash, tags written into the file of a recording would make it a second recording.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import NamedTuple

import structlog

from portraitd.ingest import media_jobs
from portraitd.ingest.scanner import is_unchanged
from portraitd.model.media_file import MediaFacts
from portraitd.model.stage import Now, Stage
from portraitd.store.files import Files
from portraitd.store.recordings import Recordings

log = structlog.get_logger(stage="picture_hashes")

IDLE_S = 10.0
"""How long the service has nothing to do before this begins; `process` ends earlier."""


class _Reading(NamedTuple):
    """A recording that a worker reads, and the contents that its file may have."""

    video_id: int
    contents: frozenset[str]
    job: Future[MediaFacts]


class PictureHashStage(Stage):
    """Reads the files of earlier versions one by one, while there is nothing else to do.

    Its work never keeps the service from being idle: what is not read is read at another time.

    Args:
        recordings: The recordings.
        files: Their files.
        executor: Runs the jobs.
        wake: Called, from any thread, when a job has finished.
        is_busy: Returns whether there is other work, or the inbox is unavailable.
    """

    def __init__(
        self,
        recordings: Recordings,
        files: Files,
        executor: Executor,
        wake: Callable[[], None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._recordings = recordings
        self._files = files
        self._executor = executor
        self._wake = wake
        self._is_busy = is_busy
        self._idle_since_s: float | None = None
        self._waiting: list[int] | None = None
        self._reading: _Reading | None = None
        self._read = 0

    def tick(self, now: Now) -> None:
        """Record what was read, and have the next recording read."""
        if self._reading and self._reading.job.done():
            self._record(self._reading, now.wall_s)
            self._reading = None
        if self._is_busy():
            self._idle_since_s = None
            return
        if self._idle_since_s is None:
            self._idle_since_s = now.steady_s
        if self._reading is None and now.steady_s - self._idle_since_s >= IDLE_S:
            self._begin_next(now.wall_s)

    def release(self) -> None:
        """Drop the job that is out; the next start begins it again."""
        self._reading = None

    def _begin_next(self, now_s: float) -> None:
        if self._waiting is None:
            # The newest last: it is taken first.
            self._waiting = self._recordings.undescribed()[::-1]
        while self._waiting:
            if self._begin(self._waiting.pop()):
                return
        if self._read:
            log.info("earlier_recordings_read", recordings=self._read)
            self._recordings.show_dates(now_s)
            self._read = 0
            self._wake()

    def _begin(self, video_id: int) -> bool:
        """Submit the reading of a recording; return whether it has a file to read."""
        found = self._recordings.get_undescribed(video_id)
        for file in found.files if found else ():
            if found and is_unchanged(self._files.place(file), file.stamp):
                job = self._executor.submit(media_jobs.probe, self._files.source(file))
                contents = frozenset({found.sha256, file.content_sha256})
                self._reading = _Reading(video_id, contents, job)
                job.add_done_callback(lambda _: self._wake())
                return True
        return False

    def _record(self, reading: _Reading, now_s: float) -> None:
        try:
            facts = reading.job.result()
        except Exception as error:
            # Whatever it is: the recording stays as it is.
            log.info("recording_not_read", video=reading.video_id, reason=str(error))
            return
        if facts.sha256 in reading.contents:
            self._recordings.fill(reading.video_id, facts, now_s)
            self._read += 1
