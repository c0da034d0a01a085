"""Save the state of a grouping to a file of plain arrays, so that a restart can continue it."""

from __future__ import annotations

import contextlib
import uuid
import zipfile
from pathlib import Path

import numpy as np

from portraitd.clustering.grouping import GroupingState, from_arrays, to_arrays
from portraitd.media.fs import replacing

ENDING = ".npz"


def save_snapshot(folder: Path, state: GroupingState) -> str:
    """Write a grouping to a file of its own, whole or not at all; returns the file's name."""
    name = f"grouping-{uuid.uuid4().hex}{ENDING}"
    # For its owner alone: means of embeddings identify people.
    with (
        replacing(folder / name, mode=0o600, durable=True) as unfinished,
        unfinished.open("wb") as file,
    ):
        np.savez(file, **to_arrays(state))  # type: ignore[arg-type]
    return name


def load_snapshot(folder: Path, name: str, width: int) -> GroupingState:
    """Read a state back; return an empty one if there is none that can be read.

    Grouping from scratch takes longer and gives the same result.

    Args:
        folder: Where it is.
        name: Its name; empty for none.
        width: How many numbers a vector has.
    """
    if not name:
        return GroupingState.empty(width)
    try:
        # Opened here, because numpy would leave a damaged file open.
        with (folder / name).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return from_arrays(arrays, width)
    # RuntimeError: a damaged file can look encrypted, or like an unsupported kind of zip.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return GroupingState.empty(width)


def delete_other_snapshots(folder: Path, name: str) -> None:
    """Delete the snapshots of all other groupings, including those that were never recorded."""
    for path in [*folder.glob(f"grouping-*{ENDING}"), *folder.glob(f".*grouping-*{ENDING}")]:
        # What cannot be deleted now is deleted after the next grouping.
        with contextlib.suppress(OSError):
            if path.name != name:
                path.unlink()
