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

from portraitd.media.fs import open_below
from portraitd.model.ignored_names import is_ignored
from portraitd.model.media_file import Stamp
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode

_IRREGULAR = (
    (stat.S_ISLNK, ReasonCode.SYMBOLIC_LINK),
    (stat.S_ISFIFO, ReasonCode.PIPE),
    (stat.S_ISSOCK, ReasonCode.SOCKET),
    (stat.S_ISCHR, ReasonCode.DEVICE),
    (stat.S_ISBLK, ReasonCode.DEVICE),
)


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
    try:
        root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        yield Found(Path(), None, _cannot_list(error))
        return
    try:
        pending = [Path()]
        while pending:
            subfolders: list[Path] = []
            yield from _scan_one(root_fd, pending.pop(), frozenset(skip), subfolders)
            pending.extend(reversed(subfolders))
    finally:
        os.close(root_fd)


def scan_file(path: Path) -> Found | None:
    """Return what ``scan_folder`` would find at one path, without scanning its folder.

    Returns:
        The entry with the bare name as its path; None if there is no file, or its name is
        ignored.
    """
    if is_ignored(path.name):
        return None
    try:
        folder_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.stat(path.name, dir_fd=folder_fd, follow_symlinks=False)
        return _found(Path(path.name), facts, folder_fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Found(Path(path.name), None, _cannot_read(error))
    finally:
        os.close(folder_fd)


def _scan_one(
    root_fd: int, folder: Path, skip: frozenset[Path], subfolders: list[Path]
) -> Iterator[Found]:
    """Find the entries of one folder; append its subfolders to ``subfolders``."""
    try:
        # From the root each time: a descriptor kept for each level would limit the depth.
        folder_fd = open_below(root_fd, folder.parts)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Found(folder, None, _cannot_list(error))
        return
    try:
        with os.scandir(folder_fd) as entries:
            names = sorted(entry.name for entry in entries if not is_ignored(entry.name))
        for name in names:
            path = folder / name
            if path in skip:
                continue
            try:
                facts = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield Found(path, None, _cannot_read(error))
                continue
            if stat.S_ISDIR(facts.st_mode):
                subfolders.append(path)
            else:
                yield _found(path, facts, folder_fd)
    except OSError as error:
        yield Found(folder, None, _cannot_list(error))
    finally:
        os.close(folder_fd)


def _found(path: Path, facts: os.stat_result, folder_fd: int) -> Found:
    if stat.S_ISREG(facts.st_mode):
        if not os.access(path.name, os.R_OK, dir_fd=folder_fd):
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
        return Stamp.of(os.stat(place)) == stamp
    except OSError:
        return False
