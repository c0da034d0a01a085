"""Disk space for SQLite's shared memory, so that a full disk is an error and not a signal.

SQLite maps the file ``-shm`` beside a database in WAL mode, and extends it by one byte per 4 kB.
Where the blocks of the file system are smaller, the rest is a hole. If the disk is full when the
hole is written to, the kernel ends the process with SIGBUS.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from portraitd.workers.libc import expect_success, libc

REGION_BYTES = 32 << 10
"""SQLite maps the file in regions of this size, each for about ``REGION_FRAMES`` pages."""

REGION_FRAMES = 4096

FRAME_BYTES = 4096 + 24

MARGIN_REGIONS = 8
"""Reserved ahead of the journal: one transaction may write 128 MB before the next look."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class SharedMemory:
    """The shared memory of one database.

    Args:
        database: The file of the database.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-shm")
        self._journal = database.with_name(database.name + "-wal")
        self._fd = -1
        self._reserved = 0

    def reserve(self) -> None:
        """Reserve disk space for what the journal needs now, and for what is written next.

        Raises:
            OSError: The disk is full.
        """
        try:
            frames = os.stat(self._journal).st_size // FRAME_BYTES
        except OSError:
            frames = 0
        regions = frames // REGION_FRAMES + 1
        if regions > self._reserved:
            regions += MARGIN_REGIONS
            self._allocate(regions * REGION_BYTES)
            # Checked again before the last part of the margin is used.
            self._reserved = regions - MARGIN_REGIONS // 2

    def _allocate(self, size: int) -> None:
        if self._fd < 0:
            try:
                self._fd = _find_open(self._path)
            except OSError:
                return
        if self._fd >= 0:
            _allocate(self._fd, size)
            return
        # No connection of this process has it open, so closing it drops no lock of SQLite's.
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in _FULL:
                raise
            # A folder that cannot be written: SQLite says what it makes of that.
            return
        try:
            _allocate(fd, size)
        finally:
            os.close(fd)


def _find_open(path: Path) -> int:
    """Return the descriptor under which SQLite has a file open in this process; -1 for none.

    POSIX locks belong to the process: opening the file once more and closing it would drop the
    locks that SQLite holds on it.

    Raises:
        OSError: It cannot be found out.
    """
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    try:
        wanted = os.stat(path)
    except FileNotFoundError:
        return -1
    for number in numbers:
        try:
            facts = os.fstat(number)
        except OSError:
            continue
        if (facts.st_dev, facts.st_ino) == (wanted.st_dev, wanted.st_ino):
            return number
    return -1


def _allocate(fd: int, size: int) -> None:
    """Give a file blocks up to a size; its content stays.

    Not ``os.posix_fallocate``: where the file system cannot, it writes zeros itself, over what
    another process may be writing.
    """
    try:
        expect_success(libc.fallocate(fd, 0, ctypes.c_int64(0), ctypes.c_int64(size)))
    except OSError as error:
        if error.errno in _FULL:
            raise
