"""Where jobs run: in worker processes of this machine, or inline. One door to pebble.

Both speak the standard library's ``Executor``. What a worker's end means is said here
once: every way to die becomes ``WorkerDied``, and concerns its own job alone.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pebble import ProcessExpired, ProcessPool

from portraitd import confinement, handover
from portraitd.answers import CarefulContext, packed, unpacked
from portraitd.confinement import Confinement
from portraitd.errors import PortraitdError, WorkerDied
from portraitd.model import Slice, Source

T = TypeVar("T")

PR_SET_PDEATHSIG = 1

CPU_MARGIN_S = 5.0
"""The kernel ends a worker that spins this long after the daemon should have ended it."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What a worker may use.

    Attributes:
        nice: Added to the niceness, so that people's own programs come first.
        memory_mb: Address space of one worker; 0 for no limit.
        time_limit_s: A job that takes longer is hung, and its worker ended.
    """

    nice: int
    memory_mb: int
    time_limit_s: float


@dataclass(frozen=True, slots=True)
class Seclusion:
    """How workers are shut off before they see a foreign byte.

    Attributes:
        confinement: What they may open.
        prepare: Loads what they need, with arguments; afterwards they are closed.
    """

    confinement: Confinement
    prepare: tuple[Callable[..., object], tuple[Any, ...]] | None = None


class InlineExecutor(Executor):
    """Runs a job at once, in this process. For tests, and to debug a job."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` and return its answer as a finished future."""
        future: Future[T] = Future()
        try:
            future.set_result(_run(fn, args, kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class LocalExecutor(Executor):
    """A pool of worker processes. A crash, a hang or a kill costs the job it hit, no other.

    Args:
        processes: How many.
        limits: What each may use.
        seclusion: How they are shut off; None leaves them as free as this process.
    """

    def __init__(
        self, processes: int, limits: WorkerLimits, seclusion: Seclusion | None = None
    ) -> None:
        self.processes = processes
        self._limits = limits
        self._desk = handover.Desk() if seclusion else None
        # One thread each: the workers are the parallelism. Read when a library is loaded, so
        # a worker must find it in its environment.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        introduction = self._desk.introduction if self._desk else None
        self._preparation = (limits, os.getpid(), seclusion, introduction)
        self._is_shut = False
        self._pool = self._fresh_pool()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` in a worker; the future raises ``WorkerDied`` if that worker ends.

        A secluded worker can open the files that the arguments name as sources, no others.
        """
        limit_s = self._limits.time_limit_s
        handed_out = ExitStack()
        if self._desk:
            for path in _paths_in(args):
                self._desk.allow(path)
                handed_out.callback(self._desk.withdraw, path)
        if not self._is_shut and not self._pool.active:
            # pebble gives a whole pool up when a worker dies while none has a job.
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = self._fresh_pool()
        inner: Future[bytes] = self._pool.schedule(_run_packed, (fn, args, kwargs), timeout=limit_s)
        outer: Future[T] = Future()
        outer.set_running_or_notify_cancel()

        def pass_on(done: Future[bytes]) -> None:
            handed_out.close()
            _pass_on(done, outer, self._limits)

        inner.add_done_callback(pass_on)
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: after their jobs, or at once with ``cancel_futures``."""
        self._is_shut = True
        if cancel_futures:
            self._pool.stop()  # type: ignore[no-untyped-call]
        else:
            self._pool.close()  # type: ignore[no-untyped-call]
        if wait:
            self._pool.join()
            if self._desk:
                self._desk.close()

    def _fresh_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self.processes,
            initializer=_prepare,
            initargs=self._preparation,
            # spawn: a fork would copy the locks that watchdog's threads happen to hold.
            context=CarefulContext(),
        )


class RoutedExecutor(Executor):
    """Sends every job to workers that are shut off as that job allows.

    Args:
        homes: Where each function runs. One that is not named here runs nowhere.
    """

    def __init__(self, homes: Mapping[Callable[..., Any], Executor]) -> None:
        self._homes = dict(homes)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """As the executor it goes to.

        Raises:
            LookupError: Nobody said where such a job runs.
        """
        if fn not in self._homes:
            raise LookupError(f"{fn.__module__}.{fn.__qualname__} has no workers to run in")
        return self._homes[fn].submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers of all."""
        for executor in dict.fromkeys(self._homes.values()):
            executor.shutdown(wait, cancel_futures=cancel_futures)


class _ReadsFiles(Protocol):
    """A value that names the files a worker needs for it."""

    @property
    def reads(self) -> Iterable[Path]: ...


def _paths_in(args: Iterable[Any]) -> list[Path]:
    """The files that a job is about."""
    found: list[Path] = []
    for arg in args:
        if isinstance(arg, Slice):
            found.append(arg.source.path)
        elif isinstance(arg, Source):
            found.append(arg.path)
        elif hasattr(arg, "reads"):
            reading: _ReadsFiles = arg
            found += reading.reads
        elif type(arg) is list:
            found += _paths_in(arg)
    return found


def _run(fn: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
    """Run a job, and let no error out that could not be unpickled: that would end the pool."""
    try:
        return fn(*args, **kwargs)
    except (PortraitdError, MemoryError):
        raise
    except Exception as error:
        raise WorkerDied(f"unexpected {type(error).__name__}: {error}") from error


def _run_packed(fn: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Run a job in a worker that is closed by now, and pack its answer."""
    _worker.close()
    _limit_cpu(_worker.time_limit_s)
    return packed(_run(fn, args, kwargs))


def _pass_on(inner: Future[bytes], outer: Future[T], limits: WorkerLimits) -> None:
    try:
        outer.set_result(unpacked(inner.result()))
    except TimeoutError:
        outer.set_exception(
            WorkerDied(f"the worker took more than {limits.time_limit_s:.0f} s and was ended")
        )
    except ProcessExpired as expired:
        outer.set_exception(WorkerDied(_cause(int(expired.exitcode or 0))))
    except MemoryError:
        outer.set_exception(WorkerDied("the worker ran out of memory"))
    except BaseException as error:
        outer.set_exception(error)


def _cause(exitcode: int) -> str:
    if exitcode == -signal.SIGXCPU:
        return "the worker computed for longer than its limit and was ended"
    if exitcode < 0:
        return f"the worker was ended by {signal.Signals(-exitcode).name}"
    return f"the worker ended without an answer (exit code {exitcode})"


class _Worker:
    """What this process knows of itself when it is a worker."""

    seclusion: Seclusion | None = None
    time_limit_s = math.inf

    def close(self) -> None:
        """Load what is needed, then shut off the world; fails as the loading does."""
        if self.seclusion is None:
            return
        if self.seclusion.prepare:
            function, arguments = self.seclusion.prepare
            _run(function, arguments, {})
        confinement.close(self.seclusion.confinement)
        self.seclusion = None


_worker = _Worker()


def _prepare(
    limits: WorkerLimits,
    daemon: int,
    seclusion: Seclusion | None,
    introduction: socket.socket | None,
) -> None:
    """Make a fresh process a worker: humble, limited, and gone when the daemon is."""
    # Ctrl-C reaches the whole group; the daemon decides what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != daemon:
        os._exit(1)
    os.nice(limits.nice)
    # A core dump of a worker holds faces.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_mb:
        limit = limits.memory_mb << 20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    _worker.time_limit_s = limits.time_limit_s
    if seclusion:
        assert introduction is not None
        handover.ask(introduction)
        confinement.enter(seclusion.confinement)
        _worker.seclusion = seclusion


def _limit_cpu(seconds: float) -> None:
    """Of the job that begins; kept by the kernel even if the daemon is stopped."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds + CPU_MARGIN_S)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
