"""Track matrix: the mean embeddings of all tracks in one file, which a grouping memory-maps.

It is a copy of rows in the database, because reading a million of them takes longer than grouping
what is new. Row ``i`` is track ``i + 1``. The row of a deleted track is set to zero once no
grouping needs it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portraitd.store.erasure.derived_files import private
from portraitd.store.tracks import TrackStore

PROBES = 64
"""Rows that are compared with the database before the file is used."""


class TrackMatrix:
    """The file, kept up to date with the database.

    Args:
        path: The file; it is created when needed, and replaced where it differs from the database.
        tracks: The tracks it is a copy of.
        embedding_size: How many numbers a row has.
    """

    def __init__(self, path: Path, tracks: TrackStore, embedding_size: int) -> None:
        self.path = path
        self._tracks = tracks
        self._size = embedding_size
        self._row_bytes = 4 * embedding_size
        self._is_checked = False
        self._erased = np.empty(0, np.int64)

    def catch_up(self) -> int:
        """Append the tracks that are not in it yet.

        Returns:
            The number of rows: the highest id that a track ever had.
        """
        if not self._is_checked:
            if not self._matches_database():
                self.path.unlink(missing_ok=True)
            self._is_checked = True
        last = self._tracks.last_id()
        rows = self._rows()
        with open(self.path, "ab", opener=private) as file:
            # A crash may have left an incomplete row.
            file.truncate(rows * self._row_bytes)
            for ids, embeddings in self._tracks.embeddings(rows, self._size):
                block = np.zeros((int(ids[-1]) - rows, self._size), "<f4")
                block[ids - rows - 1] = embeddings
                file.write(block.tobytes())
                rows = int(ids[-1])
            # Keep the rows of deleted newest tracks: a grouping may still need them.
            file.truncate(last * self._row_bytes)
        return last

    def erase(self, is_deleted: NDArray[np.bool_]) -> None:
        """Overwrite the rows of deleted tracks.

        Args:
            is_deleted: Shape ``(rows,)``, which may be shorter than the file.
        """
        left = np.flatnonzero(is_deleted)
        left = left[~np.isin(left, self._erased)]
        if not len(left):
            return
        with self.path.open("r+b") as file:
            for run in np.split(left, np.flatnonzero(np.diff(left) > 1) + 1):
                file.seek(int(run[0]) * self._row_bytes)
                file.write(bytes(len(run) * self._row_bytes))
            file.flush()
            os.fsync(file.fileno())
        self._erased = np.flatnonzero(is_deleted)

    def _rows(self) -> int:
        try:
            return self.path.stat().st_size // self._row_bytes
        except FileNotFoundError:
            return 0

    def _matches_database(self) -> bool:
        """Return whether some rows match the database; the file may be another database's."""
        rows, last = self._rows(), self._tracks.last_id()
        if rows == 0:
            return True
        if rows > last:
            return False
        matrix = np.memmap(self.path, "<f4", mode="r", shape=(rows, self._size))
        for after in np.linspace(0, rows - 1, PROBES).astype(np.int64).tolist():
            found = self._tracks.next_after(after, self._size)
            if found is None:
                return True
            number, embedding = found
            if number <= rows and not np.array_equal(matrix[number - 1], embedding):
                return False
        return True
