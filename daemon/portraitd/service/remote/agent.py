"""The agent in a Dask worker: runs jobs in its own processes, and keeps files sent to it.

A job never runs in the Dask worker itself but in a ``LocalExecutor`` there. So a crash, a hang or a
lack of memory fails one job, with the same reason as on the machine of the service, and the worker
answers its scheduler while C code is busy.
"""

from __future__ import annotations

import asyncio
import hashlib
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
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from portraitd import __version__
from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.model.errors import PortraitdError, WorkerDied
from portraitd.model.media_file import Slice, Source, Stamp
from portraitd.service.pools import decoding_policy
from portraitd.service.remote.file_cache import FileCache
from portraitd.service.remote.open_ports import list_open_ports
from portraitd.workers.job_results import schema_of
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import SandboxPolicy, WorkerLimits
from portraitd.workers.result_codec import Record, ResultSchema, encode_error, plain_text
from portraitd.workers.wire_types import Name, Sentence

FOLDER_VARIABLE = "PORTRAITD_WORKER_DIR"

REDUCED_VARIABLE = "PORTRAITD_WORKER_REDUCED_SANDBOX"
"""Set if jobs also run where the kernel does not support their sandbox."""

MAX_FINISHED = 16
"""Number of results, a few megabytes each, that are kept in case the connection broke."""


class RemoteJob(NamedTuple):
    """A job, and what the worker must know to run it.

    Attributes:
        number: Of the job; its result carries it.
        name: Identifies the job; a second submission under this name returns the same result.
        fn: A function that can be imported by name.
        args, kwargs: Its arguments.
        processes: Number of jobs that run at once in this worker.
        limits: What each of its processes may use.
        encoder: What they load before they are sandboxed; None for jobs that read no untrusted
            file, which run without a sandbox.
        sent_sha256: Hash of the file that was sent for the slice among ``args``; empty if the
            worker reads the slice's own path.
    """

    number: int
    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    processes: int
    limits: WorkerLimits
    encoder: EncoderSpec | None = None
    sent_sha256: str = ""


class FileEvicted(WorkerDied):
    """The file that was sent for a job is no longer at its worker: send it again."""


class SharedFolderCheck(NamedTuple):
    """A file that the service wrote, to find out whether a worker sees the same folder."""

    source: Source
    sha256: str


class Handshake(NamedTuple):
    """How a worker identifies itself.

    Attributes:
        host: The machine's own name.
        version: Of portraitd.
        encoder: Result of ``media_jobs.encoder_identity`` there; empty if none was required.
        shares_folder: Whether it reads the service's files under the same path.
        problem: Why it cannot encode; empty if it can.
    """

    host: str
    version: str
    encoder: str
    shares_folder: bool
    problem: str


class HandshakeData(Record):
    """A ``Handshake``."""

    host: Name
    version: Name
    encoder: Name
    shares_folder: bool
    problem: Sentence


def _pack_handshake(handshake: Handshake) -> HandshakeData:
    return HandshakeData(
        plain_text(handshake.host),
        handshake.version,
        handshake.encoder,
        handshake.shares_folder,
        plain_text(handshake.problem),
    )


def _unpack_handshake(found: HandshakeData) -> Handshake:
    return Handshake(found.host, found.version, found.encoder, found.shares_folder, found.problem)


HANDSHAKE = ResultSchema(HandshakeData, _pack_handshake, _unpack_handshake, max_bytes=1 << 16)


async def shake_hands(
    processes: int,
    limits: WorkerLimits,
    encoder: EncoderSpec | None,
    folder_check: SharedFolderCheck | None,
    dask_worker: Any = None,
) -> bytes:
    """Identify this worker, after its models were loaded in each of its processes.

    Args:
        processes: Number of jobs that will run at once.
        limits: What each process may use.
        encoder: What they load; None if they will read no untrusted file.
        folder_check: A file that the service wrote to the inbox.
        dask_worker: The Dask worker around this agent; Dask passes it.

    Returns:
        A ``Handshake``, as ``HANDSHAKE`` encodes it.
    """
    identity, problem = "", _find_exposure(dask_worker)
    if encoder is not None and not problem:
        identity, problem = await asyncio.to_thread(_identify, processes, limits, encoder)
    shares_folder = folder_check is not None and _sees_file(folder_check)
    return HANDSHAKE.encode(
        0, Handshake(socket.gethostname(), __version__, identity, shares_folder, problem)
    )


def _find_exposure(dask_worker: Any) -> str:
    """Return where other machines could run programs through this worker; empty for nowhere."""
    if dask_worker is None:
        return ""
    # A nanny listens too; it is the process that started this one.
    addresses = [dask_worker.address, *filter(None, [dask_worker.nanny])]
    pids = [os.getpid(), *([os.getppid()] if dask_worker.nanny else [])]
    encrypted = {urlsplit(one).port for one in addresses if one.startswith("tls://")}
    exposed = [f"{host}:{port}" for host, port in list_open_ports(pids) if port not in encrypted]
    if not exposed:
        return ""
    return (
        f"it listens at {', '.join(exposed)}, where anyone on the network can run programs on that "
        "machine; start `portraitd worker` instead, which does not"
    )


def run_remote_job(job: RemoteJob) -> bytes:
    """Run a job in one of this worker's processes; run it once, however often it is submitted.

    Returns:
        The message with its value or error, as the schema of the job encodes it.
    """
    try:
        return schema_of(job.fn).encode(job.number, _started(job).result())
    except FileNotFoundError:
        return encode_error(
            job.number, FileEvicted("the worker evicted the file that was sent to it")
        )
    except PortraitdError as error:
        return encode_error(job.number, error)


def receive_chunk(sha256: str, size: int, offset: int, data: bytes, limit_bytes: int) -> int:
    """Receive a chunk of a file; see ``FileCache.receive``."""
    return file_cache().receive(sha256, size, offset, data, limit_bytes)


def worker_folder() -> Path:
    """Return the folder in which this worker keeps networks and files sent to it."""
    configured = os.environ.get(FOLDER_VARIABLE)
    return Path(configured or "~/.cache/portraitd-worker").expanduser().absolute()


def file_cache() -> FileCache:
    """Return the cache of files sent to this process."""
    with _file_cache_lock:
        return _make_file_cache()


def shut_down() -> None:
    """Remove the files that were sent, and end this worker's processes."""
    if _make_file_cache.cache_info().currsize:
        _make_file_cache().clear()
    for pool in _pools.values():
        pool.shutdown(cancel_futures=True)


_file_cache_lock = threading.Lock()


@lru_cache(maxsize=1)
def _make_file_cache() -> FileCache:
    return FileCache(worker_folder() / "received")


def _localise(argument: Any, sent_sha256: str) -> Any:
    """Translate an argument for this machine: other folders, the same content."""
    if isinstance(argument, EncodeOptions):
        return argument._replace(encoder=_localise(argument.encoder, sent_sha256))
    if isinstance(argument, EncoderSpec):
        return replace(argument, models_dir=worker_folder() / "models")
    if isinstance(argument, Slice) and sent_sha256:
        path = file_cache().path(sent_sha256)
        return replace(argument, source=Source(path, Stamp.of(path.stat())))
    return argument


def _sees_file(check: SharedFolderCheck) -> bool:
    """Return whether the file has the same path, stamp and content here."""
    path = check.source.path
    try:
        stamp = Stamp.of(os.stat(path, follow_symlinks=False))
        content = path.read_bytes()
    except OSError:
        return False
    return stamp == check.source.stamp and hashlib.sha256(content).hexdigest() == check.sha256


_jobs: dict[str, Future[Any]] = {}
_jobs_lock = threading.Lock()


def _started(job: RemoteJob) -> Future[Any]:
    """Return the future of a job; start the job unless that happened before the connection broke.

    Raises:
        FileNotFoundError: The file that was sent has been evicted.
    """
    with _jobs_lock:
        found = _jobs.get(job.name)
        if found is None:
            args = tuple(_localise(argument, job.sent_sha256) for argument in job.args)
            pool = _pool(job.processes, job.limits, job.encoder)
            found = _jobs[job.name] = pool.submit(job.fn, *args, **job.kwargs)
            finished = [name for name, future in _jobs.items() if future.done()]
            for name in finished[:-MAX_FINISHED]:
                del _jobs[name]
        return found


_identities: dict[tuple[int, WorkerLimits, EncoderSpec], str] = {}
_identities_lock = threading.Lock()


def _identify(processes: int, limits: WorkerLimits, encoder: EncoderSpec) -> tuple[str, str]:
    """Return the identity of the encoder, and why it cannot be loaded; one of them is empty.

    Remembers the identity: at a handshake after the connection broke, its processes are busy.
    """
    with _identities_lock:
        key = processes, limits, encoder
        if key not in _identities:
            pool, localised = _pool(processes, limits, encoder), _localise(encoder, "")
            try:
                for load in [pool.submit(media_jobs.warm_up, localised) for _ in range(processes)]:
                    load.result()
                _identities[key] = pool.submit(media_jobs.encoder_identity, localised).result()
            except PortraitdError as error:
                return "", str(error)
        return _identities[key], ""


_pools: dict[tuple[int, WorkerLimits, EncoderSpec | None], LocalExecutor] = {}
_pools_lock = threading.Lock()


def _pool(processes: int, limits: WorkerLimits, encoder: EncoderSpec | None) -> LocalExecutor:
    """Return this worker's processes, which are created once."""
    with _pools_lock:
        key = processes, limits, encoder
        if key not in _pools:
            policy = None if encoder is None else _make_policy(_localise(encoder, ""))
            _pools[key] = _make_pool(processes, limits, policy)
        return _pools[key]


def _make_policy(encoder: EncoderSpec) -> SandboxPolicy:
    received = worker_folder() / "received"
    return decoding_policy(encoder, (received,), bool(os.environ.get(REDUCED_VARIABLE)))


def _make_pool(processes: int, limits: WorkerLimits, policy: SandboxPolicy | None) -> LocalExecutor:
    # Dask marks a worker below one of its nannies as a process that may not have children.
    with suppress(AssertionError):
        multiprocessing.current_process().daemon = False
    return LocalExecutor(processes, limits, policy)
