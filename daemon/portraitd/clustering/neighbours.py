"""Find all pairs of near vectors, exactly, at the speed of a matrix product."""

from __future__ import annotations

import mmap
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
CHUNK_CELLS = 1_048_576
# Fewer blocks are not worth a thread.
THREADED_BLOCKS = 8
# Results found ahead of the caller are kept in memory.
BLOCKS_AHEAD = 4


class NeighbourPairs(NamedTuple):
    """Positions of near pairs: ``query[k]`` among the queries, ``row[k]`` among the stored rows."""

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

    A float32 product ``|x - y|^2 = |x|^2 + |y|^2 - 2xy`` decides the clear pairs. Pairs that
    are closer to the limit than the error of the product are decided by subtraction in
    float64, so a tie at the limit is decided as in scikit-learn's trees.

    Args:
        queries: Shape ``(m, d)``, finite.
        stored: Shape ``(n, d)``, finite.
        limit: A squared distance.
        query_offsets: Shape ``(m,)``, not negative; added to the squared distance.
        stored_offsets: Shape ``(n,)``, not negative; infinite for rows to skip.

    Yields:
        The pairs of each block that has any, in ascending order of the blocks of ``stored``.
    """
    if not len(queries) or not len(stored):
        return
    block_rows = int(np.clip(BLOCK_CELLS // len(queries), 1024, MAX_BLOCK_ROWS))
    searcher = _BlockSearch(queries, stored, limit, query_offsets, stored_offsets, block_rows)
    starts = range(0, len(stored), block_rows)
    if len(starts) < THREADED_BLOCKS or len(os.sched_getaffinity(0)) == 1:
        yield from filter(_has_pairs, map(searcher.search, starts))
        return
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        ahead: deque[Future[NeighbourPairs]] = deque()
        for start in starts:
            ahead.append(pool.submit(searcher.search, start))
            if len(ahead) > BLOCKS_AHEAD:
                yield from filter(_has_pairs, [ahead.popleft().result()])
        yield from filter(_has_pairs, (future.result() for future in ahead))


class _BlockSearch:
    """A search in one block at a time; several threads may search at once.

    The threads of a matrix product itself wait for each other by spinning, which is expensive
    when other programs need the cores as well. These threads do not spin, and they share the
    rest of the work.
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
        self._own = _square_lengths(queries) + (0.0 if query_offsets is None else query_offsets)
        self._scratch = threading.local()

    def search(self, start: int) -> NeighbourPairs:
        """Return the pairs with the rows of the block that begins at ``start``."""
        block = self._stored[start : start + self._rows]
        offsets = self._stored_offsets
        if offsets is not None:
            offsets = offsets[start : start + self._rows]
        # Rows to skip would take as long in the product as the others.
        kept = np.arange(len(block)) if offsets is None else np.flatnonzero(np.isfinite(offsets))
        if not len(kept):
            return NeighbourPairs(np.empty(0, np.int64), np.empty(0, np.int64))
        width = block.shape[1]
        left, right, gathered, product = self._get_buffers()
        right = right[: len(kept)]
        if len(kept) < len(block):
            block_kept = np.take(block, kept, axis=0, out=gathered[: len(kept)], mode="clip")
            right[:, :width] = block_kept
        else:
            right[:, :width] = block
        theirs = np.einsum("ij,ij->i", right[:, :width], right[:, :width])
        if offsets is not None:
            theirs = theirs + offsets[kept]
        slack = _bound_rounding(self._own + theirs.max() + self._limit, width)
        left[:, width + 1] = slack - (self._own - self._limit) / 2
        right[:, width], right[:, width + 1] = -theirs / 2, 1.0
        spare = product[: len(left) * len(kept)].reshape(len(left), len(kept))
        np.matmul(left, right.T, out=spare)
        found = np.flatnonzero(spare >= 0)
        query, column = np.divmod(found, len(kept))
        doubtful = np.flatnonzero(spare.ravel()[found] <= (2 * slack).astype(np.float32)[query])
        column = kept[column]
        if len(doubtful):
            i, j = query[doubtful], column[doubtful]
            exact = squared_distances(self._queries, i, block, j)
            exact += 0.0 if self._query_offsets is None else self._query_offsets[i]
            exact += 0.0 if offsets is None else offsets[j]
            within = np.ones(len(found), dtype=np.bool_)
            within[doubtful] = exact <= self._limit
            query, column = query[within], column[within]
        release_pages(block)
        return NeighbourPairs(query, column + start)

    def _get_buffers(self) -> tuple[Vectors, Vectors, Vectors, NDArray[np.float32]]:
        """Return this thread's buffers: both factors, rows of a block, and the product.

        Two more columns make the product equal to (limit - distance) / 2.
        """
        if not hasattr(self._scratch, "buffers"):
            width = self._queries.shape[1]
            left = np.empty((len(self._queries), width + 2), dtype=np.float32)
            left[:, :width], left[:, width] = self._queries, 1.0
            right = np.empty((self._rows, width + 2), dtype=np.float32)
            gathered = np.empty((self._rows, width), dtype=np.float32)
            product = np.empty(len(left) * self._rows, dtype=np.float32)
            self._scratch.buffers = left, right, gathered, product
        buffers: tuple[Vectors, Vectors, Vectors, NDArray[np.float32]] = self._scratch.buffers
        return buffers


def squared_distances(
    left: Vectors, left_rows: Indices, right: Vectors, right_rows: Indices
) -> NDArray[np.float64]:
    """Return squared distances of paired rows, subtracted and summed in float64.

    Returns:
        Shape ``(k,)`` for ``k`` pairs of rows.
    """
    result = np.empty(len(left_rows), dtype=np.float64)
    step = chunk_pairs(left.shape[1])
    for start in range(0, len(left_rows), step):
        part = slice(start, start + step)
        difference = left[left_rows[part]].astype(np.float64)
        difference -= right[right_rows[part]]
        result[part] = np.einsum("ij,ij->i", difference, difference)
    return result


def chunk_pairs(width: int) -> int:
    """Return how many pairs of vectors may be subtracted at once: 8 MB of differences."""
    return max(1, CHUNK_CELLS // max(width, 1))


def release_pages(block: Vectors) -> None:
    """Tell the system that a block of a memory-mapped file is not needed for now.

    Its pages stay in the cache of the system, but no longer count as memory of this process: a
    search reads all of the file, which may be larger than what the process may use.

    Args:
        block: Rows of an array; nothing happens if it is in memory.
    """
    owner: object = block
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if not isinstance(owner, mmap.mmap) or not block.flags.c_contiguous:
        return
    offset = block.ctypes.data - np.frombuffer(owner, np.uint8).ctypes.data
    first = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (offset + block.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        owner.madvise(mmap.MADV_DONTNEED, first, last - first)


def _has_pairs(pairs: NeighbourPairs) -> bool:
    return len(pairs.query) > 0


def _square_lengths(block: Vectors) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", block, block, dtype=np.float64)
    return squares


def _bound_rounding(scale: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return a bound on the error of half a squared distance computed in float32.

    The error of a sum of ``k`` products is at most ``k * 2^-24`` times the sum of their absolute
    values, and ``|x||y| + |y|^2 / 2 + |x|^2 / 2`` is at most the scale, ``|x|^2 + |y|^2``. The
    factor 2 covers the rounding of the two added columns, and that ``|y|^2`` itself is a sum in
    float32.
    """
    return 2.0 * (width + 2) * 2.0**-24 * scale
