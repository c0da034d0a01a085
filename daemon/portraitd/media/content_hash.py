"""Open a file that must be the one that was admitted, and hash its content; interpret nothing."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from portraitd.model.errors import FileChanged, NotMedia, UnsafeFile
from portraitd.model.media_file import Source, Stamp
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.workers.file_broker import open_to_read

_CHUNK_BYTES = 1 << 20

SPARSE_BYTES = 1 << 30
"""Largest size of the holes in a file, which are read as zeros; a file with more is refused."""


@contextmanager
def opened(source: Source) -> Iterator[int]:
    """Open a file and check, before and after the reading, that it has not changed.

    Raises:
        UnsafeFile: The path is a link, pipe, socket, device or folder.
        FileChanged: The stamp differs, or a folder on the way was replaced.
        NotMedia: The file cannot be opened.
    """
    try:
        fd = open_to_read(source.path, source.root)
    except FileNotFoundError:
        raise FileChanged(Reason.of(ReasonCode.REMOVED)) from None
    except NotADirectoryError:
        # When it was admitted, no folder on the way was a link or a file.
        raise FileChanged(Reason.of(ReasonCode.CHANGED_WHILE_READ)) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFile(Reason.of(ReasonCode.SYMBOLIC_LINK)) from None
        if error.errno == errno.ENXIO:
            raise UnsafeFile(Reason.of(ReasonCode.NOT_A_REGULAR_FILE)) from None
        raise NotMedia(Reason.of(ReasonCode.CANNOT_READ, error=error.strerror)) from None
    try:
        _expect(source, fd)
        yield fd
        _expect(source, fd)
    finally:
        os.close(fd)


def hash_open_file(fd: int, partial_copies: Sequence[tuple[int, str]]) -> tuple[str, str]:
    """Return the SHA-256 of a file, and that of the longest known content that it starts with.

    Raises:
        NotMedia: Most of a large file was never written; reading it would take too long.
    """
    expect_written(fd)
    known: dict[int, set[str]] = {}
    for size, digest in partial_copies:
        known.setdefault(size, set()).add(digest)
    whole, extends, at = hashlib.sha256(), "", 0
    for mark in [*sorted(known), math.inf]:
        while at < mark:
            chunk = os.pread(fd, int(min(_CHUNK_BYTES, mark - at)), at)
            if not chunk:
                return whole.hexdigest(), extends
            whole.update(chunk)
            at += len(chunk)
        if at == mark and whole.hexdigest() in known[at]:
            extends = whole.hexdigest()
    return whole.hexdigest(), extends


def expect_written(fd: int) -> None:
    """Raise ``NotMedia`` if there are far more holes in a large file than content."""
    status = os.fstat(fd)
    written = status.st_blocks * 512
    if status.st_size <= 2 * written + SPARSE_BYTES:
        return
    if not written:
        # Some file systems do not count blocks; they do not know of holes either.
        try:
            os.lseek(fd, 0, os.SEEK_DATA)
            return
        except OSError as error:
            if error.errno != errno.ENXIO:
                return
    raise NotMedia(Reason.of(ReasonCode.PREALLOCATED))


def _expect(source: Source, fd: int) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFile(Reason.of(ReasonCode.NOT_A_REGULAR_FILE))
    if not Stamp.of(status).is_same(source.stamp):
        raise FileChanged(Reason.of(ReasonCode.CHANGED_WHILE_READ))


def hash_content(source: Source, partial_copies: Sequence[tuple[int, str]] = ()) -> tuple[str, str]:
    """Return the SHA-256 of a file, and that of the longest known content that it starts with.

    Raises:
        UnsafeFile: The path is a link, pipe, socket, device or folder.
        FileChanged: The file is not the one that was admitted.
        NotMedia: The file cannot be opened.
    """
    with opened(source) as fd:
        return hash_open_file(fd, partial_copies)
