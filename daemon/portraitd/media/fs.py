"""The file primitives that all packages share: atomic writes, locks, renaming.

The people tree, which other programs write to as well, works through directory descriptors and
has its own writer in `people.tree.folder_fs`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from portraitd.model.errors import PortraitdError
from portraitd.workers.libc import expect_success, libc

UNFINISHED = ".new-"
"""Files whose name begins with this are being written, or are left from an interrupted write."""

_RENAME_NOREPLACE = 1


def write_atomically(
    path: Path,
    data: bytes,
    *,
    mode: int = 0o600,
    durable: bool = False,
    concurrent: bool = False,
    error: type[PortraitdError] | None = None,
) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Args:
        path: The file; its folder must exist.
        data: The content.
        mode: Permissions, whatever the umask is.
        durable: Whether to return only when the content would survive a power failure.
        concurrent: Whether other processes may write the same file at the same time.
        error: Raised instead of ``OSError``, with a message that names the file.

    Raises:
        OSError: The file cannot be written; the old content is unchanged.
    """
    try:
        with replacing(path, mode=mode, durable=durable, concurrent=concurrent) as unfinished:
            unfinished.write_bytes(data)
    except OSError as failure:
        if error is None:
            raise
        raise error(f"{path} cannot be written: {failure.strerror or failure}") from failure


@contextmanager
def replacing(
    path: Path, *, mode: int = 0o600, durable: bool = False, concurrent: bool = False
) -> Iterator[Path]:
    """Yield a new, empty file beside ``path``; rename it to ``path`` if the block succeeds.

    For writers that need a file name, such as SQLite or OpenCV; see ``write_atomically``. The
    name ends like ``path``, because some of them choose the format by the suffix.

    Raises:
        OSError: The file cannot be written; the old content is unchanged.
    """
    unfinished = unfinished_path(path, secrets.token_hex(6) if concurrent else "")
    unfinished.unlink(missing_ok=True)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            # A mounted share may not let us: then its own rules apply.
            with suppress(PermissionError):
                os.fchmod(fd, mode)
        finally:
            os.close(fd)
        yield unfinished
        if durable:
            sync(unfinished)
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def unfinished_path(path: Path, tag: str = "") -> Path:
    """Return where ``replacing`` writes; one writer at a time needs no ``tag``."""
    return path.with_name(f"{UNFINISHED}{tag and tag + '-'}{path.name}")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a power failure."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a lock on a file, which is created if it is missing; yield its descriptor.

    The kernel releases the lock when the process ends, however it ends.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The file cannot be opened for writing.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd
    finally:
        os.close(fd)


def rename_exclusively(source_fd: int, name: str, target_fd: int, new_name: str) -> None:
    """Rename an entry of one folder to one of another, which must not exist.

    Raises:
        FileExistsError: The new name is taken.
        OSError: As for ``os.rename``.
    """
    names = os.fsencode(name), os.fsencode(new_name)
    try:
        expect_success(libc.renameat2(source_fd, names[0], target_fd, names[1], _RENAME_NOREPLACE))
        return
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(error.errno, error.strerror, name, None, new_name) from None
    # This file system cannot do it at once.
    with suppress(FileNotFoundError):
        os.stat(new_name, dir_fd=target_fd, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
    os.rename(name, new_name, src_dir_fd=source_fd, dst_dir_fd=target_fd)


def identify(fd: int) -> tuple[int, int]:
    """Return device and inode of what a descriptor refers to."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
