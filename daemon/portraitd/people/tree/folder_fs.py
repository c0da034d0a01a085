"""Looking and writing in one folder through its descriptor.

A descriptor stays with its folder: when a human renames the folder in the middle of a write,
the write lands in the renamed folder. No link is ever followed below the root.
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
"""Hidden names in the tree that are portraitd's own."""

UNFINISHED = f"{OWN_PREFIX}new-"
"""What is being written; whatever has this name at the start of a publish is stale."""

_GIVEN_NAME = re.compile(r"person-[0-9]{4,}")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Written(NamedTuple):
    """A file as it lies there."""

    sha256: str
    size: int
    mtime_ns: int


@contextmanager
def opened_root(root: Path) -> Iterator[int]:
    """The descriptor of the tree's root, which may itself be reached through a link."""
    fd = os.open(root, _FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened(location: str, root_fd: int) -> Iterator[int]:
    """The descriptor of a folder, one component at a time: none of them may be a link."""
    fd = open_below(root_fd, location.split("/"))
    try:
        yield fd
    finally:
        os.close(fd)


def identity(fd: int) -> int:
    """The inode of an open folder: what stays when it is renamed."""
    return os.fstat(fd).st_ino


def exists(fd: int, name: str) -> bool:
    """Whether anything has this name, a dangling link included."""
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def reading(fd: int, name: str) -> Iterator[BinaryIO | None]:
    """A file to read from; None if there is none or it is not a regular file."""
    try:
        # Not blocking: a pipe of this name would else be waited on for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file_fd = os.open(name, flags, dir_fd=fd)
    except OSError:
        yield None
        return
    with open(file_fd, "rb") as file:
        yield file if stat.S_ISREG(os.fstat(file_fd).st_mode) else None


def read_regular(fd: int, name: str) -> bytes | None:
    """The content of a file; None if there is none or it is not a regular file."""
    with reading(fd, name) as file:
        return file.read() if file else None


def as_written(fd: int, name: str, data: bytes) -> Written:
    """What to remember of a file that holds ``data``."""
    facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
    return Written(digest(data), facts.st_size, facts.st_mtime_ns)


def digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def is_as_written(fd: int, name: str, written: Written) -> bool:
    """Whether a file is still what was written: by size and time, or else by content.

    A copy restored from a backup has another time and the same content: nobody changed it.
    """
    try:
        facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != written.size:
        return False
    if facts.st_mtime_ns == written.mtime_ns:
        return True
    data = read_regular(fd, name)
    return data is not None and digest(data) == written.sha256


def write_whole(fd: int, name: str, data: bytes, mode: int, *, lasts: bool = False) -> Written:
    """Write a file beside and rename it: it is the old one or the new one, never a part.

    Args:
        lasts: Whether to wait until the content would outlast a power cut.

    Raises:
        OSError: If it cannot be written; then the old one is still there.
    """
    unfinished = UNFINISHED + name
    with contextlib.suppress(FileNotFoundError):
        os.unlink(unfinished, dir_fd=fd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file_fd = os.open(unfinished, flags, 0o600, dir_fd=fd)
    try:
        with open(file_fd, "wb") as file:
            file.write(data)
            file.flush()
            set_mode(file_fd, mode)
            if lasts:
                os.fsync(file_fd)
            facts = os.fstat(file_fd)
        os.rename(unfinished, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished, dir_fd=fd)
        raise
    return Written(digest(data), facts.st_size, facts.st_mtime_ns)


def make_hidden(number: int, root_fd: int, mode: int) -> str:
    """Make the folder in which a new one is built out of sight; returns its name."""
    name = f"{UNFINISHED}{number}"
    while exists(root_fd, name):
        name += "-"
    # With its rights from the start: where they may not be set, the parent's group is inherited.
    os.mkdir(name, mode & 0o777, dir_fd=root_fd)
    with opened(name, root_fd) as fd:
        set_mode(fd, mode)
    return name


def set_mode(fd: int, mode: int) -> None:
    """Set the mode outright; a service's umask would take the group's rights away."""
    # A mounted share may not let us: then its own rules hold.
    with contextlib.suppress(PermissionError):
        os.fchmod(fd, mode)


def sweep(fd: int) -> None:
    """Remove what an interrupted publish left unfinished in a folder."""
    for name in os.listdir(fd):
        if not name.startswith(UNFINISHED):
            continue
        facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISDIR(facts.st_mode):
            os.unlink(name, dir_fd=fd)
            continue
        with opened(name, fd) as unfinished_fd:
            for inner in os.listdir(unfinished_fd):
                # A folder in there is not ours, and keeps it from being removed.
                with contextlib.suppress(IsADirectoryError, PermissionError):
                    os.unlink(inner, dir_fd=unfinished_fd)
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=fd)


def remove_emptied(fd: int, known: Collection[int]) -> None:
    """Remove folders that a removal emptied and could not end: nothing is in them, no note either.

    Only under the names that portraitd gives; one that a human named may be meant.

    Args:
        fd: The folder they lie in.
        known: Inodes of folders that are somebody's, whom a human may just have emptied.
    """
    for name in os.listdir(fd):
        if _GIVEN_NAME.fullmatch(name):
            with contextlib.suppress(OSError):
                if os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino not in known:
                    os.rmdir(name, dir_fd=fd)
