"""Whether a file that stands still is all there: who writes it, and what it says of itself."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from portraitd.media import container

_SMALL_BYTES = 64 * 1024
"""Below this, blocks say nothing: a file system may keep the content beside the name."""

_FIRST_GAP_S, _LONGEST_GAP_S = 10.0, 600.0


class Writer(Enum):
    """Whether another program has a file open for writing, as far as the kernel says."""

    NONE = "none"
    OPEN = "open"
    UNKNOWN = "unknown"


def writer_of(descriptor: int) -> Writer:
    """Ask for a read lease, which is refused while anybody has the file open for writing.

    The file must be ours, and the file system must know leases; otherwise it is unknown.

    Args:
        descriptor: Of a regular file, open for reading.
    """
    # Whoever opens it for writing just now sends a signal; SIGIO would end this process.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writer.OPEN if error.errno == errno.EAGAIN else Writer.UNKNOWN
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.NONE


def unfinished(descriptor: int) -> str:
    """What a file lacks by its own account, in words; empty if nothing is known to be missing."""
    facts = os.fstat(descriptor)
    if facts.st_size == 0:
        return "empty so far"
    if facts.st_size > _SMALL_BYTES and facts.st_blocks * 512 < facts.st_size / 2:
        return "space was set aside for it, and most of it was not filled yet"
    return container.unfinished(descriptor)


@dataclass(frozen=True, slots=True)
class StabilityPolicy:
    """How long to wait for what.

    Attributes:
        unknown_writer_s: A file must have stood still so long where the kernel cannot say
            whether anybody still writes it.
        unfinished_s: A file that lacks something is taken as it is after so long without change.
    """

    unknown_writer_s: float
    unfinished_s: float


def block_reason(path: Path, still_s: float, patience: StabilityPolicy) -> str:
    """Why a file that stands still may not be taken yet, in words; empty if it may.

    Args:
        path: Opened for a moment, without following a link.
        still_s: How long it has not changed.
        patience: How long to wait for what.
    """
    try:
        # NONBLOCK: should it have become a pipe, opening it would wait for a writer for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except OSError:
        # Whoever reads it for good says what is wrong.
        return ""
    try:
        writer = writer_of(descriptor)
        if writer is Writer.OPEN:
            return "another program still has it open for writing"
        if writer is Writer.UNKNOWN and still_s < patience.unknown_writer_s:
            return "nobody can say here whether it is still being written"
        lacking = unfinished(descriptor) if still_s < patience.unfinished_s else ""
        return f"not whole yet: {lacking}" if lacking else ""
    except OSError:
        return ""
    finally:
        os.close(descriptor)


class BlockReasons:
    """When to ask again about files that stand still and may not be taken yet.

    Args:
        patience: How long to wait for what.
    """

    def __init__(self, patience: StabilityPolicy) -> None:
        self._patience = patience
        self._known: dict[Path, tuple[float, float, str]] = {}

    def of(self, path: Path, since_s: float, now_s: float) -> str:
        """As ``block_reason``; asked anew after ten seconds, then after ever longer times.

        Args:
            path: The file.
            since_s: When it last changed.
            now_s: Of the same clock, which never goes back.
        """
        asked_s, gap_s, reason = self._known.get(path, (since_s, 0.0, ""))
        patience = self._patience
        # The moments at which the answer changes by itself.
        passed = [
            end_s
            for end_s in (since_s + patience.unknown_writer_s, since_s + patience.unfinished_s)
            if asked_s < end_s <= now_s
        ]
        if reason and since_s <= asked_s and now_s - asked_s < gap_s and not passed:
            return reason
        reason = block_reason(path, now_s - since_s, patience)
        if reason:
            longer_s = min(max(_FIRST_GAP_S, 2 * gap_s), _LONGEST_GAP_S)
            self._known[path] = (now_s, longer_s, reason)
        else:
            self._known.pop(path, None)
        return reason

    def forget_all_but(self, paths: set[Path]) -> None:
        """Drop what is no longer waited for."""
        for path in self._known.keys() - paths:
            del self._known[path]
