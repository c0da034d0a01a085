"""The inbox, and other folders in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portraitd.ingest.mounts import MARKER, is_marked, mark, read_token
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
