"""Read and write one folder through its descriptor.

A descriptor stays with its folder: if a reviewer renames the folder in the middle of a write, the
write ends up in the renamed folder. No link is followed below the root.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from portraitd.model.errors import PublishError
from portraitd.model.wording import escape_unprintable
from portraitd.workers.paths_without_links import open_below

OWN_PREFIX = ".portraitd-"
"""Start of the hidden names that are portraitd's own."""

UNFINISHED = f"{OWN_PREFIX}new-"
"""Start of the name of a file or folder that is being written. At the start of a publish, what
has such a name is left over from an interrupted one."""

MAX_NOTE_BYTES = 64 << 20
"""Longest manifest that is read: that of a folder with 200,000 portraits. A longer one, such as a
sparse file of a terabyte, was not written by portraitd."""

MAX_PORTRAIT_BYTES = 64 << 20
"""Longest file that can be a portrait; those of portraitd have some ten kilobytes."""

MAX_ANNOTATION_BYTES = 4096

_MAX_HASHED_BYTES = 256 << 20
"""Longest file whose content is compared with what was written."""

_CHUNK_BYTES = 1 << 20

_MAX_UNFINISHED_BYTES = 180
"""Length of the rest of such a name, so that it is valid for any name that is valid itself."""

_NUMBERED_NAME = re.compile(r"person-[0-9]{4,}")

_HIDDEN_FOLDER = re.compile(re.escape(UNFINISHED) + r"-?[0-9]+-*")
"""Name of a folder that is being built; see ``make_hidden``."""

_BUILT_FILE = re.compile(
    r"[0-9]{6,}( \(portraitd[ 0-9]*\))?\.(jpg|txt)|montage\.jpg|\.person\.json"
)
"""Names of the files in it."""

_DEFAULT_ACL_NAME = "system.posix_acl_default"

_ACL_VERSION, _ANY_ID = 2, 0xFFFFFFFF
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
"""See acl(5) and linux/posix_acl_xattr.h."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_NO_MODES = frozenset({errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of file systems that do not keep modes, or not this one."""


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


@contextmanager
def open_parent(path: str, root_fd: int) -> Iterator[tuple[int, str]]:
    """Open the folder that an entry below the root is in, no part of which may be a link.

    Gives its descriptor, and the name of the entry.
    """
    parent, _, name = path.rpartition("/")
    if not parent:
        yield root_fd, name
        return
    with open_folder(parent, root_fd) as fd:
        yield fd, name


@contextmanager
def raise_as_publish_error(folder: Path) -> Iterator[None]:
    """Raise an error of the file system as a PublishError that names the path below a folder."""
    try:
        yield
    except OSError as error:
        where = folder / error.filename if isinstance(error.filename, str) else folder
        text = f"{where}: {error.strerror or error}"
        raise PublishError(escape_unprintable(text)) from error


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
    """Open a file for reading; None if it is missing, unreadable or not a regular file."""
    file_fd = _open_regular(fd, name)
    if file_fd is None:
        yield None
        return
    with open(file_fd, "rb") as file:
        yield file


def _open_regular(fd: int, name: str) -> int | None:
    try:
        # Asked first: opening a device may have an effect.
        if not stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            return None
        # Non-blocking: it may have become a pipe, which would otherwise wait for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file_fd = os.open(name, flags, dir_fd=fd)
    except (OSError, ValueError):
        # A name that no file can have, such as one with half of a surrogate pair, is missing.
        return None
    if not stat.S_ISREG(os.fstat(file_fd).st_mode):
        os.close(file_fd)
        return None
    return file_fd


def read_regular(fd: int, name: str, max_bytes: int) -> bytes | None:
    """Return the content of a file; None if it is missing, too long or not a regular file.

    The size is checked before anything is read.
    """
    with open_regular(fd, name) as file:
        if file is None or os.fstat(file.fileno()).st_size > max_bytes:
            return None
        # It may grow meanwhile.
        data = file.read(max_bytes + 1)
        return data if len(data) <= max_bytes else None


def holds(fd: int, name: str, data: bytes) -> bool:
    """Return whether a file has exactly this content."""
    return read_regular(fd, name, len(data)) == data


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
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != written.size:
        return False
    if facts.st_mtime_ns == written.mtime_ns:
        return True
    if not written.sha256 or written.size > _MAX_HASHED_BYTES:
        return False
    with open_regular(fd, name) as file:
        return file is not None and _hash(file, written.size) == written.sha256


def _hash(file: BinaryIO, size: int) -> str:
    """Return the SHA-256 hash of a file; empty if its size is another one."""
    sha256, left = hashlib.sha256(), size
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        sha256.update(chunk)
        left -= len(chunk)
    return "" if left or file.read(1) else sha256.hexdigest()


def unfinished_name(name: str) -> str:
    """Return the name under which a file is written before it is renamed."""
    return f"{UNFINISHED}{os.fsdecode(os.fsencode(name)[:_MAX_UNFINISHED_BYTES])}"


def create_unfinished(fd: int, name: str) -> tuple[str, int]:
    """Create an empty file beside its target, to be renamed when it is complete.

    Returns:
        Its name, and a descriptor for writing, which the caller closes.
    """
    unfinished = unfinished_name(name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=fd)
        return unfinished, os.open(unfinished, flags, 0o600, dir_fd=fd)
    except (IsADirectoryError, FileExistsError, PermissionError):
        # Something that is not a file has the name, or cannot be removed.
        unfinished = unfinished_name(f"{secrets.token_hex(8)}-{name}")
        return unfinished, os.open(unfinished, flags, 0o600, dir_fd=fd)


def replace_file(
    fd: int, name: str, data: bytes, mode: int, *, durable: bool = False
) -> WrittenFile:
    """Write a file beside its target and rename it: readers see the old file or the new one.

    Args:
        durable: Whether to wait until the content would survive a power cut.

    Raises:
        OSError: If it cannot be written; then the old file is still there.
    """
    unfinished, file_fd = create_unfinished(fd, name)
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


def move_folder_aside(fd: int, name: str) -> str:
    """Give a folder, or a link, in the place of one of our own another name; remove an empty one.

    What others put into it stays, and is theirs.

    Returns:
        The new name; empty if it was removed.
    """
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=fd)
        return ""
    aside = f"{name.lstrip('.')} {secrets.token_hex(4)}"
    os.rename(name, aside, src_dir_fd=fd, dst_dir_fd=fd)
    return aside


def make_folder(fd: int, name: str, mode: int) -> None:
    """Make a folder with its mode, whatever the umask is.

    Raises:
        FileExistsError: Something has the name.
        OSError: It cannot be made.
    """
    os.mkdir(name, mode & 0o777, dir_fd=fd)
    with open_folder(name, fd) as made_fd:
        # Another one may have been put in its place meanwhile.
        if not os.listdir(made_fd):
            set_mode(made_fd, mode)
            if mode & stat.S_IWGRP:
                share_with_group(made_fd)


@contextmanager
def open_made(location: str, root_fd: int, mode: int) -> Iterator[int]:
    """Open a folder below the root, and make what is missing on the way; gives its descriptor.

    Raises:
        OSError: A part is a link or no folder, or cannot be made.
    """
    fd = os.dup(root_fd)
    try:
        for part in location.split("/") if location != "." else ():
            with contextlib.suppress(FileExistsError):
                make_folder(fd, part, mode)
            inner_fd = open_below(fd, [part])
            os.close(fd)
            fd = inner_fd
        yield fd
    finally:
        os.close(fd)


def make_hidden(number: int, root_fd: int, mode: int) -> str:
    """Make the hidden folder in which a new one is built; return its name."""
    name = f"{UNFINISHED}{number}"
    while entry_exists(root_fd, name):
        name += "-"
    make_folder(root_fd, name, mode)
    return name


def set_mode(fd: int, mode: int) -> None:
    """Set the mode explicitly; a service's umask would remove the group's permissions."""
    # A service that may not set the group bit (RestrictSUIDSGID) sets the others; the group is
    # inherited. A mounted share may allow neither: then its own rules apply.
    for allowed in (mode, stat.S_IMODE(os.fstat(fd).st_mode) & 0o7000 | mode & 0o777):
        try:
            os.fchmod(fd, allowed)
        except OSError as error:
            if error.errno not in _NO_MODES:
                raise
            continue
        return


def share_with_group(fd: int) -> None:
    """Make what others create in a folder writable for its group and for portraitd.

    A reviewer's umask of 022 would otherwise make folders that portraitd cannot write, and so
    would a reviewer's own group. New folders inherit this default ACL. Nothing happens on file
    systems without such lists, in a folder of another owner, or where there is one already.
    """
    with contextlib.suppress(OSError):
        if _DEFAULT_ACL_NAME not in os.listxattr(fd):
            os.setxattr(fd, _DEFAULT_ACL_NAME, _pack_acl(os.geteuid()))


def _pack_acl(user: int) -> bytes:
    """Return a default ACL: all for the owner, a user and the group, nothing for others."""
    entries = [(_USER_OBJ, 7, _ANY_ID), (_USER, 7, user), (_GROUP_OBJ, 7, _ANY_ID)]
    entries += [(_MASK, 7, _ANY_ID), (_OTHER, 0, _ANY_ID)]
    packed = b"".join(struct.pack("<HHI", *entry) for entry in entries)
    return struct.pack("<I", _ACL_VERSION) + packed


def remove_unfinished(fd: int) -> None:
    """Remove what an interrupted publish left unfinished in a folder.

    What portraitd does not write under such a name stays: links, pipes, folders of others.
    """
    for name in os.listdir(fd):
        if not name.startswith(UNFINISHED):
            continue
        with contextlib.suppress(OSError):
            facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(facts.st_mode):
                os.unlink(name, dir_fd=fd)
            elif stat.S_ISDIR(facts.st_mode) and _HIDDEN_FOLDER.fullmatch(name):
                with open_folder(name, fd) as unfinished_fd:
                    _empty_unfinished(unfinished_fd)
                os.rmdir(name, dir_fd=fd)


def _empty_unfinished(fd: int) -> None:
    """Remove the files of a folder that was being built; a file of another name is not ours."""
    names = os.listdir(fd)
    if all(_BUILT_FILE.fullmatch(name) or name.startswith(UNFINISHED) for name in names):
        for name in names:
            with contextlib.suppress(IsADirectoryError, PermissionError):
                os.unlink(name, dir_fd=fd)


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
