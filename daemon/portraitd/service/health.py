"""How the running service is, in a small file that also a full disk takes.

The file keeps its size for ever and is written in place, so that saying "the disk is full" needs
no room on it. Whether a service runs at all is told by its lock, not by this file.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "health.json"

SIZE = 4096
"""Written with one call, so that nobody reads half of it."""

REASON_CHARACTERS = 500

_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class Health:
    """What a service said about itself.

    Attributes:
        process: Its number; 0 if none runs.
        at_s: When it said so.
        blocked: Why it cannot go on with something; empty if it can.
        blocked_since_s: Since when; 0 if it is not.
    """

    process: int
    at_s: float
    blocked: str = ""
    blocked_since_s: float = 0.0


def tell(state_dir: Path, health: Health) -> None:
    """Write it down, where that is possible."""
    short = asdict(health) | {"blocked": health.blocked[:REASON_CHARACTERS]}
    data = json.dumps(short).encode()[: SIZE - 1].ljust(SIZE - 1) + b"\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(OSError):
        fd = os.open(state_dir / FILE_NAME, flags, 0o600)
        try:
            os.pwrite(fd, data, 0)
        finally:
            os.close(fd)


def heard(state_dir: Path) -> Health:
    """What the service that runs said last; one without a process if none runs."""
    process = holder(state_dir / "lock")
    if not process:
        return Health(0, 0.0)
    try:
        health = Health(**json.loads((state_dir / FILE_NAME).read_bytes()))
    except (OSError, ValueError, TypeError):
        return Health(process, 0.0)
    # Left by an earlier one: the one that runs has yet to speak.
    return health if health.process == process else Health(process, 0.0)


def holder(lock: Path, locks: Path = _LOCKS) -> int:
    """The process that holds a lock, 0 for none. Looking does not take it, not even for a moment.

    Args:
        lock: The locked file.
        locks: In the form of ``/proc/locks``.
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
