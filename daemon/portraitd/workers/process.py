"""One worker process on a line of its own: whatever becomes of it, no other worker notices.

Workers that share a pipe share its locks too. One that is killed while it takes a job from there,
or gives an answer, keeps the lock or the job, and the pool waits for ever. Here each has its own
pipe and shares nothing, so that its end is always seen, and costs its own job alone.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple, TypeVar

from portraitd.model.errors import PortraitdError, WorkerDied
from portraitd.workers import file_broker, sandbox
from portraitd.workers.result_decoding import packed, unpacked
from portraitd.workers.sandbox import Confinement

T = TypeVar("T")

PR_SET_PDEATHSIG = 1

CPU_MARGIN_S = 5.0
"""The kernel ends a worker that spins this long after the daemon should have ended it."""

BEGIN_S = 120.0
"""So long may a fresh process take until it can have a job."""

END_S = 10.0
"""So long is waited for a process that was killed; one in a system call of a dead share stays."""

LARGEST_ANSWER_BYTES = 1 << 30

# spawn: a fork would copy the locks that other threads happen to hold.
_SPAWN = multiprocessing.get_context("spawn")

# multiprocessing asks after every child whenever one is begun: not from two threads at once.
_FAMILY = threading.Lock()


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
class SandboxPolicy:
    """How workers are shut off before they see a foreign byte.

    Attributes:
        confinement: What they may open.
        prepare: Loads what they need, with arguments; afterwards they are closed.
    """

    confinement: Confinement
    prepare: tuple[Callable[..., object], tuple[Any, ...]] | None = None


class Preparation(NamedTuple):
    """What makes a fresh process a worker.

    Attributes:
        limits: What it may use.
        seclusion: How it is shut off; None leaves it as free as this process.
        introduction: Where it asks for files, if it is shut off.
    """

    limits: WorkerLimits
    policy: SandboxPolicy | None = None
    introduction: socket.socket | None = None


class WorkerProcess:
    """A process that does one job after the other. Used by one thread, but for ``kill``.

    It ends when the thread ends that made it.

    Args:
        preparation: What makes it a worker.

    Raises:
        OSError: The machine has no process to give.
    """

    def __init__(self, preparation: Preparation) -> None:
        self._limits = preparation.limits
        self._line, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(theirs, os.getpid(), preparation), name="worker", daemon=True
        )
        self._is_ready = False
        self.is_ended = False
        try:
            with _FAMILY:
                self._process.start()
        except BaseException:
            self._line.close()
            raise
        finally:
            # Only so is its end heard on the line.
            theirs.close()

    @property
    def is_waiting(self) -> bool:
        """Whether it can have a job: it lives, and has said nothing that it was not asked."""
        if self.is_ended or wait([self._process.sentinel], 0):
            return False
        # Before, its word that it is ready may be there, which is heard with the first job.
        return not (self._is_ready and self._line.poll())

    def do(self, fn: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
        """Have a job done.

        Raises:
            WorkerDied: The process ended over it, in whatever way, or its answer is not believed.
            Exception: As the job raised it, or it cannot be sent.
        """
        if not self._is_ready:
            self._hear(BEGIN_S, "the worker took more than {:.0f} s to begin and was ended")
            self._is_ready = True
        job = bytes(ForkingPickler.dumps((fn, args, kwargs)))
        hung = "the worker took more than {:.0f} s and was ended"
        outcome = unpacked(self._hear(self._limits.time_limit_s, hung, job))
        if not isinstance(outcome, JobOutcome):
            raise WorkerDied("the worker's answer is not believed: it is no outcome of a job")
        if isinstance(outcome.error, MemoryError):
            raise WorkerDied("the worker ran out of memory")
        if outcome.error is not None:
            raise outcome.error
        return outcome.value  # type: ignore[no-any-return]

    def leave(self) -> None:
        """Let it end by itself, and wait for that."""
        if not self.is_ended:
            self._line.close()
            wait([self._process.sentinel], END_S)
            self._end()

    def discard(self) -> None:
        """See that it is ended; it has no job."""
        if not self.is_ended:
            self._end()

    def kill(self) -> None:
        """End it at once, whatever it does; whoever waits for its answer hears of it."""
        with suppress(ValueError, OSError):
            self._process.kill()

    def _hear(self, limit_s: float, hung: str, job: bytes = b"") -> bytes:
        """Its next message, after it was sent a job."""
        is_hung = threading.Event()

        def give_up() -> None:
            is_hung.set()
            self.kill()

        # Not by waiting only so long: it could begin an answer, or to read a job, and stop then.
        clock = threading.Timer(limit_s, give_up)
        clock.daemon = True
        clock.start()
        doubt = ""
        try:
            if job:
                self._line.send_bytes(job)
            wait([self._line, self._process.sentinel])
            if self._line.poll():
                return self._line.recv_bytes(LARGEST_ANSWER_BYTES)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass
        except OSError as error:
            doubt = f"the worker's answer is not believed: {error}"
        finally:
            clock.cancel()
            if is_hung.is_set():
                self._end()
        exitcode = self._end(wait_s=0.0 if doubt else END_S)
        if is_hung.is_set():
            raise WorkerDied(hung.format(limit_s))
        raise WorkerDied(doubt or _cause(exitcode))

    def _end(self, wait_s: float = 0.0) -> int | None:
        """See it ended. Returns its exit code, None if it does not end."""
        self.is_ended = True
        # Where it closed the line it is about to end, with a code that says why.
        if not wait([self._process.sentinel], wait_s):
            self.kill()
        self._line.close()
        if not wait([self._process.sentinel], END_S):
            return None
        with _FAMILY:
            self._process.join()
            return self._process.exitcode


class JobOutcome(NamedTuple):
    """What a job came to.

    Attributes:
        value: What it returned.
        error: What it raised; None if nothing.
    """

    value: Any = None
    error: BaseException | None = None


def run(fn: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
    """Run a job, and let no error out that could not be read on the other side."""
    try:
        return fn(*args, **kwargs)
    except (PortraitdError, MemoryError):
        raise
    except Exception as error:
        raise WorkerDied(f"unexpected {type(error).__name__}: {error}") from error


def _cause(exitcode: int | None) -> str:
    if exitcode is None:
        return "the worker does not end: the system holds it"
    if exitcode == -signal.SIGXCPU:
        return "the worker computed for longer than its limit and was ended"
    if exitcode < 0:
        return f"the worker was ended by {signal.Signals(-exitcode).name}"
    return f"the worker ended without an answer (exit code {exitcode})"


# --- In the process itself.


class _Worker:
    """What a process does that was made a worker."""

    def __init__(self, preparation: Preparation) -> None:
        self._seclusion = preparation.policy
        self._time_limit_s = preparation.limits.time_limit_s

    def answer(self, job: bytes) -> bytes:
        """What a job came to, packed."""
        try:
            self._close()
            _limit_cpu(self._time_limit_s)
            return packed(JobOutcome(run(_carry_out, (job,), {})))
        except (PortraitdError, MemoryError) as error:
            return packed(JobOutcome(error=error))

    def _close(self) -> None:
        """Load what is needed, then shut off the world; fails as the loading does."""
        if self._seclusion is None:
            return
        if self._seclusion.prepare:
            function, arguments = self._seclusion.prepare
            run(function, arguments, {})
        sandbox.close(self._seclusion.confinement)
        self._seclusion = None


def _serve(line: Connection, daemon: int, preparation: Preparation) -> None:
    """Do jobs until the line is closed."""
    _prepare(daemon, preparation)
    worker = _Worker(preparation)
    line.send_bytes(b"ready")
    try:
        while True:
            line.send_bytes(worker.answer(line.recv_bytes()))
    except (EOFError, OSError):
        # Nothing is tidied up: whoever is closed may not even try.
        os._exit(0)


def _carry_out(job: bytes) -> Any:
    # From the daemon, which may say what it likes.
    fn, args, kwargs = ForkingPickler.loads(job)
    return fn(*args, **kwargs)


def _prepare(daemon: int, preparation: Preparation) -> None:
    """Make a fresh process a worker: humble, limited, and gone when the daemon is."""
    limits, policy, introduction = preparation
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
    if policy:
        assert introduction is not None
        file_broker.ask(introduction)
        sandbox.enter(policy.confinement)


def _limit_cpu(seconds: float) -> None:
    """Of the job that begins; kept by the kernel even if the daemon is stopped."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds + CPU_MARGIN_S)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
