"""What lies in the inbox and has stopped changing."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.ingest.mounts import file_system_type, needs_polling
from portraitd.ingest.scanner import Found, StabilityTracker, is_ignored, scan_folder
from portraitd.model.media_file import Stamp

CLIP = Path("clip.mp4")


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.mp4", ".clip.mp4.Xa3b9Z", ".DS_Store", "._clip.mp4", ".syncthing.clip.mp4.tmp",
        "~syncthing~clip.mp4", "~$minutes.docx", "clip.mp4.tmp", "clip.mp4.part", "clip.PARTIAL",
        "clip.mp4.filepart", "clip.mp4.crdownload", "clip.mp4.!qB", "clip.mp4.aria2", "@eaDir",
        "#recycle", "Thumbs.db", "THUMBS.DB", "desktop.ini", "$RECYCLE.BIN", "lost+found",
        "@Recycle", "System Volume Information", "holiday/@eaDir/clip.mp4", "a/.b/c.mp4",
    ],
)  # fmt: skip
def test_litter_is_ignored(name: str) -> None:
    """Temporary names and litter of file servers are never taken, at any depth."""
    assert is_ignored(name)


@pytest.mark.parametrize(
    "name",
    ["clip.mp4", "noextension", "a.tmp.mp4", "part.mp4", "50%~$.mov", "holiday/clip.mp4",
     "caf\udce9.mp4", "eaDir", "./clip.mp4", "clip..mp4"],
)  # fmt: skip
def test_ordinary_names_are_not_ignored(name: str) -> None:
    """A name that only resembles litter is somebody's video."""
    assert not is_ignored(name)


def paths(found: Iterator[Found]) -> list[Path]:
    return [one.path for one in found]


def reasons(found: Iterator[Found]) -> dict[str, str | None]:
    return {os.fspath(one.path): one.reason for one in found}


def test_files_in_subfolders_are_found_with_their_stamps(tmp_path: Path) -> None:
    """A stamp is what stat tells; paths are relative and in the order of names."""
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "deep" / "two.mp4").write_bytes(b"22")
    (tmp_path / "one.mp4").write_bytes(b"1")

    found = list(scan_folder(tmp_path))

    facts = (tmp_path / "one.mp4").stat()
    assert [Path("one.mp4"), Path("b/deep/two.mp4")] == paths(iter(found))
    assert Found(Path("one.mp4"), Stamp(1, facts.st_mtime_ns, facts.st_ino), None) == found[0]


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
        "real.mp4": None,
        "link.mp4": "a symbolic link; links are not followed",
        "dangling.mp4": "a symbolic link; links are not followed",
        "pipe.mp4": "a pipe",
        "socket.mp4": "a socket",
    } == found


def test_a_device_has_a_reason(tmp_path: Path) -> None:
    """Even a device in the inbox is only named."""
    try:
        os.mknod(tmp_path / "null.mp4", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make devices")

    assert {"null.mp4": "a device"} == reasons(scan_folder(tmp_path))


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

    assert Found(Path(), None, "cannot be listed: No such file or directory") == found


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
        "secret.mp4": "cannot be read: Permission denied",
        "closed": "cannot be listed: Permission denied",
        "open/clip.mp4": None,
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

    assert {"folder": "cannot be listed: Not a directory"} == reasons(looking)


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


def test_a_growing_file_is_left_alone() -> None:
    """A file is taken only after it has stood still for the quiet period."""
    settling = StabilityTracker(quiet_s=5.0)

    assert [] == settling.observe({CLIP: Stamp(10, 1, 7)}, now_s=0.0)
    assert [] == settling.observe({CLIP: Stamp(20, 2, 7)}, now_s=4.0)
    assert [] == settling.observe({CLIP: Stamp(20, 2, 7)}, now_s=8.9)
    assert [CLIP] == settling.observe({CLIP: Stamp(20, 2, 7)}, now_s=9.0)


def test_a_file_replaced_by_rename_starts_anew() -> None:
    """Same size and time, another inode: another file."""
    settling = StabilityTracker(quiet_s=5.0)
    settling.observe({CLIP: Stamp(10, 1, 7)}, now_s=0.0)

    assert [] == settling.observe({CLIP: Stamp(10, 1, 8)}, now_s=5.0)


def test_a_settled_file_is_named_until_it_is_forgotten() -> None:
    """Forgetting starts the quiet time again."""
    settling = StabilityTracker(quiet_s=5.0)
    found = {CLIP: Stamp(0, 1, 7)}
    settling.observe(found, now_s=0.0)
    assert [CLIP] == settling.observe(found, now_s=5.0)
    assert [CLIP] == settling.observe(found, now_s=6.0)

    settling.forget(CLIP)

    assert [] == settling.observe(found, now_s=7.0)
    assert [CLIP] == settling.observe(found, now_s=12.0)


def test_a_vanished_file_is_dropped() -> None:
    """A file that comes back has to stand still once more."""
    settling = StabilityTracker(quiet_s=5.0)
    found = {CLIP: Stamp(10, 1, 7)}
    settling.observe(found, now_s=0.0)
    settling.observe({}, now_s=3.0)

    assert [] == settling.observe(found, now_s=6.0)


def test_the_next_settling_can_be_waited_for() -> None:
    """The service sleeps no longer than until a file can have settled."""
    settling = StabilityTracker(quiet_s=5.0)
    assert settling.next_in_s(now_s=0.0) is None
    settling.observe({CLIP: Stamp(10, 1, 7), Path("b"): Stamp(1, 1, 8)}, now_s=1.0)
    settling.observe({CLIP: Stamp(10, 1, 7), Path("b"): Stamp(2, 2, 8)}, now_s=4.0)

    assert 1.0 == settling.next_in_s(now_s=5.0)
    assert 2.0 == settling.next_in_s(now_s=7.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.sampled_from([1, 2, 3])), min_size=1, max_size=20))
def test_no_file_settles_before_its_time(story: list[tuple[float, int]]) -> None:
    """Whatever happens, a file named has been seen unchanged over the quiet time."""
    settling = StabilityTracker(quiet_s=5.0)
    now_s = 0.0
    seen: list[tuple[float, int]] = []
    for pause_s, size in story:
        now_s += pause_s
        seen.append((now_s, size))

        named = settling.observe({CLIP: Stamp(size, size, 1)}, now_s=now_s)

        same = [at_s for at_s, _ in _last_run(seen)]
        assert (now_s - same[0] >= 5.0) == bool(named)


def _last_run(seen: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """The observations at the end that all saw the same."""
    first = len(seen) - 1
    while first and seen[first - 1][1] == seen[-1][1]:
        first -= 1
    return seen[first:]


MOUNTS = b"""\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:30 / /srv/inbox rw shared:2 master:3 - cifs //nas/inbox rw
31 27 0:31 / /srv/my\\040share rw - fuse.sshfs host:/ rw
32 27 0:32 / /srv/auto rw - autofs map rw
33 32 0:33 / /srv/auto rw - nfs4 host:/x rw
damaged line
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/inbox", "cifs"),
        ("/srv/inbox/sub/clip.mp4", "cifs"),
        ("/srv/inbox2", "ext4"),
        ("/srv/my share/a", "fuse.sshfs"),
        ("/srv/auto/a", "nfs4"),
        ("/", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(
    tmp_path: Path, path: str, expected: str
) -> None:
    """Whole components count, escapes are undone, and the later mount hides the earlier."""
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(MOUNTS)

    assert expected == file_system_type(Path(path), mounts)


def test_the_file_system_of_this_machine_is_known(tmp_path: Path) -> None:
    """The real table of mounts is understood; a missing one is no error."""
    assert "proc" == file_system_type(Path("/proc/self"))
    assert "unknown" == file_system_type(Path("/"), tmp_path / "none")


def test_network_file_systems_are_polled() -> None:
    """Where others write unheard, events are not relied on."""
    kernel = ["nfs", "nfs4", "cifs", "smb3", "smb2", "smbfs", "9p", "ncpfs", "afs", "ceph"]
    user = ["fuse", "fuse.sshfs", "fuse.mergerfs", "sshfs", "glusterfs", "virtiofs", "vboxsf"]
    local = ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "unknown"]

    assert all(needs_polling(name) for name in kernel + user)
    assert not any(needs_polling(name) for name in local)
