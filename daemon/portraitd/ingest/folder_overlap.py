"""Tell whether one folder is in another, whatever names, links and bind mounts lead to it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from portraitd.ingest.mount_table import MOUNTS, MountEntry, find_mount, read_mounts

Place = tuple[str, Path]
"""The device of a file system, and a path there."""


class FolderLocation:
    """Where a folder is: its name without links, its inodes, and its place on its file system.

    Args:
        path: The folder. It need not exist; then its parents count.
        mounts: A file in the format of ``/proc/self/mountinfo``.
    """

    def __init__(self, path: Path, mounts: Path = MOUNTS) -> None:
        self._real = Path(os.path.realpath(path))
        self._inode = _read_inode(self._real)
        self._above = {inode for inode in map(_read_inode, self._real.parents) if inode}
        entries = read_mounts(mounts)
        self._places = [place] if (place := _place_of(self._real, entries)) else []
        # What is mounted below the folder is in it, too.
        self._places += [
            (entry.device, entry.root)
            for entry in entries
            if entry.point != self._real and entry.point.is_relative_to(self._real)
        ]

    def holds(self, other: FolderLocation) -> bool:
        """Return whether the other folder is this one, or is in it; also below a mount in it."""
        if other._real.is_relative_to(self._real):
            return True
        if self._inode is not None and self._inode in {other._inode, *other._above}:
            return True
        return _is_any_in(other._places[:1], self._places)

    def overlaps(self, other: FolderLocation) -> bool:
        """Return whether one of the two folders is in the other, or a part of it."""
        return (
            self.holds(other)
            or other.holds(self)
            or _is_any_in(self._places, other._places)
            or _is_any_in(other._places, self._places)
        )

    def path_of(self, other: FolderLocation) -> Path | None:
        """Return the path of another folder below this one; None if it is not there."""
        below = other._real != self._real and other._real.is_relative_to(self._real)
        return other._real.relative_to(self._real) if below else None


def _is_any_in(inner: Iterable[Place], outer: Collection[Place]) -> bool:
    return any(
        device == outer_device and path.is_relative_to(outer_path)
        for device, path in inner
        for outer_device, outer_path in outer
    )


def _read_inode(path: Path) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _place_of(path: Path, entries: Iterable[MountEntry]) -> Place | None:
    """Return the file system of a path, and its path there."""
    entry = find_mount(path, entries)
    return (entry.device, entry.root / path.relative_to(entry.point)) if entry else None
