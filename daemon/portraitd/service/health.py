"""The heartbeat of the running service, in a small file that can be written to a full disk.

The file never changes its size and is written in place, so that reporting a full disk needs no
free space. Whether a service runs at all is known from its lock, not from this file. What a process
writes at its end, with 0 as its process, stays until the next one starts.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from portraitd.model.reasons import Reason
from portraitd.model.stage import Now
from portraitd.store.database import LOCK_NAME

FILE_NAME = "health.json"

SIZE = 4096
"""Written with one call, so that a reader never sees half of it."""

REASON_CHARACTERS = 500

HEARTBEAT_S = 10.0

_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class Health:
    """A heartbeat.

    Attributes:
        process: Number of the process; 0 if no service runs.
        at_s: Time of the heartbeat.
        blocked: Why a stage is blocked, or was when the last process gave up; empty if none is.
        blocked_since_s: Since when; 0 if no stage is blocked.
        blocked_code: The reason code of ``blocked``.
    """

    process: int
    at_s: float
    blocked: str = ""
    blocked_since_s: float = 0.0
    blocked_code: str = ""


class HealthRecorder:
    """Writes a heartbeat when the state changes, and every few seconds.

    An old heartbeat of a running process shows that the service hangs.

    Args:
        state_dir: Where the file is.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._recorded: Reason | None = None
        self._recorded_s = float("-inf")
        self._blocked_since: Now | None = None

    def record(self, blocked: Reason, now: Now) -> None:
        """Record why a stage is blocked, or that none is."""
        if not blocked:
            self._blocked_since = None
        elif self._blocked_since is None:
            self._blocked_since = now
        if blocked != self._recorded or now.steady_s - self._recorded_s >= HEARTBEAT_S:
            self._write(os.getpid(), blocked, now)
            self._recorded, self._recorded_s = blocked, now.steady_s

    def end(self, blocked: Reason, now: Now) -> None:
        """Record that this process ends, and what it could not do."""
        self._write(0, blocked, now)

    def blocked_s(self, now: Now) -> float:
        """Return for how long a stage has been blocked; 0 if none is."""
        return now.steady_s - self._blocked_since.steady_s if self._blocked_since else 0.0

    def _write(self, process: int, blocked: Reason, now: Now) -> None:
        since_s = self._blocked_since.wall_s if self._blocked_since else 0.0
        health = Health(process, now.wall_s, blocked.text, since_s, blocked.code)
        write_heartbeat(self._state_dir, health)


def write_heartbeat(state_dir: Path, health: Health) -> None:
    """Write a heartbeat, if that is possible."""
    short = asdict(health) | {"blocked": health.blocked[:REASON_CHARACTERS]}
    data = json.dumps(short).encode()[: SIZE - 1].ljust(SIZE - 1) + b"\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(OSError):
        fd = os.open(state_dir / FILE_NAME, flags, 0o600)
        try:
            os.pwrite(fd, data, 0)
        finally:
            os.close(fd)


def read_heartbeat(state_dir: Path) -> Health:
    """Return the last heartbeat of the running service; its process is 0 if none runs.

    Then it says why the last process gave up, if it did.
    """
    process = lock_holder(state_dir)
    try:
        health = Health(**json.loads((state_dir / FILE_NAME).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return Health(process, 0.0)
    # Another process wrote it: the running one has not sent a heartbeat yet, or the last one was
    # ended before it could write why.
    return health if health.process == process else Health(process, 0.0)


def lock_holder(state_dir: Path, locks: Path = _LOCKS) -> int:
    """Return the process that holds the lock of a store, 0 for none, without taking the lock.

    Args:
        state_dir: Where the database is.
        locks: A table in the format of ``/proc/locks``.
    """
    try:
        facts = (state_dir / LOCK_NAME).stat()
        lines = locks.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    wanted = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
    for line in lines:
        fields = line.split()
        if "FLOCK" in fields and wanted in fields:
            number = fields[fields.index(wanted) - 1]
            return max(int(number), 0)
    return 0
