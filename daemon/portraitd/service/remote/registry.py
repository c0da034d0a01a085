"""What is known of each worker of a cluster and of each job it was given; who gets the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from portraitd import __version__
from portraitd.faces.interface import EncoderSettings
from portraitd.model.errors import PortraitdError
from portraitd.model.face import SliceFaces
from portraitd.model.media_file import Slice
from portraitd.service.remote.agent import Handshake, JobResult, SharedFolderCheck
from portraitd.store.remote_workers import RemoteWorker
from portraitd.workers.process import WorkerLimits


class Heartbeat(NamedTuple):
    """A worker that is there.

    Attributes:
        threads: How many jobs it works on at once.
        birth: Differs for one that was begun anew under the same address.
    """

    threads: int
    birth: str


class Roster(NamedTuple):
    """Who is there, by address.

    Attributes:
        session: Another one after the connection broke, or the scheduler was begun anew: no job
            from before will be answered, and nobody can tell through whose fault.
        workers: Those who are there.
    """

    session: int
    workers: dict[str, Heartbeat]


class WorkerNetwork(Protocol):
    """What ``dask_door.Cluster`` does."""

    address: str

    @property
    def dashboard(self) -> str: ...

    def workers(self) -> Roster | None: ...

    def ask(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]: ...

    def start(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]: ...

    def call(self, address: str, fn: Callable[..., Any], *args: Any) -> Any: ...

    def forget(self, outer: Future[Any]) -> None: ...

    def close(self) -> None: ...


class Requirements(NamedTuple):
    """What is asked of every worker.

    Attributes:
        limits: What each of its processes may use.
        encoder: What it must encode with; None to ask for nothing.
        identity: As ``jobs.encoder_identity`` says it here; a worker's must be the same.
        proof: A file that lies in a folder that workers may share; None to send every file.
        ahead: Slices that a worker is given beyond those it works on.
        cache_bytes: How much of what is sent a worker keeps.
        answer_limit_s: A job that was given to a worker that is there, and is not answered for
            so long, will never be.
    """

    limits: WorkerLimits
    encoder: EncoderSettings | None
    identity: str
    proof: SharedFolderCheck | None
    ahead: int
    cache_bytes: int
    answer_limit_s: float


@dataclass(eq=False, slots=True)
class Worker:
    """asked -> accepted | refused; any -> lost when a connection broke; lost or silent -> asked.

    Who is no longer there is dropped.
    """

    address: str
    processes: int
    birth: str = ""
    state: str = "asked"
    host: str = ""
    reason: str = ""
    shares: bool = False
    done: int = 0
    footage_s: float = 0.0
    work_s: float = 0.0
    out: dict[int, Job] = field(default_factory=dict)
    has: set[str] = field(default_factory=set)
    sending: dict[str, threading.Lock] = field(default_factory=dict)
    introduction: Future[Any] | None = None

    def places(self, ahead: int) -> int:
        """How many jobs it may have at once."""
        return self.processes + ahead if self.state == "accepted" else 0

    def meet(self, said: Handshake, identity: str) -> None:
        """Take it in, or refuse it with a reason."""
        self.host, self.shares = said.host, said.shares
        self.reason = _objection(said, identity)
        self.state = "refused" if self.reason else "accepted"

    def credit(self, piece: Slice | None, value: object) -> None:
        """Count an answer."""
        self.done += 1
        if piece is not None and isinstance(value, SliceFaces):
            self.work_s += value.seconds
            self.footage_s += max(0.0, (value.ended_s or 0.0) - piece.start_s)

    def member(self) -> RemoteWorker:
        """As people are shown it."""
        return RemoteWorker(
            self.address,
            self.host,
            self.state,
            self.reason,
            self.processes,
            len(self.out),
            self.done,
            self.footage_s,
            self.work_s,
            not self.shares,
        )


@dataclass(eq=False, slots=True)
class Job:
    """A job, where it is, and the future that whoever asked waits for."""

    number: int
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    asked: Future[Any]
    worker: Worker | None = None
    running: Future[Any] | None = None
    turn: int = 0
    held: bool = False
    moves: int = 0
    waited_s: float = 0.0

    @property
    def piece(self) -> Slice | None:
        """The slice it is about, if it is about one."""
        return next((argument for argument in self.args if isinstance(argument, Slice)), None)

    def settle(self, answer: JobResult) -> None:
        """Answer whoever asked; they may have gone."""
        if self.asked.done():
            return
        try:
            self.asked.set_result(answer.result())
        except PortraitdError as error:
            self.asked.set_exception(error)


class WorkerChanges(NamedTuple):
    """Workers that are not there any more, that must say anew who they are, and that came."""

    gone: list[Worker]
    back: list[Worker]
    new: list[Worker]


def update(
    workers: dict[str, Worker], there: Mapping[str, Heartbeat], *, afresh: bool
) -> WorkerChanges:
    """Bring the workers up to date with who is there.

    Args:
        workers: By address; changed.
        there: By address.
        afresh: Whether everybody must say anew who they are; else those who were lost.
    """
    gone = [
        worker
        for address, worker in workers.items()
        if address not in there or there[address].birth != worker.birth
    ]
    for worker in gone:
        del workers[worker.address]
    back = [worker for worker in workers.values() if afresh or worker.state == "lost"]
    for worker in back:
        worker.state = "asked"
    new = [
        Worker(address, presence.threads, presence.birth)
        for address, presence in there.items()
        if address not in workers
    ]
    workers |= {worker.address: worker for worker in new}
    return WorkerChanges(gone, back, new)


def roomiest(workers: Iterable[Worker], job: Job, ahead: int) -> Worker | None:
    """The worker who should get a job: one with an idle process, that has the file, idlest first.

    Returns:
        None if nobody has a place.
    """
    sha256 = job.piece.sha256 if job.piece else ""
    return min(
        (worker for worker in workers if len(worker.out) < worker.places(ahead)),
        key=lambda worker: (
            len(worker.out) >= worker.processes,
            # Who has the file already spares us sending it.
            bool(sha256) and not worker.shares and sha256 not in worker.has,
            len(worker.out) / worker.processes,
        ),
        default=None,
    )


def _objection(said: Handshake, identity: str) -> str:
    """Why a worker gets no jobs; empty if it does."""
    if said.blocked:
        return said.blocked
    if said.version != __version__:
        return f"portraitd {said.version} there, {__version__} here; install the same"
    if said.encoder != identity:
        return (
            f"another encoder: {said.encoder!r} there, {identity!r} here; "
            "add or remove the same models there"
        )
    return ""
