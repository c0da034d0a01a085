"""Pairs of vectors that lie near each other, exactly, at the speed of a matrix product."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.graph_components import Indices

Vectors = NDArray[np.float32]
"""Shape ``(n, d)``; may be memory-mapped, since it is read in blocks of rows."""

BLOCK_CELLS = 2_000_000
MAX_BLOCK_ROWS = 32_768
CHUNK_PAIRS = 65_536
# Fewer are not worth a thread.
THREADED_BLOCKS = 8
# What is found ahead of the one who asks is kept in memory.
BLOCKS_AHEAD = 4
# Not infinite: some matrix products multiply it by zeros that they pad with.
NEVER = -1e30


class NeighbourPairs(NamedTuple):
    """Pairs found: ``query[k]`` counts the queries, ``row[k]`` the stored rows."""

    query: Indices
    row: Indices


def find_neighbours(
    queries: Vectors,
    stored: Vectors,
    limit: float,
    query_offsets: NDArray[np.float64] | None = None,
    stored_offsets: NDArray[np.float64] | None = None,
) -> Iterator[NeighbourPairs]:
    """Find every pair with ``|query - row|^2 + both offsets <= limit``, block by block.

    A float32 product ``|x - y|^2 = |x|^2 + |y|^2 - 2xy`` decides the clear pairs. Those
    closer to the limit than the product can err are decided again by subtraction in
    float64, so a tie at the limit falls as it does in scikit-learn's trees.

    Args:
        queries: Shape ``(m, d)``, finite.
        stored: Shape ``(n, d)``, finite.
        limit: A squared distance.
        query_offsets: Shape ``(m,)``, not negative; added to the squared distance.
        stored_offsets: Shape ``(n,)``, not negative; infinite for rows to leave out.

    Yields:
        The pairs of each block that has any; the blocks go up through ``stored``.
    """
    if not len(queries) or not len(stored):
        return
    block_rows = int(np.clip(BLOCK_CELLS // len(queries), 1024, MAX_BLOCK_ROWS))
    search = _Search(queries, stored, limit, query_offsets, stored_offsets, block_rows)
    starts = range(0, len(stored), block_rows)
    if len(starts) < THREADED_BLOCKS or len(os.sched_getaffinity(0)) == 1:
        yield from filter(_any, map(search.block, starts))
        return
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        ahead: deque[Future[NeighbourPairs]] = deque()
        for start in starts:
            ahead.append(pool.submit(search.block, start))
            if len(ahead) > BLOCKS_AHEAD:
                yield from filter(_any, [ahead.popleft().result()])
        yield from filter(_any, (future.result() for future in ahead))


class _Search:
    """A search in one block at a time; several threads may search at once.

    The threads of a matrix product itself wait for each other by spinning, which costs most
    where other programs want the cores as well. These do not, and share the rest of the work.
    """

    def __init__(
        self,
        queries: Vectors,
        stored: Vectors,
        limit: float,
        query_offsets: NDArray[np.float64] | None,
        stored_offsets: NDArray[np.float64] | None,
        block_rows: int,
    ) -> None:
        self._queries, self._query_offsets = queries, query_offsets
        self._stored, self._stored_offsets = stored, stored_offsets
        self._limit = limit
        self._rows = min(block_rows, len(stored))
        self._own = _squares(queries) + (0.0 if query_offsets is None else query_offsets)
        self._scratch = threading.local()

    def block(self, start: int) -> NeighbourPairs:
        """The pairs with rows from ``start`` on, as many rows as there are in a block."""
        block = self._stored[start : start + self._rows]
        offsets = self._stored_offsets
        if offsets is not None:
            offsets = offsets[start : start + self._rows]
        theirs = _squares(block) + (0.0 if offsets is None else offsets)
        kept = np.isfinite(theirs)
        if not kept.any():
            return NeighbourPairs(np.empty(0, np.int64), np.empty(0, np.int64))
        width = block.shape[1]
        slack = _rounding(self._own + theirs[kept].max() + self._limit, width)
        left, right = self._sides()
        left[:, width + 1] = slack - (self._own - self._limit) / 2
        right[: len(block), :width], right[:, width + 1] = block, 1.0
        right[: len(block), width] = np.where(kept, -theirs / 2, NEVER)
        spare = left @ right[: len(block)].T
        found = np.flatnonzero(spare >= 0)
        query, column = np.divmod(found, len(block))
        doubtful = np.flatnonzero(spare.ravel()[found] <= (2 * slack).astype(np.float32)[query])
        if len(doubtful):
            i, j = query[doubtful], column[doubtful]
            exact = squared_distances(self._queries, i, block, j)
            exact += 0.0 if self._query_offsets is None else self._query_offsets[i]
            exact += 0.0 if offsets is None else offsets[j]
            within = np.ones(len(found), dtype=np.bool_)
            within[doubtful] = exact <= self._limit
            query, column = query[within], column[within]
        return NeighbourPairs(query, column + start)

    def _sides(self) -> tuple[Vectors, Vectors]:
        """Both factors, made once a thread.

        With two more columns one product gives (limit - distance) / 2 at once.
        """
        if not hasattr(self._scratch, "sides"):
            width = self._queries.shape[1]
            left = np.empty((len(self._queries), width + 2), dtype=np.float32)
            left[:, :width], left[:, width] = self._queries, 1.0
            right = np.empty((self._rows, width + 2), dtype=np.float32)
            self._scratch.sides = left, right
        sides: tuple[Vectors, Vectors] = self._scratch.sides
        return sides


def squared_distances(
    left: Vectors, left_rows: Indices, right: Vectors, right_rows: Indices
) -> NDArray[np.float64]:
    """Squared distances of paired rows, subtracted and summed in float64.

    Returns:
        Shape ``(k,)`` for ``k`` pairs of rows.
    """
    result = np.empty(len(left_rows), dtype=np.float64)
    for start in range(0, len(left_rows), CHUNK_PAIRS):
        part = slice(start, start + CHUNK_PAIRS)
        difference = left[left_rows[part]].astype(np.float64)
        difference -= right[right_rows[part]]
        result[part] = np.einsum("ij,ij->i", difference, difference)
    return result


def _any(pairs: NeighbourPairs) -> bool:
    return len(pairs.query) > 0


def _squares(block: Vectors) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", block, block, dtype=np.float64)
    return squares


def _rounding(scale: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Bound on the error of half a squared distance computed in float32.

    A sum of ``k`` products errs by at most ``k`` units of 2^-24 times the sum of their sizes,
    and ``|x||y| + |y|^2 / 2 + |x|^2 / 2`` is at most the scale, ``|x|^2 + |y|^2``. Half as
    much again is for rounding the two added columns.
    """
    return 1.5 * (width + 2) * 2.0**-24 * scale
