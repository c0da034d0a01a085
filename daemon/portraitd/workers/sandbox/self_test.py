"""Try what the sandbox must refuse, to know whether it does."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from portraitd.workers.job_results import returns


@returns("portraitd.workers.plain_results:REFUSALS")
def try_forbidden(unreadable: Path) -> dict[str, bool]:
    """Try everything that the sandbox forbids, in the process that calls this.

    Args:
        unreadable: An existing file that must not be readable, such as the database.

    Returns:
        For each action, whether it was refused.
    """
    actions: dict[str, Callable[[], object]] = {
        "reach the network": _connect,
        "read other files": lambda: os.close(os.open(unreadable, os.O_RDONLY)),
        "write files": _write,
        "start a program": _start_program,
        "signal the service": lambda: os.kill(os.getppid(), 0),
    }
    return {name: _is_refused(action) for name, action in actions.items()}


def _connect() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        # The discard port of this machine: no program listens there, if the call gets that far.
        sock.connect(("127.0.0.1", 9))


def _write() -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"portraitd-{secrets.token_hex(8)}"  # noqa: S108
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    path.unlink()


def _start_program() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def _is_refused(action: Callable[[], object]) -> bool:
    """Return whether the kernel refuses it: any other failure means that it would be allowed."""
    try:
        action()
    except PermissionError:
        return True
    except OSError:
        return False
    return False
