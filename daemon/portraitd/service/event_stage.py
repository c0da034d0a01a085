"""Append what happened to ``state/events.jsonl``, for programs that tell people about it.

The format is described in docs/events.md; a field is never removed or given another meaning.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from portraitd.model.media_file import VideoState
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.store.announcements import Announcements, FinishedRecording, SeenPerson
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.erasure.derived_files import EVENTS_NAME, private
from portraitd.store.people import People

STAGE = "events"

log = structlog.get_logger(stage=STAGE)

MAX_BYTES = 1 << 20
"""From this size on, the file is renamed to ``events.jsonl.1`` and a new one is begun."""

BACK_OFF_S = 60.0

Event = dict[str, Any]


class EventLog:
    """Appends events to a file, one JSON object per line, in ASCII.

    Args:
        path: The file. Only its owner may read it: it contains names of people and files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def append(self, events: Iterable[Event]) -> None:
        """Append events; they have reached the disk when this returns.

        Raises:
            OSError: They cannot be written.
        """
        lines = "".join(json.dumps(event) + "\n" for event in events)
        with suppress(FileNotFoundError):
            facts = self._path.lstat()
            # A pipe would stop the service until a program reads it; an erasure would not reach
            # what a link leads to.
            if not stat.S_ISREG(facts.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if facts.st_size >= MAX_BYTES:
                self._path.replace(self._path.with_name(f"{EVENTS_NAME}.1"))
        with open(self._path, "a", encoding="ascii", opener=private) as file:
            # After a line that a full disk cut short, the next one must still be readable.
            if file.tell() and not _ends_with_newline(self._path):
                file.write("\n")
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())


class EventStage(Stage):
    """Announces found people, finished recordings, new questions, and what blocks the service.

    Args:
        announcements: What happened and was not announced yet.
        people: The last grouping.
        event_log: Where events are appended.
        blocked_now: Returns why the service cannot go on; ``NO_REASON`` if it can.
        asked_now: Returns the questions to reviewers by key: in words, and the picture's path.
        is_over: Returns whether a question, given its key, is not asked any more. One whose picture
            is only missing for a moment is not announced again.
        blocked_stages: Says that events cannot be written.
    """

    def __init__(
        self,
        announcements: Announcements,
        people: People,
        event_log: EventLog,
        blocked_now: Callable[[], Reason],
        asked_now: Callable[[], Mapping[str, tuple[str, str]]],
        is_over: Callable[[str], bool],
        blocked_stages: BlockedStages,
    ) -> None:
        self._announcements = announcements
        self._people = people
        self._event_log = event_log
        self._blocked_now = blocked_now
        self._asked_now = asked_now
        self._is_over = is_over
        self._blocked_stages = blocked_stages
        self._back_off = BackOff(BACK_OFF_S)
        self._seen: tuple[object, ...] = ()

    def tick(self, now: Now) -> None:
        """Append what happened since the last tick.

        Where that is impossible, it is tried again after a minute: nothing waits for an event.
        """
        if not self._back_off.ready(now):
            return
        blocked, asked = self._blocked_now(), self._asked_now()
        facts = self._announcements.changes, blocked.code, frozenset(asked)
        if facts == self._seen:
            return
        people = self._announcements.people()
        recordings = self._announcements.recordings(self._people.last_grouping_run())
        before, announced = self._announcements.blocked(), self._announcements.questions()
        open_questions = {*asked, *(key for key in announced if not self._is_over(key))}
        events = [
            *map(_describe_person, people),
            *map(_describe_recording, recordings),
            *(_describe_question(*one) for key, one in asked.items() if key not in announced),
            *_describe_block(before, blocked),
        ]
        if not events:
            if open_questions != announced:
                self._announcements.mark_questions(open_questions)
            self._blocked_stages.clear(STAGE)
            self._seen = facts
            return
        at = datetime.fromtimestamp(now.wall_s, UTC).isoformat(timespec="milliseconds")
        try:
            self._event_log.append({"at": at} | event for event in events)
        except OSError as error:
            self._back_off.start(now)
            code, cause = ReasonCode.EVENTS_NOT_WRITTEN, error.strerror or str(error)
            reason = Reason.of(code, path=self._event_log.path, cause=cause)
            if self._blocked_stages.record(STAGE, reason, now.wall_s):
                log.warning("events_not_written", reason=reason.text, reason_code=code)
            return
        self._blocked_stages.clear(STAGE)
        self._announcements.mark(
            [person.id for person in people], [recording.id for recording in recordings]
        )
        self._announcements.mark_questions(open_questions)
        if blocked.code != before.code:
            self._announcements.mark_blocked(blocked)


def _describe_person(person: SeenPerson) -> Event:
    return {"event": "person_found"} | _fields_of(person)


def _describe_recording(recording: FinishedRecording) -> Event:
    is_done = recording.state is VideoState.DONE
    return {
        "event": "recording_done" if is_done else "recording_failed",
        "recording": recording.id,
        "file": recording.path,
        "people": [_fields_of(person) for person in recording.people],
        "reason_code": recording.reason.code,
        "reason": recording.reason.text,
    }


def _describe_question(text: str, path: str) -> Event:
    return {"event": "question_asked", "question": text, "picture": path}


def _describe_block(before: Reason, now: Reason) -> Iterator[Event]:
    if now.code == before.code:
        return
    reason = now or before
    yield {
        "event": "blocked" if now else "recovered",
        "reason_code": reason.code,
        "reason": reason.text,
    }


def _fields_of(person: SeenPerson) -> Event:
    return {"person": person.id, "name": person.name, "faces": person.faces}


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
