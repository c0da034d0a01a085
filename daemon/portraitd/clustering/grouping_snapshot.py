"""Save the state of a grouping to a file of plain arrays, so that a restart can continue it.

A worker writes the file under an unfinished name, through a descriptor that the service passes it.
The service gives it its name when the job is done.
"""

from __future__ import annotations

import contextlib
import os
import uuid
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from portraitd.clustering.grouping import GroupingState, from_arrays, to_arrays
from portraitd.media.fs import sync, unfinished_path
from portraitd.workers.file_broker import create, open_to_read

ENDING = ".npz"


def make_snapshot_path(folder: Path) -> Path:
    """Return the path of a new snapshot, whose name no other one has."""
    return folder / f"grouping-{uuid.uuid4().hex}{ENDING}"


def save_snapshot(path: Path, state: GroupingState) -> None:
    """Write a grouping to a file beside ``path``; ``finish_snapshot`` gives it its name.

    The file is for its owner alone: means of embeddings identify people.
    """
    with open(create(unfinished_path(path)), "wb") as file:
        write_state(file, state)
        file.flush()
        os.fsync(file.fileno())


def finish_snapshot(path: Path) -> bool:
    """Give a file of ``save_snapshot`` its name; return whether it was there.

    Raises:
        OSError: It cannot be renamed.
    """
    try:
        unfinished_path(path).replace(path)
    except FileNotFoundError:
        return False
    sync(path.parent)
    return True


def load_snapshot(path: Path | None, width: int) -> GroupingState:
    """Read a state back; return an empty one if there is none that can be read.

    Grouping from scratch takes longer and gives the same result.

    Args:
        path: The file; None for none.
        width: How many numbers a vector has.
    """
    if path is None:
        return GroupingState.empty(width)
    try:
        # Opened here, because numpy would leave a damaged file open.
        with open(open_to_read(path), "rb") as file:
            return read_state(file, width)
    # RuntimeError: a damaged file can look encrypted, or like an unsupported kind of zip.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return GroupingState.empty(width)


def write_state(file: IO[bytes], state: GroupingState) -> None:
    """Write a grouping to an open file."""
    np.savez(file, **to_arrays(state))  # type: ignore[arg-type]


def read_state(file: IO[bytes], width: int) -> GroupingState:
    """Read what ``write_state`` has written.

    Raises:
        Exception: Of many kinds, if it is damaged.
    """
    with np.load(file, allow_pickle=False) as arrays:
        return from_arrays(arrays, width)


def delete_other_snapshots(folder: Path, name: str) -> None:
    """Delete the snapshots of all other groupings, including those that were never recorded."""
    for path in [*folder.glob(f"grouping-*{ENDING}"), *folder.glob(f".*grouping-*{ENDING}")]:
        # What cannot be deleted now is deleted after the next grouping.
        with contextlib.suppress(OSError):
            if path.name != name:
                path.unlink()
