"""Read and replace sidecars in the inbox. No link is followed, and no recording is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from portraitd.media.xml_tree import MAX_XML_BYTES, UnmergeableFile
from portraitd.model.sidecar import SidecarKind
from portraitd.people.tree.folder_fs import (
    entry_exists,
    open_parent,
    open_root,
    read_regular,
    replace_file,
)
from portraitd.people.tree.plan_executor import Modes

_MODE = Modes().file


class ChangedMeanwhile(OSError):
    """Another program wrote the sidecar at the same time; what it wrote stays."""


class SidecarFiles:
    """The sidecars in a folder.

    Args:
        inbox_dir: The folder.
    """

    def __init__(self, inbox_dir: Path) -> None:
        self._inbox_dir = inbox_dir

    def locate(self, recording: Path, kind: SidecarKind) -> Path:
        """Return the path of the sidecar of a recording, below the inbox.

        For a photo that is ``NAME.jpg.xmp``, which digiKam and Immich read; ``NAME.xmp`` if only
        that exists and no other file is called ``NAME``: Immich would read the new one instead.

        Raises:
            OSError: The folder cannot be read.
        """
        own, *others = sidecar_paths(recording, kind)
        if not others:
            return own
        (shared,) = others
        with open_root(self._inbox_dir) as root_fd, open_parent(str(own), root_fd) as (fd, _):
            if entry_exists(fd, own.name) or not entry_exists(fd, shared.name):
                return own
            alike = [name for name in os.listdir(fd) if Path(name).stem == recording.stem]
        return shared if set(alike) == {recording.name, shared.name} else own

    def read(self, path: Path) -> bytes | None:
        """Return the content of a sidecar; None without a file.

        Raises:
            UnmergeableFile: It is a link, too long or unreadable.
            OSError: The folder cannot be read.
        """
        with open_root(self._inbox_dir) as root_fd, open_parent(str(path), root_fd) as (fd, name):
            return self._read(fd, name)

    def update(
        self, path: Path, write: Callable[[bytes | None], bytes | None], beside: str = ""
    ) -> bool:
        """Replace a sidecar by what a function makes of it. Return whether it changed.

        Args:
            path: Below the inbox.
            beside: Name of the recording, whose readers may read a new sidecar, too.
            write: Gets the content, None without a file; returns the new one, or None for none.

        Raises:
            UnmergeableFile: It is a link, too long, unreadable, or the function says so.
            OSError: It cannot be written.
        """
        with open_root(self._inbox_dir) as root_fd, open_parent(str(path), root_fd) as (fd, name):
            before = self._read(fd, name)
            after = write(before)
            if after == before:
                return False
            if self._read(fd, name) != before:
                raise ChangedMeanwhile(f"{path}: another program is writing it")
            if after is None:
                os.unlink(name, dir_fd=fd)
            else:
                replace_file(fd, name, after, _mode_of(fd, beside if before is None else name))
            return True

    @staticmethod
    def _read(fd: int, name: str) -> bytes | None:
        data = read_regular(fd, name, MAX_XML_BYTES)
        if data is None and entry_exists(fd, name):
            raise UnmergeableFile("a link, not readable, or larger than 1 MB")
        return data


def _mode_of(fd: int, name: str) -> int:
    """Return the mode of a file without execution; readable and writable for its owner."""
    try:
        facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return _MODE
    return stat.S_IMODE(facts.st_mode) & 0o666 | 0o600


def sidecar_paths(recording: Path, kind: SidecarKind) -> list[Path]:
    """Return the paths that the sidecar of a recording can have; the first is preferred."""
    if kind is SidecarKind.NFO:
        return [recording.with_suffix(".nfo")]
    return [recording.with_name(f"{recording.name}.xmp"), recording.with_suffix(".xmp")]
