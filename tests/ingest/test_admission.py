"""From what lies in the inbox to files that may be worked on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portraitd.config import InboxSettings
from portraitd.ingest.mounts import MARKER
from portraitd.model.media_file import FileState
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from support.inbox_fixture import QUIET_S, InboxFixture


@pytest.fixture
def fixture(tmp_path: Path) -> InboxFixture:
    return InboxFixture(tmp_path)


# --- Taking.


def test_a_file_that_stands_still_becomes_ready(fixture: InboxFixture) -> None:
    """Not before the quiet time is over; then nothing is pending any more."""
    path = fixture.write("clip.mp4")
    fixture.look()
    assert FileState.WAITING is fixture.state()
    assert fixture.admission.pending
    fixture.look(4.9)
    assert FileState.WAITING is fixture.state()
    fixture.look(0.1)

    facts = path.stat()
    assert FileState.READY is fixture.state()
    assert (facts.st_size, facts.st_mtime_ns, facts.st_ino) == fixture.known().stamp
    assert not fixture.admission.pending


def test_a_file_that_grows_waits(fixture: InboxFixture) -> None:
    """However long it takes; why is said once."""
    fixture.look()
    path = fixture.write("clip.mp4", b"1")
    with capture_logs() as logs:
        for _ in range(20):
            with path.open("ab") as file:
                file.write(b"more")
            fixture.look(4.0)
            assert FileState.WAITING is fixture.state()

    assert Reason.of(ReasonCode.STILL_CHANGING) == fixture.known().reason
    assert ["file_waiting"] == [line["event"] for line in logs]


def test_files_settle_each_on_their_own(fixture: InboxFixture) -> None:
    """A growing one does not hold up the others, in subfolders too."""
    fixture.write("growing.mp4", b"1")
    fixture.write("holiday/one.mp4")
    fixture.look()
    fixture.write("growing.mp4", b"22")
    fixture.look(QUIET_S)

    assert {"growing.mp4": "waiting", "holiday/one.mp4": "ready"} == fixture.states()


def test_a_file_taken_once_is_not_taken_again(fixture: InboxFixture) -> None:
    """Whatever became of it, while it stays the same."""
    for state in (FileState.DONE, FileState.FAILED, FileState.DUPLICATE, FileState.PROBING):
        fixture.write(f"{state}.mp4")
    fixture.settle()
    for state in (FileState.DONE, FileState.FAILED, FileState.DUPLICATE, FileState.PROBING):
        fixture.files.move_on(fixture.known(f"{state}.mp4").id, state, 1.0)
    before = fixture.states()

    fixture.settle()

    assert before == fixture.states()


def test_a_replaced_file_is_taken_anew(fixture: InboxFixture) -> None:
    """Another content under the same name has to stand still first."""
    fixture.write("clip.mp4")
    fixture.settle()
    fixture.finish()
    fixture.write("new.mp4", b"other").rename(fixture.inbox / "clip.mp4")
    fixture.look()
    assert FileState.WAITING is fixture.state()

    fixture.look(QUIET_S)

    assert FileState.READY is fixture.state()
    assert 0 == fixture.known().attempts


def test_a_file_that_changed_while_it_was_read_is_taken_again(fixture: InboxFixture) -> None:
    """Gone for the store, but still there: it starts over."""
    fixture.write("clip.mp4")
    fixture.settle()
    fixture.files.move_on(
        fixture.known().id, FileState.GONE, 1.0, Reason.of(ReasonCode.CHANGED_WHILE_READ)
    )

    fixture.settle()

    assert FileState.READY is fixture.state()
    assert NO_REASON == fixture.known().reason


def test_a_file_that_vanishes_before_its_turn_is_gone(fixture: InboxFixture) -> None:
    """And taken again when it is back."""
    waiting, ready = fixture.write("waiting.mp4"), fixture.write("ready.mp4")
    fixture.settle()
    fixture.write("waiting.mp4", b"longer now")
    fixture.look()
    assert {"waiting.mp4": "waiting", "ready.mp4": "ready"} == fixture.states()
    waiting.unlink()
    ready.unlink()
    fixture.look()
    assert {"waiting.mp4": "gone", "ready.mp4": "gone"} == fixture.states()
    assert Reason.of(ReasonCode.REMOVED) == fixture.known("ready.mp4").reason
    assert not fixture.admission.pending
    fixture.write("ready.mp4")

    fixture.settle()

    assert FileState.READY is fixture.state("ready.mp4")


def test_a_restart_lets_waiting_files_settle_anew(tmp_path: Path, fixture: InboxFixture) -> None:
    """How long they have stood still is not remembered, that they wait is."""
    fixture.write("clip.mp4")
    fixture.look()
    fixture.database.close()
    again = InboxFixture(tmp_path)

    again.look()
    assert FileState.WAITING is again.state()
    again.look(QUIET_S)

    assert FileState.READY is again.state()


def test_a_name_that_is_not_utf8_is_taken(fixture: InboxFixture) -> None:
    """The row leads back to the very file."""
    fixture.write(os.fsdecode(b"caf\xe9.mp4"))

    fixture.settle()

    known = fixture.known(os.fsdecode(b"caf\xe9.mp4"))
    assert FileState.READY is known.state
    assert b"video" == fixture.files.place(known).read_bytes()


# --- What cannot be taken.


def test_what_is_no_file_has_a_reason_and_is_said_once(fixture: InboxFixture) -> None:
    """A pipe and a link are never opened; the log does not fill up with them."""
    fixture.look()
    os.mkfifo(fixture.inbox / "pipe.mp4")
    (fixture.inbox / "link.mp4").symlink_to("/etc/passwd")
    with capture_logs() as logs:
        for _ in range(5):
            fixture.look()

    assert {"pipe.mp4": "failed", "link.mp4": "failed"} == fixture.states()
    assert Reason.of(ReasonCode.PIPE) == fixture.known("pipe.mp4").reason
    assert [("link.mp4", "symbolic_link"), ("pipe.mp4", "pipe")] == [
        (line["path"], line["reason_code"]) for line in logs
    ]


def test_a_pipe_that_becomes_a_file_is_taken(fixture: InboxFixture) -> None:
    """And the other way round."""
    os.mkfifo(fixture.inbox / "clip.mp4")
    fixture.look()
    (fixture.inbox / "clip.mp4").unlink()
    fixture.write("clip.mp4")
    fixture.settle()
    assert FileState.READY is fixture.state()
    (fixture.inbox / "clip.mp4").unlink()
    os.mkfifo(fixture.inbox / "clip.mp4")

    fixture.look()

    assert (FileState.FAILED, ReasonCode.PIPE) == (fixture.state(), fixture.known().reason.code)


def test_an_inbox_that_is_away_takes_nothing_and_loses_nothing(fixture: InboxFixture) -> None:
    """A share that is not mounted is no empty inbox; it is said once, and when it is back."""
    fixture.write("clip.mp4")
    fixture.settle()
    fixture.inbox.rename(fixture.inbox.with_name("away"))
    with capture_logs() as logs:
        for _ in range(3):
            fixture.look()
        fixture.inbox.with_name("away").rename(fixture.inbox)
        fixture.look()

    assert FileState.READY is fixture.state()
    assert ["inbox_unavailable", "inbox_available"] == [line["event"] for line in logs]


def test_an_empty_folder_without_the_marker_is_not_the_inbox(fixture: InboxFixture) -> None:
    """What lies under a mount point while the share is away: nothing is gone, nothing is taken."""
    fixture.write("clip.mp4")
    fixture.settle()
    fixture.inbox.rename(fixture.inbox.with_name("share"))
    fixture.inbox.mkdir()
    with capture_logs() as logs:
        for _ in range(3):
            fixture.look()
        assert fixture.admission.is_unavailable
        fixture.write("other.mp4")
        fixture.look()
        fixture.look(QUIET_S)
        assert {"clip.mp4": "ready"} == fixture.states()
        (fixture.inbox / "other.mp4").unlink()
        fixture.inbox.rmdir()
        fixture.inbox.with_name("share").rename(fixture.inbox)
        fixture.look()

    assert not fixture.admission.is_unavailable
    assert {"clip.mp4": "ready"} == fixture.states()
    assert ["inbox_unavailable", "inbox_available"] == [line["event"] for line in logs]
    assert "portraitd init" in logs[0]["reason"]
    assert ReasonCode.INBOX_MARKER_MISSING == logs[0]["reason_code"]


def test_a_share_that_goes_is_noticed_before_the_next_look(fixture: InboxFixture) -> None:
    """Else what waits there would be looked for, not be found, and be forgotten."""
    fixture.write("clip.mp4")
    fixture.settle()

    fixture.inbox.rename(fixture.inbox.with_name("share"))

    assert fixture.admission.is_unavailable
    assert fixture.admission.has_lost(fixture.inbox / "clip.mp4")
    assert not fixture.admission.has_lost(fixture.inbox.parent / "named.mp4")


def test_an_inbox_of_an_older_portraitd_gets_its_marker(fixture: InboxFixture) -> None:
    """If something known lies in it, it is the right folder."""
    fixture.write("clip.mp4")
    fixture.settle()
    (fixture.inbox / MARKER).unlink()

    fixture.look()

    assert not fixture.admission.is_unavailable
    assert (fixture.inbox / MARKER).is_file()


# --- What is not whole.


PATIENT = InboxSettings(quiet_s=QUIET_S, quiet_remote_s=60.0, unfinished_s=600.0)


def test_a_file_that_is_written_slowly_is_left_alone(tmp_path: Path) -> None:
    """Its size and time stand still, but somebody has it open: a client that set the end first."""
    fixture = InboxFixture(tmp_path, PATIENT)
    with fixture.write("clip.mp4").open("r+b"):
        fixture.settle()
        fixture.look(1000.0)
        assert (FileState.WAITING, Reason.of(ReasonCode.OPEN_FOR_WRITING)) == (
            fixture.state(),
            fixture.known().reason,
        )
    fixture.look(60.0)
    fixture.look(600.0)

    assert FileState.READY is fixture.state()


def test_a_file_that_lacks_something_waits_and_is_then_taken(tmp_path: Path) -> None:
    """It may be a copy that goes on, or all there will ever be; why it waits is said once."""
    fixture = InboxFixture(tmp_path, PATIENT)
    fixture.look()
    fixture.write("clip.mp4", b"")
    with capture_logs() as logs:
        fixture.settle()
        for _ in range(59):
            fixture.look(10.0)
        assert Reason.of(ReasonCode.EMPTY) == fixture.known().reason
        assert not fixture.admission.pending
        fixture.look(10.0)

    assert FileState.READY is fixture.state()
    codes = [ReasonCode.STILL_CHANGING, ReasonCode.EMPTY, ReasonCode.NONE]
    assert codes == [line["reason_code"] for line in logs]


def test_a_file_that_is_completed_is_taken_at_once(tmp_path: Path, nobody: Path) -> None:
    """No later than the quiet time after its last change."""
    fixture = InboxFixture(tmp_path, PATIENT)
    whole = nobody.read_bytes()
    path = fixture.write("clip.mp4", whole[:-100])
    fixture.settle()
    fixture.look(20.0)
    assert ReasonCode.BYTES_MISSING is fixture.known().reason.code

    path.write_bytes(whole)
    fixture.settle()

    assert FileState.READY is fixture.state()
