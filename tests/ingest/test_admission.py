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
from support.inbox_fixture import QUIET_S, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- Taking.


def test_a_file_that_stands_still_becomes_ready(desk: Desk) -> None:
    """Not before the quiet time is over; then nothing is pending any more."""
    path = desk.write("clip.mp4")
    desk.look()
    assert FileState.WAITING is desk.state()
    assert desk.admission.pending
    desk.look(4.9)
    assert FileState.WAITING is desk.state()
    desk.look(0.1)

    facts = path.stat()
    assert FileState.READY is desk.state()
    assert (facts.st_size, facts.st_mtime_ns, facts.st_ino) == desk.known().stamp
    assert not desk.admission.pending


def test_a_file_that_grows_waits(desk: Desk) -> None:
    """However long it takes; why is said once."""
    desk.look()
    path = desk.write("clip.mp4", b"1")
    with capture_logs() as logs:
        for _ in range(20):
            with path.open("ab") as file:
                file.write(b"more")
            desk.look(4.0)
            assert FileState.WAITING is desk.state()

    assert Reason.of(ReasonCode.STILL_CHANGING) == desk.known().reason
    assert ["file_waiting"] == [line["event"] for line in logs]


def test_files_settle_each_on_their_own(desk: Desk) -> None:
    """A growing one does not hold up the others, in subfolders too."""
    desk.write("growing.mp4", b"1")
    desk.write("holiday/one.mp4")
    desk.look()
    desk.write("growing.mp4", b"22")
    desk.look(QUIET_S)

    assert {"growing.mp4": "waiting", "holiday/one.mp4": "ready"} == desk.states()


def test_a_file_taken_once_is_not_taken_again(desk: Desk) -> None:
    """Whatever became of it, while it stays the same."""
    for state in (FileState.DONE, FileState.FAILED, FileState.DUPLICATE, FileState.PROBING):
        desk.write(f"{state}.mp4")
    desk.settle()
    for state in (FileState.DONE, FileState.FAILED, FileState.DUPLICATE, FileState.PROBING):
        desk.files.move_on(desk.known(f"{state}.mp4").id, state, 1.0)
    before = desk.states()

    desk.settle()

    assert before == desk.states()


def test_a_replaced_file_is_taken_anew(desk: Desk) -> None:
    """Another content under the same name has to stand still first."""
    desk.write("clip.mp4")
    desk.settle()
    desk.finish()
    desk.write("new.mp4", b"other").rename(desk.inbox / "clip.mp4")
    desk.look()
    assert FileState.WAITING is desk.state()

    desk.look(QUIET_S)

    assert FileState.READY is desk.state()
    assert 0 == desk.known().attempts


def test_a_file_that_changed_while_it_was_read_is_taken_again(desk: Desk) -> None:
    """Gone for the store, but still there: it starts over."""
    desk.write("clip.mp4")
    desk.settle()
    desk.files.move_on(
        desk.known().id, FileState.GONE, 1.0, Reason.of(ReasonCode.CHANGED_WHILE_READ)
    )

    desk.settle()

    assert FileState.READY is desk.state()
    assert NO_REASON == desk.known().reason


def test_a_file_that_vanishes_before_its_turn_is_gone(desk: Desk) -> None:
    """And taken again when it is back."""
    waiting, ready = desk.write("waiting.mp4"), desk.write("ready.mp4")
    desk.settle()
    desk.write("waiting.mp4", b"longer now")
    desk.look()
    assert {"waiting.mp4": "waiting", "ready.mp4": "ready"} == desk.states()
    waiting.unlink()
    ready.unlink()
    desk.look()
    assert {"waiting.mp4": "gone", "ready.mp4": "gone"} == desk.states()
    assert Reason.of(ReasonCode.REMOVED) == desk.known("ready.mp4").reason
    assert not desk.admission.pending
    desk.write("ready.mp4")

    desk.settle()

    assert FileState.READY is desk.state("ready.mp4")


def test_a_restart_lets_waiting_files_settle_anew(tmp_path: Path, desk: Desk) -> None:
    """How long they have stood still is not remembered, that they wait is."""
    desk.write("clip.mp4")
    desk.look()
    desk.database.close()
    again = Desk(tmp_path)

    again.look()
    assert FileState.WAITING is again.state()
    again.look(QUIET_S)

    assert FileState.READY is again.state()


def test_a_name_that_is_not_utf8_is_taken(desk: Desk) -> None:
    """The row leads back to the very file."""
    desk.write(os.fsdecode(b"caf\xe9.mp4"))

    desk.settle()

    known = desk.known(os.fsdecode(b"caf\xe9.mp4"))
    assert FileState.READY is known.state
    assert b"video" == desk.files.place(known).read_bytes()


# --- What cannot be taken.


def test_what_is_no_file_has_a_reason_and_is_said_once(desk: Desk) -> None:
    """A pipe and a link are never opened; the log does not fill up with them."""
    desk.look()
    os.mkfifo(desk.inbox / "pipe.mp4")
    (desk.inbox / "link.mp4").symlink_to("/etc/passwd")
    with capture_logs() as logs:
        for _ in range(5):
            desk.look()

    assert {"pipe.mp4": "failed", "link.mp4": "failed"} == desk.states()
    assert Reason.of(ReasonCode.PIPE) == desk.known("pipe.mp4").reason
    assert [("link.mp4", "symbolic_link"), ("pipe.mp4", "pipe")] == [
        (line["path"], line["reason_code"]) for line in logs
    ]


def test_a_pipe_that_becomes_a_file_is_taken(desk: Desk) -> None:
    """And the other way round."""
    os.mkfifo(desk.inbox / "clip.mp4")
    desk.look()
    (desk.inbox / "clip.mp4").unlink()
    desk.write("clip.mp4")
    desk.settle()
    assert FileState.READY is desk.state()
    (desk.inbox / "clip.mp4").unlink()
    os.mkfifo(desk.inbox / "clip.mp4")

    desk.look()

    assert (FileState.FAILED, ReasonCode.PIPE) == (desk.state(), desk.known().reason.code)


def test_an_inbox_that_is_away_takes_nothing_and_loses_nothing(desk: Desk) -> None:
    """A share that is not mounted is no empty inbox; it is said once, and when it is back."""
    desk.write("clip.mp4")
    desk.settle()
    desk.inbox.rename(desk.inbox.with_name("away"))
    with capture_logs() as logs:
        for _ in range(3):
            desk.look()
        desk.inbox.with_name("away").rename(desk.inbox)
        desk.look()

    assert FileState.READY is desk.state()
    assert ["inbox_unavailable", "inbox_available"] == [line["event"] for line in logs]


def test_an_empty_folder_without_the_marker_is_not_the_inbox(desk: Desk) -> None:
    """What lies under a mount point while the share is away: nothing is gone, nothing is taken."""
    desk.write("clip.mp4")
    desk.settle()
    desk.inbox.rename(desk.inbox.with_name("share"))
    desk.inbox.mkdir()
    with capture_logs() as logs:
        for _ in range(3):
            desk.look()
        assert desk.admission.is_unavailable
        desk.write("other.mp4")
        desk.look()
        desk.look(QUIET_S)
        assert {"clip.mp4": "ready"} == desk.states()
        (desk.inbox / "other.mp4").unlink()
        desk.inbox.rmdir()
        desk.inbox.with_name("share").rename(desk.inbox)
        desk.look()

    assert not desk.admission.is_unavailable
    assert {"clip.mp4": "ready"} == desk.states()
    assert ["inbox_unavailable", "inbox_available"] == [line["event"] for line in logs]
    assert "portraitd init" in logs[0]["reason"]
    assert ReasonCode.INBOX_MARKER_MISSING == logs[0]["reason_code"]


def test_a_share_that_goes_is_noticed_before_the_next_look(desk: Desk) -> None:
    """Else what waits there would be looked for, not be found, and be forgotten."""
    desk.write("clip.mp4")
    desk.settle()

    desk.inbox.rename(desk.inbox.with_name("share"))

    assert desk.admission.is_unavailable
    assert desk.admission.has_lost(desk.inbox / "clip.mp4")
    assert not desk.admission.has_lost(desk.inbox.parent / "named.mp4")


def test_an_inbox_of_an_older_portraitd_gets_its_marker(desk: Desk) -> None:
    """If something known lies in it, it is the right folder."""
    desk.write("clip.mp4")
    desk.settle()
    (desk.inbox / MARKER).unlink()

    desk.look()

    assert not desk.admission.is_unavailable
    assert (desk.inbox / MARKER).is_file()


# --- What is not whole.


PATIENT = InboxSettings(quiet_s=QUIET_S, quiet_remote_s=60.0, unfinished_s=600.0)


def test_a_file_that_is_written_slowly_is_left_alone(tmp_path: Path) -> None:
    """Its size and time stand still, but somebody has it open: a client that set the end first."""
    desk = Desk(tmp_path, PATIENT)
    with desk.write("clip.mp4").open("r+b"):
        desk.settle()
        desk.look(1000.0)
        assert (FileState.WAITING, Reason.of(ReasonCode.OPEN_FOR_WRITING)) == (
            desk.state(),
            desk.known().reason,
        )
    desk.look(60.0)
    desk.look(600.0)

    assert FileState.READY is desk.state()


def test_a_file_that_lacks_something_waits_and_is_then_taken(tmp_path: Path) -> None:
    """It may be a copy that goes on, or all there will ever be; why it waits is said once."""
    desk = Desk(tmp_path, PATIENT)
    desk.look()
    desk.write("clip.mp4", b"")
    with capture_logs() as logs:
        desk.settle()
        for _ in range(59):
            desk.look(10.0)
        assert Reason.of(ReasonCode.EMPTY) == desk.known().reason
        assert not desk.admission.pending
        desk.look(10.0)

    assert FileState.READY is desk.state()
    codes = [ReasonCode.STILL_CHANGING, ReasonCode.EMPTY, ReasonCode.NONE]
    assert codes == [line["reason_code"] for line in logs]


def test_a_file_that_is_completed_is_taken_at_once(tmp_path: Path, nobody: Path) -> None:
    """No later than the quiet time after its last change."""
    desk = Desk(tmp_path, PATIENT)
    whole = nobody.read_bytes()
    path = desk.write("clip.mp4", whole[:-100])
    desk.settle()
    desk.look(20.0)
    assert ReasonCode.BYTES_MISSING is desk.known().reason.code

    path.write_bytes(whole)
    desk.settle()

    assert FileState.READY is desk.state()
