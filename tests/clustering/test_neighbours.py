"""Pairs that lie near each other, however many blocks and threads the search takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist

from portraitd.clustering.neighbours import find_neighbours


def test_many_blocks_give_the_pairs_that_one_would() -> None:
    """Each once, going up through the rows, also where several threads search."""
    random = np.random.default_rng(4)
    queries = random.normal(0, 1, (2000, 4)).astype(np.float32)
    stored = random.normal(0, 1, (9000, 4)).astype(np.float32)
    weights, offsets = random.uniform(0, 0.1, 2000), random.uniform(0, 0.1, 9000)
    offsets[::7] = np.inf
    squares = cdist(queries.astype(np.float64), stored.astype(np.float64), "sqeuclidean")
    expected = np.argwhere(squares + weights[:, None] + offsets <= 0.25)

    blocks = list(find_neighbours(queries, stored, 0.25, weights, offsets))

    assert len(blocks) > 8
    found = np.concatenate([np.stack(block, axis=1) for block in blocks])
    assert expected.tolist() == found[np.lexsort((found[:, 1], found[:, 0]))].tolist()
    ends = np.array([[block.row.min(), block.row.max()] for block in blocks]).ravel()
    assert (np.diff(ends) >= 0).all()


def test_a_search_may_be_left_early() -> None:
    """Its threads end with it."""
    stored = np.zeros((9000, 4), dtype=np.float32)
    first = next(find_neighbours(stored[:2000], stored, 0.25))

    assert 0 == first.row.min()


def test_nothing_is_near_nothing() -> None:
    """Neither without queries nor without rows, nor where none is near."""
    none = np.empty((0, 4), dtype=np.float32)
    some = np.ones((3, 4), dtype=np.float32)

    assert [] == list(find_neighbours(none, some, 1.0))
    assert [] == list(find_neighbours(some, none, 1.0))
    assert [] == list(find_neighbours(some, -some, 1.0))


def test_a_search_leaves_no_pages_of_the_file_in_memory(tmp_path: Path) -> None:
    """A file may be larger than the memory of the process; what was read can be read again."""
    rows = np.random.default_rng(8).random((40_000, 64), dtype=np.float32)
    rows.tofile(tmp_path / "rows.f32")
    mapped = np.memmap(tmp_path / "rows.f32", np.float32, mode="r", shape=rows.shape)
    before = resident_file_bytes()
    pairs = list(find_neighbours(rows[:3], mapped, 1e-6))

    assert [0, 1, 2] == [int(row) for found in pairs for row in found.row]
    assert resident_file_bytes() - before < mapped.nbytes / 4
    assert np.array_equal(mapped, rows)


def resident_file_bytes() -> int:
    """Return how much of mapped files this process has in memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [line] = [line for line in lines if line.startswith("RssFile:")]
    return int(line.split()[1]) * 1024
