"""The one door to Dask: a connection to its scheduler, and a worker of ours.

Dask finds the workers, carries what is said, and encrypts it. Which job goes to which worker,
and what a missing answer means, is decided by ``dask_executor``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import signal
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from portraitd.config import SchedulerAddress
from portraitd.model.errors import ConfigError, PortraitdError, WorkersUnavailable
from portraitd.service.remote.registry import Heartbeat, Roster

if TYPE_CHECKING:
    from distributed import Client, Security
    from distributed.client import Future as DaskFuture

log = structlog.get_logger(stage="remote_workers")

CONNECT_S = 5.0
AGAIN_S = 3.0
CALL_S = 120.0
"""So long may a piece of a file be on its way; a line that needs longer is no line."""

GATHERERS = 8
"""So many answers are fetched at once: one from a slow line must not hold up the others."""


def require_dask() -> None:
    """
    Raises:
        ConfigError: Dask is not installed.
    """
    try:
        import distributed
    except ImportError:
        raise ConfigError(
            'workers.kind = "dask" needs the extra: install portraitd[dask]'
        ) from None
    # It speaks of every lost connection at length; what it means is logged here, once.
    for name in (distributed.__name__, "distributed.client", "distributed.worker"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _security(place: SchedulerAddress) -> Security | None:
    """Dask's own settings for TLS; None where it is not used."""
    if not (place.ca and place.cert and place.key):
        return None
    from distributed import Security

    files = (str(place.ca), str(place.cert), str(place.key))
    return Security(
        tls_ca_file=files[0],
        tls_client_cert=files[1],
        tls_client_key=files[2],
        tls_worker_cert=files[1],
        tls_worker_key=files[2],
        require_encryption=True,
    )


class Cluster:
    """A connection to a scheduler that is made again whenever it is lost.

    Args:
        place: Where the scheduler is.

    Raises:
        ConfigError: Dask is not installed, or the place may not be used.
    """

    def __init__(self, place: SchedulerAddress) -> None:
        require_dask()
        self.address = resolve_address(place)
        self._place = place
        self._security = _security(place)
        # Jobs are begun in one thread while another finds the connection broken.
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._out: dict[int, tuple[DaskFuture[Any], Future[Any]]] = {}
        self._questions: set[Future[Any]] = set()
        self._numbers = iter(range(1 << 62))
        self._session = 0
        self._mark: tuple[Any, Any] = (None, None)
        self._gatherers = ThreadPoolExecutor(GATHERERS, "portraitd gathers")

    @property
    def dashboard(self) -> str:
        """The scheduler's page for people; empty if there is none."""
        client = self._client
        try:
            return str(client.dashboard_link) if client else ""
        except (KeyError, AttributeError, ValueError):
            return ""

    def workers(self) -> Roster | None:
        """Who the scheduler knows; None if it is away.

        Connects where there is no connection. Dask makes a connection again by itself, and lets
        go of every job when it does; a new session tells of that, and of another scheduler.
        """
        try:
            client = self._connected()
            identity = client.sync(_identity, client, callback_timeout=2 * CONNECT_S)
        except Exception:
            # Whatever it is, the scheduler cannot be asked; the next look tries again.
            self._disconnect()
            return None
        mark = identity["id"], client.scheduler_comm
        if mark[0] != self._mark[0] or mark[1] is not self._mark[1]:
            self._session += 1
            self._mark = mark
        return Roster(
            self._session,
            {
                # Each worker that begins makes a folder of its own.
                address: Heartbeat(int(facts["nthreads"]), str(facts["local_directory"]))
                for address, facts in identity["workers"].items()
            },
        )

    def ask(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run a coroutine in a worker beside its jobs, however many it has.

        Returns:
            Raises ``WorkersUnavailable`` if the connection or the worker is lost; what the coroutine
            raises, if it fails.
        """
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        with self._lock:
            client = self._client
            if client is not None:
                self._questions.add(outer)
        if client is None:
            outer.set_exception(WorkersUnavailable("the scheduler is away"))
            return outer

        async def wait_for_it() -> None:
            answer: Any = None
            error: Exception | None = None
            try:
                answer = (await client._run(fn, *args, workers=[address]))[address]
            except (OSError, TimeoutError, KeyError, asyncio.CancelledError) as raised:
                error = WorkersUnavailable(f"{address} cannot be reached: {raised}")
            except Exception as raised:
                error = raised
            with self._lock:
                wanted = outer in self._questions
                self._questions.discard(outer)
            if wanted and error is None:
                outer.set_result(answer)
            elif wanted:
                outer.set_exception(error)

        loop = client.loop
        assert loop is not None
        loop.add_callback(wait_for_it)
        return outer

    def start(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run a function in a thread of one worker.

        Returns:
            Raises ``WorkersUnavailable`` if the connection is lost; whatever Dask says, if it fails.
        """
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        error: Exception | None = None
        # What is begun while the connection ends is known to whoever ends it, or never begun.
        with self._lock:
            client = self._client
            if client is None:
                error = WorkersUnavailable("the scheduler is away")
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
                    broken = client.status != "running"
                    error = WorkersUnavailable(str(raised)) if broken else raised
                else:
                    number = next(self._numbers)
                    # Dask forgets what nobody refers to.
                    self._out[number] = inner, outer
        if error is not None:
            outer.set_exception(error)
        else:
            inner.add_done_callback(lambda done: self._gather(number, done))
        return outer

    def call(self, address: str, fn: Callable[..., Any], *args: Any) -> Any:
        """Run a short function in a worker beside its jobs, and wait for it.

        Raises:
            WorkersUnavailable: The connection, or the worker, was lost, or the worker is silent.
        """
        client = self._client
        if client is None:
            raise WorkersUnavailable("the scheduler is away")
        try:
            said = client.sync(client._run, fn, *args, workers=[address], callback_timeout=CALL_S)
            return said[address]
        except PortraitdError:
            raise
        except (OSError, TimeoutError, KeyError, asyncio.CancelledError) as error:
            raise WorkersUnavailable(f"{address} cannot be reached: {error}") from error
        except Exception as error:
            if client.status == "running":
                raise
            raise WorkersUnavailable(f"{address} cannot be reached: {error}") from error

    def forget(self, outer: Future[Any]) -> None:
        """Let go of a job; its answer is not wanted any more."""
        with self._lock:
            found = next((key for key, (_, one) in self._out.items() if one is outer), None)
            inner = None if found is None else self._out.pop(found)[0]
        if inner is not None:
            with suppress(Exception):
                inner.cancel()

    def close(self) -> None:
        """Let go of everything."""
        self._disconnect()
        self._gatherers.shutdown(wait=False, cancel_futures=True)

    def _connected(self) -> Client:
        client = self._client
        if client is not None and client.status == "running":
            return client
        from distributed import Client

        self._disconnect()
        client = Client(
            self._address_now(),
            timeout=CONNECT_S,
            security=self._security,
            set_as_default=False,
        )
        with self._lock:
            self._client = client
        return client

    def _address_now(self) -> str:
        """A scheduler that is begun again may have written another address into its file."""
        with suppress(ConfigError):
            self.address = resolve_address(self._place)
        return self.address

    def _disconnect(self) -> None:
        with self._lock:
            client, self._client = self._client, None
            out, self._out = self._out, {}
            questions, self._questions = self._questions, set()
        if client is not None:
            with suppress(Exception):
                client.close(timeout=1.0)
        for outer in [*questions, *(outer for _, outer in out.values())]:
            outer.set_exception(WorkersUnavailable("the connection to the scheduler was lost"))

    def _gather(self, number: int, done: DaskFuture[Any]) -> None:
        """Called in the one thread that Dask has for this: it must not wait for an answer."""
        # None are fetched any more when everything was let go of.
        with suppress(RuntimeError):
            self._gatherers.submit(self._pass_on, number, done)

    def _pass_on(self, number: int, done: DaskFuture[Any]) -> None:
        with self._lock:
            waiting = self._out.pop(number, None)
        if waiting is None:
            return
        outer = waiting[1]
        try:
            outer.set_result(done.result(timeout=10 * CONNECT_S))
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            outer.set_exception(WorkersUnavailable(str(error)))
        except BaseException as error:
            cancelled = "Cancelled" in type(error).__name__ or "Killed" in type(error).__name__
            outer.set_exception(WorkersUnavailable(str(error)) if cancelled else error)


async def _identity(client: Any) -> dict[str, Any]:
    """What the scheduler says of itself and of all its workers."""
    said: dict[str, Any] = await client.scheduler.identity(n_workers=-1)
    return said


def serve(place: SchedulerAddress, processes: int, name: str, on_end: Callable[[], None]) -> None:
    """Be a worker until a signal comes; a scheduler that goes away is waited for.

    Args:
        place: Where the scheduler is.
        processes: How many slices to work on at once.
        name: What the dashboard calls this worker; empty for one that Dask makes up.
        on_end: Called at the end, however it comes.

    Raises:
        ConfigError: Dask is not installed, or the place may not be used.
    """
    require_dask()
    resolve_address(place)
    try:
        with tempfile.TemporaryDirectory(prefix="portraitd-worker-") as scratch:
            asyncio.run(_serve(place, processes, name, scratch))
    finally:
        on_end()


async def _serve(place: SchedulerAddress, processes: int, name: str, scratch: str) -> None:
    from distributed import Worker

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    stop = asyncio.create_task(stopping.wait())
    away = False
    while not stopping.is_set():
        try:
            worker = await Worker(
                resolve_address(place),
                nthreads=processes,
                name=name or None,
                security=_security(place) or {},
                # Jobs run in processes with a limit of their own; this one holds next to nothing.
                memory_limit=0,
                local_directory=scratch,
                death_timeout=CONNECT_S,
            )
        except (OSError, TimeoutError, RuntimeError, ConfigError) as error:
            if not away:
                log.warning("scheduler_away", address=place.address, reason=str(error))
            away = True
            await asyncio.wait([stop], timeout=AGAIN_S)
            continue
        away = False
        log.info("worker_ready", scheduler=worker.scheduler.address, processes=processes)
        ended = asyncio.create_task(worker.finished())
        await asyncio.wait([ended, stop], return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            await worker.close(timeout=CONNECT_S)
        else:
            log.warning("scheduler_lost", scheduler=worker.scheduler.address)
            await asyncio.wait([stop], timeout=AGAIN_S)
    stop.cancel()


def resolve_address(place: SchedulerAddress) -> str:
    """The scheduler's address, if it may be used.

    Raises:
        ConfigError: There is none, or it would be spoken to in the clear.
    """
    address = place.address or _from_file(place)
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname:
        raise ConfigError(f"workers.address = {address!r}: write tcp://HOST:PORT or tls://…")
    if parts.scheme == "tls":
        if not (place.ca and place.cert and place.key):
            raise ConfigError(
                f"{address} needs workers.tls_ca, workers.tls_cert and workers.tls_key"
            )
        for file in (place.ca, place.cert, place.key):
            if not file.is_file():
                raise ConfigError(f"{file}: there is no such file")
    elif not place.insecure and not is_loopback(parts.hostname):
        raise ConfigError(
            f"{address} is not encrypted: anybody on the way could read faces and run "
            "programs. Use tls://, or set workers.insecure_address = true on a network that "
            "is yours alone"
        )
    return address


def _from_file(place: SchedulerAddress) -> str:
    if place.scheduler_file is None:
        raise ConfigError('workers.kind = "dask" needs workers.address or workers.scheduler_file')
    try:
        return str(json.loads(place.scheduler_file.read_text())["address"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{place.scheduler_file}: no scheduler's address: {error}") from None


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
