"""The folder of a set: compared with what it should hold, and changed where it differs.

Every file is written beside and renamed. A note remembers what was written, so that what is as
it should be is not touched, what nobody wants any more is removed, and what somebody else
changed is put aside instead of being lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from portraitd.datasets.content import CachedImage, FileContent, TextFile
from portraitd.media.fs import locked
from portraitd.model.errors import AlreadyRunning, PublishError

NOTE_NAME = ".portraitd-dataset.json"
LOCK_NAME = ".portraitd-dataset.lock"
ASIDE = "_changed"
"""Where files go that were changed by somebody else and are in the way."""

_UNFINISHED = ".portraitd-new-"


@dataclass(frozen=True, slots=True)
class SetFile:
    """A file as it was written."""

    identity: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class SetManifest:
    """What a folder was last made into.

    Attributes:
        fingerprint: Of the store it was made from, and how.
        summary: What there is to say about it.
        files: By path below the root.
    """

    fingerprint: str
    summary: Mapping[str, Any]
    files: Mapping[str, SetFile]


@dataclass(slots=True)
class OutputChanges:
    """What a publish did to files."""

    written: int = 0
    removed: int = 0
    unchanged: int = 0
    put_aside: int = 0


def read_note(root: Path) -> SetManifest | None:
    """What a folder was last made into; None if nothing was, or its note is damaged."""
    try:
        content = json.loads((root / NOTE_NAME).read_text(encoding="utf-8"))
        files = {path: SetFile(*record) for path, record in content["files"].items()}
        return SetManifest(str(content["fingerprint"]), content["summary"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Nobody else builds this set meanwhile. Makes the folder if it is not there.

    Raises:
        AlreadyRunning: Somebody does.
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


def publish(root: Path, wanted: Mapping[str, FileContent]) -> OutputChanges:
    """Make the folder hold these files and none of its own besides.

    Files that portraitd never wrote stay where they are. Call it within ``held``, and
    ``finish`` after it.

    Args:
        root: The set's folder.
        wanted: Content by path below it; what is referred to comes before what refers to it.

    Raises:
        PublishError: The folder cannot be read or written; what was written stays.
    """
    publishing = _Publishing(root)
    try:
        publishing.run(wanted)
    except OSError as error:
        where = root / error.filename if isinstance(error.filename, str) else root
        raise PublishError(f"{where}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            publishing.save("", {})
    return publishing.changes


def finish(root: Path, fingerprint: str, summary: Mapping[str, Any]) -> None:
    """Note that the folder is what the store said.

    Raises:
        PublishError: The note cannot be written.
    """
    publishing = _Publishing(root)
    try:
        publishing.save(fingerprint, summary)
    except OSError as error:
        raise PublishError(f"{root / NOTE_NAME}: {error.strerror}") from error


class _Publishing:
    def __init__(self, root: Path) -> None:
        self._root = root
        note = read_note(root)
        self._before = dict(note.files) if note else {}
        self._after = dict(self._before)
        self._sound: set[PurePosixPath] = set()
        self.changes = OutputChanges()

    def run(self, wanted: Mapping[str, FileContent]) -> None:
        for path, content in wanted.items():
            self._ensure(path, content)
        # Pictures before their labels: a picture without one would be a background.
        gone = [path for path in self._before if path not in wanted]
        for path in sorted(gone, key=lambda path: path.endswith(".txt")):
            self._remove(path)
        self._remove_stale_caches(wanted)

    def save(self, fingerprint: str, summary: Mapping[str, Any]) -> None:
        files = {
            path: [record.identity, record.size, record.mtime_ns]
            for path, record in sorted(self._after.items())
        }
        content = {"fingerprint": fingerprint, "summary": dict(summary), "files": files}
        beside = self._root / f"{_UNFINISHED}note"
        beside.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        beside.replace(self._root / NOTE_NAME)

    def _ensure(self, path: str, content: FileContent) -> None:
        target = self._root / path
        record = self._before.get(path)
        if record and record.identity == content.identity and _is_as(target, record):
            self.changes.unchanged += 1
            return
        self._make_way(path, target, record, content)
        beside = target.with_name(f"{_UNFINISHED}{target.name[:80]}")
        beside.unlink(missing_ok=True)
        if isinstance(content, CachedImage):
            _link_or_copy(content.path, beside)
        else:
            data = content.content.encode() if isinstance(content, TextFile) else content.make()
            beside.write_bytes(data)
            with contextlib.suppress(PermissionError):
                beside.chmod(0o644)
        beside.replace(target)
        # Two links to one file: renaming one over the other does nothing.
        beside.unlink(missing_ok=True)
        facts = target.stat()
        self._after[path] = SetFile(content.identity, facts.st_size, facts.st_mtime_ns)
        self.changes.written += 1

    def _make_way(
        self, path: str, target: Path, record: SetFile | None, content: FileContent
    ) -> None:
        """Make the folders of a file, and put aside what lies there and is not ours."""
        self._make_folders(PurePosixPath(path).parent)
        if not os.path.lexists(target):
            return
        if record and _is_as(target, record):
            return
        if _holds(target, content):
            return
        self._put_aside(path)

    def _make_folders(self, folder: PurePosixPath) -> None:
        if folder in self._sound or str(folder) == ".":
            return
        self._make_folders(folder.parent)
        place = self._root / folder
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise PublishError(f"{place} is no folder; remove it, it belongs to the training set")
        if not place.is_dir():
            place.mkdir()
            with contextlib.suppress(PermissionError):
                place.chmod(0o755)
        self._sound.add(folder)

    def _remove(self, path: str) -> None:
        target, record = self._root / path, self._before[path]
        if os.path.lexists(target):
            if _is_as(target, record):
                target.unlink()
                self.changes.removed += 1
            else:
                self._put_aside(path)
        del self._after[path]
        for folder in PurePosixPath(path).parents:
            if str(folder) == ".":
                break
            try:
                (self._root / folder).rmdir()
            except OSError:
                break
            self._sound.discard(folder)

    def _put_aside(self, path: str) -> None:
        aside = self._root / ASIDE / path
        aside.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(aside):
            aside = aside.with_name(f"{time.time_ns()}-{aside.name}")
        (self._root / path).rename(aside)
        self.changes.put_aside += 1

    def _remove_stale_caches(self, wanted: Mapping[str, FileContent]) -> None:
        """Ultralytics keeps what it read of labels, and does not notice every change of them."""
        changed = self.changes.written + self.changes.removed
        if changed and any(path.startswith("yolo/") for path in wanted):
            for split in ("train", "val"):
                (self._root / "yolo" / "labels" / f"{split}.cache").unlink(missing_ok=True)


def _is_as(target: Path, record: SetFile) -> bool:
    try:
        facts = target.lstat()
    except FileNotFoundError:
        return False
    return (facts.st_size, facts.st_mtime_ns) == (record.size, record.mtime_ns)


def _holds(target: Path, content: FileContent) -> bool:
    """Whether a file that is in no note holds what is to be written: an earlier build did it."""
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


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another disk, or a file system without links.
        shutil.copyfile(source, target)
