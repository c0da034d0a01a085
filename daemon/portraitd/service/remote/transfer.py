"""Send a file to a worker that cannot read it itself: in chunks, so that memory is bounded."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import structlog

from portraitd.model.errors import FileChanged, WorkerDied
from portraitd.model.media_file import Slice, Source, Stamp
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.service.remote import agent
from portraitd.service.remote.registry import WorkerNetwork, WorkerRecord

log = structlog.get_logger(stage="remote_workers")

CHUNK_BYTES = 4 << 20

SendChunk = Callable[[int, int, bytes], int]
"""``send_chunk(size, offset, data)`` sends a chunk, and returns how many bytes have arrived."""

MAX_REFUSALS = 3


def send_to_worker(
    network: WorkerNetwork,
    worker: WorkerRecord,
    video_slice: Slice,
    cache_bytes: int,
    on_progress: Callable[[], None],
) -> None:
    """Make sure that a worker has the file of a slice, sent once for all of its slices.

    Args:
        network: The connection to the worker.
        worker: One that cannot read the file itself.
        video_slice: The slice.
        cache_bytes: Size of the worker's cache.
        on_progress: Called before and after each chunk; what it raises ends the transfer.

    Raises:
        FileChanged: The file has changed since it was scanned.
        StoreError: The worker cannot store it.
        WorkerDied: The worker refuses it.
        WorkersUnavailable: The connection is lost.
    """

    def send_chunk(size: int, offset: int, data: bytes) -> int:
        on_progress()
        arguments = video_slice.sha256, size, offset, data, cache_bytes
        arrived: object = network.call(worker.address, agent.receive_chunk, *arguments)
        on_progress()
        if type(arrived) is not int or not 0 <= arrived <= size:
            raise WorkerDied(Reason.of(ReasonCode.INVALID_RESULT, error="not a number of bytes"))
        return arrived

    worker.cached.add(video_slice.sha256)
    try:
        with worker.transfers.setdefault(video_slice.sha256, threading.Lock()):
            began_s = time.monotonic()
            sent = send_file(video_slice.source, send_chunk)
    except BaseException:
        worker.cached.discard(video_slice.sha256)
        raise
    if sent:
        log.info(
            "file_sent",
            worker=worker.address,
            sha256=video_slice.sha256[:12],
            bytes=sent,
            seconds=round(time.monotonic() - began_s, 2),
        )


def send_file(source: Source, send_chunk: SendChunk) -> int:
    """Send the part of a file that has not arrived yet.

    Args:
        source: The file, with the stamp it must still have.
        send_chunk: Sends one chunk; an empty one asks how much has arrived.

    Returns:
        Number of bytes sent.

    Raises:
        FileChanged: The file was written, replaced or removed.
        WorkerDied: The receiver refuses it.
    """
    try:
        fd = os.open(source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise FileChanged(Reason.of(ReasonCode.REMOVED)) from None
    try:
        _require_unchanged(source, fd)
        size = source.stamp.size
        arrived, sent, refusals = send_chunk(size, 0, b""), 0, 0
        while arrived < size:
            data = os.pread(fd, CHUNK_BYTES, arrived)
            if not data:
                raise FileChanged(Reason.of(ReasonCode.CHANGED_WHILE_READ))
            before, arrived = arrived, send_chunk(size, arrived, data)
            sent += len(data)
            # Counted over the whole file: one that arrives and is lost by turns is never sent.
            refusals += arrived not in (before + len(data), size)
            if refusals > MAX_REFUSALS:
                raise WorkerDied(Reason.of(ReasonCode.FILE_REFUSED, count=refusals))
        _require_unchanged(source, fd)
        return sent
    finally:
        os.close(fd)


def _require_unchanged(source: Source, fd: int) -> None:
    if not Stamp.of(os.fstat(fd)).is_same(source.stamp):
        raise FileChanged(Reason.of(ReasonCode.CHANGED_WHILE_READ))
