"""Where jobs run: in worker processes of this machine, or inline. One door to pebble.

Both speak the standard library's ``Executor``. What a worker's end means is said here
once: every way to die becomes ``WorkerDied``, and concerns its own job alone.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from portraitd.errors import PortraitdError, WorkerDied

T = TypeVar("T")

PR_SET_PDEATHSIG = 1


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
    """A pool of worker processes. A crash, a hang or a kill costs the job it hit, no other."""

    def __init__(self, processes: int, limits: WorkerLimits) -> None:
        self.processes = processes
        self._limits = limits
        # One thread each: the workers are the parallelism. Read when a library is loaded, so
        # a worker must find it in its environment.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        # spawn: a fork would copy the locks that watchdog's threads happen to hold.
        self._pool = ProcessPool(
            max_workers=processes,
            initializer=_prepare,
            initargs=(limits, os.getpid()),
            context=multiprocessing.get_context("spawn"),
        )

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` in a worker; the future raises ``WorkerDied`` if that worker ends."""
        limit_s = self._limits.time_limit_s
        inner: Future[T] = self._pool.schedule(_run, (fn, args, kwargs), timeout=limit_s)
        outer: Future[T] = Future()
        outer.set_running_or_notify_cancel()
        inner.add_done_callback(lambda done: _pass_on(done, outer, self._limits))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: after their jobs, or at once with ``cancel_futures``."""
        if cancel_futures:
            self._pool.stop()  # type: ignore[no-untyped-call]
        else:
            self._pool.close()  # type: ignore[no-untyped-call]
        if wait:
            self._pool.join()


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


def _run(fn: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
    """Run a job, and let no error out that could not be unpickled: that would end the pool."""
    try:
        return fn(*args, **kwargs)
    except (PortraitdError, MemoryError):
        raise
    except Exception as error:
        raise WorkerDied(f"unexpected {type(error).__name__}: {error}") from error


def _pass_on(inner: Future[T], outer: Future[T], limits: WorkerLimits) -> None:
    try:
        outer.set_result(inner.result())
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
    if exitcode < 0:
        return f"the worker was ended by {signal.Signals(-exitcode).name}"
    return f"the worker ended without an answer (exit code {exitcode})"


def _prepare(limits: WorkerLimits, daemon: int) -> None:
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
