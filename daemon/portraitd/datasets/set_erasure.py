"""Removing training sets, and what was kept for them, when somebody is forgotten."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from portraitd.datasets.output import NOTE_NAME, held, read_note
from portraitd.media.fs import locked
from portraitd.model.errors import AlreadyRunning, PublishError, StoreError
from portraitd.store.frame_cache import FrameCache

BUILD_LOCK = "dataset.lock"


@contextmanager
def build_lock(state_dir: Path) -> Iterator[None]:
    """Nobody is forgotten while a set is planned, cut and written: it would hold them again.

    Raises:
        StoreError: Somebody else builds, or forgets, just now.
    """
    path = state_dir / BUILD_LOCK
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
        except BlockingIOError:
            raise StoreError(
                "a training set is being built; forgetting waits until it is"
            ) from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        yield


def erase_sets(state_dir: Path, root: Path, stems: Collection[str]) -> int:
    """Remove a set as a whole, and every picture of some frames wherever it lies below it.

    Sets are made anew, without whom they must not show. What somebody else put there is left,
    unless its name says that it is made from one of these frames.

    Args:
        state_dir: Where frames are kept.
        root: The set's folder.
        stems: What the names of these pictures hold.

    Returns:
        How many files were removed.

    Raises:
        PublishError: One of them cannot be removed, or another portraitd writes there.
    """
    removed = FrameCache(state_dir).discard(stems)
    if not root.is_dir():
        return removed
    try:
        with held(root):
            for path in _files_of_sets(root, stems):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    removed += 1
            for folder in sorted((one for one in root.rglob("*") if one.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
    except AlreadyRunning as error:
        raise PublishError(f"{error}; forgetting waits") from error
    except OSError as error:
        raise PublishError(f"{error.filename or root}: {error.strerror or error}") from error
    return removed


def _files_of_sets(root: Path, stems: Collection[str]) -> Iterator[Path]:
    """What a build wrote, then what others made of it; the note last, for it says what is left."""
    note = read_note(root)
    for name in sorted(note.files) if note else ():
        if ".." not in Path(name).parts:
            yield root / name
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".cache") or any(stem in name for stem in stems):
                yield Path(folder) / name
    yield root / NOTE_NAME
