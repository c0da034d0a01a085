"""Read and write one folder through its descriptor.

A descriptor stays with its folder: if a reviewer renames the folder in the middle of a write, the
write ends up in the renamed folder. No link is followed below the root.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from portraitd.media.fs import open_below

OWN_PREFIX = ".portraitd-"
"""Start of the hidden names that are portraitd's own."""

UNFINISHED = f"{OWN_PREFIX}new-"
"""Start of the name of a file or folder that is being written. At the start of a publish, what
has such a name is left over from an interrupted one."""

_MAX_UNFINISHED_BYTES = 200
"""Length of the rest of such a name, so that it is valid for any name that is valid itself."""

_NUMBERED_NAME = re.compile(r"person-[0-9]{4,}")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class WrittenFile(NamedTuple):
    """A file as it was written. An empty hash means that only size and time are compared."""

    sha256: str
    size: int
    mtime_ns: int


@contextmanager
def open_root(root: Path) -> Iterator[int]:
    """Open the tree's root, which may itself be a link; gives its descriptor."""
    fd = os.open(root, _FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def open_folder(location: str, root_fd: int) -> Iterator[int]:
    """Open a folder below the root, no part of which may be a link; gives its descriptor."""
    fd = open_below(root_fd, location.split("/"))
    try:
        yield fd
    finally:
        os.close(fd)


def inode_of(fd: int) -> int:
    """Return the inode of an open folder, which a rename does not change."""
    return os.fstat(fd).st_ino


def entry_exists(fd: int, name: str) -> bool:
    """Return whether any entry has this name, including a dangling link."""
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def open_regular(fd: int, name: str) -> Iterator[BinaryIO | None]:
    """Open a file for reading; None if it is missing or not a regular file."""
    try:
        # Non-blocking: opening a pipe of this name would otherwise wait for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file_fd = os.open(name, flags, dir_fd=fd)
    except OSError:
        yield None
        return
    with open(file_fd, "rb") as file:
        yield file if stat.S_ISREG(os.fstat(file_fd).st_mode) else None


def read_regular(fd: int, name: str) -> bytes | None:
    """Return the content of a file; None if it is missing or not a regular file."""
    with open_regular(fd, name) as file:
        return file.read() if file else None


def stat_written(fd: int, name: str, data: bytes) -> WrittenFile:
    """Return what to record of a file that holds ``data``."""
    facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
    return WrittenFile(digest(data), facts.st_size, facts.st_mtime_ns)


def digest(data: bytes) -> str:
    """Return the SHA-256 hash as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def is_unchanged(fd: int, name: str, written: WrittenFile) -> bool:
    """Return whether a file is still as it was written, by size and time, or else by content.

    A copy restored from a backup has another time and the same content: it is unchanged.
    """
    try:
        facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != written.size:
        return False
    if facts.st_mtime_ns == written.mtime_ns:
        return True
    if not written.sha256:
        return False
    data = read_regular(fd, name)
    return data is not None and digest(data) == written.sha256


def unfinished_name(name: str) -> str:
    """Return the name under which a file is written before it is renamed.

    Args:
        name: The file's name, or its path below the folder.
    """
    parent, slash, leaf = name.rpartition("/")
    short = os.fsdecode(os.fsencode(leaf)[:_MAX_UNFINISHED_BYTES])
    return f"{parent}{slash}{UNFINISHED}{short}"


def replace_file(
    fd: int, name: str, data: bytes, mode: int, *, durable: bool = False
) -> WrittenFile:
    """Write a file beside its target and rename it: readers see the old file or the new one.

    Args:
        name: The file's name, or its path below the folder.
        durable: Whether to wait until the content would survive a power cut.

    Raises:
        OSError: If it cannot be written; then the old file is still there.
    """
    unfinished = unfinished_name(name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(unfinished, dir_fd=fd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file_fd = os.open(unfinished, flags, 0o600, dir_fd=fd)
    try:
        with open(file_fd, "wb") as file:
            file.write(data)
            file.flush()
            set_mode(file_fd, mode)
            if durable:
                os.fsync(file_fd)
            facts = os.fstat(file_fd)
        os.rename(unfinished, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished, dir_fd=fd)
        raise
    return WrittenFile(digest(data), facts.st_size, facts.st_mtime_ns)


def make_hidden(number: int, root_fd: int, mode: int) -> str:
    """Make the hidden folder in which a new one is built; return its name."""
    name = f"{UNFINISHED}{number}"
    while entry_exists(root_fd, name):
        name += "-"
    # With its mode from the start: where it may not be set, the parent's group is inherited.
    os.mkdir(name, mode & 0o777, dir_fd=root_fd)
    with open_folder(name, root_fd) as fd:
        set_mode(fd, mode)
    return name


def set_mode(fd: int, mode: int) -> None:
    """Set the mode explicitly; a service's umask would remove the group's permissions."""
    # A mounted share may not allow it: then its own rules apply.
    with contextlib.suppress(PermissionError):
        os.fchmod(fd, mode)


def remove_unfinished(fd: int) -> None:
    """Remove what an interrupted publish left unfinished in a folder."""
    for name in os.listdir(fd):
        if not name.startswith(UNFINISHED):
            continue
        facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISDIR(facts.st_mode):
            os.unlink(name, dir_fd=fd)
            continue
        with open_folder(name, fd) as unfinished_fd:
            for inner in os.listdir(unfinished_fd):
                # A folder in there is not ours, and keeps this one from being removed.
                with contextlib.suppress(IsADirectoryError, PermissionError):
                    os.unlink(inner, dir_fd=unfinished_fd)
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=fd)


def remove_empty_folders(fd: int, known: Collection[int]) -> None:
    """Remove folders that an interrupted removal left empty, without even a manifest.

    Only those with a name that portraitd gives; a reviewer may have made any other one on purpose.

    Args:
        fd: The folder they are in.
        known: Inodes of people's folders, which a reviewer may just have emptied.
    """
    for name in os.listdir(fd):
        if _NUMBERED_NAME.fullmatch(name):
            with contextlib.suppress(OSError):
                if os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino not in known:
                    os.rmdir(name, dir_fd=fd)
