"""Jobs for workers, good and bad. Importable by name, as a worker needs it, and light."""

from __future__ import annotations

import builtins
import ctypes
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from portraitd import errors

seen: list[str] = []


def add(a: int, b: int = 0) -> int:
    return a + b


def what_was_seen() -> list[str]:
    return seen


def fail(kind: str, message: str) -> None:
    """Raise one of portraitd's own errors, or one of Python's."""
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
    """Write a file that is whole when it appears."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def tell_and_hang(path: Path) -> None:
    """Write down the number of this process, and hang."""
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
    """End when a file is there, and tell what is in it."""
    deadline_s = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{path} never came")
        time.sleep(0.01)
    return path.read_text()


def limits() -> dict[str, Any]:
    """What this process may do."""
    return {
        "nice": os.nice(0),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "interrupt": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    }


def count(path: Path) -> int:
    """How often this was run with the same file."""
    with path.open("a+") as file:
        file.write("again\n")
        file.seek(0)
        return len(file.readlines())


def count_when(news: Path, runs: Path) -> int:
    """The same, once there is news."""
    wait_for(news)
    return count(runs)
