"""What lies in the inbox and has stopped changing."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.ingest.scanner import Found, scan_folder
from portraitd.model.media_file import Stamp
from portraitd.model.reasons import Reason, ReasonCode

CLIP = Path("clip.mp4")


def paths(found: Iterator[Found]) -> list[Path]:
    return [one.path for one in found]


def reasons(found: Iterator[Found]) -> dict[str, tuple[ReasonCode, str]]:
    return {os.fspath(one.path): (one.reason.code, one.reason.text) for one in found}


def test_files_in_subfolders_are_found_with_their_stamps(tmp_path: Path) -> None:
    """A stamp is what stat tells; paths are relative and in the order of names."""
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "deep" / "two.mp4").write_bytes(b"22")
    (tmp_path / "one.mp4").write_bytes(b"1")

    found = list(scan_folder(tmp_path))

    facts = (tmp_path / "one.mp4").stat()
    assert [Path("one.mp4"), Path("b/deep/two.mp4")] == paths(iter(found))
    assert Found(Path("one.mp4"), Stamp(1, facts.st_mtime_ns, facts.st_ino)) == found[0]


def test_ignored_and_skipped_paths_are_not_looked_into(tmp_path: Path) -> None:
    """Neither litter nor a folder the caller skips is entered."""
    for folder in ("@eaDir", "processed", "b/processed"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "clip.mp4").write_bytes(b"x")

    assert [Path("b/processed/clip.mp4")] == paths(scan_folder(tmp_path, skip=[Path("processed")]))


def test_what_is_no_regular_file_has_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link, a pipe and a socket are named and never opened."""
    (tmp_path / "real.mp4").write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to("real.mp4")
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    listening = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    listening.bind("socket.mp4")

    found = reasons(scan_folder(tmp_path))

    listening.close()
    assert {
        "real.mp4": (ReasonCode.NONE, ""),
        "link.mp4": (ReasonCode.SYMBOLIC_LINK, "a symbolic link; portraitd does not follow links"),
        "dangling.mp4": (
            ReasonCode.SYMBOLIC_LINK,
            "a symbolic link; portraitd does not follow links",
        ),
        "pipe.mp4": (ReasonCode.PIPE, "a pipe, not a regular file"),
        "socket.mp4": (ReasonCode.SOCKET, "a socket, not a regular file"),
    } == found


def test_a_device_has_a_reason(tmp_path: Path) -> None:
    """Even a device in the inbox is only named."""
    try:
        os.mknod(tmp_path / "null.mp4", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make devices")

    assert {"null.mp4": (ReasonCode.DEVICE, "a device, not a regular file")} == reasons(
        scan_folder(tmp_path)
    )


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    """A link to the folder above is a finding, not a way."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to("..")

    assert [Path("a/up")] == paths(scan_folder(tmp_path))


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    """The path found opens the very file."""
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    with open(raw, "wb") as file:
        file.write(b"latin")

    (found,) = scan_folder(tmp_path)

    assert b"caf\xe9.mp4" == os.fsencode(found.path)
    assert b"latin" == (tmp_path / found.path).read_bytes()


def test_a_missing_root_is_a_reason(tmp_path: Path) -> None:
    """A share that went away is a finding about the root itself."""
    (found,) = scan_folder(tmp_path / "away")

    no_folder = Reason.of(ReasonCode.CANNOT_LIST, error="No such file or directory")
    assert Found(Path(), None, no_folder) == found
    assert "cannot list the folder: No such file or directory" == found.reason.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_has_a_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    """One closed folder and one closed file do not hide the others."""
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clip.mp4").write_bytes(b"x")
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (tmp_path / "secret.mp4").chmod(0)
    (tmp_path / "closed").chmod(0)

    found = reasons(scan_folder(tmp_path))

    (tmp_path / "closed").chmod(0o700)
    assert {
        "secret.mp4": (ReasonCode.CANNOT_READ, "cannot read the file: Permission denied"),
        "closed": (ReasonCode.CANNOT_LIST, "cannot list the folder: Permission denied"),
        "open/clip.mp4": (ReasonCode.NONE, ""),
    } == found


def test_a_folder_that_becomes_a_link_while_looking_is_not_followed(tmp_path: Path) -> None:
    """Swapping a folder for a link in the middle of a look leads nowhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.mp4").write_bytes(b"x")
    inbox = tmp_path / "inbox"
    (inbox / "folder").mkdir(parents=True)
    (inbox / "z.mp4").write_bytes(b"x")

    looking = scan_folder(inbox)
    assert Path("z.mp4") == next(looking).path
    (inbox / "folder").rmdir()
    (inbox / "folder").symlink_to(outside)

    assert {
        "folder": (ReasonCode.CANNOT_LIST, "cannot list the folder: Not a directory")
    } == reasons(looking)


def test_a_deep_tree_is_looked_through(tmp_path: Path) -> None:
    """Depth costs neither recursion nor descriptors."""
    depth = 1200
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        following = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = following
    os.close(os.open("clip.mp4", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)

    (found,) = scan_folder(tmp_path)

    # Too deep for the recursion of pytest's own cleaning up.
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
    assert depth + 1 == len(found.path.parts)
