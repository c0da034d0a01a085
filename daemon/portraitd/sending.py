"""Sending a file to a worker that does not see it: in pieces, so that memory is bounded."""

from __future__ import annotations

import os
from collections.abc import Callable

from portraitd.errors import FileChanged, WorkerDied
from portraitd.model import Source, Stamp

CHUNK_BYTES = 4 << 20

Take = Callable[[int, int, bytes], int]
"""``take(size, offset, data)`` hands a piece over, and returns how many bytes are held there."""

MOST_REFUSALS = 3


def send(source: Source, take: Take) -> int:
    """Send what the other side does not hold yet.

    Args:
        source: The file, which must still be what it was when it was taken.
        take: Hands over one piece; an empty one asks how much is held.

    Returns:
        How many bytes were sent.

    Raises:
        FileChanged: It was written, replaced or removed.
        WorkerDied: The other side does not take it.
    """
    try:
        fd = os.open(source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise FileChanged("removed before it could be sent") from None
    try:
        _expect(source, fd)
        size = source.stamp.size
        held, sent, refusals = take(size, 0, b""), 0, 0
        while held < size:
            data = os.pread(fd, CHUNK_BYTES, held)
            if not data:
                raise FileChanged("became shorter while it was sent")
            now_held = take(size, held, data)
            sent += len(data)
            refusals = 0 if now_held > held else refusals + 1
            if refusals > MOST_REFUSALS:
                raise WorkerDied("the worker does not take the file")
            held = now_held
        _expect(source, fd)
        return sent
    finally:
        os.close(fd)


def _expect(source: Source, fd: int) -> None:
    facts = os.fstat(fd)
    if Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ino) != source.stamp:
        raise FileChanged("written or replaced while it was sent")
