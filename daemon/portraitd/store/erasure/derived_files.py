"""Files derived from the database for speed: find them, and destroy them for an erasure."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from portraitd.media.fs import UNFINISHED
from portraitd.model.errors import StoreError
from portraitd.store.database import FILE_NAME

_SUPERSEDED = (
    "faces.f32",
    "census.f32",
    "grouping-*.npz",
    ".grouping-*.npz",
    f"{UNFINISHED}grouping-*.npz",
)
_UNFINISHED_STORES = (f".{FILE_NAME}.new-*", f"{UNFINISHED}{FILE_NAME}*")

LEFTOVERS = (*_SUPERSEDED, *_UNFINISHED_STORES)
"""What earlier versions wrote, or an interrupted write left; and every grouping snapshot."""

PATTERNS = ("tracks.f32", *_SUPERSEDED)
"""Files that groupings write: embeddings, and means of them."""

OLD_STORES = (f"{FILE_NAME}.old-*", *_UNFINISHED_STORES, "backup-before-*.sqlite3*")
"""Databases that a restore replaced, or that were not finished."""

EVENTS_NAME = "events.jsonl"
"""Names of people and files are in its lines."""

_BLOCK = bytes(1 << 20)


def copies(state_dir: Path, old_stores: bool) -> Iterator[Path]:
    """Return every file of a state folder that holds faces or names, besides the database.

    Args:
        state_dir: The state folder.
        old_stores: Whether to include replaced databases as well.
    """
    for pattern in (*PATTERNS, f"{EVENTS_NAME}*", *(OLD_STORES if old_stores else ())):
        yield from sorted(state_dir.glob(pattern))


def destroy_copies(state_dir: Path, old_stores: bool) -> int:
    """Overwrite and remove the files that ``copies`` returns. Return how many there were.

    On flash and copy-on-write disks, overwriting does not reach the old blocks: PRIVACY.md
    therefore asks for an encrypted disk.

    Raises:
        StoreError: A file cannot be removed.
    """
    count = 0
    try:
        for path in copies(state_dir, old_stores):
            _overwrite(path)
            path.unlink()
            count += 1
    except OSError as error:
        raise StoreError(f"{error.filename or state_dir}: {error.strerror}") from error
    return count


def _overwrite(path: Path) -> None:
    # A pipe without a reader is an error, not a wait.
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    # A full disk may refuse to overwrite; removing the file is what counts.
    with contextlib.suppress(OSError), open(os.open(path, flags), "wb") as file:
        left = os.fstat(file.fileno()).st_size
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return
        while left > 0:
            left -= file.write(_BLOCK[:left])
        file.flush()
        os.fsync(file.fileno())


def private(path: str, flags: int) -> int:
    """Open a file for its owner alone; pass this to ``open`` as ``opener``."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
