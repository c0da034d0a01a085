"""Atomic writes, and locks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.media.fs import (
    locked,
    replacing,
    unfinished_path,
    write_atomically,
)
from portraitd.model.errors import StoreError


@pytest.fixture
def umask() -> Iterator[None]:
    """A service's umask, which takes the rights of others away."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.usefixtures("umask")
def test_a_file_gets_its_content_and_mode(tmp_path: Path, mode: int) -> None:
    """Whatever the umask is, and whatever the old file was."""
    path = tmp_path / "file.json"
    path.write_bytes(b"old content, longer")

    write_atomically(path, b"new", mode=mode, durable=True)

    assert b"new" == path.read_bytes()
    assert mode == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("concurrent", [False, True])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, concurrent: bool) -> None:
    """And nothing unfinished beside it."""
    path = tmp_path / "file.json"
    path.write_bytes(b"old")

    with pytest.raises(ZeroDivisionError), replacing(path, concurrent=concurrent) as unfinished:
        unfinished.write_bytes(b"half")
        raise ZeroDivisionError

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_what_an_interrupted_write_left_is_overwritten(tmp_path: Path) -> None:
    """A link of this name is replaced, not followed."""
    path, other = tmp_path / "file.json", tmp_path / "other"
    other.write_bytes(b"untouched")
    unfinished_path(path).symlink_to(other)

    write_atomically(path, b"new")

    assert b"new" == path.read_bytes()
    assert b"untouched" == other.read_bytes()
    assert {path, other} == set(tmp_path.iterdir())


def test_concurrent_writers_do_not_share_an_unfinished_file(tmp_path: Path) -> None:
    """The last one to finish wins, with the whole of its content."""
    path = tmp_path / "file.json"

    with replacing(path, concurrent=True) as first, replacing(path, concurrent=True) as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")

    assert b"first" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_an_unfinished_file_is_hidden_and_keeps_the_suffix(tmp_path: Path) -> None:
    """OpenCV chooses the container by the suffix; the inbox ignores hidden names."""
    assert tmp_path / ".new-clip.mp4" == unfinished_path(tmp_path / "clip.mp4")


def test_a_write_that_fails_is_reported_as_asked(tmp_path: Path) -> None:
    """As one of portraitd's errors that names the file, or else as it is."""
    path = tmp_path / "missing" / "file.json"

    with pytest.raises(StoreError, match=r"file\.json cannot be written: No such file"):
        write_atomically(path, b"", error=StoreError)
    with pytest.raises(FileNotFoundError):
        write_atomically(path, b"")


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    """And can be taken again when it was released."""
    path = tmp_path / "lock"

    with locked(path), pytest.raises(BlockingIOError), locked(path):
        pass

    with locked(path):
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
