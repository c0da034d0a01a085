"""Where jobs run: in worker processes of this machine, or inline.

Both speak the standard library's ``Executor``. Every way in which a worker ends becomes
``WorkerDied``, and concerns its own job alone.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from portraitd.model.errors import WorkerDied
from portraitd.model.media_file import Slice, Source
from portraitd.workers import file_broker
from portraitd.workers.process import Preparation, SandboxPolicy, WorkerLimits, WorkerProcess, run

T = TypeVar("T")


class InlineExecutor(Executor):
    """Runs a job at once, in this process. For tests, and to debug a job."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` and return its answer as a finished future."""
        future: Future[T] = Future()
        try:
            future.set_result(run(fn, args, kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _Job(NamedTuple):
    future: Future[Any]
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class LocalExecutor(Executor):
    """A pool of worker processes. A crash, a hang or a kill costs the job it hit, no other.

    Args:
        processes: How many.
        limits: What each may use.
        seclusion: How they are shut off; None leaves them as free as this process.
    """

    def __init__(
        self, processes: int, limits: WorkerLimits, policy: SandboxPolicy | None = None
    ) -> None:
        self.processes = processes
        self._desk = file_broker.FileBroker() if policy else None
        # One thread each: the workers are the parallelism. Read when a library is loaded, so
        # a worker must find it in its environment.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        introduction = self._desk.introduction if self._desk else None
        self._preparation = Preparation(limits, policy, introduction)
        self._jobs = queue.SimpleQueue[_Job | None]()
        self._is_shut = False
        self._beginning = threading.Lock()
        # Held while it is said that all must end, and while a process is begun.
        self._ending = threading.Lock()
        self._must_end = False
        self._workers: dict[int, WorkerProcess] = {}
        self._threads: list[threading.Thread] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` in a worker; the future raises ``WorkerDied`` if that worker ends.

        A secluded worker can open the files that the arguments name as sources, no others.

        Raises:
            RuntimeError: The workers were ended.
        """
        if self._is_shut:
            raise RuntimeError("the workers were ended")
        self._begin_all()
        future: Future[T] = Future()
        if self._desk:
            handed_out = ExitStack()
            for path in _paths_in(args):
                self._desk.allow(path)
                handed_out.callback(self._desk.withdraw, path)
            future.add_done_callback(lambda _: handed_out.close())
        self._jobs.put(_Job(future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: after their jobs, or at once with ``cancel_futures``."""
        self._is_shut = True
        if cancel_futures:
            with self._ending:
                self._must_end = True
                for worker in list(self._workers.values()):
                    worker.kill()
            self._cancel_waiting()
        for _ in self._threads:
            self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
            if self._desk:
                self._desk.close()

    def _begin_all(self) -> None:
        """Begin the workers with the first job: many a home never has one for some of them."""
        with self._beginning:
            if self._threads:
                return
            begun = [threading.Event() for _ in range(self.processes)]
            for seat, event in enumerate(begun):
                name = f"worker {seat}"
                thread = threading.Thread(
                    target=self._serve, args=(seat, event), name=name, daemon=True
                )
                self._threads.append(thread)
                thread.start()
        for event in begun:
            event.wait()

    def _serve(self, seat: int, begun: threading.Event) -> None:
        """Give jobs to one worker, and another one when it ended. A worker ends with its thread."""
        self._try_to_begin(seat)
        begun.set()
        while (job := self._jobs.get()) is not None:
            self._do(seat, job)
            # It may hold much, and the next may be long in coming.
            del job
            if seat not in self._workers:
                # At once, so that the next job need not wait for it.
                self._try_to_begin(seat)
        if worker := self._workers.pop(seat, None):
            worker.leave()

    def _do(self, seat: int, job: _Job) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            worker = self._worker(seat)
            try:
                answer = worker.do(job.fn, job.args, job.kwargs)
            finally:
                if worker.is_ended:
                    del self._workers[seat]
        except BaseException as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(answer)

    def _worker(self, seat: int) -> WorkerProcess:
        """The worker of a seat, another one if it ended while it had nothing to do."""
        worker = self._workers.get(seat)
        if worker and not worker.is_waiting:
            self._workers.pop(seat).discard()
            worker = None
        try:
            return worker or self._begin(seat)
        except OSError as error:
            raise WorkerDied(f"no worker could be begun: {error}") from error

    def _begin(self, seat: int) -> WorkerProcess:
        with self._ending:
            if self._must_end:
                raise WorkerDied("the workers were ended")
            worker = self._workers[seat] = WorkerProcess(self._preparation)
        return worker

    def _try_to_begin(self, seat: int) -> None:
        # The job that needs it tries again, and says why it fails.
        with suppress(OSError, WorkerDied):
            self._begin(seat)

    def _cancel_waiting(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job and job.future.cancel():
                job.future.set_running_or_notify_cancel()


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
