"""Removes training sets and cached frames when a person or a video is erased."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from portraitd.datasets.output import SET_MANIFEST, lock_set, read_set_manifest
from portraitd.media.fs import locked
from portraitd.model.errors import AlreadyRunning, PublishError, StoreError
from portraitd.store.frame_cache import FrameCache

BUILD_LOCK = "dataset.lock"


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


def erase_sets(state_dir: Path, root: Path, stems: Collection[str]) -> int:
    """Remove a whole set, and every image of some frames below its folder.

    The next build writes the set again without what was erased. Files that others put there
    stay, unless their name contains the stem of such a frame.

    Args:
        state_dir: The folder of the frame cache.
        root: The folder of the set.
        stems: Stems of the frames.

    Returns:
        The number of removed files.

    Raises:
        PublishError: A file cannot be removed, or another portraitd is writing the set.
    """
    removed = FrameCache(state_dir).discard(stems)
    if not root.is_dir():
        return removed
    try:
        with lock_set(root):
            for path in _files_of_sets(root, stems):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    removed += 1
            for folder in sorted((one for one in root.rglob("*") if one.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
    except AlreadyRunning as error:
        raise PublishError(f"{error}; the erasure waits") from error
    except OSError as error:
        raise PublishError(f"{error.filename or root}: {error.strerror or error}") from error
    return removed


def _files_of_sets(root: Path, stems: Collection[str]) -> Iterator[Path]:
    """Yield what a build wrote, then what others derived from it; the manifest last.

    The manifest lists the files that are left if the removal is interrupted.
    """
    manifest = read_set_manifest(root)
    for name in sorted(manifest.files) if manifest else ():
        if ".." not in Path(name).parts:
            yield root / name
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".cache") or any(stem in name for stem in stems):
                yield Path(folder) / name
    yield root / SET_MANIFEST
