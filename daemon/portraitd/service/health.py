"""The heartbeat of the running service, in a small file that can be written to a full disk.

The file never changes its size and is written in place, so that reporting a full disk needs no
free space. Whether a service runs at all is known from its lock, not from this file.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "health.json"

SIZE = 4096
"""Written with one call, so that a reader never sees half of it."""

REASON_CHARACTERS = 500

_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class Health:
    """A heartbeat.

    Attributes:
        process: Number of the process; 0 if no service runs.
        at_s: Time of the heartbeat.
        blocked: Why a stage is blocked; empty if none is.
        blocked_since_s: Since when; 0 if no stage is blocked.
        blocked_code: The reason code of ``blocked``.
    """

    process: int
    at_s: float
    blocked: str = ""
    blocked_since_s: float = 0.0
    blocked_code: str = ""


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
    """Return the last heartbeat of the running service; its process is 0 if none runs."""
    process = lock_holder(state_dir / "lock")
    if not process:
        return Health(0, 0.0)
    try:
        health = Health(**json.loads((state_dir / FILE_NAME).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return Health(process, 0.0)
    # An earlier process wrote it: the running one has not sent a heartbeat yet.
    return health if health.process == process else Health(process, 0.0)


def lock_holder(lock: Path, locks: Path = _LOCKS) -> int:
    """Return the process that holds a lock, 0 for none, without taking the lock.

    Args:
        lock: The locked file.
        locks: A table in the format of ``/proc/locks``.
    """
    try:
        facts = lock.stat()
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
