"""The mechanism that person folders, pages and training sets share, on a real disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.people.tree.folder_fs import open_root
from portraitd.people.tree.manifest import ManifestEntry
from portraitd.people.tree.plan import Owner
from portraitd.people.tree.published_folder import PublishedFolder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[PublishedFolder]:
    files: dict[str, ManifestEntry] = {}
    with open_root(tmp_path) as fd:
        yield PublishedFolder(fd, files, lambda: None, 0o640)


def test_a_written_file_is_owned_until_somebody_changes_it(
    folder: PublishedFolder, tmp_path: Path
) -> None:
    """By its content, not by its time: a restored backup is unchanged."""
    folder.write("a.txt", "one", b"content")
    os.utime(tmp_path / "a.txt", (1, 1))

    assert folder.is_current("a.txt", "one")
    assert not folder.is_current("a.txt", "two")
    (tmp_path / "a.txt").write_bytes(b"CONTENT")
    assert not folder.is_owned("a.txt")
    assert {"a.txt": Owner.THEIRS} == dict(folder.owners(["a.txt"]))


def test_without_a_hash_only_size_and_time_are_compared(
    folder: PublishedFolder, tmp_path: Path
) -> None:
    """Files of a training set are not read again."""
    folder.write("a.txt", "one", b"content", hashes=False)
    assert folder.is_owned("a.txt")

    os.utime(tmp_path / "a.txt", (1, 1))

    assert not folder.is_owned("a.txt")


def test_a_changed_file_is_unlisted_and_not_removed(
    folder: PublishedFolder, tmp_path: Path
) -> None:
    """It belongs to the person who changed it."""
    folder.write("a.txt", "one", b"content")
    folder.write("b.txt", "one", b"content")
    (tmp_path / "a.txt").write_bytes(b"changed")

    assert [False, True] == [folder.remove("a.txt"), folder.remove("b.txt")]

    assert ["a.txt"] == os.listdir(tmp_path)
    assert (2, 1, {}) == (folder.written, folder.removed, folder.files)


def test_a_linked_file_replaces_what_was_there(folder: PublishedFolder, tmp_path: Path) -> None:
    """Also a link to the same file, which a rename alone would leave beside it."""
    source = tmp_path / "source.jpg"
    source.write_bytes(b"image")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(b"old")

    for _ in range(2):
        folder.link("images/a.jpg", "cache/a", source)

    assert ["a.jpg"] == os.listdir(tmp_path / "images")
    assert source.samefile(tmp_path / "images/a.jpg")
    assert folder.is_current("images/a.jpg", "cache/a")


def test_a_name_of_the_greatest_length_can_be_written(
    folder: PublishedFolder, tmp_path: Path
) -> None:
    """The hidden name of the unfinished file is shortened."""
    name = "ü" * 125 + ".jpg"

    folder.write(name, "one", b"content")

    assert [name] == os.listdir(tmp_path)
