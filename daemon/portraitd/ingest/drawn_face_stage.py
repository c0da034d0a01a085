"""Read the faces whose boxes a person drew from their recordings.

A box that was drawn for a face that the detector missed has no embedding and no portrait. A worker
reads its frame; the face then takes part in everything, like those that the detector found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import groupby

import structlog

from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import DrawnFrame, EncodeOptions
from portraitd.ingest.scanner import is_unchanged
from portraitd.model.errors import VideoError, code_of, is_of_machine
from portraitd.model.face import SliceFaces
from portraitd.model.reasons import ReasonCode
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.store.drawn_faces import DrawnBatch, DrawnFaces
from portraitd.store.files import Files

log = structlog.get_logger(stage="drawn_faces")

BACK_OFF_S = 60.0


class DrawnFaceStage(Stage):
    """Has drawn faces read, those of one slice at a time.

    A face that cannot be read is tried again at the next start; the box that it was to replace
    stays until then.

    Args:
        faces: What is to be read.
        files: The recordings.
        options: How faces are embedded.
        executor: Runs ``media_jobs.encode_drawn``.
        is_changing: Returns whether all faces are being read again or given other vectors.
        wake: Called, from any thread, when a job has finished.
        attempts: How often a failing job is tried.
    """

    phase = "faces"
    updates_tree = True

    def __init__(
        self,
        faces: DrawnFaces,
        files: Files,
        options: EncodeOptions,
        executor: Executor,
        is_changing: Callable[[], bool],
        wake: Callable[[], None],
        attempts: int,
    ) -> None:
        self._faces = faces
        self._files = files
        self._options = options._replace(keeps_frames=False)
        self._executor = executor
        self._is_changing = is_changing
        self._wake = wake
        self._attempts = attempts
        self._running: tuple[DrawnBatch, Future[SliceFaces]] | None = None
        # By fingerprint; not stored, so that each start tries again.
        self._failures: Counter[int] = Counter()
        self._given_up: set[int] = set()
        self._back_off = BackOff(BACK_OFF_S)

    @property
    def pending(self) -> bool:
        """Return whether a drawn face is to be read."""
        if self._running is not None:
            return True
        return not self._is_changing() and self._faces.next_batch(self._given_up) is not None

    def tick(self, now: Now) -> None:
        """Add what was read, and have more read."""
        while self._running is not None or self._begin(now):
            if self._running is None or not self._running[1].done():
                return
            batch, job = self._running
            self._running = None
            self._record(batch, job, now)

    def release(self) -> None:
        """Drop the job that is out; the next start repeats it."""
        self._running = None

    def _begin(self, now: Now) -> bool:
        if self._is_changing() or not self._back_off.ready(now):
            return False
        while (batch := self._faces.next_batch(self._given_up)) is not None:
            for known in self._files.of_video(batch.video_id):
                if not is_unchanged(self._files.place(known), known.stamp):
                    continue
                frames = [
                    DrawnFrame(t_s, tuple(box for _, _, box in group))
                    for t_s, group in groupby(batch.boxes, key=lambda one: one[1])
                ]
                job = self._executor.submit(
                    media_jobs.encode_drawn,
                    self._files.source(known),
                    batch.kind,
                    batch.start_s,
                    frames,
                    self._options,
                )
                job.add_done_callback(lambda _: self._wake())
                self._running = batch, job
                return True
            self._give_up(batch, ReasonCode.NO_SUCH_FILE)
        return False

    def _record(self, batch: DrawnBatch, job: Future[SliceFaces], now: Now) -> None:
        try:
            found = job.result()
            space = self._options.encoder.embedding_space
            added = self._faces.add(batch, found.detections, space, now.wall_s)
        except VideoError as error:
            self._give_up(batch, code_of(error))
        except Exception as error:
            if is_of_machine(error):
                raise
            self._handle_failure(batch, error, now)
        else:
            log.info("drawn_faces_read", video=batch.video_id, faces=added)
            if added < len(batch.boxes):
                # What was added has a row now. Nothing of the rest comes out at another attempt.
                self._give_up(batch, ReasonCode.NO_FRAME_DECODED)

    def _handle_failure(self, batch: DrawnBatch, error: Exception, now: Now) -> None:
        log.error(
            "drawn_faces_failed",
            video=batch.video_id,
            reason=f"{type(error).__name__}: {error}",
            reason_code=code_of(error),
        )
        self._back_off.start(now)
        for number, _, _ in batch.boxes:
            self._failures[number] += 1
            if self._failures[number] >= self._attempts:
                self._given_up.add(number)

    def _give_up(self, batch: DrawnBatch, code: ReasonCode) -> None:
        self._given_up |= {number for number, _, _ in batch.boxes}
        log.warning(
            "drawn_faces_not_read",
            video=batch.video_id,
            faces=len(batch.boxes),
            reason_code=code,
        )
