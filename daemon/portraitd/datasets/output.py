"""The folder of a training set: compare it with what it should hold, and change what differs.

A published folder like those of people (``people.tree.published_folder``), with the whole set
under one manifest. A file that was changed by others is moved to ``_changed``, not overwritten.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from portraitd.datasets.content import CachedImage, FileContent, TextFile
from portraitd.media.fs import locked
from portraitd.model.errors import AlreadyRunning, PublishError
from portraitd.people.tree.folder_fs import WrittenFile, open_root, replace_file
from portraitd.people.tree.manifest import ManifestEntry
from portraitd.people.tree.published_folder import PublishedFolder

SET_MANIFEST = ".portraitd-dataset.json"
LOCK_NAME = ".portraitd-dataset.lock"
CHANGED_NAME = "_changed"
"""Folder for files that were changed by others and are in the way."""

_FILE_MODE = 0o644
_FOLDER_MODE = 0o755


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
        content = json.loads((root / SET_MANIFEST).read_text(encoding="utf-8"))
        files = {path: _read_entry(*entry) for path, entry in content["files"].items()}
        return SetManifest(str(content["fingerprint"]), content["summary"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read_entry(identity: str, size: int, mtime_ns: int) -> ManifestEntry:
    return ManifestEntry(identity, WrittenFile("", size, mtime_ns))


@contextmanager
def lock_set(root: Path) -> Iterator[None]:
    """Keep other processes from building this set. Makes the folder if it is missing.

    Raises:
        AlreadyRunning: Another process builds it.
        PublishError: The folder cannot be made or written.
    """
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(root / LOCK_NAME))
        except BlockingIOError:
            raise AlreadyRunning(
                f"{root} is being built by another portraitd; wait for it"
            ) from None
        except OSError as error:
            raise PublishError(f"{root}: {error.strerror}") from error
        yield


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
    with _os_errors(root), open_root(root) as root_fd:
        publication = _SetPublication(root, root_fd)
        try:
            publication.run(desired)
        finally:
            # Without a fingerprint: unfinished until ``finish_set``.
            with contextlib.suppress(OSError):
                publication.folder.save()
        return publication.changes


def finish_set(root: Path, fingerprint: str, summary: Mapping[str, Any]) -> None:
    """Record in the manifest what the set was built from.

    Raises:
        PublishError: The manifest cannot be written.
    """
    manifest = read_set_manifest(root)
    with _os_errors(root), open_root(root) as root_fd:
        files = manifest.files if manifest else {}
        _save_manifest(root_fd, SetManifest(fingerprint, summary, files))


@contextmanager
def _os_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = root / error.filename if isinstance(error.filename, str) else root
        raise PublishError(f"{where}: {error.strerror or error}") from error


def _save_manifest(root_fd: int, manifest: SetManifest) -> None:
    replace_file(root_fd, SET_MANIFEST, manifest.to_bytes(), _FILE_MODE)


class _SetPublication:
    def __init__(self, root: Path, root_fd: int) -> None:
        self._root = root
        manifest = read_set_manifest(root)
        files = dict(manifest.files) if manifest else {}
        self.folder = PublishedFolder(
            root_fd,
            files,
            lambda: _save_manifest(root_fd, SetManifest("", {}, files)),
            _FILE_MODE,
        )
        self._checked_folders: set[PurePosixPath] = set()
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
        self._make_folders(PurePosixPath(path).parent)
        target = self._root / path
        if not os.path.lexists(target) or self.folder.is_owned(path):
            return
        if not _holds(target, content):
            self._move_aside(path)

    def _make_folders(self, folder: PurePosixPath) -> None:
        if folder in self._checked_folders or str(folder) == ".":
            return
        self._make_folders(folder.parent)
        path = self._root / folder
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise PublishError(
                f"{path} is not a folder; remove it, the training set needs one here"
            )
        if not path.is_dir():
            path.mkdir()
            with contextlib.suppress(PermissionError):
                path.chmod(_FOLDER_MODE)
        self._checked_folders.add(folder)

    def _remove_file(self, path: str) -> None:
        if not self.folder.remove(path) and os.path.lexists(self._root / path):
            self._move_aside(path)
        for folder in PurePosixPath(path).parents:
            if str(folder) == ".":
                break
            try:
                (self._root / folder).rmdir()
            except OSError:
                break
            self._checked_folders.discard(folder)

    def _move_aside(self, path: str) -> None:
        aside = self._root / CHANGED_NAME / path
        aside.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(aside):
            aside = aside.with_name(f"{time.time_ns()}-{aside.name}")
        (self._root / path).rename(aside)
        self._put_aside += 1

    def _remove_stale_caches(self, desired: Mapping[str, FileContent]) -> None:
        """Remove the label caches of Ultralytics, which does not notice every changed label."""
        has_changed = self.folder.written or self.folder.removed
        if has_changed and any(path.startswith("yolo/") for path in desired):
            for split in ("train", "val"):
                (self._root / "yolo" / "labels" / f"{split}.cache").unlink(missing_ok=True)


def _holds(target: Path, content: FileContent) -> bool:
    """Return whether an unlisted file already has this content: an interrupted build wrote it."""
    if target.is_symlink() or not target.is_file():
        return False
    if isinstance(content, TextFile):
        return target.read_bytes() == content.content.encode()
    if isinstance(content, CachedImage):
        return target.samefile(content.path) or (
            target.stat().st_size == content.path.stat().st_size
            and target.read_bytes() == content.path.read_bytes()
        )
    return target.read_bytes() == content.make()
