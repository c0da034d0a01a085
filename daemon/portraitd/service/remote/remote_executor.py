"""Jobs on other machines: which worker gets which job, and what it means when none answers.

Every job is given to one worker by name. So no worker gets a job before it has said who it is,
a file is sent to as few workers as possible, and a lost worker costs no more than what it had.
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

from portraitd.model.errors import StoreError, WorkerDied, WorkersUnavailable
from portraitd.service.remote import agent
from portraitd.service.remote.agent import Handshake, JobResult, RemoteJob
from portraitd.service.remote.registry import (
    Job,
    Requirements,
    Roster,
    Worker,
    WorkerNetwork,
    roomiest,
    update,
)
from portraitd.service.remote.transfer import deliver
from portraitd.store.remote_workers import RemoteWorker
from portraitd.workers.result_decoding import checked

T = TypeVar("T")

log = structlog.get_logger(stage="remote_workers")

LOOK_S = 1.0
"""How often the scheduler is asked who is there."""

MOST_MOVES = 5
"""So many workers may be lost under a job before it is taken for the cause."""

NO_SESSION = -1
"""While there is no connection to the scheduler."""

SENDERS = 8
"""So many files may be on their way at once; each takes a few megabytes of memory."""


class DaskExecutor(Executor):
    """Runs jobs on the workers of a cluster.

    Args:
        network: The way to them.
        terms: What is asked of them.
        ring: Called, from any thread, when a worker came or went.
        clock: Seconds that never go back.
        look_s: How often to look who is there; 0 to be told by ``look``.
    """

    def __init__(
        self,
        network: WorkerNetwork,
        terms: Requirements,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        look_s: float = LOOK_S,
    ) -> None:
        self._network = network
        self._terms = terms
        self._ring = wake
        self._clock = clock
        self._lock = threading.RLock()
        self._workers: dict[str, Worker] = {}
        self._waiting: deque[Job] = deque()
        self._numbers = iter(range(1 << 62))
        self._looked_s = clock()
        self._session = NO_SESSION
        # Tells our jobs from those of a service before this one.
        self._name = secrets.token_hex(8)
        self.reached = False
        self._senders = ThreadPoolExecutor(SENDERS, "portraitd sends")
        self._closing = threading.Event()
        self._looker: threading.Thread | None = None
        if look_s:
            self._looker = threading.Thread(
                target=self._keep_looking, args=(look_s,), name="portraitd cluster", daemon=True
            )
            self._looker.start()

    @property
    def places(self) -> int:
        """How many jobs the workers that are there may have at once."""
        with self._lock:
            return sum(worker.places(self._terms.ahead) for worker in self._workers.values())

    @property
    def address(self) -> str:
        """The scheduler's."""
        return self._network.address

    @property
    def dashboard(self) -> str:
        """The scheduler's page for people; empty if there is none."""
        return self._network.dashboard if self.reached else ""

    def members(self) -> list[RemoteWorker]:
        """The workers, for people."""
        with self._lock:
            return [worker.member() for worker in self._workers.values()]

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a worker run ``fn``; a slice's file goes with it where it is not seen there.

        Returns:
            Raises ``WorkerDied`` if its process ends, if too many workers are lost under it, or
            if no answer comes; whatever of ``PortraitdError`` the job raised.
        """
        job = Job(next(self._numbers), fn, args, kwargs, Future())
        job.asked.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append(job)
        self._fill()
        return job.asked

    def look(self) -> None:
        """See who is there, and what became of those who are not."""
        found = self._network.workers()
        now_s = self._clock()
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        if self.reached != (found is not None):
            say = log.warning if found is None else log.info
            event = "scheduler_away" if found is None else "scheduler_reached"
            say(event, address=self._network.address)
        turned = self.reached != (found is not None)
        self.reached = found is not None
        if found is None:
            with self._lock:
                self._session = NO_SESSION
                for worker in self._workers.values():
                    worker.state = "lost"
        else:
            self._see(found, passed_s)
        if turned:
            self._ring()

    def _see(self, found: Roster, passed_s: float) -> None:
        # What a lost connection took with it is nobody's fault.
        counted = found.session == self._session
        self._session = found.session
        with self._lock:
            gone, back, new = update(self._workers, found.workers, afresh=not counted)
        for worker in gone:
            log.warning("worker_gone", worker=worker.address, slices=len(worker.out))
            self._take_back(worker, f"{worker.address} went away", counted)
        for worker in back:
            self._hold(worker, counted)
        for worker in new + back:
            self._ask(worker)
        self._end_overdue(passed_s)
        self._fill()
        if gone or new:
            self._ring()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let go of the workers: after their jobs, or at once with ``cancel_futures``."""
        if not cancel_futures:
            for job in self._all():
                job.asked.exception()
        self._closing.set()
        if self._looker is not None and wait:
            # One that calls a scheduler which never answers ends with the process.
            self._looker.join(2 * LOOK_S)
        with self._lock:
            left = self._all()
            self._waiting.clear()
            self._workers.clear()
        self._network.close()
        self._senders.shutdown(wait=False, cancel_futures=True)
        for job in left:
            job.settle(JobResult(error="WorkersUnavailable", message="the service is stopping"))

    def _keep_looking(self, look_s: float) -> None:
        while not self._closing.is_set():
            try:
                self.look()
            except Exception as error:
                # Without looks nothing would ever be found lost: say it, and look again.
                log.error("look_failed", reason=f"{type(error).__name__}: {error}")
            self._closing.wait(look_s)

    def _all(self) -> list[Job]:
        with self._lock:
            out = [job for worker in self._workers.values() for job in worker.out.values()]
            return out + list(self._waiting)

    # --- Who is there.

    def _ask(self, worker: Worker) -> None:
        terms = self._terms
        asked = self._network.ask(
            worker.address,
            agent.introduce,
            worker.processes,
            terms.limits,
            terms.encoder,
            terms.proof,
        )
        with self._lock:
            worker.introduction = asked
        asked.add_done_callback(lambda done: self._meet(worker, done))

    def _meet(self, worker: Worker, done: Future[Any]) -> None:
        error = done.exception()
        with self._lock:
            if self._workers.get(worker.address) is not worker or worker.introduction is not done:
                return
            if isinstance(error, WorkersUnavailable):
                # Not heard; the next look asks again.
                worker.state = "lost"
                return
        said = Handshake("", "", "", False, str(error)) if error else done.result()
        with self._lock:
            worker.meet(said, self._terms.identity)
        if worker.reason:
            log.error("worker_refused", worker=worker.address, reason=worker.reason)
            self._take_back(worker, f"{worker.address} is refused", counted=False)
        else:
            log.info(
                "worker_accepted",
                worker=worker.address,
                host=worker.host,
                processes=worker.processes,
                files="shared" if worker.shares else "sent",
            )
            with self._lock:
                held = [job for job in worker.out.values() if job.held]
            for job in held:
                self._begin(job, worker)
        self._fill()
        self._ring()

    # --- Who does what.

    def _fill(self) -> None:
        """Give out what waits, to whoever has most room."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                worker = roomiest(self._workers.values(), self._waiting[0], self._terms.ahead)
                if worker is None:
                    return
                job = self._waiting.popleft()
                job.worker, job.waited_s = worker, 0.0
                worker.out[job.number] = job
            self._begin(job, worker)

    def _begin(self, job: Job, worker: Worker) -> None:
        """Have a job that a worker was given begun there."""
        with self._lock:
            if job.worker is not worker:
                return
            job.running, job.held = None, False
            job.turn += 1
            turn = job.turn
        if job.piece is not None and not worker.shares:
            self._senders.submit(self._send_and_start, job, worker, turn)
        else:
            self._start(job, worker, turn, "")

    def _send_and_start(self, job: Job, worker: Worker, turn: int) -> None:
        piece = job.piece
        assert piece is not None

        def moved() -> None:
            if not self._is_out(job, turn):
                raise WorkersUnavailable("the job is elsewhere")
            # A long film on a slow line is no silence.
            with self._lock:
                for other in worker.out.values():
                    if other.running is None:
                        other.waited_s = 0.0

        try:
            deliver(self._network, worker, piece, self._terms.cache_bytes, moved)
        except WorkersUnavailable:
            self._doubt(job, turn)
        except StoreError as error:
            self._answer(job, turn, JobResult.of(WorkerDied(f"{worker.address}: {error}")))
        except Exception as error:
            self._answer(job, turn, JobResult.of(error))
        else:
            self._start(job, worker, turn, piece.sha256)

    def _start(self, job: Job, worker: Worker, turn: int, sent: str) -> None:
        name = f"{self._name} {job.number}"
        asked = self._terms.limits, self._terms.encoder
        order = RemoteJob(name, job.fn, job.args, job.kwargs, worker.processes, *asked, sent)
        running = self._network.start(worker.address, agent.carry_out, order)
        with self._lock:
            if self._is_out(job, turn):
                job.running = running
        running.add_done_callback(lambda done: self._come_back(job, turn, done))

    def _is_out(self, job: Job, turn: int) -> bool:
        return job.turn == turn and job.worker is not None

    # --- What comes back.

    def _come_back(self, job: Job, turn: int, done: Future[Any]) -> None:
        error = done.exception()
        if isinstance(error, WorkersUnavailable):
            self._doubt(job, turn)
            return
        answer = JobResult.of(error) if error else done.result()
        if not isinstance(answer, JobResult):
            answer = JobResult(error="WorkerDied", message="the worker's answer makes no sense")
        if answer.missing and job.piece and job.worker:
            job.worker.has.discard(job.piece.sha256)
            self._move(job, turn, answer.message, counted=True)
            return
        self._answer(job, turn, answer)

    def _answer(self, job: Job, turn: int, answer: JobResult) -> None:
        """Hand the answer to whoever asked; a second one, or one from before, is dropped."""
        with self._lock:
            if not self._is_out(job, turn) or job.worker is None:
                return
            worker, piece = job.worker, job.piece
            del worker.out[job.number]
            job.worker = None
        if piece is not None and not answer.error and answer.value is not None:
            try:
                checked(piece, answer.value)
            except WorkerDied as error:
                answer = JobResult.of(error)
        with self._lock:
            worker.credit(piece, answer.value)
        job.settle(answer)
        self._fill()

    def _doubt(self, job: Job, turn: int) -> None:
        """A connection broke: the next look tells whether the worker or the scheduler went."""
        with self._lock:
            if self._is_out(job, turn) and job.worker is not None:
                job.worker.state = "lost"

    def _hold(self, worker: Worker, counted: bool) -> None:
        """Leave a worker its jobs until it has said who it is: it may still be at work on them."""
        with self._lock:
            jobs = [(job, job.running) for job in worker.out.values() if not job.held]
            for job, running in jobs:
                job.running, job.held = None, True
                job.turn += 1
                job.moves += counted and running is not None
        for job, running in jobs:
            if running is not None:
                self._network.forget(running)
            if job.moves > MOST_MOVES:
                self._move(job, job.turn, f"{worker.address} was lost", counted=False)

    def _move(self, job: Job, turn: int, reason: str, counted: bool) -> None:
        """Give a job to somebody else; after too many times, give it up."""
        with self._lock:
            if not self._is_out(job, turn) or job.worker is None:
                return
            job.worker.out.pop(job.number, None)
            job.worker, job.held = None, False
            job.moves += counted
            given_up = job.moves > MOST_MOVES
            if not given_up:
                # It was next once already.
                self._waiting.appendleft(job)
        if given_up:
            message = f"{job.moves} workers were lost while they had it, the last one: {reason}"
            job.settle(JobResult(error="WorkerDied", message=message))
        else:
            self._fill()

    def _take_back(self, worker: Worker, reason: str, counted: bool) -> None:
        for job in list(worker.out.values()):
            if job.running is not None:
                self._network.forget(job.running)
            self._move(job, job.turn, reason, counted)

    def _end_overdue(self, passed_s: float) -> None:
        """Fail what a worker that is there has not answered; time without it does not count."""
        limit_s = self._terms.answer_limit_s
        with self._lock:
            out = [
                (job, worker) for worker in self._workers.values() for job in worker.out.values()
            ]
            for job, _ in out:
                job.waited_s += passed_s
            overdue = [(job, worker) for job, worker in out if job.waited_s > limit_s]
            silent = {worker.address: worker for _, worker in overdue}
            for worker in silent.values():
                # It gets nothing more until it speaks.
                worker.state, worker.reason = "asked", f"silent for {limit_s:.0f} s"
        for job, worker in overdue:
            if job.running is not None:
                self._network.forget(job.running)
            message = f"no answer from {worker.address} within {limit_s:.0f} s"
            self._answer(job, job.turn, JobResult(error="WorkerDied", message=message))
        for worker in silent.values():
            log.warning("worker_silent", worker=worker.address, seconds=limit_s)
            self._ask(worker)
