"""From what lies in the inbox to files that may be worked on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from portraitd.admission import Admission, InboxPace
from portraitd.inbox import MARKER
from portraitd.model import FileState
from portraitd.store import Database, Files, KnownFile
from portraitd.store.files import INBOX

QUIET_S = 5.0


class Desk:
    """An inbox, what is known of it, and a clock that counts looks by the second."""

    def __init__(self, folder: Path, after: str = "keep", pace: InboxPace | None = None) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.database = Database.open(folder)
        self.files = Files(self.database, self.inbox)
        self.admission = Admission(self.files, self.inbox, pace or InboxPace(QUIET_S), after)
        self.now_s = 0.0

    def write(self, name: str, content: bytes = b"video") -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def look(self, after_s: float = 1.0) -> None:
        self.now_s += after_s
        self.admission.refresh(1000.0 + self.now_s, self.now_s)

    def settle(self) -> None:
        """Look until everything that stands still has been taken."""
        self.look()
        self.look(QUIET_S)

    def known(self, name: str = "clip.mp4") -> KnownFile:
        return self.files.below(INBOX)[Path(os.fsdecode(name))]

    def state(self, name: str = "clip.mp4") -> FileState:
        return self.known(name).state

    def states(self) -> dict[str, str]:
        return {str(path): known.state.value for path, known in self.files.below(INBOX).items()}

    def finish(self, name: str = "clip.mp4") -> None:
        """The file has been worked on."""
        self.files.move_on(self.known(name).id, FileState.DONE, self.now_s)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def mover(tmp_path: Path) -> Desk:
    return Desk(tmp_path, after="move")


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

    assert "still being written?" == desk.known().reason
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
    desk.files.move_on(desk.known().id, FileState.GONE, 1.0, "written while it was read")

    desk.settle()

    assert FileState.READY is desk.state()
    assert "" == desk.known().reason


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
    assert "no longer in the inbox" == desk.known("ready.mp4").reason
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
    assert "a pipe" == desk.known("pipe.mp4").reason
    assert ["link.mp4", "pipe.mp4"] == [line["path"] for line in logs]


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

    assert (FileState.FAILED, "a pipe") == (desk.state(), desk.known().reason)


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
    assert ["inbox_away", "inbox_back"] == [line["event"] for line in logs]


def test_an_empty_folder_without_the_marker_is_not_the_inbox(desk: Desk) -> None:
    """What lies under a mount point while the share is away: nothing is gone, nothing is taken."""
    desk.write("clip.mp4")
    desk.settle()
    desk.inbox.rename(desk.inbox.with_name("share"))
    desk.inbox.mkdir()
    with capture_logs() as logs:
        for _ in range(3):
            desk.look()
        assert desk.admission.away
        desk.write("other.mp4")
        desk.look()
        desk.look(QUIET_S)
        assert {"clip.mp4": "ready"} == desk.states()
        (desk.inbox / "other.mp4").unlink()
        desk.inbox.rmdir()
        desk.inbox.with_name("share").rename(desk.inbox)
        desk.look()

    assert not desk.admission.away
    assert {"clip.mp4": "ready"} == desk.states()
    assert ["inbox_away", "inbox_back"] == [line["event"] for line in logs]
    assert "portraitd init" in logs[0]["reason"]


def test_a_share_that_goes_is_noticed_before_the_next_look(desk: Desk) -> None:
    """Else what waits there would be looked for, not be found, and be forgotten."""
    desk.write("clip.mp4")
    desk.settle()

    desk.inbox.rename(desk.inbox.with_name("share"))

    assert desk.admission.away
    assert desk.admission.has_lost(desk.inbox / "clip.mp4")
    assert not desk.admission.has_lost(desk.inbox.parent / "named.mp4")


def test_an_inbox_of_an_older_portraitd_gets_its_marker(desk: Desk) -> None:
    """If something known lies in it, it is the right folder."""
    desk.write("clip.mp4")
    desk.settle()
    (desk.inbox / MARKER).unlink()

    desk.look()

    assert not desk.admission.away
    assert (desk.inbox / MARKER).is_file()


# --- What is not whole.


PATIENT = InboxPace(QUIET_S, quiet_remote_s=60.0, unfinished_s=600.0)


def test_a_file_that_is_written_slowly_is_left_alone(tmp_path: Path) -> None:
    """Its size and time stand still, but somebody has it open: a client that set the end first."""
    desk = Desk(tmp_path, pace=PATIENT)
    with desk.write("clip.mp4").open("r+b"):
        desk.settle()
        desk.look(1000.0)
        assert (FileState.WAITING, "another program still has it open for writing") == (
            desk.state(),
            desk.known().reason,
        )
    desk.look(60.0)
    desk.look(600.0)

    assert FileState.READY is desk.state()


def test_a_file_that_lacks_something_waits_and_is_then_taken(tmp_path: Path) -> None:
    """It may be a copy that goes on, or all there will ever be; why it waits is said once."""
    desk = Desk(tmp_path, pace=PATIENT)
    desk.look()
    desk.write("clip.mp4", b"")
    with capture_logs() as logs:
        desk.settle()
        for _ in range(59):
            desk.look(10.0)
        assert "not whole yet: empty so far" == desk.known().reason
        assert not desk.admission.pending
        desk.look(10.0)

    assert FileState.READY is desk.state()
    reasons = ["still being written?", "not whole yet: empty so far", ""]
    assert reasons == [line["reason"] for line in logs]


def test_a_file_that_is_completed_is_taken_at_once(tmp_path: Path, nobody: Path) -> None:
    """No later than the quiet time after its last change."""
    desk = Desk(tmp_path, pace=PATIENT)
    whole = nobody.read_bytes()
    path = desk.write("clip.mp4", whole[:-100])
    desk.settle()
    desk.look(20.0)
    assert desk.known().reason.startswith("not whole yet: ")

    path.write_bytes(whole)
    desk.settle()

    assert FileState.READY is desk.state()


# --- Moving away.


def test_a_done_file_stays_where_it_is(desk: Desk) -> None:
    """Unless it was asked for."""
    path = desk.write("clip.mp4")
    desk.settle()
    desk.finish()

    desk.look()

    assert path.exists()


def test_a_done_file_is_moved(mover: Desk) -> None:
    """With its folder; what failed stays, so that somebody sees it."""
    mover.write("holiday/clip.mp4")
    mover.write("bad.mp4")
    mover.settle()
    mover.finish("holiday/clip.mp4")
    mover.files.move_on(mover.known("bad.mp4").id, FileState.FAILED, 1.0)

    mover.look()

    assert {"processed/holiday/clip.mp4": "done", "bad.mp4": "failed"} == mover.states()
    assert b"video" == (mover.inbox / "processed/holiday/clip.mp4").read_bytes()
    assert (mover.inbox / "bad.mp4").exists()


def test_what_was_moved_is_not_taken_again(mover: Desk) -> None:
    """processed/ is not looked at."""
    mover.write("clip.mp4")
    mover.settle()
    mover.finish()
    for _ in range(3):
        mover.settle()

    assert {"processed/clip.mp4": "done"} == mover.states()


def test_moving_never_overwrites(mover: Desk) -> None:
    """Whoever put it there."""
    (mover.inbox / "processed").mkdir()
    (mover.inbox / "processed/clip.mp4").write_bytes(b"somebody's")
    (mover.inbox / "processed/clip (2).mp4").symlink_to("nowhere")
    mover.write("clip.mp4")
    mover.settle()
    mover.finish()

    mover.look()

    assert b"somebody's" == (mover.inbox / "processed/clip.mp4").read_bytes()
    assert b"video" == (mover.inbox / "processed/clip (3).mp4").read_bytes()
    assert {"processed/clip (3).mp4": "done"} == mover.states()


def test_the_name_of_a_moved_file_may_come_again(mover: Desk) -> None:
    """A camera numbers from the beginning; the first was removed from processed/ meanwhile."""
    for content in (b"first", b"second"):
        mover.write("clip.mp4", content)
        mover.settle()
        mover.finish()
        mover.look()
        if content == b"first":
            (mover.inbox / "processed/clip.mp4").unlink()

    mover.look()

    assert {"processed/clip.mp4": "done", "processed/clip (2).mp4": "done"} == mover.states()
    assert b"second" == (mover.inbox / "processed/clip (2).mp4").read_bytes()


def test_a_done_file_that_somebody_removed_is_not_missed(mover: Desk) -> None:
    """There is nothing to move, and nothing to complain about at every look."""
    path = mover.write("clip.mp4")
    mover.settle()
    mover.finish()
    path.unlink()
    with capture_logs() as logs:
        for _ in range(3):
            mover.look()

    assert [] == logs
    assert FileState.DONE is mover.state()


def test_a_file_replaced_since_it_was_done_is_not_moved(mover: Desk) -> None:
    """It is another one, which nobody has looked into."""
    mover.write("clip.mp4")
    mover.settle()
    mover.finish()
    mover.write("clip.mp4", b"another content")

    mover.look()

    assert (mover.inbox / "clip.mp4").exists()
    assert FileState.WAITING is mover.state()


# --- Named to ``process``.


def register(desk: Desk, *paths: Path) -> dict[str, tuple[str, str]]:
    """State and reason of each row by its source."""
    rows = [desk.files.get(file_id) for file_id in desk.admission.register(paths, 1.0)]
    return {str(row.path): (row.state.value, row.reason) for row in rows}


def test_a_named_file_is_ready_at_once(tmp_path: Path, desk: Desk) -> None:
    """Its source is its bare name."""
    clip = tmp_path / "elsewhere" / "clip.mp4"
    clip.parent.mkdir()
    clip.write_bytes(b"video")

    (file_id,) = desk.admission.register([clip], 1.0)

    known = desk.files.get(file_id)
    assert (Path("clip.mp4"), FileState.READY) == (known.path, known.state)
    assert clip == desk.files.place(known)


def test_a_named_folder_is_taken_with_what_is_in_it(tmp_path: Path, desk: Desk) -> None:
    """Sources are the paths below it; litter is left out, and what is no file has a reason."""
    folder = tmp_path / "videos"
    for name in ("a.mp4", "deep/b.mp4", ".DS_Store", "c.mp4.part"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"video")
    os.mkfifo(folder / "pipe.mp4")

    assert {
        "a.mp4": ("ready", ""),
        "deep/b.mp4": ("ready", ""),
        "pipe.mp4": ("failed", "a pipe"),
    } == register(desk, folder)


def test_a_name_that_cannot_be_taken_has_a_reason(tmp_path: Path, desk: Desk) -> None:
    """Missing, litter, a link: each is an answer of its own."""
    (tmp_path / "clip.mp4.part").write_bytes(b"video")
    (tmp_path / "link.mp4").symlink_to("clip.mp4.part")

    assert {
        "missing.mp4": ("failed", "no such file"),
        "nowhere.mp4": ("failed", "no such file"),
        "clip.mp4.part": ("failed", "ignored by its name"),
        "link.mp4": ("failed", "a symbolic link; links are not followed"),
    } == register(
        desk,
        tmp_path / "missing.mp4",
        tmp_path / "away" / "nowhere.mp4",
        tmp_path / "clip.mp4.part",
        tmp_path / "link.mp4",
    )


def test_a_relative_name_is_meant_from_here(
    tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for any other program."""
    (tmp_path / "clip.mp4").write_bytes(b"video")
    monkeypatch.chdir(tmp_path)

    (file_id,) = desk.admission.register([Path("clip.mp4")], 1.0)

    assert tmp_path / "clip.mp4" == desk.files.place(desk.files.get(file_id))


def test_a_file_named_again_is_the_same_row(tmp_path: Path, desk: Desk) -> None:
    """Done stays done; what failed, changed or was gone is tried again."""
    states = (FileState.DONE, FileState.DUPLICATE, FileState.FAILED, FileState.GONE)
    paths = [tmp_path / f"{state}.mp4" for state in (*states, "changed")]
    for path in paths:
        path.write_bytes(b"video")
    ids = desk.admission.register(paths, 1.0)
    for file_id, state in zip(ids, (*states, FileState.DONE), strict=True):
        desk.files.move_on(file_id, state, 2.0, "")
    paths[-1].write_bytes(b"another content")

    again = desk.admission.register(paths, 3.0)

    assert ids == again
    assert ["done", "duplicate", "ready", "ready", "ready"] == [
        desk.files.get(file_id).state.value for file_id in again
    ]


def test_naming_a_file_does_not_search_its_folder(tmp_path: Path, desk: Desk) -> None:
    """``process ~/clip.mp4`` must not walk through the whole home."""
    (tmp_path / "clip.mp4").write_bytes(b"video")
    (tmp_path / "huge" / "tree").mkdir(parents=True)
    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.append(os.fspath(arguments[0]))  # type: ignore[arg-type]

    sys.addaudithook(watch)
    desk.admission.register([tmp_path / "clip.mp4"], 1.0)
    watching = False

    assert opened
    assert not [path for path in opened if "huge" in str(path)]


class Listening(Database):
    """A store that writes down what it is asked."""

    asked: list[str]

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        self.__dict__.setdefault("asked", []).append(" ".join(sql.split()))
        return super().execute(sql, parameters)


def test_every_named_file_is_looked_up_by_itself(tmp_path: Path) -> None:
    """Not by listing everything below its folder: ten thousand files would take hours."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.mp4").write_bytes(b"video")
    database = Listening.open(tmp_path)
    admission = Admission(Files(database, tmp_path), tmp_path, InboxPace(QUIET_S), "keep")

    taken = admission.register([folder, *folder.iterdir()], 1.0)

    assert 60 == len(taken)
    assert [] == [sql for sql in database.asked if sql.endswith("where root = ?")]
