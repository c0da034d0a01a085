"""Folders and files below a folder, opened without following links."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from portraitd.workers.paths_without_links import (
    FileOpener,
    create_file_below,
    open_below,
    open_file_below,
)


def test_a_folder_below_is_opened_without_following_links(tmp_path: Path) -> None:
    """The root may be a link; nothing on the way may be one."""
    (tmp_path / "root" / "a" / "b").mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to("a")
    root_fd = os.open(tmp_path / "root", os.O_RDONLY)
    try:
        folder_fd = open_below(root_fd, ("a", "b"))
        own_fd = open_below(root_fd, ())
        assert (tmp_path / "root" / "a" / "b").stat().st_ino == os.fstat(folder_fd).st_ino
        assert (tmp_path / "root").stat().st_ino == os.fstat(own_fd).st_ino
        os.close(folder_fd)
        os.close(own_fd)
        with pytest.raises(NotADirectoryError):
            open_below(root_fd, ("link", "b"))
        with pytest.raises(FileNotFoundError):
            open_below(root_fd, ("a", "c"))
    finally:
        os.close(root_fd)


@pytest.mark.parametrize("opens", [open_file_below, create_file_below])
def test_a_file_below_is_opened_without_following_links(
    tmp_path: Path, opens: Callable[[Path, Path], int]
) -> None:
    """To read or to create it; and it is below the folder."""
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "root" / "link").symlink_to("a")
    (tmp_path / "root" / "a" / "file").symlink_to(tmp_path / "outside" / "secret")

    for path, error in {
        "link/new": NotADirectoryError,
        "missing/new": FileNotFoundError,
        "../outside/secret": PermissionError,
        "a/..": PermissionError,
    }.items():
        with pytest.raises(error):
            opens(tmp_path / "root", Path(path))
    with pytest.raises(OSError, match=r"symbolic links|File exists"):
        opens(tmp_path / "root", Path("a/file"))


def test_a_created_file_is_new_and_for_its_owner(tmp_path: Path) -> None:
    """It can then be read, but not be created once more."""
    descriptor = create_file_below(tmp_path, Path("file"))
    os.write(descriptor, b"content")
    os.close(descriptor)

    with pytest.raises(FileExistsError):
        create_file_below(tmp_path, Path("file"))
    descriptor = open_file_below(tmp_path, Path("file"))
    assert b"content" == os.read(descriptor, 16)
    os.close(descriptor)
    assert 0o600 == stat.S_IMODE((tmp_path / "file").stat().st_mode)


def test_many_files_are_opened_as_one_is(tmp_path: Path) -> None:
    """Of the same folder and of others; and no folder stays open."""
    root = tmp_path / "root"
    for path in ("a/one", "a/two", "b/three", "four"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / "a" / "link").symlink_to("one")
    (root / "c").symlink_to("a")
    opener, before = FileOpener(root), os.listdir("/proc/self/fd")

    for path in ("a/one", "a/two", "b/three", "four", "a/one"):
        descriptor = opener.open(Path(path))
        assert path.encode() == os.read(descriptor, 16)
        os.close(descriptor)
    for path, error in {
        "a/link": OSError,
        "c/one": NotADirectoryError,
        "a/missing": FileNotFoundError,
        "b/../a/one": PermissionError,
        "d/one": FileNotFoundError,
    }.items():
        with pytest.raises(error):
            opener.open(Path(path))
    opener.close()

    assert len(before) == len(os.listdir("/proc/self/fd"))
