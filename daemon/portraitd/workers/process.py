"""One worker process with a pipe of its own, so that its end affects its own job only.

Workers that share a pipe share its locks too. A worker that is killed while it takes a job from a
shared pipe, or writes a result to it, keeps the lock or the job, and the pool waits forever.
"""

from __future__ import annotations

import atexit
import math
import multiprocessing
import os
import resource
import secrets
import signal
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker, spawn
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple, TypeVar

from portraitd.model.errors import (
    ConfigError,
    ModelError,
    PortraitdError,
    WorkerDied,
    WorkerNotStarted,
)
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.workers import file_broker, sandbox
from portraitd.workers.job_results import schema_of
from portraitd.workers.libc import prctl
from portraitd.workers.result_codec import encode_error
from portraitd.workers.sandbox import FileAccess

T = TypeVar("T")

PR_SET_PDEATHSIG = 1

CPU_MARGIN_S = 5.0
"""The kernel kills a worker that spins this long after the daemon should have killed it."""

START_S = 120.0
"""Timeout for the start of a process, until it can take a job."""

_NOT_EXECUTED = 255
"""Exit code of a new process that could not execute the interpreter."""

END_S = 10.0
"""Timeout for the end of a killed process; one in a system call on a dead share remains."""

_READY = b"ready"

_NUMBER_BYTES = 8

_LEFT_TO_THE_SERVICE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that reach the whole process group, or all processes of a unit: the service decides what
happens to the jobs. A worker ends with the service, whatever happens to that."""

# spawn: a fork would copy the locks that other threads happen to hold.
_SPAWN = multiprocessing.get_context("spawn")

# multiprocessing polls every child whenever one is started: not from two threads at once.
_CHILDREN_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What a worker may use.

    Attributes:
        nice: Added to the niceness, so that people's own programs come first.
        memory_mb: Address space of one worker; 0 for no limit.
        time_limit_s: A job that takes longer counts as hung, and its worker is killed.
    """

    nice: int
    memory_mb: int
    time_limit_s: float


@dataclass(frozen=True, slots=True)
class SandboxPolicy:
    """How workers are restricted before they read an untrusted byte.

    Attributes:
        access: What they may open.
        prepare: A function, and its arguments, that loads what they need before they are sealed.
    """

    access: FileAccess
    prepare: tuple[Callable[..., object], tuple[Any, ...]] | None = None


class WorkerSetup(NamedTuple):
    """What a new process needs to become a worker.

    Attributes:
        limits: What it may use.
        policy: Its sandbox; None for the rights of this process.
        registration: Where it registers with the file broker, if it is sandboxed.
    """

    limits: WorkerLimits
    policy: SandboxPolicy | None = None
    registration: socket.socket | None = None


class WorkerProcess:
    """A process that runs one job at a time. Only ``kill`` may be called from other threads.

    It ends with the thread that created it.

    Args:
        setup: What it needs to become a worker.

    Raises:
        OSError: The system cannot start another process.
        WorkerNotStarted: This program is ending.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._limits = setup.limits
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(theirs, os.getpid(), setup), name="worker", daemon=True
        )
        self._is_ready = False
        self.is_ended = False
        try:
            with _CHILDREN_LOCK, _signals_blocked():
                if _program.is_ending:
                    raise WorkerNotStarted("the program is ending")
                self._process.start()
                _program.workers.add(self)
                self._exit = _watch_exit(self._process)
        except BaseException:
            self._pipe.close()
            raise
        finally:
            # With a copy open here, the end of the process would not be visible on the pipe.
            theirs.close()

    @property
    def is_idle(self) -> bool:
        """Whether it can take a job: it is alive, and has sent nothing unexpected."""
        if self.is_ended or wait([self._exit, self._process.sentinel], 0):
            return False
        # Until the first job, "ready" may be in the pipe; it is read with that job.
        return not (self._is_ready and self._pipe.poll())

    def run_job(self, fn: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
        """Run a job in the process and return its result.

        Raises:
            StaleAnswer: It answered another job, so it may have been taken over by that one.
            WorkerNotStarted: The process ended before it could take the job.
            WorkerDied: The process ended, in whatever way, or its result is not valid.
            ConfigError: It cannot load its models; it was ended.
            PortraitdError: What the job raised.
            Exception: The job cannot be pickled, or does not declare what it returns.
        """
        schema = schema_of(fn)
        if not self._is_ready:
            too_long = f"the worker took longer than {START_S:.0f} s to start and was killed"
            try:
                self._receive(len(_READY), START_S, too_long)
            except WorkerDied as error:
                raise WorkerNotStarted(_reason_not_started(self._process, error)) from error
            self._is_ready = True
        # Not the next number: a worker must not know it before it has the job.
        number = secrets.randbits(62)
        job = number.to_bytes(_NUMBER_BYTES, "little") + bytes(
            ForkingPickler.dumps((fn, args, kwargs))
        )
        limit_s = self._limits.time_limit_s
        too_long = Reason.of(ReasonCode.TIMEOUT, limit_s=limit_s).text
        answer = self._receive(schema.max_bytes, limit_s, too_long, job)
        try:
            return schema.decode(answer, number, args, kwargs)
        except WorkerDied as error:
            if error.reason.code is ReasonCode.INVALID_RESULT:
                # It may have been taken over.
                self._end()
            raise
        except ConfigError:
            # Says that it cannot load its models. The next one finds out whether that is true.
            self._end()
            raise

    def stop(self) -> None:
        """Let the process end by itself, and wait for that."""
        if not self.is_ended:
            self._pipe.close()
            self._end(wait_s=END_S)

    def discard(self) -> None:
        """Make sure that the process, which has no job, has ended."""
        if not self.is_ended:
            self._end()

    def kill(self) -> None:
        """Kill the process; ``run_job`` then raises ``WorkerDied`` in its thread."""
        with suppress(ValueError, OSError):
            self._process.kill()

    def _receive(
        self, max_bytes: int, limit_s: float, timeout_text: str, job: bytes = b""
    ) -> bytes:
        """Send a job, if there is one, and return the next message."""
        is_hung = threading.Event()

        def give_up() -> None:
            is_hung.set()
            self.kill()

        # A timeout of `wait` is not enough: the process could stop in the middle of reading a
        # job or of writing a result.
        timer = threading.Timer(limit_s, give_up)
        timer.daemon = True
        timer.start()
        broken: Reason | None = None
        try:
            if job:
                self._pipe.send_bytes(job)
            wait([self._pipe, self._process.sentinel])
            if self._pipe.poll():
                return self._pipe.recv_bytes(max_bytes)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass
        except OSError as error:
            broken = Reason.of(ReasonCode.INVALID_RESULT, error=error)
        finally:
            timer.cancel()
            if is_hung.is_set():
                self._end()
        exit_code = self._end(wait_s=0.0 if broken else END_S)
        if is_hung.is_set():
            raise WorkerDied(Reason(ReasonCode.TIMEOUT, timeout_text))
        raise WorkerDied(broken or _reason_of_exit(exit_code))

    def _end(self, wait_s: float = 0.0) -> int | None:
        """Wait for the end, then kill. Returns the exit code, None if the process remains."""
        self.is_ended = True
        # Where it closed the pipe it is about to end, with an exit code that tells why.
        if not self._has_ended(wait_s):
            self.kill()
        self._pipe.close()
        if not self._has_ended(END_S):
            return None
        with _CHILDREN_LOCK:
            self._process.join()
            return self._process.exitcode

    def _has_ended(self, wait_s: float) -> bool:
        """Wait for the end of the process, and of the one that it waits for, see ``namespaces``."""
        # Not only the sentinel: a worker that was taken over can close it and live on.
        return bool(wait([self._exit], wait_s) and wait([self._process.sentinel], wait_s))


class _ThisProgram:
    """The workers of this process; guarded by ``_CHILDREN_LOCK``."""

    def __init__(self) -> None:
        self.workers = weakref.WeakSet[WorkerProcess]()
        self.is_ending = False


_program = _ThisProgram()


@atexit.register
def _kill_workers() -> None:
    """Kill the workers of a program that ends without shutting down its executors.

    At its end multiprocessing asks its children to end and waits for them, but workers ignore that.
    The threads of an executor, which run on, may not replace those that are killed here.
    """
    with _CHILDREN_LOCK:
        _program.is_ending = True
        for worker in list(_program.workers):
            worker.kill()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block, in this thread, what a new process shall ignore: it inherits that."""
    # Started first: it unblocks them.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_THE_SERVICE)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _watch_exit(process: BaseProcess) -> int:
    """Return a descriptor that is readable once a process has ended; closed with its object."""
    assert process.pid is not None
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        # Linux before 5.3, or a container that forbids the call.
        return process.sentinel
    closing = weakref.finalize(process, os.close, descriptor)
    # Threads may still wait for it then.
    closing.atexit = False
    return descriptor


def run(fn: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
    """Run a job; turn errors that the other side could not unpickle into ``WorkerDied``."""
    try:
        return fn(*args, **kwargs)
    except (PortraitdError, MemoryError):
        raise
    except Exception as error:
        raise WorkerDied(
            Reason.of(ReasonCode.UNEXPECTED_ERROR, kind=type(error).__name__, error=error)
        ) from error


def _reason_not_started(process: BaseProcess, error: WorkerDied) -> Reason:
    """Return why a process ended before it could take a job."""
    if process.exitcode != _NOT_EXECUTED:
        return error.reason
    program = os.fsdecode(spawn.get_executable() or "")
    return Reason.of(ReasonCode.WORKER_NOT_STARTED, program=program, user=os.geteuid())


def _reason_of_exit(exit_code: int | None) -> Reason:
    if exit_code is None:
        return Reason(
            ReasonCode.WORKER_DIED, "the worker cannot be killed: it is stuck in a system call"
        )
    if exit_code == -signal.SIGXCPU:
        return Reason.of(ReasonCode.CPU_LIMIT)
    if exit_code < 0:
        return Reason.of(ReasonCode.WORKER_KILLED, signal=signal.Signals(-exit_code).name)
    return Reason.of(ReasonCode.WORKER_EXITED, exit_code=exit_code)


# --- In the process itself.


class _JobRunner:
    """What runs in the worker process: seals the sandbox with the first job, then runs jobs."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._policy = setup.policy
        self._time_limit_s = setup.limits.time_limit_s

    def answer(self, job: bytes) -> bytes:
        """Run a numbered, pickled job; return the message with its value or error."""
        number = int.from_bytes(job[:_NUMBER_BYTES], "little")
        try:
            self._seal()
            _limit_cpu(self._time_limit_s)
            return run(_run_pickled, (number, memoryview(job)[_NUMBER_BYTES:]), {})
        except (PortraitdError, MemoryError) as error:
            return encode_error(number, error)

    def _seal(self) -> None:
        """Load what is needed, then seal the sandbox. Raises what the loading raises."""
        if self._policy is None:
            return
        if self._policy.prepare:
            function, arguments = self._policy.prepare
            try:
                run(function, arguments, {})
            except WorkerDied as error:
                # Nothing foreign was read yet: it is not the fault of a file.
                raise ModelError(str(error)) from error
        sandbox.seal(self._policy.access)
        self._policy = None


def _serve(pipe: Connection, daemon_pid: int, setup: WorkerSetup) -> None:
    """Run jobs until the pipe is closed."""
    _set_up(daemon_pid, setup)
    runner = _JobRunner(setup)
    pipe.send_bytes(_READY)
    try:
        while True:
            pipe.send_bytes(runner.answer(pipe.recv_bytes()))
    except (EOFError, OSError):
        # Without cleaning up: the sandbox may not even allow the attempt.
        os._exit(0)


def _run_pickled(number: int, job: memoryview) -> bytes:
    # From the daemon, which the worker trusts.
    fn, args, kwargs = ForkingPickler.loads(job)
    return schema_of(fn).encode(number, fn(*args, **kwargs))


def _set_up(daemon_pid: int, setup: WorkerSetup) -> None:
    """Make a new process a worker: nice, limited, sandboxed, and killed when the daemon ends."""
    limits, policy, registration = setup
    for number in _LEFT_TO_THE_SERVICE:
        signal.signal(number, signal.SIG_IGN)
    # They were blocked until here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT_TO_THE_SERVICE)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != daemon_pid:
        os._exit(1)
    os.nice(limits.nice)
    # A core dump of a worker contains faces.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_mb:
        limit = limits.memory_mb << 20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if policy:
        assert registration is not None
        file_broker.connect(registration)
        sandbox.enter(policy.access)


def _limit_cpu(seconds: float) -> None:
    """Limit the CPU time of the next job; the kernel enforces it even if the daemon is stopped."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds + CPU_MARGIN_S)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
