"""The folder of a training set: compare it with what it should hold, and change what differs.

A published folder like those of people (``people.tree.published_folder``), with the whole set
under one manifest. A file that was changed by others is moved to ``_changed``, not overwritten.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portraitd.datasets.annotations import SPLITS, ULTRALYTICS_FORMATS
from portraitd.datasets.content import CachedImage, FileContent, TextFile
from portraitd.media.fs import locked
from portraitd.model.errors import AlreadyRunning, PublishError
from portraitd.people.tree.folder_fs import (
    WrittenFile,
    entry_exists,
    holds,
    open_made,
    open_parent,
    open_root,
    raise_as_publish_error,
    read_regular,
    replace_file,
    set_mode,
)
from portraitd.people.tree.manifest import ManifestEntry
from portraitd.people.tree.owned_files import ROOT
from portraitd.people.tree.published_folder import PublishedFolder

SET_MANIFEST = ".portraitd-dataset.json"
LOCK_NAME = ".portraitd-dataset.lock"
CHANGED_NAME = "_changed"
"""Folder for files that were changed by others and are in the way."""

MAX_MANIFEST_BYTES = 256 << 20
"""Longest manifest that is read: that of a set with two million files."""

_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
"""Owner and group can read the set, which shows faces."""

_OPEN_TO_ALL = frozenset({0o755, 0o775})
"""Modes that earlier versions gave the folder, under the usual umasks."""


@dataclass(frozen=True, slots=True)
class SetManifest:
    """What was last published into the folder of a set.

    Attributes:
        fingerprint: Identifies the store's content and the settings the set was built from.
        summary: The figures of the build.
        files: Entries by path below the folder. They have no hash: images are large, so only
            size and time are compared.
    """

    fingerprint: str
    summary: Mapping[str, Any]
    files: Mapping[str, ManifestEntry]

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON."""
        files = {
            path: [entry.identity, entry.written.size, entry.written.mtime_ns]
            for path, entry in sorted(self.files.items())
        }
        content = {"fingerprint": self.fingerprint, "summary": dict(self.summary), "files": files}
        return json.dumps(content, ensure_ascii=False).encode()


@dataclass(slots=True)
class OutputChanges:
    """Numbers of files that a build wrote, removed, left unchanged and put aside."""

    written: int = 0
    removed: int = 0
    unchanged: int = 0
    put_aside: int = 0


def read_set_manifest(root: Path) -> SetManifest | None:
    """Return the manifest of a set; None if it is missing or damaged."""
    try:
        with open_root(root) as root_fd:
            return _read_manifest(root_fd)
    except OSError:
        return None


def _read_manifest(root_fd: int) -> SetManifest | None:
    try:
        content = json.loads(read_regular(root_fd, SET_MANIFEST, MAX_MANIFEST_BYTES) or b"")
        files = {
            path: _read_entry(*entry)
            for path, entry in content["files"].items()
            if is_below(path) and path != SET_MANIFEST
        }
        if not isinstance(content["summary"], dict):
            return None
        return SetManifest(str(content["fingerprint"]), content["summary"], files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _read_entry(identity: object, size: object, mtime_ns: object) -> ManifestEntry:
    if not (isinstance(identity, str) and isinstance(size, int) and isinstance(mtime_ns, int)):
        raise TypeError("an entry has an identity, a size and a time")
    return ManifestEntry(identity, WrittenFile("", size, mtime_ns))


def is_below(path: str) -> bool:
    """Return whether a path in a manifest stays below the folder of the set."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return "\0" not in path and not set(path.split("/")) & {"", ".", ".."}


@contextmanager
def lock_set(root: Path) -> Iterator[None]:
    """Keep other processes from building this set. Makes the folder if it is missing.

    Raises:
        AlreadyRunning: Another process builds it.
        PublishError: The folder cannot be made or written.
    """
    with ExitStack() as stack:
        try:
            _make_root(root)
            stack.enter_context(locked(root / LOCK_NAME))
        except BlockingIOError:
            raise AlreadyRunning(
                f"{root} is being built by another portraitd; wait for it"
            ) from None
        except OSError as error:
            raise PublishError(f"{root}: {error.strerror}") from error
        yield


def _make_root(root: Path) -> None:
    """Make the folder of the set, or close one that an earlier version left open to all users.

    It may itself be a link, which only the owner of the home can make; nothing below it may.
    """
    if not root.is_dir():
        root.mkdir(parents=True)
        root.chmod(_FOLDER_MODE)
        return
    with suppress(FileNotFoundError), open_root(root) as root_fd:
        mode = stat.S_IMODE(os.fstat(root_fd).st_mode)
        # Once: an operator who opens the folder again means it. Now manifests are for the group.
        manifest = os.stat(SET_MANIFEST, dir_fd=root_fd, follow_symlinks=False)
        if mode in _OPEN_TO_ALL and manifest.st_mode & stat.S_IROTH:
            set_mode(root_fd, mode & ~0o007)


def publish_set(root: Path, desired: Mapping[str, FileContent]) -> OutputChanges:
    """Make the folder hold these files, and no other files of portraitd's own.

    Files that portraitd never wrote stay where they are. Call it within ``lock_set``, and
    ``finish_set`` after it.

    Args:
        root: The set's folder.
        desired: Content by path below it; files come before those that refer to them.

    Raises:
        PublishError: The folder cannot be read or written; what was written stays.
    """
    with raise_as_publish_error(root), open_root(root) as root_fd:
        publication = _SetPublication(root, root_fd)
        try:
            publication.run(desired)
        finally:
            # Without a fingerprint: unfinished until ``finish_set``.
            with suppress(OSError):
                publication.folder.save()
        return publication.changes


def finish_set(root: Path, fingerprint: str, summary: Mapping[str, Any]) -> None:
    """Record in the manifest what the set was built from.

    Raises:
        PublishError: The manifest cannot be written.
    """
    with raise_as_publish_error(root), open_root(root) as root_fd:
        manifest = _read_manifest(root_fd)
        files = manifest.files if manifest else {}
        save_set_manifest(root_fd, SetManifest(fingerprint, summary, files))


def save_set_manifest(root_fd: int, manifest: SetManifest) -> None:
    replace_file(root_fd, SET_MANIFEST, manifest.to_bytes(), _FILE_MODE)


def remove_below(root_fd: int, path: str) -> bool:
    """Remove a file of a set, and follow no link to it; return whether it was there."""
    with (
        suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError),
        open_parent(path, root_fd) as (fd, name),
    ):
        os.unlink(name, dir_fd=fd)
        return True
    return False


class _SetPublication:
    """Writes into the folder of a set through descriptors: no link below it is followed."""

    def __init__(self, root: Path, root_fd: int) -> None:
        self._root = root
        self._root_fd = root_fd
        manifest = _read_manifest(root_fd)
        files = dict(manifest.files) if manifest else {}
        self.folder = PublishedFolder(
            root_fd,
            files,
            lambda: save_set_manifest(root_fd, SetManifest("", {}, files)),
            _FILE_MODE,
        )
        self._checked_folders: set[str] = set()
        self._unchanged = 0
        self._put_aside = 0

    @property
    def changes(self) -> OutputChanges:
        return OutputChanges(
            self.folder.written, self.folder.removed, self._unchanged, self._put_aside
        )

    def run(self, desired: Mapping[str, FileContent]) -> None:
        leftovers = [path for path in self.folder.files if path not in desired]
        for path, content in desired.items():
            self._publish_file(path, content)
        # Images before their labels: an image without labels would count as a background.
        for path in sorted(leftovers, key=lambda path: path.endswith(".txt")):
            self._remove_file(path)
        self._remove_stale_caches(desired)

    def _publish_file(self, path: str, content: FileContent) -> None:
        if self.folder.is_current(path, content.identity):
            self._unchanged += 1
            return
        self._make_way(path, content)
        if isinstance(content, CachedImage):
            self.folder.link(path, content.identity, content.path)
        else:
            data = content.content.encode() if isinstance(content, TextFile) else content.make()
            self.folder.write(path, content.identity, data, hashes=False)

    def _make_way(self, path: str, content: FileContent) -> None:
        """Make the folders of a file, and put aside a file in its place that is not ours."""
        folder = _parent_of(path)
        if folder not in self._checked_folders:
            with self._open_made(folder):
                self._checked_folders.add(folder)
        if self.folder.is_owned(path):
            return
        with open_parent(path, self._root_fd) as (fd, leaf):
            is_in_the_way = entry_exists(fd, leaf) and not _holds(fd, leaf, content)
        if is_in_the_way:
            self._move_aside(path)

    @contextmanager
    def _open_made(self, folder: str) -> Iterator[int]:
        """Open a folder of the set, and make it if it is missing."""
        try:
            with open_made(folder, self._root_fd, _FOLDER_MODE) as fd:
                yield fd
        except (NotADirectoryError, FileNotFoundError) as error:
            raise PublishError(
                f"{self._root / folder} is not a folder; remove it, and portraitd creates one"
            ) from error

    def _remove_file(self, path: str) -> None:
        if not self.folder.remove(path):
            with suppress(FileNotFoundError, NotADirectoryError):
                with open_parent(path, self._root_fd) as (fd, leaf):
                    is_left = entry_exists(fd, leaf)
                if is_left:
                    self._move_aside(path)
        folder = _parent_of(path)
        while folder != ROOT:
            try:
                with open_parent(folder, self._root_fd) as (fd, name):
                    os.rmdir(name, dir_fd=fd)
            except OSError:
                break
            self._checked_folders.discard(folder)
            folder = _parent_of(folder)

    def _move_aside(self, path: str) -> None:
        folder = _parent_of(path)
        aside = CHANGED_NAME if folder == ROOT else f"{CHANGED_NAME}/{folder}"
        with (
            open_parent(path, self._root_fd) as (fd, leaf),
            self._open_made(aside) as aside_fd,
        ):
            name = f"{time.time_ns()}-{leaf}" if entry_exists(aside_fd, leaf) else leaf
            os.rename(leaf, name, src_dir_fd=fd, dst_dir_fd=aside_fd)
        self._put_aside += 1

    def _remove_stale_caches(self, desired: Mapping[str, FileContent]) -> None:
        """Remove the label caches of Ultralytics, which does not notice every changed label."""
        has_changed = self.folder.written or self.folder.removed
        forms = {path.partition("/")[0] for path in desired} if has_changed else set()
        for form in forms.intersection(ULTRALYTICS_FORMATS):
            for split in SPLITS:
                remove_below(self._root_fd, f"{form}/labels/{split}.cache")


def _parent_of(path: str) -> str:
    """Return the folder that a path below the folder of the set is in."""
    return path.rpartition("/")[0] or ROOT


def _holds(fd: int, name: str, content: FileContent) -> bool:
    """Return whether an unlisted file already has this content: an interrupted build wrote it."""
    if isinstance(content, TextFile):
        data = content.content.encode()
    else:
        data = content.path.read_bytes() if isinstance(content, CachedImage) else content.make()
    return holds(fd, name, data)
