"""What lies in the inbox, and what of it has stopped changing.

Looking is the truth: an event may be lost, a look is not. Nothing is opened here except
folders, and no link is ever followed. What a file *is* gets decided by its content, later
and in another process.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from portraitd.media.fs import open_below
from portraitd.model.media_file import Stamp

_UNFIT_KINDS = (
    (stat.S_ISLNK, "a symbolic link; links are not followed"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """Something that lies there: either a regular file with its stamp, or a reason why not.

    Attributes:
        path: Below the folder looked at; bytes that are not UTF-8 are surrogate-escaped.
            The folder itself is ``Path(".")``.
        stamp: Of a regular file that may be read; None for everything else.
        reason: Why it cannot be taken, for a person to read; None for a regular file.
    """

    path: Path
    stamp: Stamp | None
    reason: str | None


def is_ignored(name: str) -> bool:
    """Whether a name is temporary, hidden or litter of a file server.

    Args:
        name: A file name or a relative path; one ignored component is enough.
    """
    return any(_IGNORED.match(part.lower()) for part in name.split("/") if part not in ("", "."))


def scan_folder(root: Path, skip: Collection[Path] = ()) -> Iterator[Found]:
    """Everything below a folder that is not ignored, in the order of names.

    A folder that cannot be listed is one finding with a reason; the others go on. What
    vanishes while looking is left out.

    Args:
        root: The folder; it may itself be reached through a link.
        skip: Paths below ``root`` that are not looked at, such as ``Path("processed")``.
    """
    try:
        root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        yield Found(Path(), None, _cannot_be_listed(error))
        return
    try:
        waiting = [Path()]
        while waiting:
            below: list[Path] = []
            yield from _look_into(root_fd, waiting.pop(), frozenset(skip), below)
            waiting.extend(reversed(below))
    finally:
        os.close(root_fd)


def scan_file(path: Path) -> Found | None:
    """What ``scan_folder`` would find under one name in a folder; nothing else in it is looked at.

    Returns:
        With the bare name as its path; None if nothing lies there, or its name is ignored.
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
        return Found(Path(path.name), None, _cannot_be_read(error))
    finally:
        os.close(folder_fd)


def _look_into(
    root_fd: int, folder: Path, skip: frozenset[Path], below: list[Path]
) -> Iterator[Found]:
    """The findings of one folder; its subfolders are appended to ``below``."""
    try:
        # From the root each time: a descriptor kept for each level would limit the depth.
        folder_fd = open_below(root_fd, folder.parts)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Found(folder, None, _cannot_be_listed(error))
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
                yield Found(path, None, _cannot_be_read(error))
                continue
            if stat.S_ISDIR(facts.st_mode):
                below.append(path)
            else:
                yield _found(path, facts, folder_fd)
    except OSError as error:
        yield Found(folder, None, _cannot_be_listed(error))
    finally:
        os.close(folder_fd)


def _found(path: Path, facts: os.stat_result, folder_fd: int) -> Found:
    if stat.S_ISREG(facts.st_mode):
        if not os.access(path.name, os.R_OK, dir_fd=folder_fd):
            return Found(path, None, "cannot be read: Permission denied")
        return Found(path, Stamp.of(facts), None)
    for is_kind, reason in _UNFIT_KINDS:
        if is_kind(facts.st_mode):
            return Found(path, None, reason)
    return Found(path, None, "not a regular file")


def _cannot_be_listed(error: OSError) -> str:
    return f"cannot be listed: {error.strerror or error}"


def _cannot_be_read(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"
