"""Tell the file system of a folder, and the inbox from an empty mount point."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from portraitd.media.fs import write_atomically

POLLED_FILE_SYSTEMS = frozenset({
    "9p", "acfs", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "drvfs", "fuse", "gfs2",
    "glusterfs", "gpfs", "lustre", "ncp", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs",
    "pvfs2", "smb2", "smb3", "smbfs", "sshfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
"""File systems to which other machines can write without events of the local kernel."""

RENUMBERING_FILE_SYSTEMS = frozenset({
    "exfat", "fuse", "fuseblk", "msdos", "prl_fs", "smbfs", "umsdos", "vboxsf", "vfat", "vmhgfs",
})  # fmt: skip
"""File systems that number their files anew at each mount, or whenever memory is short."""

MARKER = ".portraitd-inbox"

_MARKER_TEXT = """\
This folder is the inbox of portraitd. Please keep this file: without it portraitd ignores the
folder, so that a share that is not mounted is not mistaken for an empty one.
token: {token}
"""

_TOKEN = re.compile(rb"^token: ([0-9a-f]{32})$", re.MULTILINE)

_MAX_MARKER_BYTES = 4096

_MOUNTS = Path("/proc/self/mountinfo")


def is_marked(root: Path) -> bool:
    """Return whether a folder has the marker: it is the inbox, and not an empty mount point."""
    return os.path.lexists(root / MARKER)


def read_token(root: Path) -> str | None:
    """Return the token in the marker of a folder; empty if it has none, None without a marker.

    The folder under a mount point can have a marker, too, with another token.
    """
    try:
        place = os.open(root / MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return "" if is_marked(root) else None
    try:
        found = _TOKEN.search(os.pread(place, _MAX_MARKER_BYTES, 0))
    except OSError:
        return ""
    finally:
        os.close(place)
    return found[1].decode() if found else ""


def mark(root: Path) -> str:
    """Create the marker in a folder, or give the one that is there a token. Return the token.

    Raises:
        OSError: The marker cannot be written.
    """
    if token := read_token(root):
        return token
    token = secrets.token_hex(16)
    text = _MARKER_TEXT.format(token=token)
    write_atomically(root / MARKER, text.encode(), mode=0o644, concurrent=True)
    return token


def file_system_type(path: Path, mounts: Path = _MOUNTS) -> str:
    """Return the kernel's name of the file system of a path, such as ``ext4`` or ``cifs``.

    Args:
        path: The path; it need not exist, and links in it are resolved.
        mounts: A file in the format of ``/proc/self/mountinfo``.

    Returns:
        The name; ``unknown`` if the mounts cannot be read.
    """
    return _mount_of(path, mounts)[0]


def renumbers_files(path: Path, mounts: Path = _MOUNTS) -> bool:
    """Return whether the inode of a file of this path can change although the file does not.

    The arguments are those of ``file_system_type``.
    """
    kind, options = _mount_of(path, mounts)
    if kind in ("cifs", "smb3"):
        # The server numbers the files, if it can; otherwise the kernel does.
        return "serverino" not in options
    return kind in RENUMBERING_FILE_SYSTEMS or kind.startswith("fuse.")


def _mount_of(path: Path, mounts: Path) -> tuple[str, list[str]]:
    """Return type and options of the file system of a path."""
    wanted = os.fsencode(os.path.realpath(path))
    best, kind, options = b"", "unknown", list[str]()
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return kind, options
    for line in lines:
        before, separator, after = line.partition(b" - ")
        fields = before.split(b" ")
        if not separator or len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        # Also an equally long one: of two mounts on one point the later hides the earlier.
        if len(point) >= len(best) and _is_below(wanted, point):
            described = os.fsdecode(after).split(" ")
            best, kind, options = point, described[0], described[-1].split(",")
    return kind, options


def needs_polling(file_system: str) -> bool:
    """Return whether events may be missing there, because other machines write to it too."""
    return file_system in POLLED_FILE_SYSTEMS or file_system.startswith("fuse.")


def _is_below(path: bytes, mount_point: bytes) -> bool:
    return path == mount_point or path.startswith(mount_point.rstrip(b"/") + b"/")


def _unescaped(field: bytes) -> bytes:
    """Decode octal escapes: mount points are written with ``\\040`` for a space."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
