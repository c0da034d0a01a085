"""What runs inside a Dask worker: jobs in its own processes, and files that were sent to it.

A job never runs in the Dask worker itself. It runs in a ``LocalExecutor`` there, so that a
crash, a hang or memory run out costs the job alone and is told in the same words as on one
machine, and so that the worker answers its scheduler while C code is busy.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from portraitd import __version__
from portraitd.faces.interface import EncoderSettings
from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeSettings
from portraitd.model import errors
from portraitd.model.errors import PortraitdError, WorkerDied
from portraitd.model.media_file import Slice, Source, Stamp
from portraitd.service.pools import decoding_seclusion
from portraitd.service.remote.file_cache import Received
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import SandboxPolicy, WorkerLimits

FOLDER_VARIABLE = "PORTRAITD_WORKER_DIR"

MOST_ENDED = 16
"""So many answers are kept for whoever could not be told, of a few megabytes each."""


class RemoteJob(NamedTuple):
    """A job, and what the worker must know to carry it out.

    Attributes:
        name: Of this job alone; the same order again asks for what it came to.
        fn: A function that is importable by name.
        args, kwargs: Its arguments.
        processes: How many jobs run at once in this worker.
        limits: What each of its processes may use.
        encoder: What they load before they are shut off; None leaves them open, for jobs that
            see no foreign file.
        sent: Hash of the file that was sent for the slice among ``args``; empty if the slice's
            own path is the one to read.
    """

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    processes: int
    limits: WorkerLimits
    encoder: EncoderSettings | None = None
    sent: str = ""


class JobResult(NamedTuple):
    """What a job came to: a value, or one of portraitd's own errors by name."""

    value: Any = None
    error: str = ""
    message: str = ""
    missing: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """That it failed."""
        if isinstance(error, PortraitdError):
            return cls(error=type(error).__name__, message=str(error))
        return cls(error="WorkerDied", message=f"unexpected {type(error).__name__}: {error}")

    def result(self) -> Any:
        """The value.

        Raises:
            PortraitdError: As the job raised it.
        """
        if not self.error:
            return self.value
        kind = getattr(errors, self.error, WorkerDied)
        if not (isinstance(kind, type) and issubclass(kind, PortraitdError)):
            kind = WorkerDied
        raise kind(self.message)


class SharedFolderCheck(NamedTuple):
    """A file that the coordinator laid down, to see whether a worker sees the same folder."""

    source: Source
    sha256: str


class Handshake(NamedTuple):
    """Who a worker is.

    Attributes:
        host: The machine's own name.
        version: Of portraitd.
        encoder: As ``jobs.encoder_identity`` says it there; empty if none was asked for.
        shares: Whether it sees the coordinator's files under the same path.
        trouble: Why it cannot encode, in words; empty if it can.
    """

    host: str
    version: str
    encoder: str
    shares: bool
    blocked: str


async def introduce(
    processes: int,
    limits: WorkerLimits,
    encoder: EncoderSettings | None,
    proof: SharedFolderCheck | None,
) -> Handshake:
    """Say who this worker is, with its models loaded in each of its processes."""
    identity, blocked = "", ""
    if encoder is not None:
        identity, blocked = await asyncio.to_thread(_identity, processes, limits, encoder)
    shares = proof is not None and _sees(proof)
    return Handshake(socket.gethostname(), __version__, identity, shares, blocked)


def carry_out(order: RemoteJob) -> JobResult:
    """Run a job in one of this worker's processes, once however often it is ordered."""
    try:
        return JobResult(_begun(order).result())
    except FileNotFoundError:
        return JobResult(error="WorkerDied", message="the file sent is gone again", missing=True)
    except PortraitdError as error:
        return JobResult.of(error)


def take_chunk(sha256: str, size: int, offset: int, data: bytes, limit_bytes: int) -> int:
    """Take a piece of a file; see ``Received.take``."""
    return received().take(sha256, size, offset, data, limit_bytes)


def folder() -> Path:
    """Where this worker keeps networks and files sent to it."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named or "~/.cache/portraitd-worker").expanduser().absolute()


def received() -> Received:
    """The files sent to this process."""
    with _received_lock:
        return _received()


def end() -> None:
    """Remove the files that were sent, and end this worker's processes."""
    if _received.cache_info().currsize:
        _received().clear()
    for pool in _pools.values():
        pool.shutdown(cancel_futures=True)


_received_lock = threading.Lock()


@lru_cache(maxsize=1)
def _received() -> Received:
    return Received(folder() / "received")


def _here(argument: Any, sent: str) -> Any:
    """An argument as it is meant on this machine: other folders, the same content."""
    if isinstance(argument, EncodeSettings):
        return argument._replace(encoder=_here(argument.encoder, sent))
    if isinstance(argument, EncoderSettings):
        return replace(argument, models_dir=folder() / "models")
    if isinstance(argument, Slice) and sent:
        path = received().path(sent)
        facts = path.stat()
        stamp = Stamp.of(facts)
        return replace(argument, source=Source(path, stamp))
    return argument


def _sees(proof: SharedFolderCheck) -> bool:
    """Whether the file lies here under the same path, with the same stamp and content."""
    import hashlib

    try:
        facts = os.stat(proof.source.path, follow_symlinks=False)
        content = proof.source.path.read_bytes()
    except OSError:
        return False
    same_stamp = Stamp.of(facts) == proof.source.stamp
    return same_stamp and hashlib.sha256(content).hexdigest() == proof.sha256


_orders: dict[str, Future[Any]] = {}
_orders_lock = threading.Lock()


def _begun(order: RemoteJob) -> Future[Any]:
    """What a job comes to; begun, unless it was before the connection broke.

    Raises:
        FileNotFoundError: The file that was sent had to make room.
    """
    with _orders_lock:
        found = _orders.get(order.name)
        if found is None:
            args = tuple(_here(argument, order.sent) for argument in order.args)
            pool = _pool(order.processes, order.limits, order.encoder)
            found = _orders[order.name] = pool.submit(order.fn, *args, **order.kwargs)
            ended = [name for name, job in _orders.items() if job.done()]
            for name in ended[:-MOST_ENDED]:
                del _orders[name]
        return found


_identities: dict[tuple[int, WorkerLimits, EncoderSettings], str] = {}
_identities_lock = threading.Lock()


def _identity(processes: int, limits: WorkerLimits, encoder: EncoderSettings) -> tuple[str, str]:
    """What this worker encodes with, and why it cannot.

    Known once for all: after a connection broke, its processes are at work.
    """
    with _identities_lock:
        key = processes, limits, encoder
        if key not in _identities:
            pool, here = _pool(processes, limits, encoder), _here(encoder, "")
            try:
                for load in [pool.submit(media_jobs.warm_up, here) for _ in range(processes)]:
                    load.result()
                _identities[key] = pool.submit(media_jobs.encoder_identity, here).result()
            except PortraitdError as error:
                return "", str(error)
        return _identities[key], ""


_pools: dict[tuple[int, WorkerLimits, EncoderSettings | None], LocalExecutor] = {}
_pools_lock = threading.Lock()


def _pool(processes: int, limits: WorkerLimits, encoder: EncoderSettings | None) -> LocalExecutor:
    """This worker's processes, made once."""
    with _pools_lock:
        key = processes, limits, encoder
        if key not in _pools:
            policy = None if encoder is None else decoding_seclusion(_here(encoder, ""))
            _pools[key] = _made(processes, limits, policy)
        return _pools[key]


def _made(processes: int, limits: WorkerLimits, policy: SandboxPolicy | None) -> LocalExecutor:
    # A worker below one of Dask's nannies is marked as one that has no children.
    with suppress(AssertionError):
        multiprocessing.current_process().daemon = False
    return LocalExecutor(processes, limits, policy)
