"""Keeps the workers busy: claims files and slices, hands them out, records what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor, Future

from portraitd import jobs, logs
from portraitd.config import Settings
from portraitd.dataset.pool import Pool
from portraitd.encoder.interface import EncoderSettings
from portraitd.endings import frame_stem
from portraitd.errors import FileChanged, VideoError, WorkerDied
from portraitd.jobs import EncodeSettings
from portraitd.model import FileState, MediaFacts, SliceFaces, VideoState
from portraitd.store import Files, KnownFile, Ticket, Work
from portraitd.store.files import shown
from portraitd.store.work import Outcome

log = logs.get("dispatch")


class Dispatcher:
    """Moves files to videos and slices to faces.

    Args:
        files: The files that wait to be looked into.
        work: The slices that wait to be encoded.
        executor: Where jobs run.
        places: How many jobs may be out at once. No more than there are workers: an
            attempt is counted when a job goes out.
        ring: Called, from any thread, when a job has come back.
        settings: What decides which faces are found.
        slice_s: Seconds of footage in a slice.
        attempts: How often a job that kills its worker is tried.
    """

    def __init__(
        self,
        files: Files,
        work: Work,
        executor: Executor,
        places: int,
        ring: Callable[[], None],
        settings: EncodeSettings,
        slice_s: float,
        attempts: int,
    ) -> None:
        self._files = files
        self._work = work
        self._executor = executor
        self._places = places
        self._ring = ring
        self._settings = settings
        self._slice_s = slice_s
        self._attempts = attempts
        self._probes: dict[Future[MediaFacts], KnownFile] = {}
        self._slices: dict[Future[SliceFaces], Ticket] = {}

    @property
    def busy(self) -> bool:
        """Whether a job is out."""
        return bool(self._probes or self._slices)

    @property
    def strays(self) -> bool:
        """Whether a worker looks at a video that was forgotten meanwhile."""
        return any(not self._work.is_queued(ticket) for ticket in self._slices.values())

    def warm_up(self) -> None:
        """Have every worker load its models, and wait for it."""
        loads = [
            self._executor.submit(jobs.warm_up, self._settings.encoder) for _ in range(self._places)
        ]
        for load in loads:
            load.result()

    def fill(self, now_s: float) -> None:
        """Hand out jobs until every place is taken."""
        while len(self._probes) + len(self._slices) < self._places:
            if file := self._files.claim(now_s):
                probe = self._executor.submit(jobs.probe, self._files.source(file))
                self._probes[probe] = file
                probe.add_done_callback(lambda _: self._ring())
            elif ticket := self._work.claim():
                log.info("slice_started", **_slice(ticket), attempt=ticket.attempts)
                encode = self._executor.submit(jobs.encode, ticket.piece, self._settings)
                self._slices[encode] = ticket
                encode.add_done_callback(lambda _: self._ring())
            else:
                return

    def collect(self, now_s: float) -> None:
        """Record every job that has come back."""
        # Dropped only once it is recorded: a full disk must not lose an answer.
        for probe in [future for future in self._probes if future.done()]:
            self._collect_probe(self._probes[probe], probe, now_s)
            del self._probes[probe]
        for encode in [future for future in self._slices if future.done()]:
            self._collect_slice(self._slices[encode], encode, now_s)
            del self._slices[encode]

    def park(self) -> None:
        """Give back what is still out, unattempted: the daemon is stopping."""
        for file in self._probes.values():
            self._files.release(file.id)
        for ticket in self._slices.values():
            self._work.release(ticket)
        self._probes.clear()
        self._slices.clear()

    def _collect_probe(self, file: KnownFile, probe: Future[MediaFacts], now_s: float) -> None:
        if self._files.get(file.id).stamp != file.stamp:
            # Replaced while it was read: the answer is about a content that is no longer there.
            return
        try:
            facts = probe.result()
        except FileChanged as error:
            self._move(file, FileState.GONE, str(error), now_s)
        except VideoError as error:
            self._move(file, FileState.FAILED, str(error), now_s)
        except Exception as error:
            state = FileState.READY if file.attempts < self._attempts else FileState.FAILED
            self._move(file, state, _reason(error), now_s)
        else:
            state = self._work.admit(file, facts, self._slice_s, now_s)
            log.info(
                "file_" + state,
                path=shown(file.path),
                sha256=facts.sha256[:12],
                kind=facts.kind,
                duration_s=_finite(facts.duration_s),
                size_px=f"{facts.width_px}x{facts.height_px}",
            )

    def _collect_slice(self, ticket: Ticket, encode: Future[SliceFaces], now_s: float) -> None:
        outcome: Outcome | None = None
        try:
            result = encode.result()
        except FileChanged as error:
            log.warning("video_changed", **_slice(ticket), reason=str(error))
            self._work.forget_changed(ticket, FileState.GONE, str(error), now_s)
        except VideoError as error:
            outcome = self._work.reject(ticket, str(error), now_s)
        except Exception as error:
            reason = _reason(error)
            log.warning("slice_lost", **_slice(ticket), attempt=ticket.attempts, reason=reason)
            outcome = self._work.lose(ticket, reason, self._attempts, now_s)
        else:
            self._keep_no_frame_of_the_forgotten(ticket, result)
            encoder = self._settings.encoder.embedding_space
            outcome = self._work.record(ticket, result, encoder, now_s)
            log.info(
                "slice_encoded",
                **_slice(ticket),
                faces=len(result.sightings),
                frames=result.sampled,
                seconds=round(result.seconds, 2),
            )
        if outcome:
            say = log.warning if outcome.state is VideoState.FAILED else log.info
            say(
                "video_" + outcome.state,
                video=outcome.video_id,
                faces=outcome.faces,
                seconds=round(outcome.seconds, 1),
                reason=outcome.reason,
            )

    def _keep_no_frame_of_the_forgotten(self, ticket: Ticket, result: SliceFaces) -> None:
        """A worker that keeps frames for training sets does not know who was forgotten."""
        if self._settings.keep_frames_below:
            times_s = self._work.unwanted(ticket, [one.t_s for one in result.sightings])
            stems = {frame_stem(ticket.piece.sha256, t_s) for t_s in times_s}
            Pool(self._settings.keep_frames_below).discard(stems)

    def _move(self, file: KnownFile, state: FileState, reason: str, now_s: float) -> None:
        self._files.move_on(file.id, state, now_s, reason)
        say = log.warning if state is FileState.FAILED else log.info
        say("file_" + state, path=shown(file.path), reason=reason)


def slice_s(settings: Settings) -> float:
    """Seconds of footage in a slice."""
    # Among keyframes alone OpenCV cannot seek: such a video is one slice.
    return math.inf if settings.sampling.mode == "keyframes" else settings.workers.slice_s


def encode_settings(settings: Settings) -> EncodeSettings:
    """What decides which faces are found, for a worker."""
    return EncodeSettings(
        settings.sampling.fps,
        settings.sampling.mode == "keyframes",
        settings.sampling.reuse_unchanged,
        EncoderSettings(
            models_dir=settings.models_dir,
            kind=settings.encoder.kind,
            detector=settings.encoder.detector,
            max_width=settings.detection.max_width,
            max_height=settings.detection.max_height,
            upsample=settings.detection.upsample,
            mirror=settings.encoder.mirror,
            min_face_px=settings.encoder.min_face_px,
            runtime=settings.encoder.runtime,
        ),
        settings.people.portrait_width,
        settings.state_dir if settings.dataset.frames == "keep" else None,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, WorkerDied):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"


def _slice(ticket: Ticket) -> dict[str, object]:
    return {
        "video": ticket.video_id,
        "start_s": round(ticket.piece.start_s, 1),
        "stop_s": _finite(ticket.piece.stop_s),
    }


def _finite(seconds: float) -> float | None:
    """JSON knows no infinity."""
    return round(seconds, 1) if math.isfinite(seconds) else None
