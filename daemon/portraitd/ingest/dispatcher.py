"""Keep the workers busy: claim files and slices, submit jobs, record their results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

import structlog

from portraitd.config import Settings
from portraitd.faces.interface import EncoderSpec
from portraitd.faces.models.model_registry import wanted_embedder
from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.ingest.refusal import state_of_refused
from portraitd.ingest.scanner import is_unchanged
from portraitd.model.errors import (
    ConfigError,
    FileChanged,
    PublishError,
    RefusedRow,
    StoreError,
    VideoError,
    WorkerDied,
    WorkerNotStarted,
    WorkersUnavailable,
    code_of,
)
from portraitd.model.face import SliceFaces
from portraitd.model.media_file import FileState, MediaFacts, VideoState
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.store.files import INBOX, SUSPECT_INTERRUPTIONS, Files, KnownFile, display_path
from portraitd.store.frame_cache import FrameCache
from portraitd.store.slices import ClaimedFile, ClaimedSlice, SliceQueue, VideoOutcome

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(stage="encoding")

CHECK_INTERVAL_S = 30.0
"""How often to try whether workers that could not start can."""

MAX_INTERRUPTIONS = 30
"""A job fails after the service was killed this many times while a worker had it. Generous: most
kills have other causes, but a job that ends the service would end it at every start."""


class _ProbedFile(NamedTuple):
    """A file, and what a worker that may have been taken over says that it is."""

    claimed: ClaimedFile
    facts: MediaFacts


class Inbox(Protocol):
    """What the dispatcher must know of the inbox."""

    @property
    def is_unavailable(self) -> bool:
        """Return whether the inbox cannot be read; then no job is submitted."""

    def has_lost(self, path: Path) -> bool:
        """Return whether a file cannot be read because the inbox is unavailable.

        The result of its job is discarded then.
        """


class Dispatcher(Stage):
    """Turns ready files into videos, and slices into faces, in the workers.

    Args:
        files: The files that wait to be probed.
        slice_queue: The slices that wait to be encoded.
        executor: Runs the jobs.
        slots: How many jobs may run at once; at most the number of workers, because an attempt
            is counted when a job is submitted.
        wake: Called, from any thread, when a job has finished.
        settings: The active settings.
        inbox: Whether the inbox is available.
        slice_slots: Returns how many slices may run on other machines; without it slices share
            ``slots`` with the probes.
    """

    phase = "faces"

    def __init__(
        self,
        files: Files,
        slice_queue: SliceQueue,
        executor: Executor,
        slots: int,
        wake: Callable[[], None],
        settings: Settings,
        inbox: Inbox,
        slice_slots: Callable[[], int] | None = None,
    ) -> None:
        self._files = files
        self._slice_queue = slice_queue
        self._executor = executor
        self._slots = slots
        self._wake = wake
        self._options = encode_options(settings)
        self._slice_s = slice_s(settings)
        self._attempts = settings.workers.attempts
        self._slice_slots = slice_slots
        self._priorities = settings.priorities
        self._inbox = inbox
        keeps_frames = settings.dataset.frames == "keep"
        self._frame_cache = FrameCache(settings.state_dir) if keeps_frames else None
        self._probes: dict[Future[MediaFacts], ClaimedFile] = {}
        self._hashes: dict[Future[tuple[str, str]], _ProbedFile] = {}
        self._slices: dict[Future[SliceFaces], ClaimedSlice] = {}
        self._is_paused = False
        self._check: Future[str] | None = None
        self._back_off = BackOff(CHECK_INTERVAL_S)
        self._blocked = NO_REASON

    @property
    def busy(self) -> bool:
        """Return whether a job is running."""
        return bool(self._probes or self._hashes or self._slices)

    @property
    def is_computing(self) -> bool:
        """Return whether a worker has a job; the results of others may still be recorded."""
        jobs: list[Future[Any]] = [*self._probes, *self._hashes, *self._slices]
        return not all(job.done() for job in jobs)

    @property
    def pending(self) -> bool:
        """Return whether a job is running, or an admitted file is not finished."""
        return self.busy or self._files.any_open()

    @property
    def blocked(self) -> Reason:
        """Return why the workers cannot start; ``NO_REASON`` if they can."""
        return self._blocked

    def tick(self, now: Now) -> None:
        """Record finished jobs and submit new ones."""
        self.collect(now)
        if not self._inbox.is_unavailable:
            self.fill(now)

    @property
    def late_jobs(self) -> bool:
        """Return whether a worker still processes a video that was erased meanwhile."""
        return any(not self._slice_queue.is_queued(claimed) for claimed in self._slices.values())

    def pause(self) -> None:
        """Submit no further job; those that run are recorded when they end."""
        self._is_paused = True

    def warm_up(self) -> None:
        """Have every worker load its models, and wait for it."""
        loads = [
            self._executor.submit(media_jobs.warm_up, self._options.encoder)
            for _ in range(self._slots)
        ]
        for load in loads:
            load.result()

    def fill(self, now: Now) -> None:
        """Submit jobs until every slot is taken."""
        if self._is_paused:
            return
        if self._blocked:
            if self._back_off.ready(now):
                self._begin_check()
            return
        if self._runs_suspect:
            return
        while self._probe(now.wall_s) or self._encode(now.wall_s):
            pass
        while not self.busy and self._begin_suspect(now.wall_s):
            pass

    def _begin_suspect(self, now_s: float) -> bool:
        """Submit a job that may have ended the service before, while no other is running.

        So no other is interrupted with it. The one that was interrupted least goes first.
        """
        file, piece = self._slice_queue.suspects()
        if file is not None and (piece is None or file <= piece):
            return self._probe(now_s, suspects=True)
        return piece is not None and self._encode(now_s, suspects=True)

    @property
    def _runs_suspect(self) -> bool:
        """Return whether a job is running that may have ended the service before."""
        jobs: list[KnownFile | ClaimedSlice] = [*self._claimed_files(), *self._slices.values()]
        return any(job.interruptions >= SUSPECT_INTERRUPTIONS for job in jobs)

    def _claimed_files(self) -> list[KnownFile]:
        """Return the files that workers have, before they are cut into slices."""
        probed = (one.claimed for one in self._hashes.values())
        return [claimed.file for claimed in (*self._probes.values(), *probed)]

    def _probe(self, now_s: float, suspects: bool = False) -> bool:
        """Submit the probe of a file, if a slot is free and a file is ready."""
        taken = len(self._probes) + len(self._hashes)
        if not self._slice_slots:
            taken += len(self._slices)
        claimed = self._slice_queue.claim_file(now_s, suspects) if taken < self._slots else None
        if claimed is None:
            return False
        if claimed.file.interruptions >= MAX_INTERRUPTIONS:
            self._move(
                claimed.file, FileState.FAILED, _interrupted(claimed.file.interruptions), now_s
            )
            return True
        probe = self._submit(
            media_jobs.probe, self._files.source(claimed.file), claimed.partial_copies
        )
        self._probes[probe] = claimed
        return True

    def _hash(self, probed: _ProbedFile) -> None:
        """Have a worker that decodes nothing say which content a file has."""
        claimed = probed.claimed
        job = self._submit(
            media_jobs.hash_content, self._files.source(claimed.file), claimed.partial_copies
        )
        self._hashes[job] = probed

    def _encode(self, now_s: float, suspects: bool = False) -> bool:
        """Submit the encoding of a slice, if a slot is free and a slice is queued."""
        if self._slice_slots:
            free = self._slice_slots() - len(self._slices)
        else:
            free = self._slots - len(self._probes) - len(self._hashes) - len(self._slices)
        claimed = self._slice_queue.claim(suspects) if free > 0 else None
        if claimed is None:
            return False
        if claimed.interruptions >= MAX_INTERRUPTIONS:
            reason = _interrupted(claimed.interruptions)
            self._report(self._slice_queue.lose(claimed, reason, 0, now_s))
            return True
        log.info("slice_started", **_slice(claimed), attempt=claimed.attempts)
        encode = self._submit(media_jobs.encode, claimed.slice, self._options)
        self._slices[encode] = claimed
        return True

    def _submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Give a job to the workers; wake the service when it ends."""
        future = self._executor.submit(job, *args, **kwargs)
        future.add_done_callback(lambda _: self._wake())
        return future

    def collect(self, now: Now, is_stopping: bool = False) -> None:
        """Record every finished job.

        Args:
            now: The time.
            is_stopping: Whether workers may have been killed with the service: then a worker that
                died is not the fault of its job, which is given back.
        """
        is_checked = self._collect_check(now)
        # Dropped only after recording: a full disk must not lose a result.
        for probe in [future for future in self._probes if future.done()]:
            if is_checked or not self._is_doubtful(probe):
                claimed = self._probes[probe]
                record = partial(self._collect_probe, claimed)
                self._collect_file(claimed.file, record, probe, now, is_stopping)
                del self._probes[probe]
        for job in [future for future in self._hashes if future.done()]:
            probed = self._hashes[job]
            admit = partial(self._collect_hashes, probed)
            self._collect_file(probed.claimed.file, admit, job, now, is_stopping)
            del self._hashes[job]
        for encode in [future for future in self._slices if future.done()]:
            if is_checked or not self._is_doubtful(encode):
                self._collect_slice(self._slices[encode], encode, now.wall_s, is_stopping)
                del self._slices[encode]

    def _is_doubtful(self, job: Future[Any]) -> bool:
        """Return whether a job failed for a fault of the machine, as its worker says.

        A worker may have been taken over by a file. So other workers are asked to load the models:
        if they can, the fault counts as an attempt of that file.
        """
        # Remote workers are not asked: their models are not loaded here.
        if self._slice_slots or not isinstance(job.exception(), ConfigError | WorkerNotStarted):
            return False
        self._begin_check()
        return True

    def _begin_check(self) -> None:
        if self._check is None:
            self._check = self._submit(media_jobs.warm_up, self._options.encoder)

    def _collect_check(self, now: Now) -> bool:
        """Return whether workers have just shown that they can load the models.

        If they cannot, give back the jobs that found it out, not counted as attempts.
        """
        if self._check is None or not self._check.done():
            return False
        error = self._check.exception()
        if error is None:
            if self._blocked:
                log.info("workers_started")
            self._blocked, self._check = NO_REASON, None
            return True
        for probe in [one for one in self._probes if one.done() and self._is_doubtful(one)]:
            self._files.release(self._probes[probe].file.id)
            del self._probes[probe]
        for encode in [one for one in self._slices if one.done() and self._is_doubtful(one)]:
            self._slice_queue.release(self._slices[encode])
            del self._slices[encode]
        self._blocked = Reason(code_of(error), f"the workers cannot start: {error}")
        self._back_off.start(now)
        self._check = None
        log.error("workers_not_started", **_logged(self._blocked))
        return False

    def release(self) -> None:
        """Give back running jobs, not counted as attempts: the service is stopping."""
        for file in self._claimed_files():
            self._files.release(file.id)
        for claimed in self._slices.values():
            self._slice_queue.release(claimed)
        self._probes.clear()
        self._hashes.clear()
        self._slices.clear()

    def _collect_file(
        self,
        file: KnownFile,
        collect: Callable[[Future[T], float], None],
        job: Future[T],
        now: Now,
        is_stopping: bool,
    ) -> None:
        """Record what a worker found in a file, or why it found nothing."""
        if is_stopping and isinstance(job.exception(), WorkerDied):
            self._files.release(file.id)
            return
        known = self._files.get(file.id)
        if known.stamp != file.stamp:
            # Replaced while it was read: the result is about a content that no longer exists.
            return
        if known.state is not FileState.PROBING:
            # Recorded at the last tick, which failed afterwards: it would be its own duplicate.
            return
        # Without the inbox, no file in it seems to be there any more.
        if self._inbox.has_lost(self._files.place(file)):
            self._files.release(file.id)
            return
        try:
            collect(job, now.wall_s)
        except RefusedRow as error:
            self._fail_attempt(file, error.reason, now.wall_s)
        except StoreError:
            raise
        except FileChanged as error:
            # If it has not, each scan would find it, and a worker would read it again.
            if self._is_unchanged(file):
                self._fail_attempt(file, error.reason, now.wall_s)
            else:
                self._move(file, FileState.GONE, error.reason, now.wall_s)
        except VideoError as error:
            self._move(file, state_of_refused(file.path, error.reason), error.reason, now.wall_s)
        except Exception as error:
            # Whatever it is: it must not end the service, which would find it again.
            self._fail_attempt(file, _reason(error), now.wall_s)

    def _fail_attempt(self, file: KnownFile, reason: Reason, now_s: float) -> None:
        state = FileState.READY if file.attempts < self._attempts else FileState.FAILED
        self._move(file, state, reason, now_s)

    def _collect_probe(self, claimed: ClaimedFile, probe: Future[MediaFacts], now_s: float) -> None:
        self._hash(_ProbedFile(claimed, probe.result()))

    def _collect_hashes(
        self, probed: _ProbedFile, job: Future[tuple[str, str]], now_s: float
    ) -> None:
        file, facts = probed.claimed.file, probed.facts
        if job.result() != (facts.sha256, facts.extends):
            raise WorkerDied(
                Reason.of(ReasonCode.INVALID_RESULT, error="the hash of another content")
            )
        priority = 0 if file.root != INBOX else priority_of(file.path, self._priorities)
        state = self._slice_queue.admit(
            file, facts, self._slice_s, now_s, priority, self._is_unchanged
        )
        log.info(
            "file_" + state,
            **_identify(file),
            **_logged(self._files.get(file.id).reason),
            sha256=facts.sha256[:12],
            kind=facts.kind,
            duration_s=_finite(facts.duration_s),
            size_px=f"{facts.width_px}x{facts.height_px}",
        )

    def _is_unchanged(self, known: KnownFile) -> bool:
        """Return whether a file is still there as it was read, as far as one can tell."""
        place = self._files.place(known)
        return self._inbox.has_lost(place) or is_unchanged(place, known.stamp)

    def _collect_slice(
        self, claimed: ClaimedSlice, encode: Future[SliceFaces], now_s: float, is_stopping: bool
    ) -> None:
        if is_stopping and isinstance(encode.exception(), WorkerDied):
            self._slice_queue.release(claimed)
            return
        if encode.exception() and self._inbox.has_lost(claimed.slice.source.path):
            self._slice_queue.release(claimed)
            return
        outcome: VideoOutcome | None = None
        try:
            outcome = self._record(claimed, encode.result(), now_s)
        except RefusedRow as error:
            outcome = self._lose(claimed, error.reason, now_s)
        except (PublishError, StoreError):
            # The disk is at fault.
            raise
        except FileChanged as error:
            if is_unchanged(claimed.slice.source.path, claimed.slice.source.stamp):
                # Each scan would find it, and a worker would read it again.
                outcome = self._lose(claimed, error.reason, now_s)
            else:
                log.warning("video_changed", **_slice(claimed), **_logged(error.reason))
                self._slice_queue.discard_changed(claimed, FileState.GONE, error.reason, now_s)
        except VideoError as error:
            outcome = self._slice_queue.reject(claimed, error.reason, now_s)
        except WorkersUnavailable:
            self._slice_queue.interrupt(claimed)
        except Exception as error:
            # Whatever it is: it must not end the service, which would find it again.
            outcome = self._lose(claimed, _reason(error), now_s)
        self._report(outcome)

    def _record(
        self, claimed: ClaimedSlice, result: SliceFaces, now_s: float
    ) -> VideoOutcome | None:
        if self._frame_cache and result.kept:
            # First: a recorded slice is not processed again.
            self._frame_cache.keep(claimed.recording_sha256, self._keepable(claimed, result))
        encoder = self._options.encoder.embedding_space
        outcome = self._slice_queue.record(claimed, result, encoder, now_s)
        log.info(
            "slice_encoded",
            **_slice(claimed),
            faces=len(result.detections),
            frames=result.sampled,
            seconds=round(result.seconds, 2),
        )
        return outcome

    def _lose(self, claimed: ClaimedSlice, reason: Reason, now_s: float) -> VideoOutcome | None:
        log.warning("slice_lost", **_slice(claimed), attempt=claimed.attempts, **_logged(reason))
        return self._slice_queue.lose(claimed, reason, self._attempts, now_s)

    def _report(self, outcome: VideoOutcome | None) -> None:
        if outcome:
            say = log.warning if outcome.state is VideoState.FAILED else log.info
            say(
                "video_" + outcome.state,
                video=outcome.video_id,
                faces=outcome.faces,
                seconds=round(outcome.seconds, 1),
                **_logged(outcome.reason),
            )

    def _keepable(self, claimed: ClaimedSlice, result: SliceFaces) -> list[tuple[float, bytes]]:
        """Return the frames to keep; a worker does not know which content was erased."""
        unwanted = self._slice_queue.unwanted(claimed, [t_s for t_s, _ in result.kept])
        return [(t_s, jpeg) for t_s, jpeg in result.kept if t_s not in unwanted]

    def _move(self, file: KnownFile, state: FileState, reason: Reason, now_s: float) -> None:
        self._files.move_on(file.id, state, now_s, reason)
        say = log.warning if state is FileState.FAILED else log.info
        say("file_" + state, **_identify(file), **_logged(reason))


def _identify(file: KnownFile) -> dict[str, str | int]:
    """Return what the log says of a file: the path of a reference picture names a person."""
    return {"file": file.id} if file.is_reference else {"path": display_path(file.path)}


def slice_s(settings: Settings) -> float:
    """Return the seconds of footage in a slice."""
    # OpenCV cannot seek among keyframes alone: such a video is one slice.
    return math.inf if settings.sampling.mode == "keyframes" else settings.workers.slice_s


def encode_options(settings: Settings) -> EncodeOptions:
    """Return the settings that decide which faces a worker finds."""
    return EncodeOptions(
        settings.sampling.fps,
        settings.sampling.mode == "keyframes",
        settings.sampling.reuse_unchanged,
        EncoderSpec(
            models_dir=settings.models_dir,
            kind=settings.encoder.kind,
            embedder=wanted_embedder(
                settings.encoder.embedder, settings.encoder.kind, settings.models_dir
            ).name,
            detector=settings.encoder.detector,
            max_width=settings.detection.max_width,
            max_height=settings.detection.max_height,
            small_faces=settings.detection.small_faces,
            upsample=settings.detection.upsample,
            mirror=settings.encoder.mirror,
            min_face_px=settings.encoder.min_face_px,
            runtime=settings.encoder.runtime,
        ),
        settings.people.portrait_width,
        settings.dataset.frames == "keep",
    )


def priority_of(path: Path, priorities: Mapping[str, int]) -> int:
    """Return the priority of the deepest folder above a file that has one; 0 if none has."""
    for folder in path.parents:
        if (name := folder.as_posix()) in priorities:
            return priorities[name]
    return 0


def _reason(error: Exception) -> Reason:
    if isinstance(error, WorkerDied):
        return error.reason
    kind = type(error).__name__
    return Reason.of(ReasonCode.UNEXPECTED_ERROR, kind=kind, error=error)


def _interrupted(count: int) -> Reason:
    return Reason.of(ReasonCode.INTERRUPTED, count=count)


def _logged(reason: Reason) -> dict[str, object]:
    return {"reason": reason.text, "reason_code": reason.code}


def _slice(claimed: ClaimedSlice) -> dict[str, object]:
    return {
        "video": claimed.video_id,
        "start_s": round(claimed.slice.start_s, 1),
        "stop_s": _finite(claimed.slice.stop_s),
    }


def _finite(seconds: float) -> float | None:
    """Return rounded seconds; None for infinity, which JSON does not have."""
    return round(seconds, 1) if math.isfinite(seconds) else None
