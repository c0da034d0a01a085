"""On which file system a folder is, and whether it is the inbox or another in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portraitd.ingest.mounts import (
    MARKER,
    file_system_type,
    is_marked,
    mark,
    needs_polling,
    read_token,
)
from portraitd.model.media_file import FileState, Stamp
from portraitd.model.reasons import ReasonCode
from portraitd.store.files import INBOX
from support.inbox_fixture import InboxFixture


@pytest.fixture
def fixture(tmp_path: Path) -> InboxFixture:
    return InboxFixture(tmp_path)


def test_the_folder_under_a_share_is_not_the_inbox(fixture: InboxFixture) -> None:
    """It got a marker when the share was mounted late, and is empty when the share goes."""
    fixture.look()
    under = fixture.inbox.with_name("under")
    fixture.inbox.rename(under)
    fixture.inbox.mkdir()
    mark(fixture.inbox)
    fixture.write("clip.mp4")
    fixture.settle()
    assert not fixture.admission.is_unavailable
    assert is_marked(under)
    fixture.inbox.rename(fixture.inbox.with_name("share"))
    under.rename(fixture.inbox)
    assert fixture.admission.is_unavailable

    with capture_logs() as logs:
        fixture.look()
        fixture.inbox.rename(under)
        fixture.inbox.with_name("share").rename(fixture.inbox)
        fixture.look()

    assert FileState.READY is fixture.state()
    assert ["inbox_unavailable", "inbox_available"] == [line["event"] for line in logs]


def test_a_marked_inbox_is_not_taken_for_an_unmarked_folder(fixture: InboxFixture) -> None:
    """Not even before the first file: the share is mounted late after the first restart."""
    fixture.look()
    fixture.inbox.rename(fixture.inbox.with_name("share"))
    fixture.inbox.mkdir()

    fixture.look()

    assert ReasonCode.INBOX_MARKER_MISSING is fixture.admission.blocked.code
    assert [] == list(fixture.inbox.iterdir())


def test_the_inbox_is_known_after_a_restart(tmp_path: Path, fixture: InboxFixture) -> None:
    """The token of its marker is stored."""
    fixture.write("clip.mp4")
    fixture.settle()
    fixture.database.close()
    fixture.inbox.rename(tmp_path / "share")
    fixture.inbox.mkdir()
    mark(fixture.inbox)
    again = InboxFixture(tmp_path)

    again.look()

    assert again.admission.is_unavailable
    assert FileState.READY is again.state()
    assert read_token(tmp_path / "share") == again.files.read_marker()


def test_a_marker_of_an_earlier_version_gets_a_token(fixture: InboxFixture) -> None:
    """It is the inbox as before, also if nothing known is in it any more."""
    (fixture.inbox / MARKER).write_text("This folder is the inbox of portraitd.\n")
    fixture.files.note(INBOX, Path("removed.mp4"), Stamp(1, 1, 1), FileState.DONE, 1.0)

    fixture.look()

    assert not fixture.admission.is_unavailable
    assert fixture.files.read_marker() == read_token(fixture.inbox)
    assert fixture.files.read_marker()


@pytest.mark.parametrize("kind", ["folder", "link", "huge"])
def test_a_marker_may_be_anything(fixture: InboxFixture, kind: str) -> None:
    """It is read like everything that others can write."""
    marker = fixture.inbox / MARKER
    if kind == "folder":
        marker.mkdir()
    elif kind == "link":
        marker.symlink_to("/dev/zero")
    else:
        marker.touch()
        os.truncate(marker, 1 << 40)
    fixture.write("clip.mp4")

    fixture.settle()

    assert FileState.READY is fixture.state()


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
