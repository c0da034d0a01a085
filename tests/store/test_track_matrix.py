"""The matrix of tracks is a copy of what the store holds, and mended wherever it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from portraitd.faces.models.cards import DLIB
from portraitd.model.face import Embeddings
from portraitd.store.database import Database
from portraitd.store.track_matrix import PROBES, TrackMatrix
from support.store import Store, embedding

ROW_BYTES = 4 * DLIB.embedding_size


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracks.f32"


def see(store: Store, *seeds: int) -> None:
    """A video with a track for each seed."""
    store.see(*map(embedding, seeds))
    store.track()


def rows(path: Path) -> Embeddings:
    return np.fromfile(path, "<f4").reshape(-1, DLIB.embedding_size)


def expected(store: Store, size: int) -> Embeddings:
    """The rows of the database, and a row of zeros for each deleted track."""
    found = np.zeros((size, DLIB.embedding_size), np.float32)
    for ids, embeddings in store.tracks.embeddings(0, DLIB.embedding_size):
        found[ids - 1] = embeddings
    return found


def test_it_holds_every_track_in_its_row(store: Store, path: Path) -> None:
    """Row ``i`` is track ``i + 1``, bit for bit."""
    see(store, 1, 2)
    see(store, 3)

    assert 3 == TrackMatrix(path, store.tracks, DLIB.embedding_size).catch_up()
    assert expected(store, 3).tobytes() == path.read_bytes()


def test_no_tracks_are_no_rows(store: Store, path: Path) -> None:
    """An empty matrix is a matrix."""
    assert 0 == TrackMatrix(path, store.tracks, DLIB.embedding_size).catch_up()
    assert b"" == path.read_bytes()


def test_more_than_one_block_is_written(store: Store, path: Path) -> None:
    """Tracks are read some thousand at a time."""
    see(store, *range(5000))
    before = expected(store, 5000)

    assert 5000 == TrackMatrix(path, store.tracks, DLIB.embedding_size).catch_up()
    assert before.tobytes() == path.read_bytes()


def test_only_what_is_new_is_appended(store: Store, path: Path) -> None:
    """A million rows are not written again for one more."""
    see(store, 1, 2)
    matrix = TrackMatrix(path, store.tracks, DLIB.embedding_size)
    matrix.catch_up()
    with path.open("r+b") as file:
        file.write(b"mark")
    see(store, 3)

    assert 3 == matrix.catch_up()
    assert 3 == matrix.catch_up()

    assert path.read_bytes().startswith(b"mark")
    assert 3 * ROW_BYTES == path.stat().st_size
    assert np.array_equal(expected(store, 3)[1:], rows(path)[1:])


def test_a_restart_goes_on_with_the_file_there_is(store: Store, path: Path) -> None:
    """It is checked, and used."""
    see(store, 1, 2)
    TrackMatrix(path, store.tracks, DLIB.embedding_size).catch_up()
    inode = path.stat().st_ino
    see(store, 3)

    assert 3 == TrackMatrix(path, store.tracks, DLIB.embedding_size).catch_up()
    assert inode == path.stat().st_ino
    assert expected(store, 3).tobytes() == path.read_bytes()


@pytest.mark.parametrize("torn", [1, ROW_BYTES - 1, -1, -ROW_BYTES + 1, -ROW_BYTES])
@pytest.mark.parametrize("restarted", [True, False])
def test_a_torn_row_is_mended(store: Store, path: Path, torn: int, restarted: bool) -> None:
    """Wherever a crash, or a full disk, left the writing."""
    see(store, 1, 2)
    matrix = TrackMatrix(path, store.tracks, DLIB.embedding_size)
    matrix.catch_up()
    content = path.read_bytes()
    path.write_bytes(content[:torn] if torn < 0 else content + content[:torn])
    see(store, 3)
    if restarted:
        matrix = TrackMatrix(path, store.tracks, DLIB.embedding_size)

    assert 3 == matrix.catch_up()
    assert expected(store, 3).tobytes() == path.read_bytes()


def other_store(tmp_path: Path, *seeds: int) -> bytes:
    """The matrix of another home."""
    (tmp_path / "other").mkdir()
    other = Store(Database.open(tmp_path / "other"))
    see(other, *seeds)
    TrackMatrix(tmp_path / "other.f32", other.tracks, DLIB.embedding_size).catch_up()
    return (tmp_path / "other.f32").read_bytes()


@pytest.mark.parametrize(
    "seeds",
    [
        [9],
        [7, 8, 9],
        [7, 8, 9, 10, 11, 12],
        # It begins in the same way.
        [1, 8, 9],
        [1, 2, 9],
        [1, 8, 9, 10, 11, 12],
        [1, *range(100, 100 + 3 * PROBES)],
        [1, 2, 3, *range(100, 100 + 3 * PROBES)],
    ],
)
def test_the_file_of_another_store_is_made_anew(
    tmp_path: Path, store: Store, path: Path, seeds: list[int]
) -> None:
    """Shorter, as long, or longer; as when a database was put back or begun again."""
    path.write_bytes(other_store(tmp_path, *seeds))
    see(store, 1, 2, 3)
    matrix = TrackMatrix(path, store.tracks, DLIB.embedding_size)

    assert 3 == matrix.catch_up()
    assert expected(store, 3).tobytes() == path.read_bytes()
    see(store, 4, 5)
    assert 5 == matrix.catch_up()
    assert expected(store, 5).tobytes() == path.read_bytes()


def test_tracks_that_are_gone_before_they_are_written_are_gaps(store: Store, path: Path) -> None:
    """Rows of zeros, so that all others keep their place."""
    for seed in range(1, 7):
        see(store, seed)
    store.database.execute("delete from videos where id in (1, 3, 4)")

    assert 6 == TrackMatrix(path, store.tracks, DLIB.embedding_size).catch_up()
    assert expected(store, 6).tobytes() == path.read_bytes()
    assert [False, True, False, False, True, True] == rows(path).any(axis=1).tolist()


def test_gaps_between_two_times_are_kept(store: Store, path: Path) -> None:
    """What comes after tracks that were never written has its own row."""
    see(store, 1)
    matrix = TrackMatrix(path, store.tracks, DLIB.embedding_size)
    matrix.catch_up()
    see(store, 2)
    see(store, 3)
    store.database.execute("delete from videos where id = 2")

    assert 3 == matrix.catch_up()
    assert expected(store, 3).tobytes() == path.read_bytes()


@pytest.mark.parametrize("restarted", [True, False])
def test_when_the_newest_tracks_are_gone_their_rows_stay(
    store: Store, path: Path, restarted: bool
) -> None:
    """A grouping still needs them; and no other track gets their rows."""
    see(store, 1)
    see(store, 2)
    matrix = TrackMatrix(path, store.tracks, DLIB.embedding_size)
    matrix.catch_up()
    before = rows(path)
    store.database.execute("delete from videos where id = 2")
    if restarted:
        matrix = TrackMatrix(path, store.tracks, DLIB.embedding_size)

    assert 2 == matrix.catch_up()
    assert np.array_equal(before, rows(path))
    see(store, 3)
    assert 3 == matrix.catch_up()
    assert np.array_equal(expected(store, 3)[[0, 2]], rows(path)[[0, 2]])


def test_rows_that_nobody_needs_are_erased(store: Store, path: Path) -> None:
    """For good; the others keep every bit, also those that come later."""
    for seed in range(1, 6):
        see(store, seed)
    matrix = TrackMatrix(path, store.tracks, DLIB.embedding_size)
    matrix.catch_up()
    store.database.execute("delete from videos where id in (2, 3, 5)")
    gone = np.array([False, True, True, False, True])
    matrix.erase(gone)
    see(store, 6)
    matrix.catch_up()
    matrix.erase(gone)

    assert expected(store, 6).tobytes() == path.read_bytes()
    assert 6 == TrackMatrix(path, store.tracks, DLIB.embedding_size).catch_up()
    assert expected(store, 6).tobytes() == path.read_bytes()


def test_a_file_that_is_lost_covers_every_track_there_ever_was(store: Store, path: Path) -> None:
    """Also when the newest are gone: what a grouping remembers of them has its place."""
    see(store, 1)
    see(store, 2)
    matrix = TrackMatrix(path, store.tracks, DLIB.embedding_size)
    matrix.catch_up()
    store.database.execute("delete from videos where id = 2")
    path.unlink()

    assert 2 == matrix.catch_up()
    assert expected(store, 2).tobytes() == path.read_bytes()
