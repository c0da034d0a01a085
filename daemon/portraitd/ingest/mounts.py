"""Tell the file system of a folder, and the inbox from an empty mount point."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from portraitd.ingest.mount_table import MOUNTS, MountEntry, find_mount, read_mounts
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


def is_folder_of(root: Path, recorded: str | None) -> bool:
    """Return whether a folder has the token that was recorded; True if none was."""
    return recorded is None or read_token(root) == recorded


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


def file_system_type(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the kernel's name of the file system of a path, such as ``ext4`` or ``cifs``.

    Args:
        path: The path; it need not exist, and links in it are resolved.
        mounts: A file in the format of ``/proc/self/mountinfo``.

    Returns:
        The name; ``unknown`` if the mounts cannot be read.
    """
    mount = _mount_of(path, mounts)
    return mount.kind if mount else "unknown"


def renumbers_files(path: Path, mounts: Path = MOUNTS) -> bool:
    """Return whether the inode of a file of this path can change although the file does not.

    The arguments are those of ``file_system_type``.
    """
    mount = _mount_of(path, mounts)
    if mount is None:
        return False
    if mount.kind in ("cifs", "smb3"):
        # The server numbers the files, if it can; otherwise the kernel does.
        return "serverino" not in mount.options
    return mount.kind in RENUMBERING_FILE_SYSTEMS or mount.kind.startswith("fuse.")


def _mount_of(path: Path, mounts: Path) -> MountEntry | None:
    return find_mount(Path(os.path.realpath(path)), read_mounts(mounts))


def is_on_share(folder: Path) -> bool:
    """Return whether other machines may write to a folder without events of this kernel."""
    return needs_polling(file_system_type(folder))


def needs_polling(file_system: str) -> bool:
    """Return whether events may be missing there, because other machines write to it too."""
    return file_system in POLLED_FILE_SYSTEMS or file_system.startswith("fuse.")
