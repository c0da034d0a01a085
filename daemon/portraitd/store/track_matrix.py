"""The mean embeddings of all tracks as one file that a grouping maps into memory.

A copy of what the database holds, kept because reading a million rows out of it takes longer
than grouping what is new. Row ``i`` is track ``i + 1``; the row of a track that is gone is zero,
from the grouping on that let it go.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import EMBEDDING_SIZE
from portraitd.store.erasure.derived_files import private
from portraitd.store.tracks import TrackStore

ROW_BYTES = 4 * EMBEDDING_SIZE

PROBES = 64
"""Rows compared with the store before the file is believed."""


class TrackMatrix:
    """The file, kept level with the store.

    Args:
        path: Where it lies; made when needed, and made anew whenever it disagrees.
        tracks: What it is a copy of.
    """

    def __init__(self, path: Path, tracks: TrackStore) -> None:
        self.path = path
        self._tracks = tracks
        self._is_trusted = False
        self._erased = np.empty(0, np.int64)

    def catch_up(self) -> int:
        """Append the tracks that are not in it yet.

        Returns:
            How many rows there are: the highest id that a track ever had.
        """
        if not self._is_trusted:
            if not self._agrees():
                self.path.unlink(missing_ok=True)
            self._is_trusted = True
        last = self._tracks.last_id()
        rows = self._rows()
        with open(self.path, "ab", opener=private) as file:
            # A crash may have left a part of a row.
            file.truncate(rows * ROW_BYTES)
            for ids, embeddings in self._tracks.embeddings(rows):
                block = np.zeros((int(ids[-1]) - rows, EMBEDDING_SIZE), "<f4")
                block[ids - rows - 1] = embeddings
                file.write(block.tobytes())
                rows = int(ids[-1])
            # The newest tracks may be gone; a grouping may still remember them.
            file.truncate(last * ROW_BYTES)
        return last

    def erase(self, gone: NDArray[np.bool_]) -> None:
        """Overwrite the rows of tracks that are gone, once no grouping has to let them go.

        Args:
            gone: Shape ``(rows,)``; may be shorter than the file is.
        """
        left = np.flatnonzero(gone)
        left = left[~np.isin(left, self._erased)]
        if not len(left):
            return
        with self.path.open("r+b") as file:
            for run in np.split(left, np.flatnonzero(np.diff(left) > 1) + 1):
                file.seek(int(run[0]) * ROW_BYTES)
                file.write(bytes(len(run) * ROW_BYTES))
            file.flush()
            os.fsync(file.fileno())
        self._erased = np.flatnonzero(gone)

    def _rows(self) -> int:
        try:
            return self.path.stat().st_size // ROW_BYTES
        except FileNotFoundError:
            return 0

    def _agrees(self) -> bool:
        """Whether some rows are what the store says; another store's file would differ."""
        rows, last = self._rows(), self._tracks.last_id()
        if rows == 0:
            return True
        if rows > last:
            return False
        matrix = np.memmap(self.path, "<f4", mode="r", shape=(rows, EMBEDDING_SIZE))
        for after in np.linspace(0, rows - 1, PROBES).astype(np.int64).tolist():
            found = self._tracks.next_after(after)
            if found is None:
                return True
            number, embedding = found
            if number <= rows and not np.array_equal(matrix[number - 1], embedding):
                return False
        return True
