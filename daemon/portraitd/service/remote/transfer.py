"""Sending a file to a worker that does not see it: in pieces, so that memory is bounded."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import structlog

from portraitd.model.errors import FileChanged, WorkerDied
from portraitd.model.media_file import Slice, Source, Stamp
from portraitd.service.remote import agent
from portraitd.service.remote.registry import Worker, WorkerNetwork

log = structlog.get_logger(stage="remote_workers")

CHUNK_BYTES = 4 << 20

Take = Callable[[int, int, bytes], int]
"""``take(size, offset, data)`` hands a piece over, and returns how many bytes are held there."""

MOST_REFUSALS = 3


def deliver(
    network: WorkerNetwork,
    worker: Worker,
    piece: Slice,
    cache_bytes: int,
    moved: Callable[[], None],
) -> None:
    """Have a worker hold the file of a slice, sent once however many of its slices wait for it.

    Args:
        network: The way there.
        worker: Does not see the file itself.
        piece: The slice.
        cache_bytes: How much of what is sent a worker keeps.
        moved: Called before each piece and after; what it raises ends the sending.

    Raises:
        FileChanged: The file is not what it was.
        StoreError: The worker cannot keep it.
        WorkerDied: The worker does not take it.
        WorkersUnavailable: The way there is lost.
    """

    def take(size: int, offset: int, data: bytes) -> int:
        moved()
        arguments = piece.sha256, size, offset, data, cache_bytes
        held: int = network.call(worker.address, agent.take_chunk, *arguments)
        moved()
        return held

    worker.has.add(piece.sha256)
    try:
        with worker.sending.setdefault(piece.sha256, threading.Lock()):
            began_s = time.monotonic()
            sent = send(piece.source, take)
    except BaseException:
        worker.has.discard(piece.sha256)
        raise
    if sent:
        log.info(
            "file_sent",
            worker=worker.address,
            sha256=piece.sha256[:12],
            bytes=sent,
            seconds=round(time.monotonic() - began_s, 2),
        )


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
    if Stamp.of(facts) != source.stamp:
        raise FileChanged("written or replaced while it was sent")
