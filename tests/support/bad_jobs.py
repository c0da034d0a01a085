"""Jobs for workers, good and bad. A worker imports this module by name, so it is light."""

from __future__ import annotations

import builtins
import ctypes
import fcntl
import os
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from portraitd.model import errors
from portraitd.model.errors import PortraitdError
from portraitd.model.media_file import Source
from portraitd.workers import file_broker
from portraitd.workers.job_results import returns
from portraitd.workers.result_codec import ResultSchema

seen: list[str] = []

PLAIN = ResultSchema[Any](
    Any,
    lambda value: value,
    lambda value, *args, **kwargs: value,
    errors=(PortraitdError,),
    max_bytes=1 << 26,
)
"""Any plain data, and any error."""


def add(a: int, b: int = 0) -> int:
    return a + b


def pid() -> int:
    return os.getpid()


def what_was_seen() -> list[str]:
    return seen


def fail(kind: str, message: str) -> None:
    """Raise one of portraitd's errors, or one of Python's."""
    raise (getattr(errors, kind, None) or getattr(builtins, kind))(message)


def segfault() -> None:
    ctypes.string_at(0)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(code: int) -> None:
    os._exit(code)


def hang() -> None:
    while True:
        signal.pause()


def tell(path: Path, text: str) -> None:
    """Write a file that is complete when it appears."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def tell_and_hang(path: Path) -> None:
    """Write the process id to a file, and hang."""
    tell(path, str(os.getpid()))
    hang()


def spin() -> None:
    while True:
        pass


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def eat_memory() -> int:
    return len(bytearray(1 << 40))


class Awkward(Exception):
    """Cannot be unpickled: made from two arguments, pickled with one."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


def fail_awkwardly() -> None:
    raise Awkward("clip.mp4", "odd")


def answer_awkwardly() -> object:
    return lambda: None


def wait_for(path: Path, seconds: float = 60.0) -> str:
    """Wait for a file, and return its content."""
    deadline_s = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{path} never came")
        time.sleep(0.01)
    return path.read_text()


def limits() -> dict[str, Any]:
    """Return the limits of this process."""
    return {
        "nice": os.nice(0),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "interrupt": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    }


def count(path: Path) -> int:
    """Return how often this was run with the same file."""
    with path.open("a+") as file:
        # Two processes may run it at once.
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("again\n")
        file.flush()
        file.seek(0)
        return len(file.readlines())


def count_when(news: Path, runs: Path) -> int:
    """Do the same, after waiting for a file."""
    wait_for(news)
    return count(runs)


class Hostile:
    """A result of a compromised worker: unpickling it calls a function."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def answer_hostilely(path: Path) -> object:
    return Hostile(path)


def _pipe() -> Any:
    """Return the pipe of the worker, as code that took it over would find it."""
    frame = sys._getframe()
    while frame.f_back is not None and "pipe" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["pipe"]


def seem_ended_after(path: Path) -> int:
    """Return the number of this process. When the file is there, it closes its descriptors.

    Also the one that shows the service that it is alive. It does not end.
    """
    kept = _pipe().fileno()

    def close_and_stop() -> None:
        wait_for(path)
        os.closerange(3, kept)
        os.closerange(kept + 1, 256)
        stop()

    threading.Thread(target=close_and_stop, daemon=True).start()
    return os.getpid()


def send_hostilely(path: Path) -> None:
    """Write to the pipe of the worker, bypassing the result of the job."""
    _pipe().send(Hostile(path))


def send(messages: list[bytes]) -> None:
    """Write messages to the pipe of the worker before its own."""
    for message in messages:
        _pipe().send_bytes(message)


def send_bare(data: bytes) -> None:
    """Write bytes to the pipe of the worker that are no message, and hang."""
    os.write(_pipe().fileno(), data)
    hang()


def answer_twice(first: str, second: str) -> str:
    """Return the first; a moment later, answer once more."""
    pipe = _pipe()
    frame = sys._getframe()
    while frame.f_back is not None and "number" not in frame.f_locals:
        frame = frame.f_back
    late = PLAIN.encode(frame.f_locals["number"], second)

    def answer_late() -> None:
        # When the next job is there already.
        while not pipe.poll():
            time.sleep(0.001)
        pipe.send_bytes(late)

    threading.Thread(target=answer_late, daemon=True).start()
    return first


def touch(path: Path) -> None:
    """Write a file, as a library does that caches its results."""
    path.write_text("made before")


def open_source(source: Source) -> bytes:
    """Return the first bytes of the file that the job names."""
    descriptor = file_broker.open_to_read(source.path)
    try:
        return os.read(descriptor, 16)
    finally:
        os.close(descriptor)


def open_other(source: Source, path: Path) -> bytes:
    """Open a file that the job does not name."""
    return open_source(Source(path, source.stamp))


def starts() -> dict[str, str]:
    """Try to start processes and to gain rights. Returns the name of each error."""
    found = {}
    for name, attempt in {
        "fork": os.fork,
        "run": lambda: os.execv("/bin/true", ["true"]),
        "kill": lambda: os.kill(1, 0),
        "grow": lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (8, 8)),
        "connect": lambda: socket.socket(socket.AF_UNIX).connect("\0nobody"),
        "pair": socket.socketpair,
        "remove": lambda: os.unlink(__file__),
        "mode": lambda: os.chmod(__file__, 0o777),
        "passwords": lambda: open("/etc/passwd").close(),
    }.items():
        try:
            attempt()
            found[name] = "done"
        except OSError as error:
            found[name] = type(error).__name__
    return found


def thread_says() -> str:
    """Start a thread, as libraries do, and return its message."""
    messages: list[str] = []
    thread = threading.Thread(target=lambda: messages.append("started"))
    thread.start()
    thread.join()
    return messages[0]


def resource_limits() -> dict[str, int]:
    """Return the soft limits of this process, and the CPU time it has used, in whole seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu": resource.getrlimit(resource.RLIMIT_CPU)[0],
        "file": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
        "open": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "used": int(used.ru_utime + used.ru_stime),
    }


def exceed_cpu() -> None:
    """Exceed a CPU limit, as a process that spins while the daemon is stopped."""
    resource.setrlimit(resource.RLIMIT_CPU, (1, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    spin()


for _job in [one for one in globals().values() if getattr(one, "__module__", "") == __name__]:
    if not isinstance(_job, type):
        returns(f"{__name__}:PLAIN")(_job)
