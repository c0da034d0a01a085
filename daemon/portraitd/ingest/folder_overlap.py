"""Tell whether one folder is in another, whatever names, links and bind mounts lead to it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")


Place = tuple[str, Path]
"""The device of a file system, and a path there."""


class MountEntry(NamedTuple):
    """A line of ``/proc/self/mountinfo``.

    Attributes:
        device: Major and minor number of the file system, as text.
        root: The folder of the file system that is mounted; not ``/`` for a bind mount.
        point: Where it is mounted.
    """

    device: str
    root: Path
    point: Path


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
        entries = list(_read_mounts(mounts))
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


def _read_mounts(mounts: Path) -> Iterator[MountEntry]:
    """Yield the mounts that are visible. Of several on one point, the last hides the others."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return
    last: dict[Path, MountEntry] = {}
    for line in lines:
        fields = line.split(b" ")
        if len(fields) > 4:
            root, point = (Path(os.fsdecode(_unescaped(field))) for field in fields[3:5])
            last[point] = MountEntry(fields[2].decode("ascii", "replace"), root, point)
    yield from last.values()


def _place_of(path: Path, entries: list[MountEntry]) -> Place | None:
    """Return the file system of a path, and its path there."""
    above = [entry for entry in entries if path.is_relative_to(entry.point)]
    if not above:
        return None
    entry = max(above, key=lambda one: len(one.point.parts))
    return entry.device, entry.root / path.relative_to(entry.point)


def _unescaped(field: bytes) -> bytes:
    """Decode octal escapes: mount points are written with ``\\040`` for a space."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
