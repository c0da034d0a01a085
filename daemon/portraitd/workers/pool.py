"""Executors for jobs: worker processes of this machine, or inline.

All implement the standard library's ``Executor``. However a worker ends, its job raises
``WorkerDied``, and no other job is affected.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple, Protocol, TypeVar

from portraitd.model.errors import PortraitdError, WorkerDied, WorkerNotStarted
from portraitd.model.media_file import Slice, Source
from portraitd.workers.file_broker import FileBroker, JobFile
from portraitd.workers.job_results import schema_of
from portraitd.workers.process import SandboxPolicy, WorkerLimits, WorkerProcess, WorkerSetup, run
from portraitd.workers.result_codec import StaleAnswer, encode_error

T = TypeVar("T")


class InlineExecutor(Executor):
    """Runs a job at once, in this process. For tests, and to debug a job.

    Results pass the same border as those of other processes.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` and return its result as a finished future."""
        future: Future[T] = Future()
        schema = schema_of(fn)
        try:
            try:
                message = schema.encode(0, run(fn, args, kwargs))
            except (PortraitdError, MemoryError) as error:
                message = encode_error(0, error)
            future.set_result(schema.decode(message, 0, args, kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _PoolJob(NamedTuple):
    future: Future[Any]
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class LocalExecutor(Executor):
    """A pool of worker processes. A crash, a hang or a kill fails one job and no other.

    A process is started when a job finds no idle one: loading libraries and models takes a second
    of processor time, which a home with one short clip need not spend twice.

    Args:
        processes: Largest number of workers.
        limits: What each may use.
        policy: Their sandbox; None for the rights of this process.
        reuses: Whether a worker takes further jobs. Otherwise each job has a worker of its own,
            whose sandbox is of the files and folders that exist when the job begins.
    """

    def __init__(
        self,
        processes: int,
        limits: WorkerLimits,
        policy: SandboxPolicy | None = None,
        reuses: bool = True,
    ) -> None:
        self.processes = processes
        self._reuses = reuses
        self._broker = FileBroker() if policy else None
        # One thread each: the workers are the parallelism. Libraries read this when they are
        # loaded, so a worker must find it in its environment.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        registration = self._broker.registration if self._broker else None
        self._setup = WorkerSetup(limits, policy, registration)
        self._jobs = queue.SimpleQueue[_PoolJob | None]()
        self._is_shut = False
        self._threads_lock = threading.Lock()
        # Counts the threads that wait for a job and that no submitted job relies on.
        self._idle = threading.Semaphore(0)
        # Held while all are told to end, and while a process is started.
        self._start_lock = threading.Lock()
        self._must_end = False
        self._workers: dict[int, WorkerProcess] = {}
        self._threads: list[threading.Thread] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` in a worker; the future raises ``WorkerDied`` if that worker ends.

        A sandboxed worker can open the files that the arguments name, no others.

        Raises:
            RuntimeError: The executor was shut down.
            LookupError: ``fn`` does not declare what it returns.
        """
        if self._is_shut:
            raise RuntimeError("the executor was shut down")
        schema_of(fn)
        future: Future[T] = Future()
        if self._broker:
            allowed = ExitStack()
            for file in _files_in(args):
                self._broker.allow(file)
                allowed.callback(self._broker.revoke, file)
            future.add_done_callback(lambda _: allowed.close())
        self._jobs.put(_PoolJob(future, fn, args, kwargs))
        self._start_if_all_are_busy()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: after their jobs, or at once with ``cancel_futures``."""
        self._is_shut = True
        if cancel_futures:
            with self._start_lock:
                self._must_end = True
                for worker in list(self._workers.values()):
                    worker.kill()
            self._cancel_queued()
        for _ in self._threads:
            self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
            if self._broker:
                self._broker.close()

    def _start_if_all_are_busy(self) -> None:
        """Start another worker for a job, if no worker is idle and there may be more of them."""
        if self._idle.acquire(blocking=False):
            return
        with self._threads_lock:
            slot = len(self._threads)
            if slot == self.processes:
                return
            started = threading.Event()
            thread = threading.Thread(
                target=self._serve, args=(slot, started), name=f"worker {slot}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        started.wait()

    def _serve(self, slot: int, started: threading.Event) -> None:
        """Feed jobs to one worker, and replace it when it ends. It ends with this thread."""
        self._try_to_start(slot)
        started.set()
        while (job := self._next_job()) is not None:
            self._run(slot, job)
            # It may hold much memory, and the next job may take long to come.
            del job
            if not self._reuses:
                self._stop_worker(slot)
            elif slot not in self._workers:
                # At once, so that the next job need not wait for it.
                self._try_to_start(slot)
        self._stop_worker(slot)

    def _stop_worker(self, slot: int) -> None:
        if worker := self._workers.pop(slot, None):
            worker.stop()

    def _next_job(self) -> _PoolJob | None:
        """Wait for a job; None when the workers are to end."""
        with suppress(queue.Empty):
            return self._jobs.get_nowait()
        self._idle.release()
        return self._jobs.get()

    def _run(self, slot: int, job: _PoolJob) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            try:
                result = self._run_in_worker(slot, job)
            except StaleAnswer:
                # The fault of the job before. A new worker tells whether it is also of this one.
                result = self._run_in_worker(slot, job)
        except BaseException as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    def _run_in_worker(self, slot: int, job: _PoolJob) -> Any:
        worker = self._idle_worker(slot)
        try:
            return worker.run_job(job.fn, job.args, job.kwargs)
        finally:
            if worker.is_ended:
                del self._workers[slot]

    def _idle_worker(self, slot: int) -> WorkerProcess:
        """Return the worker of a slot, or a new one if it ended while it was idle."""
        worker = self._workers.get(slot)
        if worker and not worker.is_idle:
            self._workers.pop(slot).discard()
            worker = None
        try:
            return worker or self._start(slot)
        except OSError as error:
            raise WorkerNotStarted(f"no worker process could be started: {error}") from error

    def _start(self, slot: int) -> WorkerProcess:
        with self._start_lock:
            if self._must_end:
                raise WorkerDied("the executor was shut down")
            worker = self._workers[slot] = WorkerProcess(self._setup)
        return worker

    def _try_to_start(self, slot: int) -> None:
        # The next job tries again, and reports the error, whatever it is.
        with suppress(Exception):
            self._start(slot)

    def _cancel_queued(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job and job.future.cancel():
                job.future.set_running_or_notify_cancel()


class RoutedExecutor(Executor):
    """Sends each job to the pool whose sandbox fits it.

    Args:
        routes: The executor of each function; other functions are refused.
    """

    def __init__(self, routes: Mapping[Callable[..., Any], Executor]) -> None:
        self._routes = dict(routes)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Submit the job to the executor of ``fn``.

        Raises:
            LookupError: ``fn`` has no executor.
        """
        if fn not in self._routes:
            raise LookupError(f"{fn.__module__}.{fn.__qualname__} has no workers to run in")
        return self._routes[fn].submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down all executors."""
        for executor in dict.fromkeys(self._routes.values()):
            executor.shutdown(wait, cancel_futures=cancel_futures)


class _NamesFiles(Protocol):
    """An argument that names the files a worker must open for it."""

    @property
    def files(self) -> Iterable[JobFile]: ...


def _files_in(args: Iterable[Any]) -> list[JobFile]:
    """Return the files that the arguments of a job name."""
    found: list[JobFile] = []
    for arg in args:
        if isinstance(arg, Slice):
            found.append(JobFile.of(arg.source))
        elif isinstance(arg, Source):
            found.append(JobFile.of(arg))
        elif hasattr(arg, "files"):
            naming: _NamesFiles = arg
            found += naming.files
        elif type(arg) is list:
            found += _files_in(arg)
    return found
