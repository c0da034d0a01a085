"""Events for other programs: each once, in the order in which things happen, and none is lost."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from portraitd.model.media_file import FileState
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.service.event_stage import MAX_BYTES, EventLog, EventStage
from portraitd.store.announcements import Announcements
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.database import Database
from portraitd.store.erasure.derived_files import destroy_copies
from support.clock import at
from support.store import ENCODER, Store, embedding, slice_faces

FULL = Reason(ReasonCode.STORE_FAILED, "the disk is full")

DOCUMENT = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")


class Events:
    """A store, the stage that announces what happens in it, and the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.jsonl"
        self.store = Store(Database.open(folder))
        self.blocked = NO_REASON
        self.asked: dict[str, tuple[str, str]] = {}
        self.over: set[str] = set()
        self.start()

    def start(self) -> None:
        """Start as after the end of the service."""
        announcements = Announcements(self.store.database)
        log = EventLog(self.path)
        self.stage = EventStage(
            announcements,
            self.store.people,
            log,
            lambda: self.blocked,
            lambda: self.asked,
            lambda key: key in self.over,
            BlockedStages(self.store.database),
        )

    def see(self, *embeddings: Any, at_s: float = 3.0) -> None:
        self.store.see(*embeddings, at_s=at_s)
        self.store.track()

    def group(self, groups: list[int]) -> None:
        self.store.group(groups, '["dbscan", 0.5]')

    def tick(self, now_s: float = 10.0) -> list[dict[str, Any]]:
        """Return the events of one tick."""
        before = len(self.lines())
        self.stage.tick(at(now_s))
        return [json.loads(line) for line in self.lines()[before:]]

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
def events(tmp_path: Path) -> Events:
    return Events(tmp_path)


def names(found: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in found]


def test_people_and_recordings_are_announced_once(events: Events) -> None:
    """With who is in the recording; a later recording of the same person is no new person."""
    ann = embedding(1)
    events.see(ann, ann)
    assert [] == events.tick()
    events.group([0, 0])
    events.store.database.execute("update people set name = 'Ann'")

    assert [
        {"at": "1970-01-01T00:00:10.000+00:00", "event": "person_found", "person": 1}
        | {"name": "Ann", "faces": 2},
        {
            "at": "1970-01-01T00:00:10.000+00:00",
            "event": "recording_done",
            "recording": 1,
            "file": "video 0.mp4",
            "people": [{"person": 1, "name": "Ann", "faces": 2}],
            "reason_code": "",
            "reason": "",
        },
    ] == events.tick()
    events.start()
    assert [] == events.tick()
    events.see(ann)
    events.group([0, 0, 0])

    assert ["recording_done"] == names(events.tick())


def test_a_recording_is_announced_when_its_people_are_known(events: Events) -> None:
    """Not while its faces wait for a grouping; without faces, at once."""
    events.see(embedding(1))
    events.group([0])
    events.tick()
    events.see(embedding(2))
    events.see()

    assert [3] == [event["recording"] for event in events.tick()]
    events.group([0, 1])

    assert ["person_found", "recording_done"] == names(events.tick())


def test_a_failure_is_announced_again_after_a_retry(events: Events) -> None:
    """With its reason; and its success, if it succeeds then."""
    store = events.store
    store.video("clip.mp4")
    reason = Reason(ReasonCode.WORKER_DIED, "the worker died")
    for attempt in range(3):
        claimed = store.slice_queue.claim()
        assert claimed
        if attempt == 2:
            store.slice_queue.record(claimed, slice_faces(), ENCODER, 5.0)
            store.track()
        else:
            store.slice_queue.lose(claimed, reason, 1, 4.0)
        [event] = events.tick()
        assert ("recording_done" if attempt == 2 else "recording_failed") == event["event"]
        assert ("" if attempt == 2 else "worker_died") == event["reason_code"]
        store.slice_queue.retry(6.0)


def test_a_block_is_announced_when_it_begins_and_when_it_ends(events: Events) -> None:
    """Also when the service was restarted in between."""
    events.blocked = FULL
    assert [("blocked", "store_failed", "the disk is full")] == [
        (one["event"], one["reason_code"], one["reason"]) for one in events.tick()
    ]
    events.start()
    assert [] == events.tick()
    events.blocked = NO_REASON

    assert [("recovered", "store_failed")] == [
        (one["event"], one["reason_code"]) for one in events.tick()
    ]
    assert [] == events.tick()


def test_a_question_is_announced_once_while_it_is_asked(events: Events) -> None:
    """Also over a restart, and while its picture is missing; again if it is asked anew later."""
    question = ("Are these one person?", "_questions/01 Ann.jpg")
    events.asked = {"same:1,2": question}
    assert [("question_asked", *question)] == [
        (one["event"], one["question"], one["picture"]) for one in events.tick()
    ]
    events.start()
    events.asked["is:3:7"] = ("Is this Bob?", "_questions/02 Bob.jpg")
    assert ["Is this Bob?"] == [one["question"] for one in events.tick()]
    for is_over in (False, True):
        events.asked, events.over = {}, {"same:1,2"} if is_over else set()
        assert [] == events.tick()
        events.asked, events.over = {"same:1,2": question}, set()

        assert (["question_asked"] if is_over else []) == names(events.tick())


def test_nothing_is_lost_while_the_file_cannot_be_written(events: Events) -> None:
    """The service goes on, says so also in its status, and tries again after a minute."""
    blocked = BlockedStages(events.store.database)
    events.path.mkdir()
    events.see(embedding(1))
    events.group([0])
    with capture_logs() as logs:
        events.stage.tick(at(10.0))
        events.stage.tick(at(20.0))
    assert ["events_not_written"] == [line["event"] for line in logs]
    reason = blocked.all()["events"]
    assert ReasonCode.EVENTS_NOT_WRITTEN is reason.code
    assert f"{events.path} cannot be written: not a regular file" in reason.text
    events.path.rmdir()
    assert [] == events.tick(69.0)
    assert {"events": reason} == blocked.all()

    assert ["person_found", "recording_done"] == names(events.tick(70.0))
    assert {} == blocked.all()


def test_status_does_not_keep_what_has_passed(events: Events) -> None:
    """Nothing is left to write: what was to be announced is over."""
    events.path.mkdir()
    events.blocked = FULL
    events.stage.tick(at(10.0))
    assert ["events"] == list(BlockedStages(events.store.database).all())
    events.blocked = NO_REASON
    events.path.rmdir()

    assert [] == events.tick(70.0)
    assert {} == BlockedStages(events.store.database).all()


@pytest.mark.parametrize("is_link", [True, False])
def test_neither_a_link_nor_a_pipe_is_written_to(events: Events, is_link: bool) -> None:
    """The service does not wait for a reader, and nothing is written where no erasure reaches."""
    other = events.path.with_name("other")
    if is_link:
        other.write_text("mine")
        events.path.symlink_to(other)
    else:
        os.mkfifo(events.path)
    events.blocked = FULL
    with capture_logs() as logs:
        events.stage.tick(at(10.0))
    assert ["events_not_written"] == [line["event"] for line in logs]
    assert not is_link or other.read_text() == "mine"
    events.path.unlink()

    assert ["blocked"] == names(events.tick(70.0))


def test_a_line_that_was_cut_short_spoils_no_other(events: Events) -> None:
    """The disk was full in the middle of it."""
    events.path.write_text('{"at": "1970-01')
    events.blocked = FULL
    events.stage.tick(at(10.0))

    assert ['{"at": "1970-01', "blocked"] == [
        events.lines()[0],
        json.loads(events.lines()[1])["event"],
    ]


def test_the_file_is_renamed_when_it_is_large(events: Events) -> None:
    """And a new one is begun, which only the owner may read as well."""
    events.path.write_bytes(b"\n" * MAX_BYTES)
    events.blocked = FULL
    events.stage.tick(at(10.0))

    assert MAX_BYTES == events.path.with_name("events.jsonl.1").stat().st_size
    assert 1 == len(events.lines())
    assert 0o600 == events.path.stat().st_mode & 0o777


def test_an_erasure_removes_the_events(events: Events) -> None:
    """They name people and files."""
    events.path.write_text("{}\n")
    events.path.with_name("events.jsonl.1").write_text("{}\n")

    assert 2 == destroy_copies(events.path.parent, old_stores=False)
    assert [] == list(events.path.parent.glob("events*"))


def test_an_erasure_removes_a_pipe(tmp_path: Path) -> None:
    """Without waiting for a reader."""
    os.mkfifo(tmp_path / "events.jsonl")

    assert 1 == destroy_copies(tmp_path, old_stores=False)
    assert [] == list(tmp_path.iterdir())


def test_a_hostile_name_stays_in_its_line(events: Events) -> None:
    """A line is one JSON object, whatever a file or a person is called."""
    store = events.store
    store.video('a\n{"event": "blocked"}\x1b[2J\udcff.mp4', sha256="hash")
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(embedding(1)), ENCODER, 5.0)
    store.track()
    events.group([0])
    store.database.execute("update people set name = 'A\nB\u2028\u202e'")

    found = events.tick()

    assert ["person_found", "recording_done"] == names(found)
    assert "A\nB\u2028\u202e" == found[0]["name"]
    assert "\x1b" not in events.path.read_text()


def test_the_document_lists_every_event_and_field(events: Events) -> None:
    """And none that does not exist."""
    events.see(embedding(1))
    events.group([0])
    events.store.video("failed.mp4")
    claimed = events.store.slice_queue.claim()
    assert claimed
    events.store.slice_queue.lose(claimed, FULL, 1, 4.0)
    events.store.files.move_on(1, FileState.DONE, 5.0, NO_REASON)
    events.blocked = FULL
    events.asked = {"same:1,2": ("Are these one person?", "_questions/01 Ann.jpg")}
    found = events.tick()
    events.blocked = NO_REASON
    found += events.tick()
    rows = re.findall(r"^\| (`.+?) \|", DOCUMENT, flags=re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert {key for event in found for key in event} | {*names(found)} == listed
