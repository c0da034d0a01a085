"""Change all stored faces over to another embedding model, in the background.

Each face is embedded again from its stored portrait, which takes milliseconds. The file is read
only for a face whose portrait cannot do. The vectors in use stay until the last one is ready.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
import structlog

from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import KnownFrame
from portraitd.ingest.scanner import is_unchanged
from portraitd.model.errors import VideoError, code_of, is_of_machine
from portraitd.model.face import Embeddings
from portraitd.model.face_quality import QualityRule
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.store.files import Files
from portraitd.store.reembedding import FileBatch, Reembedding, Summarise

log = structlog.get_logger(stage="reembedding")

BATCH_FACES = 32
BACK_OFF_S = 60.0


@dataclass(slots=True, eq=False)
class _Job:
    """A job that is out."""

    face_ids: list[int]
    future: Future[Embeddings]
    from_file: bool


class ReembeddingStage(Stage):
    """Gives every stored face a vector of the model that the settings ask for.

    Args:
        queue: The faces.
        files: Their files.
        encoder: Names the new model.
        executor: Runs ``media_jobs.embed_portraits`` and ``embed_frames`` with that model.
        slots: How many jobs may be out.
        quality: Rates how well a face identifies its person, with vectors of the new model.
        summarise: Describes tracks in the space of the new model.
        is_reprocessing: Returns whether all files are being read again, which gives them new
            vectors anyway.
        may_replace: Returns whether the people tree was read in this tick and shows no edit
            that waits.
        wake: Called, from any thread, when a result has arrived.
        attempts: How often a failing job is tried.
    """

    phase = "faces"
    updates_tree = True

    def __init__(
        self,
        queue: Reembedding,
        files: Files,
        encoder: EncoderSpec,
        executor: Executor,
        slots: int,
        quality: QualityRule,
        summarise: Summarise,
        is_reprocessing: Callable[[], bool],
        may_replace: Callable[[Now], bool],
        wake: Callable[[], None],
        attempts: int,
    ) -> None:
        self._queue = queue
        self._files = files
        self._encoder = encoder
        self._executor = executor
        self._slots = slots
        self._quality = quality
        self._summarise = summarise
        self._is_reprocessing = is_reprocessing
        self._may_replace = may_replace
        self._wake = wake
        self._attempts = attempts
        self._jobs: list[_Job] = []
        self._failures: Counter[int] = Counter()
        self._batch_faces = BATCH_FACES
        self._back_off = BackOff(BACK_OFF_S)
        self._blocked = NO_REASON
        self._is_started = False
        self.finished = False

    @property
    def pending(self) -> bool:
        """Return whether faces still have a vector of another model."""
        return not self.finished and self._queue.needed and not self._is_reprocessing()

    @property
    def defers(self) -> bool:
        """Return whether vectors that could not be recorded are computed again."""
        return self._has_failed and self.pending

    @property
    def blocked(self) -> Reason:
        """Return why the last job failed; empty if it did not."""
        return self._blocked

    def tick(self, now: Now) -> None:
        """Record vectors that have arrived, submit more, and change over after the last one."""
        if not self.pending:
            return
        has_failed, self._has_failed = self._has_failed, True
        if not self._is_started:
            self._queue.forget_other_spaces()
            self._is_started = True
            log.info("reembedding_started", faces=self._queue.progress().total)
        has_failed &= not self._collect(now)
        if self._back_off.ready(now):
            while len(self._jobs) < self._slots:
                if not self._submit_portraits() and not self._submit_file():
                    break
        done, total = self._queue.progress()
        if not self._jobs and done == total and self._may_replace(now):
            changed = self._queue.change_over(self._quality, self._summarise)
            self.finished, has_failed = True, False
            log.info("reembedding_finished", faces=changed, space=self._encoder.embedding_space)
        self._has_failed = has_failed

    def release(self) -> None:
        """Drop the jobs that are out; the next start does them again."""
        self._jobs = []

    def _submit_portraits(self) -> bool:
        out = [face_id for job in self._jobs for face_id in job.face_ids]
        batch = self._queue.portraits(self._batch_faces, out)
        if not batch.face_ids:
            return False
        future = self._executor.submit(media_jobs.embed_portraits, batch.portraits, self._encoder)
        self._add(batch.face_ids, future, from_file=False)
        return True

    def _submit_file(self) -> bool:
        """Submit the faces of one slice whose portraits could not do; one file at a time."""
        if any(job.from_file for job in self._jobs):
            return False
        batch = self._queue.next_in_file()
        if batch is None:
            return False
        future = self._read_file(batch)
        if future is None:
            self._queue.give_up(batch.face_ids)
            return True
        self._add(batch.face_ids, future, from_file=True)
        return True

    def _read_file(self, batch: FileBatch) -> Future[Embeddings] | None:
        for known in self._files.of_video(batch.video_id):
            if not is_unchanged(self._files.place(known), known.stamp):
                continue
            frames = [KnownFrame(t_s, tuple(faces)) for t_s, _, faces in batch.frames]
            return self._executor.submit(
                media_jobs.embed_frames,
                self._files.source(known),
                batch.kind,
                batch.start_s,
                frames,
                self._encoder,
            )
        return None

    def _add(self, face_ids: list[int], future: Future[Embeddings], *, from_file: bool) -> None:
        self._jobs.append(_Job(face_ids, future, from_file))
        future.add_done_callback(lambda _: self._wake())

    def _collect(self, now: Now) -> bool:
        """Record what workers have computed; return whether anything was recorded."""
        is_recorded = False
        for job in [job for job in self._jobs if job.future.done()]:
            self._jobs.remove(job)
            try:
                vectors = self._checked(job.future.result(), job.face_ids)
                self._queue.record(job.face_ids, vectors, from_file=job.from_file)
            except VideoError:
                # The file is at fault, or changed: its portraits must do, and they could not.
                self._queue.give_up(job.face_ids)
            except Exception as error:
                if is_of_machine(error):
                    raise
                self._handle_failure(job, error, now)
            else:
                self._blocked = NO_REASON
                is_recorded = True
        return is_recorded

    def _checked(self, vectors: Embeddings, face_ids: Sequence[int]) -> Embeddings:
        """Return what a worker computed, if it can be that."""
        shape = (len(face_ids), self._encoder.embedding_size)
        if not isinstance(vectors, np.ndarray) or vectors.shape != shape:
            raise ValueError(f"a worker returned no vectors of shape {shape}")
        return vectors

    def _handle_failure(self, job: _Job, error: Exception, now: Now) -> None:
        """Try again later, one face at a time; give up on a face that fails every time."""
        reason = f"{type(error).__name__}: {error}"
        self._blocked = Reason.of(ReasonCode.REEMBEDDING_PAUSED, error=reason)
        log.error("reembedding_failed", reason=reason, reason_code=code_of(error))
        # From now on one by one: one bad portrait must not cost the others theirs.
        self._batch_faces = 1
        first = job.face_ids[0]
        self._failures[first] += 1
        if self._failures[first] < self._attempts:
            self._back_off.start(now)
        elif job.from_file:
            self._queue.give_up(job.face_ids)
        elif len(job.face_ids) == 1:
            none = np.full((1, self._encoder.embedding_size), np.nan, np.float32)
            self._queue.record(job.face_ids, none, from_file=False)
