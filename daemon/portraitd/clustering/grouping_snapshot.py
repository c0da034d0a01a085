"""What a grouping remembers, as a file: plain arrays, so that a restart computes nothing again."""

from __future__ import annotations

import contextlib
import uuid
import zipfile
from pathlib import Path

import numpy as np

from portraitd.clustering.grouping import GroupingState, from_arrays, to_arrays
from portraitd.media.fs import replacing

ENDING = ".npz"


def save_snapshot(folder: Path, grouping: GroupingState) -> str:
    """Write a grouping to a file of its own, whole or not at all; returns the file's name."""
    name = f"grouping-{uuid.uuid4().hex}{ENDING}"
    # For its owner alone: means of embeddings tell who somebody is.
    with (
        replacing(folder / name, mode=0o600, durable=True) as unfinished,
        unfinished.open("wb") as file,
    ):
        np.savez(file, **to_arrays(grouping))  # type: ignore[arg-type]
    return name


def load_snapshot(folder: Path, name: str) -> GroupingState:
    """Read a grouping back; an empty one where there is none that can be read.

    Beginning anew costs time and gives the same result.
    """
    if not name:
        return GroupingState.empty()
    try:
        # Opened here: numpy would leave a damaged file open.
        with (folder / name).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return from_arrays(arrays)
    # RuntimeError: damage can look like encryption, or like a zip of another kind.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return GroupingState.empty()


def delete_other_snapshots(folder: Path, name: str) -> None:
    """Remove the memories of earlier grouping_runs, and of those that were never recorded."""
    for path in [*folder.glob(f"grouping-*{ENDING}"), *folder.glob(f".*grouping-*{ENDING}")]:
        # What cannot be removed now is removed after the next grouping.
        with contextlib.suppress(OSError):
            if path.name != name:
                path.unlink()
