"""Removes what shows or names erased people from training sets and the frame cache."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from portraitd.datasets.formats.imagefolder import CLASS_INDEX
from portraitd.datasets.frozen_sets import find_frozen_roots, remove_unfinished
from portraitd.datasets.output import (
    SET_MANIFEST,
    SetManifest,
    lock_set,
    read_set_manifest,
    remove_below,
    save_set_manifest,
)
from portraitd.media.fs import locked
from portraitd.model.errors import AlreadyRunning, PublishError, StoreError
from portraitd.model.fingerprints import ErasedFrames
from portraitd.people.tree.folder_fs import open_root, raise_as_publish_error, read_regular
from portraitd.store.frame_cache import FrameCache

BUILD_LOCK = "dataset.lock"

MAX_INDEX_BYTES = 64 << 20

_CONSTANT = ("README.txt", "darknet/obj.data")
"""Files that name no person and no picture."""


@contextmanager
def lock_builds(state_dir: Path) -> Iterator[None]:
    """Block erasure while a set is built; otherwise the set could contain an erased person.

    Raises:
        StoreError: Another process is building or erasing.
    """
    path = state_dir / BUILD_LOCK
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
        except BlockingIOError:
            raise StoreError(
                "a training set is being built; the erasure waits until it is finished"
            ) from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        yield


class SetErasure(NamedTuple):
    """What was erased from the training set and the frame cache.

    Attributes:
        files: Number of files removed from the set.
        cached: Number of images removed from the frame cache.
        is_incomplete: Whether the rest of a set is left, which a build must complete.
    """

    files: int = 0
    cached: int = 0
    is_incomplete: bool = False


def erase_sets(
    state_dir: Path, root: Path, stems: Collection[str], erased_classes: Collection[int] = ()
) -> SetErasure:
    """Remove what shows or names erased people from the frame cache, a set, and its versions.

    Of a set, the pictures of erased frames, and of frames just before and after them, are removed
    with their labels, everything in the folders of erased people, and the lists and reports, which
    mention both. All else stays, and the next build adds what is missing. Files that others put
    there stay, unless their name is that of such a picture.

    Args:
        state_dir: The folder of the frame cache.
        root: The folder of the set.
        stems: Stems of the frames, and of whole contents.
        erased_classes: Class numbers of erased people.

    Raises:
        PublishError: A file cannot be removed, or another portraitd is writing the set.
    """
    frames = ErasedFrames(stems)
    cached = FrameCache(state_dir).discard(frames)
    found = _erase_set(root, frames, erased_classes)
    with raise_as_publish_error(root):
        remove_unfinished(root)
    versions = [_erase_set(place, frames, erased_classes) for place in find_frozen_roots(root)]
    return found._replace(files=found.files + sum(one.files for one in versions), cached=cached)


def _erase_set(root: Path, frames: ErasedFrames, erased_classes: Collection[int]) -> SetErasure:
    if not root.is_dir():
        return SetErasure()
    try:
        with raise_as_publish_error(root), lock_set(root), open_root(root) as root_fd:
            manifest = read_set_manifest(root)
            going = _choose_files(root_fd, manifest, frames, erased_classes)
            staying = manifest.files.keys() - set(going) if manifest else set()
            is_incomplete = any(path.endswith(".jpg") for path in staying)
            if manifest and not is_incomplete:
                going = sorted({*going, *manifest.files})
            if manifest and going:
                # From now on it is unfinished, also if this is interrupted.
                save_set_manifest(root_fd, replace(manifest, fingerprint="", summary={}))
            beside = list(_find_beside(root_fd, frames, bool(going)))
            removed = sum(remove_below(root_fd, path) for path in (*going, *beside))
            if manifest and going:
                left = {path: manifest.files[path] for path in staying}
                save_set_manifest(root_fd, SetManifest("", {}, left))
            if not manifest or not is_incomplete:
                removed += remove_below(root_fd, SET_MANIFEST)
            for _, folders, _, fd in os.fwalk(".", topdown=False, dir_fd=root_fd):
                for name in folders:
                    with contextlib.suppress(OSError):
                        os.rmdir(name, dir_fd=fd)
    except AlreadyRunning as error:
        raise PublishError(f"{error}; the erasure waits") from error
    return SetErasure(removed, 0, bool(is_incomplete and going))


def _choose_files(
    root_fd: int,
    manifest: SetManifest | None,
    frames: ErasedFrames,
    erased_classes: Collection[int],
) -> list[str]:
    """Return the files of a set that must be removed; that which names the classes is the last.

    The class index is needed again if the removal is interrupted.
    """
    if manifest is None:
        return []
    labels = _read_labels(root_fd) if CLASS_INDEX in manifest.files else {}
    if labels is None:
        # Without it, the folders of erased people are unknown.
        return sorted(manifest.files)
    # A class without a person has no name that could tell anything.
    erased = {
        label
        for number, label in labels.items()
        if number in erased_classes and not label.startswith(f"unused-{number}")
    }
    pictures = [
        path
        for path in manifest.files
        if frames.shows(path.rpartition("/")[2]) or not erased.isdisjoint(path.split("/")[:-1])
    ]
    if not pictures and not erased:
        return []
    lists = [path for path in manifest.files if _mentions_others(path, frames)]
    # Images before their labels: an image without labels would count as a background.
    return sorted(
        {*pictures, *lists}, key=lambda path: (path == CLASS_INDEX, path.endswith(".txt"))
    )


def _read_labels(root_fd: int) -> dict[int, str] | None:
    """Return the name of each class in a set; None if its index cannot be read."""
    try:
        entries = json.loads(read_regular(root_fd, CLASS_INDEX, MAX_INDEX_BYTES) or b"")
        return {int(entry["class"]): str(entry["name"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _mentions_others(path: str, frames: ErasedFrames) -> bool:
    """Return whether a file is about many pictures, and may list or show an erased one."""
    name = path.rpartition("/")[2]
    if path.startswith("cvat/") and name.endswith(".xml"):
        # One video each; its name ends with the start of the content's hash.
        return frames.may_have(name.removesuffix(".xml")[-12:])
    is_constant = path in _CONSTANT or path.startswith("darknet/backup/")
    return not is_constant and not _is_picture_name(name)


def _is_picture_name(name: str) -> bool:
    return re.match(r"[0-9a-f]{12}-\d{9}[-.]", name) is not None


def _find_beside(root_fd: int, frames: ErasedFrames, was_changed: bool) -> Iterator[str]:
    """Yield what others derived from the set; no link is followed."""
    for folder, _, names, _ in os.fwalk(".", dir_fd=root_fd):
        for name in names:
            if frames.shows(name) or (was_changed and name.endswith(".cache")):
                yield f"{folder[2:]}/{name}" if folder != "." else name
