"""From what lies in the inbox to files that may be worked on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portraitd.config import InboxSettings
from portraitd.ingest.mounts import MARKER, renumbers_files
from portraitd.ingest.scanner import is_unchanged
from portraitd.media.content_hash import opened
from portraitd.model.errors import FileChanged
from portraitd.model.media_file import FileState, Stamp
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import Now
from portraitd.store.files import INBOX
from portraitd.store.slices import SliceQueue
from support.inbox_fixture import QUIET_S, InboxFixture
from support.store import slice_faces, video_facts


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


# --- Files that get other numbers.


def test_a_copied_inbox_is_processed_once(fixture: InboxFixture) -> None:
    """Another disk, other inodes: each file is the one that it was, no duplicate of itself."""
    slice_queue = SliceQueue(fixture.database, fixture.files)
    for name in ("a.mp4", "b.mp4"):
        fixture.write(name)
    for _ in range(3):
        fixture.settle()
        probe_all(fixture, slice_queue)
        if (job := slice_queue.claim()) is not None:
            slice_queue.record(job, slice_faces(), "encoder", 1.0)
        assert {"a.mp4": "done", "b.mp4": "duplicate"} == fixture.states()
        old = fixture.inbox.with_name(f"old{fixture.now_s}")
        fixture.inbox.rename(old)
        shutil.copytree(old, fixture.inbox, copy_function=shutil.copy2)

    assert {"done": 1} == slice_queue.counts()


def test_a_file_that_is_numbered_anew_while_it_is_processed_stays_the_original(
    fixture: InboxFixture,
) -> None:
    """Its duplicate is there, too, and known; both are not duplicates of each other."""
    slice_queue = SliceQueue(fixture.database, fixture.files)
    for name in ("a.mp4", "b.mp4"):
        fixture.write(name)
    fixture.settle()
    probe_all(fixture, slice_queue)
    assert {"a.mp4": "encoding", "b.mp4": "duplicate"} == fixture.states()
    replace_by_copy(fixture.inbox / "a.mp4")

    fixture.settle()
    probe_all(fixture, slice_queue)

    assert {"a.mp4": "encoding", "b.mp4": "duplicate"} == fixture.states()
    job = slice_queue.claim()
    assert job is not None
    assert fixture.known("a.mp4").stamp == job.slice.source.stamp
    slice_queue.record(job, slice_faces(), "encoder", 1.0)
    assert {"a.mp4": "done", "b.mp4": "duplicate"} == fixture.states()


def probe_all(fixture: InboxFixture, slice_queue: SliceQueue) -> None:
    """Have every ready file read; all have the same content."""
    while (claimed := slice_queue.claim_file(1.0)) is not None:
        slice_queue.admit(
            claimed.file,
            video_facts(),
            60.0,
            1.0,
            is_unchanged=lambda known: is_unchanged(fixture.files.place(known), known.stamp),
        )


def test_a_failed_file_that_is_numbered_anew_keeps_its_own_reason(tmp_path: Path) -> None:
    """It is no duplicate of a file that failed: it is that file."""
    fixture = InboxFixture(tmp_path)
    slice_queue = SliceQueue(fixture.database, fixture.files)
    fixture.write("clip.mp4")
    fixture.settle()
    for _ in range(2):
        claimed = slice_queue.claim_file(1.0)
        assert claimed is not None
        slice_queue.admit(claimed.file, video_facts(), 60.0, 1.0)
        if (job := slice_queue.claim()) is not None:
            damaged = Reason.of(ReasonCode.NO_FRAME_DECODED, codec="")
            slice_queue.reject(job, damaged, 1.0)
            replace_by_copy(fixture.inbox / "clip.mp4")
            fixture.settle()

    assert FileState.FAILED is fixture.state()
    assert ReasonCode.NO_FRAME_DECODED is fixture.known().reason.code


def test_unknown_inodes_are_not_compared(fixture: InboxFixture, tmp_path: Path) -> None:
    """As on exFAT, where files are numbered anew at each mount."""
    path = fixture.write("clip.mp4")
    fixture.settle()
    fixture.finish()
    known = fixture.known().stamp
    fixture.files.note(INBOX, Path("clip.mp4"), known._replace(inode=0), FileState.DONE, 1.0)
    replace_by_copy(path)

    fixture.settle()

    assert FileState.DONE is fixture.state()
    mounts = tmp_path / "mountinfo"
    line = "36 35 98:0 / / rw - {} /dev/sdb1 rw,{}\n"
    for kind, options, renumbers in (
        ("exfat", "", True),
        ("vfat", "", True),
        ("fuse.sshfs", "", True),
        ("cifs", "noserverino", True),
        ("cifs", "serverino,vers=3", False),
        ("ext4", "", False),
        ("nfs4", "", False),
    ):
        mounts.write_text(line.format(kind, options))
        assert renumbers == renumbers_files(tmp_path, mounts)


@pytest.mark.parametrize("inode", ["known", "unknown"])
def test_a_file_behind_a_link_is_not_read_as_another(
    fixture: InboxFixture, tmp_path: Path, inode: str
) -> None:
    """A folder is swapped for a link to one with a file of the same name, size and time."""
    path = fixture.write("holiday/clip.mp4", b"ours")
    fixture.settle()
    if inode == "unknown":
        stamp = fixture.known("holiday/clip.mp4").stamp._replace(inode=0)
        fixture.files.note(INBOX, Path("holiday/clip.mp4"), stamp, FileState.READY, 1.0)
    with opened(fixture.files.source(fixture.known("holiday/clip.mp4"))) as fd:
        assert b"ours" == os.pread(fd, 10, 0)
    secret = tmp_path / "outside" / "clip.mp4"
    secret.parent.mkdir()
    secret.write_bytes(b"hers")
    os.utime(secret, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    before = fixture.files.source(fixture.known("holiday/clip.mp4"))
    path.parent.rename(tmp_path / "aside")
    path.parent.symlink_to(secret.parent)

    for source in (before, fixture.files.source(fixture.known("holiday/clip.mp4"))):
        with pytest.raises(FileChanged), opened(source):
            pass


def replace_by_copy(path: Path) -> None:
    """Give a file another inode, and nothing else."""
    copy = path.with_name(".copy")
    shutil.copy2(path, copy)
    assert copy.stat().st_ino != path.stat().st_ino
    copy.replace(path)


# --- As much as there may be.


def test_a_scan_takes_as_many_ticks_as_it_needs(tmp_path: Path) -> None:
    """One tick does a bounded part of it; nothing is decided before its end."""
    ticks = iter(range(10_000_000))
    fixture = InboxFixture(tmp_path, clock=lambda: 0.01 * next(ticks))
    for number in range(800):
        (fixture.inbox / f"{number}.mp4").write_bytes(b"%d" % number)
    counts = []
    for steady_s in (10.0, 20.0):
        fixture.admission.wake()
        counts.append(0)
        while counts[-1] == 0 or fixture.admission.wait_s(steady_s, soon=True) <= 0:
            fixture.admission.tick(Now(1000.0 + steady_s, steady_s))
            counts[-1] += 1
            assert fixture.admission.pending or counts[-1] > 5

    assert {"ready": 800} == fixture.files.counts()
    assert not fixture.admission.pending
    # Some hundred steps a tick.
    assert min(counts) > 8


def test_a_file_is_not_gone_while_a_worker_has_it(fixture: InboxFixture) -> None:
    """What was known at the beginning of a long scan is looked up again at its end."""
    file_id = fixture.files.note(INBOX, Path("a.mp4"), Stamp(1, 1, 1), FileState.READY, 1.0)
    gone_id = fixture.files.note(INBOX, Path("b.mp4"), Stamp(1, 1, 1), FileState.READY, 1.0)
    assert fixture.files.claim(1.0)

    assert {gone_id} == fixture.files.miss([file_id, gone_id], 2.0)
    assert {"a.mp4": "probing", "b.mp4": "gone"} == fixture.states()


def test_many_files_are_recorded_in_few_transactions(fixture: InboxFixture) -> None:
    """A commit for each of them would wait as many times for the disk."""
    for number in range(1200):
        fixture.write(f"{number}.mp4")
    commits = []
    with fixture.database.transaction():
        pass
    trace = sqlite3.Connection.set_trace_callback
    trace(
        fixture.database._connection,
        lambda statement: commits.append(statement) if statement == "commit" else None,
    )

    fixture.settle()

    assert {"ready": 1200} == fixture.files.counts()
    assert len(commits) <= 8


def test_a_folder_may_be_deep(fixture: InboxFixture) -> None:
    """2,000 folders in each other, which no path can name, and one that can be named."""
    fd = os.open(fixture.inbox, os.O_RDONLY)
    for depth in range(2500):
        if depth == 300:
            os.close(os.open("clip.mp4", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=fd))
        os.mkdir("dd", dir_fd=fd)
        below = os.open("dd", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    began_s = time.process_time()

    fixture.settle()

    found = {path.name: (len(path.parts), state) for path, state in states_by_path(fixture)}
    assert (301, "ready") == found["clip.mp4"]
    assert "waiting" == found["dd"][1]
    # 20 s before: each folder was opened from the inbox on.
    assert time.process_time() - began_s < 4.0
    remove_deep(fixture.inbox)


def states_by_path(fixture: InboxFixture) -> list[tuple[Path, str]]:
    return [(path, known.state.value) for path, known in fixture.files.below(INBOX).items()]


def remove_deep(folder: Path) -> None:
    """pytest's own way of removing folders calls itself for each level."""
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.mark.parametrize("steps", range(8))
def test_a_folder_that_takes_the_place_of_the_inbox_during_a_scan_gets_no_marker(
    tmp_path: Path, steps: int
) -> None:
    """The files that were seen are in the other one, which has the marker."""
    ticks = iter(range(0, 1_000_000, 2))
    fixture = InboxFixture(tmp_path, clock=lambda: float(next(ticks)))
    fixture.write("a/clip.mp4")
    fixture.settle()
    fixture.admission.wake()
    now = Now(5000.0, 4000.0)
    for _ in range(steps):
        fixture.admission.tick(now)
    away = fixture.inbox.rename(tmp_path / "away")
    fixture.inbox.mkdir()
    while fixture.admission.wait_s(now.steady_s, soon=False) <= 0.0:
        fixture.admission.tick(now)

    assert [] == os.listdir(fixture.inbox)
    assert {"a/clip.mp4": "ready"} == fixture.states()
    assert (away / MARKER).is_file()
