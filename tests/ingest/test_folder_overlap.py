"""Folders in each other are found behind links, hard names and bind mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portraitd.ingest.folder_overlap import FolderLocation


@pytest.fixture
def one(tmp_path: Path) -> Path:
    folder = tmp_path / "one"
    (folder / "below").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["one", "one/below", "one/new", "one/new/newer", "link/below"])
def test_a_folder_holds_itself_and_what_is_below(tmp_path: Path, one: Path, name: str) -> None:
    """Also what does not exist yet."""
    (tmp_path / "link").symlink_to(one)

    assert FolderLocation(one).holds(FolderLocation(tmp_path / name))


@pytest.mark.parametrize("name", ["two", "one-and-a-half", ".", "one/../two"])
def test_a_folder_does_not_hold_what_is_beside_or_above(
    tmp_path: Path, one: Path, name: str
) -> None:
    """A name that begins alike is another folder."""
    assert not FolderLocation(one).holds(FolderLocation(tmp_path / name))


def mounts(tmp_path: Path, *entries: tuple[str, str, str]) -> Path:
    """Write a table of mounts: device, folder of the file system, mount point."""
    table = tmp_path / "mountinfo"
    lines = ["1 1 8:1 / / rw - ext4 disk rw"]
    lines += [
        f"{number} 1 {device} {root} {point} rw shared:1 - ext4 disk rw"
        for number, (device, root, point) in enumerate(entries, 2)
    ]
    table.write_text("\n".join(lines))
    return table


def test_a_bind_mount_of_a_folder_below_is_below(tmp_path: Path, one: Path) -> None:
    """No parent of the mount point says so; the table of mounts does."""
    point = tmp_path / "mounted here"
    table = mounts(tmp_path, ("8:1", f"{one}/below", str(point).replace(" ", "\\040")))
    inner, outer = FolderLocation(point / "x", table), FolderLocation(one, table)

    assert outer.holds(inner)
    assert not inner.holds(outer)
    assert inner.overlaps(outer)
    assert outer.path_of(inner) is None


def test_a_folder_that_is_mounted_below_another_overlaps_it(tmp_path: Path, one: Path) -> None:
    """Or a part of it."""
    table = mounts(tmp_path, ("8:1", f"{one}/below", f"{tmp_path}/two/inside"))
    part = FolderLocation(tmp_path / "two", table)

    assert FolderLocation(one, table).overlaps(part)
    assert not part.holds(FolderLocation(one, table))
    assert not part.overlaps(FolderLocation(tmp_path / "three", table))


def test_the_same_place_on_another_file_system_is_another_folder(tmp_path: Path, one: Path) -> None:
    """Paths are compared per device."""
    table = mounts(tmp_path, ("8:2", str(one), f"{tmp_path}/two"))

    assert not FolderLocation(one, table).overlaps(FolderLocation(tmp_path / "two", table))


def test_the_mount_on_top_counts(tmp_path: Path, one: Path) -> None:
    """Of two on one point."""
    table = mounts(tmp_path, ("8:1", str(one), f"{tmp_path}/two"), ("8:2", "/", f"{tmp_path}/two"))

    assert not FolderLocation(one, table).overlaps(FolderLocation(tmp_path / "two", table))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_real_bind_mount_is_found(tmp_path: Path, one: Path) -> None:
    """In a mount namespace of its own."""
    import subprocess
    import sys

    (tmp_path / "two").mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from portraitd.ingest.folder_overlap import FolderLocation\n"
        "one, two = (FolderLocation(Path(path)) for path in sys.argv[1:])\n"
        "print(one.holds(two), two.holds(one))"
    )
    mounted = f'mount --bind {one}/below {tmp_path}/two && exec "$@"'
    answer = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, "sh",
         sys.executable, "-c", code, one, tmp_path / "two"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ("True False\n", "") == (answer.stdout, answer.stderr)
