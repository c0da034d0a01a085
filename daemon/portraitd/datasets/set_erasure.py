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
from portraitd.people.tree.folder_fs import open_folder, open_root
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
        with lock_set(root), open_root(root) as root_fd:
            for path in _files_of_sets(root, root_fd, stems):
                folder, _, name = path.rpartition("/")
                with (
                    contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError),
                    open_folder(folder or ".", root_fd) as fd,
                ):
                    os.unlink(name, dir_fd=fd)
                    removed += 1
            for _, folders, _, fd in os.fwalk(".", topdown=False, dir_fd=root_fd):
                for name in folders:
                    with contextlib.suppress(OSError):
                        os.rmdir(name, dir_fd=fd)
    except AlreadyRunning as error:
        raise PublishError(f"{error}; the erasure waits") from error
    except OSError as error:
        raise PublishError(f"{error.filename or root}: {error.strerror or error}") from error
    return removed


def _files_of_sets(root: Path, root_fd: int, stems: Collection[str]) -> Iterator[str]:
    """Yield what a build wrote, then what others derived from it; the manifest last.

    The manifest lists the files that are left if the removal is interrupted. No link is followed:
    what is listed below one, or found there, is not part of the set.
    """
    manifest = read_set_manifest(root)
    yield from sorted(manifest.files) if manifest else ()
    for folder, _, names, _ in os.fwalk(".", dir_fd=root_fd):
        for name in names:
            if name.endswith(".cache") or any(stem in name for stem in stems):
                yield f"{folder[2:]}/{name}" if folder != "." else name
    yield SET_MANIFEST
