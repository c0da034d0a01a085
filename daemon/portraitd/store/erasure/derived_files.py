"""Copies of what the database holds, kept for speed: found, and destroyed when faces must go."""

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
"""What grouping_runs write: embeddings, and means of them."""

OLD_STORES = (f"{FILE_NAME}.old-*", *_UNFINISHED_STORES, "backup-before-*.sqlite3*")
"""Stores that were put aside, or not finished."""

_BLOCK = bytes(1 << 20)


def copies(state_dir: Path, old_stores: bool) -> Iterator[Path]:
    """Every file below a state that holds faces and can be made again, or is old."""
    for pattern in (*PATTERNS, *(OLD_STORES if old_stores else ())):
        yield from sorted(state_dir.glob(pattern))


def destroy_copies(state_dir: Path, old_stores: bool) -> int:
    """Overwrite and remove them. Returns how many there were.

    On disks that write elsewhere (flash, copy-on-write) overwriting alone proves nothing, which
    is why PRIVACY.md asks for an encrypted one.

    Raises:
        StoreError: One of them cannot be removed.
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
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    # A full disk may refuse even that; removing it is what counts.
    with contextlib.suppress(OSError), open(os.open(path, flags), "wb") as file:
        left = os.fstat(file.fileno()).st_size
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return
        while left > 0:
            left -= file.write(_BLOCK[:left])
        file.flush()
        os.fsync(file.fileno())


def private(path: str, flags: int) -> int:
    """For ``open``'s ``opener``: a new file of the state is for its owner alone."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
