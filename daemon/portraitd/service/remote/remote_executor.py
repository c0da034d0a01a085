"""Run jobs on remote workers: choose a worker for each job, and handle lost connections.

Each job is assigned to one worker by name. So a worker gets no job before its handshake, a file is
sent to as few workers as possible, and a lost worker affects only its own jobs.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from portraitd.model.errors import PortraitdError, StoreError, WorkerDied, WorkersUnavailable
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.service.remote import agent
from portraitd.service.remote.agent import HANDSHAKE, FileEvicted, Handshake, RemoteJob
from portraitd.service.remote.registry import (
    Answer,
    JobRecord,
    Requirements,
    Roster,
    WorkerNetwork,
    WorkerRecord,
    WorkerState,
    least_loaded,
    update_workers,
)
from portraitd.service.remote.transfer import send_to_worker
from portraitd.store.remote_workers import RemoteWorker
from portraitd.workers.job_results import schema_of
from portraitd.workers.result_codec import plain_text

T = TypeVar("T")

log = structlog.get_logger(stage="remote_workers")

POLL_S = 1.0
"""How often the scheduler is asked for the connected workers."""

MAX_MOVES = 5
"""Number of workers that a job may lose before it counts as the cause."""

MAX_DISPATCHES = 1000
"""How often a job is given to a worker or taken back, whatever the cause: a network that breaks
every minute does so in eight hours."""

NO_SESSION = -1
"""The session while there is no connection to the scheduler."""

SENDERS = 8
"""Number of files that are sent at once; each takes a few megabytes of memory."""


class DaskExecutor(Executor):
    """Runs jobs on the workers of a cluster.

    Args:
        network: The connection to them.
        requirements: What they must fulfil.
        wake: Called, from any thread, when a worker connected or disconnected.
        clock: Seconds of a monotonic clock.
        poll_s: How often to ask for the connected workers; 0 if ``poll`` is called from outside.
    """

    def __init__(
        self,
        network: WorkerNetwork,
        requirements: Requirements,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        poll_s: float = POLL_S,
    ) -> None:
        self._network = network
        self._requirements = requirements
        self._wake = wake
        self._clock = clock
        self._lock = threading.RLock()
        self._workers: dict[str, WorkerRecord] = {}
        self._queue: deque[JobRecord] = deque()
        self._numbers = iter(range(1 << 62))
        self._polled_s = clock()
        self._session = NO_SESSION
        # Distinguishes these jobs from those of an earlier service.
        self._name = secrets.token_hex(8)
        self.is_connected = False
        self._senders = ThreadPoolExecutor(SENDERS, "portraitd sends")
        self._closing = threading.Event()
        self._poller: threading.Thread | None = None
        if poll_s:
            self._poller = threading.Thread(
                target=self._poll_until_closed,
                args=(poll_s,),
                name="portraitd cluster",
                daemon=True,
            )
            self._poller.start()

    @property
    def slots(self) -> int:
        """How many jobs the accepted workers may have at once."""
        with self._lock:
            return sum(worker.slots(self._requirements.ahead) for worker in self._workers.values())

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return self._network.address

    @property
    def dashboard(self) -> str:
        """URL of the scheduler's dashboard; empty if there is none."""
        return self._network.dashboard if self.is_connected else ""

    def workers(self) -> list[RemoteWorker]:
        """Return the connected workers, as ``status`` shows them."""
        with self._lock:
            return [worker.summarise() for worker in self._workers.values()]

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` on a worker; send the file of a slice if the worker cannot read it.

        Returns:
            A future that raises what the job raised as ``PortraitdError``, and ``WorkerDied`` if
            its process ends, if too many workers are lost, or if no valid result comes.

        Raises:
            LookupError: ``fn`` does not declare what it returns.
        """
        schema_of(fn)
        job = JobRecord(next(self._numbers), fn, args, kwargs, Future())
        job.future.set_running_or_notify_cancel()
        with self._lock:
            self._queue.append(job)
        self._fill()
        return job.future

    def poll(self) -> None:
        """Ask for the connected workers, and handle those that connected or disconnected."""
        roster = self._network.workers()
        now_s = self._clock()
        passed_s, self._polled_s = now_s - self._polled_s, now_s
        has_changed = self.is_connected != (roster is not None)
        self.is_connected = roster is not None
        if has_changed and self.is_connected:
            log.info("scheduler_reached", address=self._network.address)
        elif has_changed:
            log.warning("scheduler_unreachable", address=self._network.address)
        if roster is None:
            with self._lock:
                self._session = NO_SESSION
                for worker in self._workers.values():
                    worker.state = WorkerState.LOST
        else:
            self._apply_roster(roster, passed_s)
        if has_changed:
            self._wake()

    def _apply_roster(self, roster: Roster, passed_s: float) -> None:
        # When the connection was lost, neither the workers nor their jobs are to blame.
        counts = roster.session == self._session
        self._session = roster.session
        with self._lock:
            left, returned, new = update_workers(
                self._workers, roster.workers, is_new_session=not counts
            )
        for worker in left:
            log.warning("worker_disconnected", worker=worker.address, slices=len(worker.jobs))
            self._reassign_all(worker, f"{worker.address} disconnected", counts)
        for worker in returned:
            self._suspend_jobs(worker, counts)
        for worker in new + returned:
            self._request_handshake(worker)
        self._fail_overdue(passed_s)
        self._fill()
        if left or new:
            self._wake()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Disconnect from the workers: after their jobs, or at once with ``cancel_futures``."""
        if not cancel_futures:
            for job in self._unfinished():
                job.future.exception()
        self._closing.set()
        if self._poller is not None and wait:
            # If it waits for a scheduler that never answers, it ends with the process.
            self._poller.join(2 * POLL_S)
        with self._lock:
            unfinished = self._unfinished()
            self._queue.clear()
            self._workers.clear()
        self._network.close()
        self._senders.shutdown(wait=False, cancel_futures=True)
        stopping = Answer(error=WorkersUnavailable("the service is stopping"))
        for job in unfinished:
            job.settle(stopping)

    def _poll_until_closed(self, poll_s: float) -> None:
        while not self._closing.is_set():
            try:
                self.poll()
            except Exception as error:
                # Without polling no loss would ever be noticed: log it and go on.
                log.error("scheduler_poll_failed", reason=f"{type(error).__name__}: {error}")
            self._closing.wait(poll_s)

    def _unfinished(self) -> list[JobRecord]:
        with self._lock:
            assigned = [job for worker in self._workers.values() for job in worker.jobs.values()]
            return assigned + list(self._queue)

    # --- Handshakes.

    def _request_handshake(self, worker: WorkerRecord) -> None:
        requirements = self._requirements
        handshake = self._network.run_async(
            worker.address,
            agent.shake_hands,
            worker.processes,
            requirements.limits,
            requirements.encoder,
            requirements.folder_check,
        )
        with self._lock:
            worker.handshake = handshake
        handshake.add_done_callback(lambda done: self._finish_handshake(worker, done))

    def _finish_handshake(self, worker: WorkerRecord, done: Future[Any]) -> None:
        error = done.exception()
        with self._lock:
            if self._workers.get(worker.address) is not worker or worker.handshake is not done:
                return
            if isinstance(error, WorkersUnavailable):
                # The next poll requests it again.
                worker.state = WorkerState.LOST
                return
        handshake = _read_handshake(done)
        with self._lock:
            worker.apply_handshake(handshake, self._requirements.identity)
        if worker.reason:
            log.error(
                "worker_refused",
                worker=worker.address,
                reason=worker.reason.text,
                reason_code=worker.reason.code,
            )
            self._reassign_all(worker, f"{worker.address} was refused", counts=False)
        else:
            log.info(
                "worker_accepted",
                worker=worker.address,
                host=worker.host,
                processes=worker.processes,
                files="shared" if worker.shares_folder else "sent",
            )
            with self._lock:
                suspended = [job for job in worker.jobs.values() if job.is_suspended]
            for job in suspended:
                self._dispatch(job, worker)
        self._fill()
        self._wake()

    # --- Jobs on their way out.

    def _fill(self) -> None:
        """Assign queued jobs to workers with a free slot."""
        while True:
            with self._lock:
                if not self._queue:
                    return
                worker = least_loaded(
                    self._workers.values(), self._queue[0], self._requirements.ahead
                )
                if worker is None:
                    return
                job = self._queue.popleft()
                job.worker, job.waited_s = worker, 0.0
                worker.jobs[job.number] = job
            self._dispatch(job, worker)

    def _dispatch(self, job: JobRecord, worker: WorkerRecord) -> None:
        """Start a job on the worker that it is assigned to."""
        with self._lock:
            if job.worker is not worker:
                return
            job.remote, job.is_suspended = None, False
            job.attempt += 1
            attempt = job.attempt
        if attempt > MAX_DISPATCHES:
            cause = f"{worker.address} connected again and again"
            reason = Reason.of(ReasonCode.WORKERS_LOST, count=attempt, cause=cause)
            self._finish(job, attempt, Answer(error=WorkerDied(reason)))
            return
        if job.slice is not None and not worker.shares_folder:
            self._senders.submit(self._send_and_start, job, worker, attempt)
        else:
            self._start(job, worker, attempt, "")

    def _send_and_start(self, job: JobRecord, worker: WorkerRecord, attempt: int) -> None:
        video_slice = job.slice
        assert video_slice is not None

        def on_progress() -> None:
            if not self._is_current(job, attempt):
                raise WorkersUnavailable("the job was reassigned")
            # A long file on a slow line does not mean that the worker is silent.
            with self._lock:
                for other in worker.jobs.values():
                    if other.remote is None:
                        other.waited_s = 0.0

        cache_bytes = self._requirements.cache_bytes
        try:
            send_to_worker(self._network, worker, video_slice, cache_bytes, on_progress)
        except WorkersUnavailable:
            self._mark_lost(job, attempt)
        except StoreError as error:
            died = WorkerDied(f"{worker.address}: {plain_text(error)}")
            self._finish(job, attempt, Answer(error=died))
        except Exception as error:
            self._finish(job, attempt, Answer(error=_as_ours(error)))
        else:
            self._start(job, worker, attempt, video_slice.sha256)

    def _start(self, job: JobRecord, worker: WorkerRecord, attempt: int, sent_sha256: str) -> None:
        remote_job = RemoteJob(
            job.number,
            f"{self._name} {job.number}",
            job.fn,
            job.args,
            job.kwargs,
            worker.processes,
            self._requirements.limits,
            self._requirements.encoder,
            sent_sha256,
        )
        remote = self._network.submit_to(worker.address, agent.run_remote_job, remote_job)
        with self._lock:
            if self._is_current(job, attempt):
                job.remote = remote
        remote.add_done_callback(lambda done: self._receive(job, attempt, done))

    def _is_current(self, job: JobRecord, attempt: int) -> bool:
        return job.attempt == attempt and job.worker is not None

    # --- Results, and workers that do not answer.

    def _receive(self, job: JobRecord, attempt: int, done: Future[Any]) -> None:
        if isinstance(done.exception(), WorkersUnavailable):
            self._mark_lost(job, attempt)
            return
        answer, worker = _read_answer(job, done), job.worker
        if isinstance(answer.error, FileEvicted) and job.slice and worker:
            worker.cached.discard(job.slice.sha256)
            self._reassign(job, attempt, answer.error.reason.text, counts=True)
            return
        self._finish(job, attempt, answer)

    def _finish(self, job: JobRecord, attempt: int, answer: Answer) -> None:
        """Pass an answer to the caller; drop a second one, or one of an earlier attempt."""
        with self._lock:
            if not self._is_current(job, attempt) or job.worker is None:
                return
            worker, video_slice = job.worker, job.slice
            del worker.jobs[job.number]
            job.worker = None
            worker.count_result(video_slice, answer.value)
        job.settle(answer)
        self._fill()

    def _mark_lost(self, job: JobRecord, attempt: int) -> None:
        """A connection broke: the next poll shows whether the worker or the scheduler is lost."""
        with self._lock:
            if self._is_current(job, attempt) and job.worker is not None:
                job.worker.state = WorkerState.LOST

    def _suspend_jobs(self, worker: WorkerRecord, counts: bool) -> None:
        """Leave a worker its jobs until its next handshake: it may still be running them."""
        with self._lock:
            jobs = [(job, job.remote) for job in worker.jobs.values() if not job.is_suspended]
            for job, remote in jobs:
                job.remote, job.is_suspended = None, True
                job.attempt += 1
                job.moves += counts and remote is not None
        for job, remote in jobs:
            if remote is not None:
                self._network.cancel(remote)
            if job.moves > MAX_MOVES:
                self._reassign(job, job.attempt, f"{worker.address} was lost", counts=False)

    def _reassign(self, job: JobRecord, attempt: int, cause: str, counts: bool) -> None:
        """Put a job back into the queue; fail it after too many moves."""
        with self._lock:
            if not self._is_current(job, attempt) or job.worker is None:
                return
            job.worker.jobs.pop(job.number, None)
            job.worker, job.is_suspended = None, False
            job.moves += counts
            is_given_up = job.moves > MAX_MOVES
            if not is_given_up:
                # To the front: it has waited already.
                self._queue.appendleft(job)
        if is_given_up:
            reason = Reason.of(ReasonCode.WORKERS_LOST, count=job.moves, cause=cause)
            job.settle(Answer(error=WorkerDied(reason)))
        else:
            self._fill()

    def _reassign_all(self, worker: WorkerRecord, cause: str, counts: bool) -> None:
        for job in list(worker.jobs.values()):
            if job.remote is not None:
                self._network.cancel(job.remote)
            self._reassign(job, job.attempt, cause, counts)

    def _fail_overdue(self, passed_s: float) -> None:
        """Fail jobs that a connected worker has not answered; time without it does not count."""
        limit_s = self._requirements.answer_limit_s
        with self._lock:
            assigned = [
                (job, worker) for worker in self._workers.values() for job in worker.jobs.values()
            ]
            for job, _ in assigned:
                job.waited_s += passed_s
            overdue = [(job, worker) for job, worker in assigned if job.waited_s > limit_s]
            silent = {worker.address: worker for _, worker in overdue}
            for worker in silent.values():
                # It gets no more jobs until its handshake.
                worker.state = WorkerState.CONNECTING
                worker.reason = Reason(ReasonCode.TIMEOUT, f"no answer for {limit_s:.0f} s")
        for job, worker in overdue:
            if job.remote is not None:
                self._network.cancel(job.remote)
            reason = Reason(
                ReasonCode.TIMEOUT, f"no answer from {worker.address} within {limit_s:.0f} s"
            )
            self._finish(job, job.attempt, Answer(error=WorkerDied(reason)))
        for worker in silent.values():
            log.warning("worker_silent", worker=worker.address, seconds=limit_s)
            self._request_handshake(worker)


def _read_handshake(done: Future[Any]) -> Handshake:
    """Return the handshake in a worker's answer, or one that says why there is none."""
    try:
        return HANDSHAKE.decode(_message_of(done), 0, (), {})
    except Exception as error:
        return Handshake("", "", "", False, plain_text(error) or type(error).__name__)


def _read_answer(job: JobRecord, done: Future[Any]) -> Answer:
    """Return what a worker answered, if it is possible for the job."""
    try:
        message = _message_of(done)
        schema, evicted = schema_of(job.fn), (FileEvicted,)
        return Answer(schema.decode(message, job.number, job.args, job.kwargs, evicted))
    except Exception as error:
        return Answer(error=_as_ours(error))


def _message_of(done: Future[Any]) -> bytes:
    """Return the message that Dask delivered.

    Raises:
        WorkerDied: It delivered something else.
        Exception: What it raised instead.
    """
    message = done.result()
    if type(message) is not bytes:
        raise WorkerDied(Reason.of(ReasonCode.INVALID_RESULT, error="not a message"))
    return message


def _as_ours(error: Exception) -> PortraitdError:
    """Return an error that callers expect; others come from Dask, or are bugs."""
    if isinstance(error, PortraitdError):
        return error
    return WorkerDied(
        Reason.of(ReasonCode.UNEXPECTED_ERROR, kind=type(error).__name__, error=plain_text(error))
    )
