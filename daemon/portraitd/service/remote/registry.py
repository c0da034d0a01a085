"""What the service knows of each remote worker and its jobs, and which worker gets the next job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from portraitd import __version__
from portraitd.faces.interface import EncoderSpec
from portraitd.model.face import SliceFaces
from portraitd.model.media_file import Slice
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.service.remote.agent import Handshake, SharedFolderCheck
from portraitd.store.remote_workers import RemoteWorker
from portraitd.workers.process import WorkerLimits


class Heartbeat(NamedTuple):
    """What the scheduler knows of a connected worker.

    Attributes:
        threads: Number of jobs it runs at once.
        instance: Differs for a worker that was restarted under the same address.
    """

    threads: int
    instance: str


class Answer(NamedTuple):
    """What a job returned or raised.

    Attributes:
        value: What it returned.
        error: What it raised; None if it returned.
    """

    value: Any = None
    error: Exception | None = None


class Roster(NamedTuple):
    """The connected workers.

    Attributes:
        session: Changes when the connection broke or the scheduler restarted: no job from before
            will be answered, and it is unknown why.
        workers: By address.
    """

    session: int
    workers: dict[str, Heartbeat]


class WorkerNetwork(Protocol):
    """The connection to remote workers, as ``dask_client.Cluster`` implements it."""

    address: str

    @property
    def dashboard(self) -> str: ...

    def workers(self) -> Roster | None: ...

    def run_async(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]: ...

    def submit_to(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]: ...

    def call(self, address: str, fn: Callable[..., Any], *args: Any) -> Any: ...

    def cancel(self, outer: Future[Any]) -> None: ...

    def close(self) -> None: ...


class Requirements(NamedTuple):
    """What every worker must fulfil, and how it is used.

    Attributes:
        limits: What each of its processes may use.
        encoder: What it must encode with; None for no requirement.
        identity: Result of ``media_jobs.encoder_identity`` here; a worker's must be equal.
        folder_check: A file in the folder that workers may share; None to send every file.
        ahead: Number of slices that a worker gets beyond those it processes.
        cache_bytes: Size of the cache for files that are sent to a worker.
        answer_limit_s: Timeout of a job on a worker that stays connected.
    """

    limits: WorkerLimits
    encoder: EncoderSpec | None
    identity: str
    folder_check: SharedFolderCheck | None
    ahead: int
    cache_bytes: int
    answer_limit_s: float


class WorkerState(StrEnum):
    """connecting -> accepted | refused; any -> lost (connection broke); lost -> connecting.

    A worker that is silent too long is connecting again. One that left the roster is dropped.
    """

    CONNECTING = "connecting"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(eq=False, slots=True)
class WorkerRecord:
    """A connected worker, and its jobs.

    Attributes:
        reason: Why it was refused, or gets no jobs.
        shares_folder: Whether it reads files under the same path; else files are sent to it.
        done, footage_s, work_s: Number of results, seconds of footage in them, and seconds of work.
        jobs: Those it was given and has not answered, by number.
        cached: Hashes of the files that were sent to it.
        transfers: A lock for each file that is being sent to it.
        handshake: The pending or last handshake.
    """

    address: str
    processes: int
    instance: str = ""
    state: WorkerState = WorkerState.CONNECTING
    host: str = ""
    reason: Reason = NO_REASON
    shares_folder: bool = False
    done: int = 0
    footage_s: float = 0.0
    work_s: float = 0.0
    jobs: dict[int, JobRecord] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)
    transfers: dict[str, threading.Lock] = field(default_factory=dict)
    handshake: Future[Any] | None = None

    def slots(self, ahead: int) -> int:
        """Return how many jobs it may have at once."""
        return self.processes + ahead if self.state is WorkerState.ACCEPTED else 0

    def apply_handshake(self, handshake: Handshake, identity: str) -> None:
        """Accept it, or refuse it with a reason."""
        self.host, self.shares_folder = handshake.host, handshake.shares_folder
        self.reason = _find_objection(handshake, identity)
        self.state = WorkerState.REFUSED if self.reason else WorkerState.ACCEPTED

    def count_result(self, video_slice: Slice | None, value: object) -> None:
        """Add a result to the statistics."""
        self.done += 1
        if video_slice is not None and isinstance(value, SliceFaces):
            self.work_s += value.seconds
            self.footage_s += max(0.0, (value.ended_s or 0.0) - video_slice.start_s)

    def summarise(self) -> RemoteWorker:
        """Return what ``status`` shows."""
        return RemoteWorker(
            self.address,
            self.host,
            self.state.value,
            self.reason.text,
            self.processes,
            len(self.jobs),
            self.done,
            self.footage_s,
            self.work_s,
            not self.shares_folder,
            self.reason.code,
        )


@dataclass(eq=False, slots=True)
class JobRecord:
    """A job, its worker, and the future that the caller waits for.

    Attributes:
        future: The caller's.
        worker: The worker that has the job; None while it is queued.
        remote: The future of the network; None while the job is queued, sent or suspended.
        attempt: Increases whenever the job is dispatched or suspended; results of earlier
            attempts are dropped.
        is_suspended: Whether it waits for its worker's handshake, after the connection broke.
        moves: Number of workers that were lost while they had the job.
        waited_s: Seconds since its worker was last heard of.
    """

    number: int
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: Future[Any]
    worker: WorkerRecord | None = None
    remote: Future[Any] | None = None
    attempt: int = 0
    is_suspended: bool = False
    moves: int = 0
    waited_s: float = 0.0

    @property
    def slice(self) -> Slice | None:
        """The slice among the arguments; None if there is none."""
        return next((argument for argument in self.args if isinstance(argument, Slice)), None)

    def settle(self, answer: Answer) -> None:
        """Resolve the caller's future, unless the caller cancelled it."""
        if self.future.done():
            return
        if answer.error is not None:
            self.future.set_exception(answer.error)
        else:
            self.future.set_result(answer.value)


class RosterChanges(NamedTuple):
    """Workers that left, that must repeat their handshake, and that are new."""

    left: list[WorkerRecord]
    returned: list[WorkerRecord]
    new: list[WorkerRecord]


def update_workers(
    workers: dict[str, WorkerRecord], roster: Mapping[str, Heartbeat], *, is_new_session: bool
) -> RosterChanges:
    """Bring the workers up to date with the roster.

    Args:
        workers: By address; changed in place.
        roster: By address.
        is_new_session: Whether all workers must repeat their handshake; else the lost ones.
    """
    left = [
        worker
        for address, worker in workers.items()
        if address not in roster or roster[address].instance != worker.instance
    ]
    for worker in left:
        del workers[worker.address]
    returned = [
        worker for worker in workers.values() if is_new_session or worker.state is WorkerState.LOST
    ]
    for worker in returned:
        worker.state = WorkerState.CONNECTING
    new = [
        WorkerRecord(address, heartbeat.threads, heartbeat.instance)
        for address, heartbeat in roster.items()
        if address not in workers
    ]
    workers |= {worker.address: worker for worker in new}
    return RosterChanges(left, returned, new)


def least_loaded(
    workers: Iterable[WorkerRecord], job: JobRecord, ahead: int
) -> WorkerRecord | None:
    """Choose the worker for a job: one with an idle process, then one that has the file.

    Returns:
        None if no worker has a free slot.
    """
    sha256 = job.slice.sha256 if job.slice else ""
    return min(
        (worker for worker in workers if len(worker.jobs) < worker.slots(ahead)),
        key=lambda worker: (
            len(worker.jobs) >= worker.processes,
            # A worker that has the file already saves a transfer.
            bool(sha256) and not worker.shares_folder and sha256 not in worker.cached,
            len(worker.jobs) / worker.processes,
        ),
        default=None,
    )


def _find_objection(handshake: Handshake, identity: str) -> Reason:
    """Return why a worker gets no jobs; ``NO_REASON`` if it gets some."""
    if handshake.problem:
        return Reason.of(ReasonCode.WORKER_UNUSABLE, problem=handshake.problem)
    if handshake.version != __version__:
        return Reason.of(ReasonCode.WORKER_VERSION, there=handshake.version, here=__version__)
    if handshake.encoder != identity:
        return Reason.of(ReasonCode.WORKER_ENCODER, there=handshake.encoder, here=identity)
    return NO_REASON
