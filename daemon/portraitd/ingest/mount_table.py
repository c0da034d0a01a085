"""Read which file systems are mounted where."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")


class MountEntry(NamedTuple):
    """A line of ``/proc/self/mountinfo``.

    Attributes:
        device: Major and minor number of the file system, as text.
        root: The folder of the file system that is mounted; not ``/`` for a bind mount.
        point: Where it is mounted.
        kind: The kernel's name of the file system, such as ``ext4`` or ``cifs``.
        options: The options of the file system.
    """

    device: str
    root: Path
    point: Path
    kind: str
    options: tuple[str, ...]


def read_mounts(mounts: Path = MOUNTS) -> list[MountEntry]:
    """Return the mounts that are visible; none if they cannot be read.

    Args:
        mounts: A file in the format of ``/proc/self/mountinfo``.
    """
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return []
    # Of several on one point, the last hides the others.
    last: dict[Path, MountEntry] = {}
    for line in lines:
        before, separator, after = line.partition(b" - ")
        fields = before.split(b" ")
        if not separator or len(fields) < 5:
            continue
        root, point = (Path(os.fsdecode(_unescaped(field))) for field in fields[3:5])
        described = os.fsdecode(after).split(" ")
        last[point] = MountEntry(
            os.fsdecode(fields[2]), root, point, described[0], tuple(described[-1].split(","))
        )
    return list(last.values())


def find_mount(path: Path, entries: Iterable[MountEntry]) -> MountEntry | None:
    """Return the mount that a path is on; None if it is on none of them.

    Args:
        path: An absolute path without links; it need not exist.
        entries: The mounts that are visible.
    """
    above = (entry for entry in entries if path.is_relative_to(entry.point))
    return max(above, key=lambda entry: len(entry.point.parts), default=None)


def _unescaped(field: bytes) -> bytes:
    """Decode octal escapes: mount points are written with ``\\040`` for a space."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
