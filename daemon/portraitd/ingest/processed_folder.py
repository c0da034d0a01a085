"""Move done files to ``processed/`` in the inbox: never elsewhere, never over another file.

Other people and programs write to the inbox. Each folder on the way is opened from its parent
without following a link, and the file is moved from one open folder to the other.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from portraitd.media.fs import identify, rename_exclusively
from portraitd.model.media_file import Stamp
from portraitd.workers.paths_without_links import open_below

PROCESSED = Path("processed")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_MAX_NAMES = 10_000

_MAX_NAME_BYTES = 255
"""What file systems allow."""

_MAX_SUFFIX_BYTES = 32
"""A longer one is no suffix, but a part of the name."""


class ProcessedFolder:
    """The folder for done files.

    Args:
        inbox_dir: The inbox.
    """

    def __init__(self, inbox_dir: Path) -> None:
        self._inbox_dir = inbox_dir
        self._numbers: dict[Path, int] = {}

    def move(self, path: Path, stamp: Stamp, is_used: Callable[[Path], bool]) -> Path:
        """Move a file, to the first ``name (2).mp4`` that was never used.

        Args:
            path: Of the file, below the inbox.
            stamp: What it must have.
            is_used: Returns whether a path below the inbox is that of a known file.

        Returns:
            Its new path below the inbox.

        Raises:
            FileNotFoundError: The file is not there any more, or is another one.
            OSError: It cannot be moved.
        """
        target = PROCESSED / path
        with ExitStack() as stack:

            def opened(fd: int) -> int:
                stack.callback(os.close, fd)
                return fd

            inbox_fd = opened(os.open(self._inbox_dir, _FOLDER))
            source_fd = opened(open_below(inbox_fd, path.parent.parts))
            status = os.stat(path.name, dir_fd=source_fd, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode) or not Stamp.of(status).is_same(stamp):
                raise FileNotFoundError(errno.ENOENT, "another file has its name", str(path))
            target_fd = opened(open_below(inbox_fd, target.parent.parts, create=True))
            for number in range(self._numbers.get(target, 1), _MAX_NAMES):
                name = _numbered(target, number)
                if is_used(target.with_name(name)):
                    continue
                try:
                    rename_exclusively(source_fd, path.name, target_fd, name)
                except FileExistsError:
                    continue
                break
            else:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            if not _leads_to(inbox_fd, target.parent, target_fd):
                # The folder was moved away while it was open, and the file with it.
                rename_exclusively(target_fd, name, source_fd, path.name)
                raise OSError(errno.ELOOP, "the folder was replaced meanwhile", str(target))
        self._numbers[target] = number + 1
        return target.with_name(name)


def _numbered(path: Path, number: int) -> str:
    """Return the name of a path with a number, from 2 on; a long name is cut, not its suffix."""
    if number == 1:
        return path.name
    stem, suffix = path.stem, path.suffix
    if len(os.fsencode(suffix)) > _MAX_SUFFIX_BYTES:
        stem, suffix = path.name, ""
    while len(os.fsencode(name := f"{stem} ({number}){suffix}")) > _MAX_NAME_BYTES:
        stem = stem[:-1]
    return name


def _leads_to(root_fd: int, path: Path, folder_fd: int) -> bool:
    """Return whether a path below a folder is that of an open folder."""
    try:
        fd = open_below(root_fd, path.parts)
    except OSError:
        return False
    try:
        return identify(fd) == identify(folder_fd)
    finally:
        os.close(fd)
