"""Tell the file system of a folder, and the inbox from an empty mount point."""

from __future__ import annotations

import os
import re
from pathlib import Path

POLLED_FILE_SYSTEMS = frozenset({
    "9p", "acfs", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "drvfs", "fuse", "gfs2",
    "glusterfs", "gpfs", "lustre", "ncp", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs",
    "pvfs2", "smb2", "smb3", "smbfs", "sshfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
"""File systems to which other machines can write without events of the local kernel."""

MARKER = ".portraitd-inbox"

_MARKER_TEXT = """\
This folder is the inbox of portraitd. Please keep this file: without it portraitd ignores the
folder, so that a share that is not mounted is not mistaken for an empty one.
"""

_MOUNTS = Path("/proc/self/mountinfo")


def is_marked(root: Path) -> bool:
    """Return whether a folder has the marker: it is the inbox, and not an empty mount point."""
    return os.path.lexists(root / MARKER)


def mark(root: Path) -> None:
    """Create the marker in a folder.

    Raises:
        OSError: The marker cannot be written.
    """
    try:
        place = os.open(root / MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return
    with os.fdopen(place, "w", encoding="utf-8") as file:
        file.write(_MARKER_TEXT)


def file_system_type(path: Path, mounts: Path = _MOUNTS) -> str:
    """Return the kernel's name of the file system of a path, such as ``ext4`` or ``cifs``.

    Args:
        path: The path; it need not exist, and links in it are resolved.
        mounts: A file in the format of ``/proc/self/mountinfo``.

    Returns:
        The name; ``unknown`` if the mounts cannot be read.
    """
    wanted = os.fsencode(os.path.realpath(path))
    best, kind = b"", "unknown"
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return kind
    for line in lines:
        before, separator, after = line.partition(b" - ")
        fields = before.split(b" ")
        if not separator or len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        # Also an equally long one: of two mounts on one point the later hides the earlier.
        if len(point) >= len(best) and _is_below(wanted, point):
            best, kind = point, os.fsdecode(after.split(b" ")[0])
    return kind


def needs_polling(file_system: str) -> bool:
    """Return whether events may be missing there, because other machines write to it too."""
    return file_system in POLLED_FILE_SYSTEMS or file_system.startswith("fuse.")


def _is_below(path: bytes, mount_point: bytes) -> bool:
    return path == mount_point or path.startswith(mount_point.rstrip(b"/") + b"/")


def _unescaped(field: bytes) -> bytes:
    """Decode octal escapes: mount points are written with ``\\040`` for a space."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
