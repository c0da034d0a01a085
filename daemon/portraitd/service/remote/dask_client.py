"""The adapter to Dask: a connection to its scheduler, and a worker.

Dask finds the workers, transports the messages and encrypts them. ``remote_executor`` decides which
worker gets a job, and what a missing answer means.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import structlog
from msgspec import Meta, Struct, convert

from portraitd.config import SchedulerAddress
from portraitd.model.errors import ConfigError, PortraitdError, WorkersUnavailable
from portraitd.model.extras import describe_installation
from portraitd.service.remote.registry import Heartbeat, Roster

if TYPE_CHECKING:
    from distributed import Client, Security
    from distributed.client import Future as DaskFuture

log = structlog.get_logger(stage="remote_workers")

CONNECT_S = 5.0
RETRY_S = 3.0
CALL_S = 120.0
"""Timeout for a chunk of a file; a line that needs longer counts as broken."""

MAX_THREADS = 1024
"""Largest number of jobs that a worker may run at once; it gets as many."""

GATHERERS = 8
"""Number of results that are fetched at once: one on a slow line must not delay the others."""


def require_dask() -> None:
    """Import Dask, and silence its log.

    Raises:
        ConfigError: Dask is not installed.
    """
    try:
        import distributed
    except ImportError:
        raise ConfigError(
            f"remote workers need Dask, which is not installed: {describe_installation('dask')}"
        ) from None
    # It logs every lost connection at length; the consequence is logged here, once.
    for name in (distributed.__name__, "distributed.client", "distributed.worker"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _security(scheduler: SchedulerAddress) -> Security | None:
    """Return Dask's TLS settings; None for an unencrypted connection."""
    if not (scheduler.ca and scheduler.cert and scheduler.key):
        return None
    from distributed import Security

    files = (str(scheduler.ca), str(scheduler.cert), str(scheduler.key))
    return Security(
        tls_ca_file=files[0],
        tls_client_cert=files[1],
        tls_client_key=files[2],
        tls_worker_cert=files[1],
        tls_worker_key=files[2],
        require_encryption=True,
    )


Address = Annotated[str, Meta(pattern=r"^(tcp|tls)://[!-~]{1,200}$")]


class WorkerFacts(Struct):
    """What is used of what a scheduler reports of a worker."""

    nthreads: Annotated[int, Meta(ge=1, le=MAX_THREADS)]
    local_directory: Annotated[str, Meta(max_length=4096)]


class Cluster:
    """A connection to a scheduler that is restored whenever it is lost.

    Args:
        scheduler: The address from the settings.

    Attributes:
        address: Of the scheduler.
        dashboard: URL of the scheduler's dashboard, as of the last ``workers``; empty if there is
            none.

    Raises:
        ConfigError: Dask is not installed, or the address is not allowed.
    """

    def __init__(self, scheduler: SchedulerAddress) -> None:
        require_dask()
        self.address = resolve_address(scheduler)
        self.dashboard = ""
        self._scheduler = scheduler
        self._security = _security(scheduler)
        # One thread starts jobs while another finds the connection broken.
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._pending: dict[int, tuple[DaskFuture[Any], Future[Any]]] = {}
        self._calls: set[Future[Any]] = set()
        self._numbers = iter(range(1 << 62))
        self._session = 0
        self._connection: tuple[Any, Any] = (None, None)
        self._gatherers = ThreadPoolExecutor(GATHERERS, "portraitd gathers")

    def workers(self) -> Roster | None:
        """Return the workers that the scheduler knows; None if it cannot be reached.

        Connects if there is no connection. Dask restores a connection by itself, and drops every
        job when it does; that, like another scheduler, starts a new session.
        """
        try:
            client = self._connected()
            identity = client.sync(_identity, client, callback_timeout=2 * CONNECT_S)
        except Exception:
            # Whatever the error is, the scheduler cannot be reached; the next call tries again.
            self._disconnect()
            return None
        connection = identity["id"], client.scheduler_comm
        if connection[0] != self._connection[0] or connection[1] is not self._connection[1]:
            self._session += 1
            self._connection = connection
            self.dashboard = _dashboard_url(self.address, identity)
        return Roster(self._session, _read_heartbeats(identity["workers"]))

    def run_async(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run a coroutine in a worker beside its jobs, however many it has.

        Returns:
            A future that raises what the coroutine raises, and ``WorkersUnavailable`` if the
            connection or the worker is lost.
        """
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        with self._lock:
            client = self._client
            if client is not None:
                self._calls.add(outer)
        if client is None:
            outer.set_exception(WorkersUnavailable("not connected to the scheduler"))
            return outer

        async def wait_for_answer() -> None:
            answer: Any = None
            error: Exception | None = None
            try:
                answer = (await client._run(fn, *args, workers=[address]))[address]
            except (OSError, TimeoutError, KeyError, asyncio.CancelledError) as raised:
                error = WorkersUnavailable(f"{address} cannot be reached: {raised}")
            except Exception as raised:
                error = raised
            with self._lock:
                is_wanted = outer in self._calls
                self._calls.discard(outer)
            if is_wanted and error is None:
                outer.set_result(answer)
            elif is_wanted:
                outer.set_exception(error)

        loop = client.loop
        assert loop is not None
        loop.add_callback(wait_for_answer)
        return outer

    def submit_to(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run a function in a thread of one worker.

        Returns:
            A future that raises ``WorkersUnavailable`` if the connection is lost, or what Dask
            raises.
        """
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        error: Exception | None = None
        # Under the lock: a job is either registered before ``_disconnect`` or never submitted.
        with self._lock:
            client = self._client
            if client is None:
                error = WorkersUnavailable("not connected to the scheduler")
            else:
                try:
                    inner = client.submit(
                        fn,
                        *args,
                        pure=False,
                        workers=[address],
                        allow_other_workers=False,
                        retries=0,
                    )
                except Exception as raised:
                    is_broken = client.status != "running"
                    error = WorkersUnavailable(str(raised)) if is_broken else raised
                else:
                    number = next(self._numbers)
                    # Dask drops jobs that are not referenced.
                    self._pending[number] = inner, outer
        if error is not None:
            outer.set_exception(error)
        else:
            inner.add_done_callback(lambda done: self._gather(number, done))
        return outer

    def call(self, address: str, fn: Callable[..., Any], *args: Any) -> Any:
        """Run a short function in a worker beside its jobs, and wait for it.

        Raises:
            WorkersUnavailable: The connection or the worker was lost, or the worker is silent.
        """
        client = self._client
        if client is None:
            raise WorkersUnavailable("not connected to the scheduler")
        try:
            answers = client.sync(
                client._run, fn, *args, workers=[address], callback_timeout=CALL_S
            )
            return answers[address]
        except PortraitdError:
            raise
        except (OSError, TimeoutError, KeyError, asyncio.CancelledError) as error:
            raise WorkersUnavailable(f"{address} cannot be reached: {error}") from error
        except Exception as error:
            if client.status == "running":
                raise
            raise WorkersUnavailable(f"{address} cannot be reached: {error}") from error

    def cancel(self, outer: Future[Any]) -> None:
        """Cancel a job; its result is no longer needed."""
        with self._lock:
            found = next((key for key, (_, one) in self._pending.items() if one is outer), None)
            inner = None if found is None else self._pending.pop(found)[0]
        if inner is not None:
            with suppress(Exception):
                inner.cancel()

    def close(self) -> None:
        """Disconnect; everything pending raises ``WorkersUnavailable``."""
        self._disconnect()
        self._gatherers.shutdown(wait=False, cancel_futures=True)

    def _connected(self) -> Client:
        client = self._client
        if client is not None and client.status == "running":
            return client
        from distributed import Client

        self._disconnect()
        client = Client(
            self._current_address(),
            timeout=CONNECT_S,
            security=self._security,
            set_as_default=False,
        )
        with self._lock:
            self._client = client
        return client

    def _current_address(self) -> str:
        """Return the address; a restarted scheduler may have written another one to its file."""
        with suppress(ConfigError):
            self.address = resolve_address(self._scheduler)
        return self.address

    def _disconnect(self) -> None:
        with self._lock:
            client, self._client = self._client, None
            pending, self._pending = self._pending, {}
            calls, self._calls = self._calls, set()
        if client is not None:
            with suppress(Exception):
                client.close(timeout=1.0)
        for outer in [*calls, *(outer for _, outer in pending.values())]:
            outer.set_exception(WorkersUnavailable("the connection to the scheduler was lost"))

    def _gather(self, number: int, done: DaskFuture[Any]) -> None:
        """Fetch a result in a thread of our own: Dask's only thread for callbacks must not wait."""
        # After ``close`` no more results are fetched.
        with suppress(RuntimeError):
            self._gatherers.submit(self._fetch, number, done)

    def _fetch(self, number: int, done: DaskFuture[Any]) -> None:
        with self._lock:
            found = self._pending.pop(number, None)
        if found is None:
            return
        outer = found[1]
        try:
            outer.set_result(done.result(timeout=10 * CONNECT_S))
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            outer.set_exception(WorkersUnavailable(str(error)))
        except BaseException as error:
            is_lost = "Cancelled" in type(error).__name__ or "Killed" in type(error).__name__
            outer.set_exception(WorkersUnavailable(str(error)) if is_lost else error)


def _read_heartbeats(workers: Any) -> dict[str, Heartbeat]:
    """Return the workers in what the scheduler reports, without those that cannot be any."""
    found = {}
    for address, facts in workers.items():
        with suppress(ValueError):
            known = convert(facts, WorkerFacts, strict=True)
            # Each worker creates a new folder when it starts.
            found[convert(address, Address)] = Heartbeat(known.nthreads, known.local_directory)
    return found


async def _identity(client: Any) -> dict[str, Any]:
    """Return what the scheduler reports of itself and all its workers."""
    identity: dict[str, Any] = await client.scheduler.identity(n_workers=-1)
    return identity


def _dashboard_url(address: str, identity: dict[str, Any]) -> str:
    """Return the URL of the dashboard, without the call that ``Client.dashboard_link`` makes."""
    from distributed.utils import format_dashboard_link

    port = identity.get("services", {}).get("dashboard")
    try:
        return str(format_dashboard_link(urlsplit(address).hostname, port)) if port else ""
    except (KeyError, ValueError):
        # The configured template may name an environment variable that is not set.
        return ""


def serve(
    scheduler: SchedulerAddress, processes: int, name: str, on_end: Callable[[], None]
) -> None:
    """Run a worker until a signal arrives; wait for a scheduler that cannot be reached.

    Args:
        scheduler: The scheduler's address.
        processes: Number of slices to process at once.
        name: Name of this worker on the dashboard; empty to let Dask choose one.
        on_end: Called at the end, also after an error.

    Raises:
        ConfigError: Dask is not installed, or the address is not allowed.
    """
    require_dask()
    resolve_address(scheduler)
    try:
        with tempfile.TemporaryDirectory(prefix="portraitd-worker-") as scratch:
            asyncio.run(_serve(scheduler, processes, name, scratch))
    finally:
        on_end()


async def _serve(scheduler: SchedulerAddress, processes: int, name: str, scratch: str) -> None:
    import dask.config
    from distributed import Worker

    # Its web pages serve nothing, and listen on this machine only, where nothing asks for them.
    dask.config.set({"distributed.worker.http.routes": []})
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    stop = asyncio.create_task(stopping.wait())
    is_logged = False
    while not stopping.is_set():
        try:
            address = resolve_address(scheduler)
            worker = await Worker(
                address,
                # By default it would listen on every interface.
                host=await asyncio.to_thread(_find_own_host, address),
                dashboard=False,
                dashboard_address="127.0.0.1:0",
                nthreads=processes,
                name=name or None,
                security=_security(scheduler) or {},
                # Jobs run in processes with their own limits; this one needs little memory.
                memory_limit=0,
                local_directory=scratch,
                death_timeout=CONNECT_S,
            )
        except (OSError, TimeoutError, RuntimeError, ConfigError) as error:
            if not is_logged:
                log.warning("scheduler_unreachable", address=scheduler.address, reason=str(error))
            is_logged = True
            await asyncio.wait([stop], timeout=RETRY_S)
            continue
        is_logged = False
        log.info("worker_ready", scheduler=worker.scheduler.address, processes=processes)
        ended = asyncio.create_task(worker.finished())
        await asyncio.wait([ended, stop], return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            await worker.close(timeout=CONNECT_S)
        else:
            log.warning("scheduler_lost", scheduler=worker.scheduler.address)
            await asyncio.wait([stop], timeout=RETRY_S)
    stop.cancel()


def _find_own_host(address: str) -> str:
    """Return the address of this machine on the interface towards the scheduler.

    Raises:
        OSError: The scheduler's name is unknown, or no interface leads to it.
    """
    parts = urlsplit(address)
    found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)
    family, kind, _, _, target = found[0]
    # Connecting a datagram socket sends nothing: it only chooses the interface.
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def resolve_address(scheduler: SchedulerAddress) -> str:
    """Return the scheduler's address, if it is allowed.

    Raises:
        ConfigError: There is none, or the connection would be neither encrypted, with certificates
            on both sides, nor within this machine.
    """
    address = scheduler.address or _read_address(scheduler)
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname:
        raise ConfigError(f"workers.address = {address!r}: write tcp://HOST:PORT or tls://…")
    if parts.scheme == "tls":
        if not (scheduler.ca and scheduler.cert and scheduler.key):
            raise ConfigError(
                f"{address} needs workers.tls_ca, workers.tls_cert and workers.tls_key"
            )
        for file in (scheduler.ca, scheduler.cert, scheduler.key):
            if not file.is_file():
                raise ConfigError(f"{file}: no such file")
    elif not is_loopback(parts.hostname):
        raise ConfigError(
            f"{address} is not encrypted: anyone on the network could read faces and run "
            "programs. Use tls:// with certificates, see docs/scaling.md"
        )
    return address


def _read_address(scheduler: SchedulerAddress) -> str:
    if scheduler.scheduler_file is None:
        raise ConfigError('workers.kind = "dask" needs workers.address or workers.scheduler_file')
    try:
        return str(json.loads(scheduler.scheduler_file.read_text())["address"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{scheduler.scheduler_file}: no scheduler address found: {error}"
        ) from None


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
