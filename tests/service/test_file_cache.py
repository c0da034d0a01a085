"""Files sent to a worker: complete, verified, and within the size limit."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.model.errors import FileChanged, StoreError, WorkerDied
from portraitd.service.remote.file_cache import FileCache
from portraitd.service.remote.transfer import CHUNK_BYTES, send_file
from support.media import source_of

LIMIT = 1000


def content(seed: int, size: int = 300) -> tuple[str, bytes]:
    data = random.Random(seed).randbytes(size)
    return hashlib.sha256(data).hexdigest(), data


def put(cache: FileCache, data: bytes, pieces: int = 3) -> str:
    """Send a file in chunks."""
    name, step = hashlib.sha256(data).hexdigest(), -(-len(data) // pieces)
    for offset in range(0, len(data), step):
        cache.receive(name, len(data), offset, data[offset : offset + step], LIMIT)
    return name


def test_a_file_is_available_after_its_last_chunk(tmp_path: Path) -> None:
    """Not earlier."""
    cache = FileCache(tmp_path)
    name, data = content(1)
    assert 100 == cache.receive(name, 300, 0, data[:100], LIMIT)
    with pytest.raises(FileNotFoundError):
        cache.path(name)

    assert 300 == cache.receive(name, 300, 100, data[100:], LIMIT)

    assert data == cache.path(name).read_bytes()
    assert 300 == cache.receive(name, 300, 0, b"", LIMIT)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=40))
def test_chunks_may_arrive_twice_and_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, tries: list[tuple[int, int]]
) -> None:
    """A chunk that does not fit is ignored; continuing at the returned offset always succeeds."""
    cache = FileCache(tmp_path_factory.mktemp("received"))
    name, data = content(2, 100)
    for tenth, count in tries:
        cache.receive(name, 100, 10 * tenth, data[10 * tenth : 10 * (tenth + count)], LIMIT)

    received = cache.receive(name, 100, 0, b"", LIMIT)
    while received < 100:
        received = cache.receive(name, 100, received, data[received : received + 7], LIMIT)

    assert data == cache.path(name).read_bytes()


def test_content_that_does_not_match_its_hash_is_dropped(tmp_path: Path) -> None:
    """It can be sent again."""
    cache = FileCache(tmp_path)
    name, data = content(3)
    with pytest.raises(StoreError, match="does not match its SHA-256"):
        cache.receive(name, 300, 0, data[::-1], LIMIT)

    assert 0 == cache.receive(name, 300, 0, b"", LIMIT)
    assert 300 == cache.receive(name, 300, 0, data, LIMIT)


def test_the_least_recently_used_file_is_evicted(tmp_path: Path) -> None:
    """The limit is never exceeded; a job that has an evicted file open can read on."""
    cache = FileCache(tmp_path)
    names = [put(cache, content(seed)[1]) for seed in range(3)]
    cache.path(names[0])
    with cache.path(names[0]).open("rb") as file:
        put(cache, content(9)[1])
        put(cache, content(10)[1])
        put(cache, content(11)[1])

        assert content(0)[1] == file.read()

    kept = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert LIMIT >= kept
    with pytest.raises(FileNotFoundError):
        cache.path(names[1])


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64])
def test_a_name_must_be_a_hash(tmp_path: Path, name: str) -> None:
    """No other path can be written."""
    with pytest.raises(StoreError, match="not a SHA-256"):
        FileCache(tmp_path).receive(name, 10, 0, b"x" * 10, LIMIT)


def test_files_of_ended_workers_are_removed(tmp_path: Path) -> None:
    """Those of a running worker are kept."""
    for name in ("999999999", str(os.getppid())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")

    FileCache(tmp_path)

    assert {str(os.getpid()), str(os.getppid())} == {path.name for path in tmp_path.iterdir()}


def test_a_transfer_continues_where_it_stopped(tmp_path: Path) -> None:
    """One chunk is in memory at a time; chunks that have arrived are not sent again."""
    name, data = content(4, 2 * CHUNK_BYTES + 5)
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    cache = FileCache(tmp_path / "received")
    cache.receive(name, len(data), 0, data[:CHUNK_BYTES], 10**9)
    lengths: list[int] = []

    def send_chunk(size: int, offset: int, chunk: bytes) -> int:
        lengths.append(len(chunk))
        return cache.receive(name, size, offset, chunk, 10**9)

    assert CHUNK_BYTES + 5 == send_file(source_of(path), send_chunk)
    assert [0, CHUNK_BYTES, 5] == lengths
    assert data == cache.path(name).read_bytes()
    assert 0 == send_file(source_of(path), send_chunk)


def test_a_worker_that_refuses_every_chunk_fails_the_transfer(tmp_path: Path) -> None:
    """After a few attempts."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"x" * 100)

    with pytest.raises(WorkerDied, match="refused the file 4 times in a row"):
        send_file(source_of(path), lambda size, offset, data: 0)


def test_a_removed_file_cannot_be_sent(tmp_path: Path) -> None:
    """With the same reason as where it is read directly."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"x" * 100)
    source = source_of(path)
    path.unlink()

    with pytest.raises(FileChanged, match="removed"):
        send_file(source, lambda size, offset, data: 0)
