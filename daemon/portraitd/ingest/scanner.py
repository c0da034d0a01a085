"""Scan a folder for files, without opening them.

Scans decide what is there: an event may be lost, a file is found by the next scan. Only folders
are opened, and no link is ever followed. What a file contains is read later, in a worker.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from portraitd.media.fs import identify
from portraitd.model.ignored_names import is_ignored
from portraitd.model.media_file import Stamp
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.workers.paths_without_links import open_below

_IRREGULAR = (
    (stat.S_ISLNK, ReasonCode.SYMBOLIC_LINK),
    (stat.S_ISFIFO, ReasonCode.PIPE),
    (stat.S_ISSOCK, ReasonCode.SOCKET),
    (stat.S_ISCHR, ReasonCode.DEVICE),
    (stat.S_ISBLK, ReasonCode.DEVICE),
)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

PATH_MAX = 4096
"""The longest path that Linux opens."""

MAX_OPEN_FOLDERS = 32


@dataclass(frozen=True, slots=True)
class Found:
    """A directory entry: a regular file with its stamp, or the reason why it is not one.

    Attributes:
        path: Below the scanned folder; bytes that are not UTF-8 are surrogate-escaped.
            The folder itself is ``Path(".")``.
        stamp: Stamp of a regular file that may be read; None for everything else.
        reason: Why the entry cannot be processed; ``NO_REASON`` for a regular file.
    """

    path: Path
    stamp: Stamp | None
    reason: Reason = NO_REASON


def scan_folder(root: Path, skip: Collection[Path] = ()) -> Iterator[Found]:
    """Find everything below a folder that is not ignored, in the order of names.

    A folder that cannot be listed is one entry with a reason; the scan continues. Files that
    disappear during the scan are left out.

    Args:
        root: The folder; it may itself be reached through a link.
        skip: Paths below ``root`` to leave out, such as ``Path("processed")``.
    """
    return (found for found in scan_in_steps(root, skip) if found is not None)


def scan_in_steps(root: Path, skip: Collection[Path] = ()) -> Iterator[Found | None]:
    """Do what ``scan_folder`` does, and yield None after each folder, whatever is in it."""
    try:
        root_fd = os.open(root, _FOLDER)
    except OSError as error:
        yield Found(Path(), None, _cannot_list(error))
        return
    skipped = frozenset(str(path) for path in skip)
    longest = PATH_MAX - len(os.fsencode(os.path.abspath(root))) - 2  # noqa: PTH100 - bytes count
    levels = [_Level("", root_fd)]
    try:
        yield from _scan_one(levels[0], skipped)
        while levels:
            level = levels[-1]
            if not level.subfolders:
                levels.pop()
                if levels:
                    levels[-1].reopen(level.fd, root_fd)
                os.close(level.fd)
                continue
            name = level.subfolders.pop()
            path = f"{level.path}/{name}" if level.path else name
            try:
                if len(os.fsencode(path)) > longest:
                    # Nothing in it can be opened by its path.
                    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
                folder_fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=level.fd)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield Found(Path(path), None, _cannot_list(error))
                continue
            levels.append(_Level(path, folder_fd))
            if len(levels) > MAX_OPEN_FOLDERS:
                levels[-MAX_OPEN_FOLDERS].suspend()
            yield from _scan_one(levels[-1], skipped)
            yield None
    finally:
        for level in levels:
            level.suspend()


class _Level:
    """A folder on the way from the root to the one that is scanned.

    Attributes:
        path: Below the root; empty for the root.
        fd: Its descriptor; -1 while it is suspended.
        subfolders: Names that are still to be scanned, the last one first.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.subfolders: list[str] = []
        self._identity = identify(fd)

    def suspend(self) -> None:
        """Close the folder: the number of open files limits no depth."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def reopen(self, child_fd: int, root_fd: int) -> None:
        """Open the folder again, from a folder in it, which may have been moved."""
        if self.fd >= 0:
            return
        try:
            self.fd = os.open("..", _FOLDER, dir_fd=child_fd)
            if identify(self.fd) == self._identity:
                return
            self.suspend()
            self.fd = open_below(root_fd, self.path.split("/"))
        except OSError:
            # What is left in it is found by the next scan, if it is still there.
            self.fd = os.open(".", _FOLDER, dir_fd=root_fd)
            self.subfolders.clear()


def scan_file(path: Path) -> Found | None:
    """Return what ``scan_folder`` would find at one path, without scanning its folder.

    Returns:
        The entry with the bare name as its path; None if there is no file, or its name is
        ignored.
    """
    if is_ignored(path.name):
        return None
    try:
        folder_fd = os.open(path.parent, _FOLDER)
    except OSError:
        return None
    try:
        facts = os.stat(path.name, dir_fd=folder_fd, follow_symlinks=False)
        return _found(Path(path.name), path.name, facts, folder_fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Found(Path(path.name), None, _cannot_read(error))
    finally:
        os.close(folder_fd)


def _scan_one(level: _Level, skip: frozenset[str]) -> Iterator[Found]:
    """Find the entries of one folder, and note its subfolders."""
    before = f"{level.path}/" if level.path else ""
    subfolders = []
    try:
        with os.scandir(level.fd) as entries:
            names = sorted(entry.name for entry in entries if not is_ignored(entry.name))
        for name in names:
            path = before + name
            if path in skip:
                continue
            try:
                facts = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield Found(Path(path), None, _cannot_read(error))
                continue
            if stat.S_ISDIR(facts.st_mode):
                subfolders.append(name)
            else:
                yield _found(Path(path), name, facts, level.fd)
    except OSError as error:
        yield Found(Path(level.path), None, _cannot_list(error))
    level.subfolders = subfolders[::-1]


def _found(path: Path, name: str, facts: os.stat_result, folder_fd: int) -> Found:
    if stat.S_ISREG(facts.st_mode):
        if not os.access(name, os.R_OK, dir_fd=folder_fd):
            denied = OSError(errno.EACCES, os.strerror(errno.EACCES))
            return Found(path, None, _cannot_read(denied))
        return Found(path, Stamp.of(facts))
    for is_kind, code in _IRREGULAR:
        if is_kind(facts.st_mode):
            return Found(path, None, Reason.of(code))
    return Found(path, None, Reason.of(ReasonCode.NOT_A_REGULAR_FILE))


def _cannot_list(error: OSError) -> Reason:
    return Reason.of(ReasonCode.CANNOT_LIST, error=error.strerror or error)


def _cannot_read(error: OSError) -> Reason:
    return Reason.of(ReasonCode.CANNOT_READ, error=error.strerror or error)


def is_unchanged(place: Path, stamp: Stamp) -> bool:
    """Return whether a file is there with the stamp that it had."""
    try:
        return Stamp.of(os.stat(place, follow_symlinks=False)).is_same(stamp)
    except OSError:
        return False
