"""The file primitives that all packages share: atomic writes, locks, folders opened without links.

The people tree, which other programs write to as well, works through directory descriptors and
has its own writer in `people.tree.folder_fs`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from portraitd.model.errors import PortraitdError
from portraitd.workers.libc import expect_success, libc

UNFINISHED = ".new-"
"""Files whose name begins with this are being written, or are left from an interrupted write."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

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


def open_below(root_fd: int, parts: Iterable[str], create: bool = False) -> int:
    """Open a folder below another one, component by component, so that none can be a link.

    Args:
        root_fd: Descriptor of the folder to start from.
        parts: Names of the folders on the way; none for the folder itself.
        create: Whether to create the folders that are missing.

    Returns:
        A descriptor of its own, which the caller closes.

    Raises:
        OSError: A component is missing, is not a folder, or is a link.
    """
    current = os.open(".", _FOLDER, dir_fd=root_fd)
    for part in parts:
        try:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=current)
            following = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=current)
        finally:
            os.close(current)
        current = following
    return current


def open_file_below(root: Path, path: Path) -> int:
    """Open a file below a folder for reading; neither it nor a folder on the way is a link.

    Does not wait for the writer of a pipe.

    Args:
        root: The folder; it may itself be reached through a link.
        path: Below the folder.

    Raises:
        OSError: It cannot be opened; ELOOP or ENOTDIR for a link.
    """
    *folders, name = str(path).split("/")
    root_fd = os.open(root, _FOLDER)
    try:
        folder_fd = open_below(root_fd, folders)
    finally:
        os.close(root_fd)
    try:
        return os.open(name, _TO_READ, dir_fd=folder_fd)
    finally:
        os.close(folder_fd)


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
