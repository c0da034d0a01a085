"""Open folders and files below a folder, component by component, so that none can be a link."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# NONBLOCK: opening a pipe would otherwise wait for a writer for ever.
_TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_TO_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_below(root_fd: int, parts: Iterable[str], create: bool = False) -> int:
    """Open a folder below another one, component by component, so that none can be a link.

    Args:
        root_fd: Descriptor of the folder to start from.
        parts: Names of the folders on the way; none for the folder itself.
        create: Whether to create the folders that are missing.

    Returns:
        A descriptor of its own, which the caller closes.

    Raises:
        OSError: A component is missing, is not a folder, or is a link.
    """
    current = os.open(".", _FOLDER, dir_fd=root_fd)
    for part in parts:
        try:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=current)
            following = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=current)
        finally:
            os.close(current)
        current = following
    return current


def open_file_below(root: Path, path: Path) -> int:
    """Open a file below a folder for reading; neither it nor a folder on the way is a link.

    Does not wait for the writer of a pipe.

    Args:
        root: The folder; it may itself be reached through a link.
        path: Below the folder.

    Returns:
        Its descriptor, which the caller closes.

    Raises:
        OSError: It cannot be opened; ELOOP if it is a link, ENOTDIR if a folder on the way is.
    """
    return _open_below(root, path, _TO_READ)


def create_file_below(root: Path, path: Path) -> int:
    """Create a file below a folder, for its owner alone, and open it for writing.

    Args:
        root: The folder; it may itself be reached through a link.
        path: Below the folder.

    Returns:
        Its descriptor, which the caller closes.

    Raises:
        OSError: As for ``open_file_below``; EEXIST if it is there already.
    """
    return _open_below(root, path, _TO_CREATE)


class FileOpener:
    """Opens files below a folder for reading, as ``open_file_below`` does, for many in a row.

    It stays in the folder of the last file: files of one folder mostly follow each other. Close it
    at the end, because an open folder keeps a share from being unmounted.

    Args:
        root: The folder; it may itself be reached through a link.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: list[str] = []
        self._folder_fd = -1

    def open(self, path: Path) -> int:
        """Open a file; see ``open_file_below``."""
        *folders, name = _split(path)
        if self._folder_fd < 0 or folders != self._folders:
            self.close()
            self._folder_fd = _open_folder(self._root, folders)
            self._folders = folders
        return os.open(name, _TO_READ, dir_fd=self._folder_fd)

    def close(self) -> None:
        """Leave the folder; opening another file enters one again."""
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1


def _open_below(root: Path, path: Path, flags: int) -> int:
    *folders, name = _split(path)
    folder_fd = _open_folder(root, folders)
    try:
        return os.open(name, flags, 0o600, dir_fd=folder_fd)
    finally:
        os.close(folder_fd)


def _split(path: Path) -> list[str]:
    parts = str(path).split("/")
    if ".." in parts:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return parts


def _open_folder(root: Path, folders: list[str]) -> int:
    root_fd = os.open(root, _FOLDER)
    try:
        return open_below(root_fd, folders)
    finally:
        os.close(root_fd)
