"""A fake network of remote workers: the test says which are connected and what each answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from portraitd import __version__
from portraitd.service.remote import agent
from portraitd.service.remote.agent import Handshake, RemoteJob
from portraitd.service.remote.file_cache import FileCache
from portraitd.service.remote.registry import Heartbeat, Roster
from portraitd.service.remote.remote_executor import DaskExecutor
from portraitd.workers.job_results import schema_of
from portraitd.workers.result_codec import encode_error
from support.dask_cluster import make_requirements

NAME = "dlib-resnet-v1 by dlib, hog"


class FakeNetwork:
    """Implements ``WorkerNetwork``.

    Attributes:
        connected: Processes by address of a worker; None while the scheduler is unreachable.
        instances: Changed when a worker is restarted under the same address.
        submitted: Address, job and future of everything submitted.
        handshakes: What workers answer at once; the others stay in ``pending_handshakes``.
        chunks: Address and length of each chunk sent.
    """

    address = "tcp://fake"
    dashboard = "http://fake/status"

    def __init__(self, folder: Path) -> None:
        self.connected: dict[str, int] | None = {}
        self.instances: dict[str, str] = {}
        self.session = 0
        self.submitted: list[tuple[str, RemoteJob, Future[Any]]] = []
        self.cancelled: list[Future[Any]] = []
        self.handshakes: dict[str, Handshake] = {}
        self.pending_handshakes: dict[str, Future[Any]] = {}
        self.cache = FileCache(folder / "received")
        self.chunks: list[tuple[str, int]] = []

    def workers(self) -> Roster | None:
        if self.connected is None:
            return None
        return Roster(
            self.session,
            {
                address: Heartbeat(threads, self.instances.get(address, ""))
                for address, threads in self.connected.items()
            },
        )

    def run_async(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        assert fn is agent.shake_hands
        self.pending_handshakes[address] = Future()
        if handshake := self.handshakes.get(address):
            self.greet(address, handshake)
        return self.pending_handshakes[address]

    def submit_to(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        assert fn is agent.run_remote_job
        future: Future[Any] = Future()
        self.submitted.append((address, args[0], future))
        return future

    def call(self, address: str, fn: Callable[..., Any], *args: Any) -> Any:
        assert fn is agent.receive_chunk
        self.chunks.append((address, len(args[3])))
        return self.cache.receive(*args)

    def greet(self, address: str, handshake: Handshake) -> None:
        """Have a worker answer the handshake that waits for it."""
        message = agent.HANDSHAKE.encode(0, handshake)
        self.pending_handshakes[address].set_result(message)

    def answer(self, value: object, at: int = -1) -> None:
        """Have a worker answer one of the submitted jobs."""
        _, job, future = self.submitted[at]
        future.set_result(schema_of(job.fn).encode(job.number, value))

    def fail(self, error: BaseException, at: int = -1) -> None:
        """Have a worker answer what one of the submitted jobs raised."""
        _, job, future = self.submitted[at]
        future.set_result(encode_error(job.number, error))

    def cancel(self, outer: Future[Any]) -> None:
        self.cancelled.append(outer)

    def close(self) -> None:
        self.connected = None

    def jobs_of(self, address: str) -> list[RemoteJob]:
        """Return the jobs submitted to a worker."""
        return [job for at, job, _ in self.submitted if at == address]


class RemoteFixture:
    """An executor on a fake network, and its clock."""

    def __init__(self, folder: Path, **requirements: Any) -> None:
        self.network = FakeNetwork(folder)
        self.now_s = 0.0
        self.executor = DaskExecutor(
            self.network,
            make_requirements(identity=NAME, answer_limit_s=100.0, **requirements),
            clock=lambda: self.now_s,
            poll_s=0.0,
        )

    def connect(self, address: str, processes: int = 1, **changed: Any) -> None:
        """Connect a worker, with its handshake."""
        usual = Handshake(f"host of {address}", __version__, NAME, True, "")
        self.network.handshakes[address] = usual._replace(**changed)
        self.network.connected = (self.network.connected or {}) | {address: processes}
        self.executor.poll()

    def disconnect(self, address: str) -> None:
        assert self.network.connected
        del self.network.connected[address]
        self.executor.poll()
