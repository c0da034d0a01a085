"""Trying what a worker must not be able to do, to know rather than to hope."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path


def held(unreadable: Path) -> dict[str, bool]:
    """Try everything, in the process that calls it.

    Args:
        unreadable: A file that is there and may not be read, such as the database.

    Returns:
        For each thing that must not work, whether it was refused.
    """
    trials: dict[str, Callable[[], object]] = {
        "reach the network": _connect,
        "read other files": lambda: os.close(os.open(unreadable, os.O_RDONLY)),
        "write files": _write,
        "start a program": _start,
        "signal the service": lambda: os.kill(os.getppid(), 0),
    }
    return {what: _is_refused(trial) for what, trial in trials.items()}


def _connect() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        # The discard port of this very machine: refused by nobody listening, if it gets so far.
        sock.connect(("127.0.0.1", 9))


def _write() -> None:
    place, name = tempfile.mkstemp(dir=Path(tempfile.gettempdir()))
    os.close(place)
    Path(name).unlink()


def _start() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def _is_refused(trial: Callable[[], object]) -> bool:
    """Refused by the kernel: any other failure says that it would have been allowed."""
    try:
        trial()
    except PermissionError:
        return True
    except FileNotFoundError as error:
        # Without a folder to write to, Python looks no further.
        return "No usable temporary directory" in str(error)
    except OSError:
        return False
    return False
