"""The heartbeat of the service, as other processes read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import Now
from portraitd.service import active_settings
from portraitd.service.health import (
    FILE_NAME,
    SIZE,
    Health,
    HealthRecorder,
    lock_holder,
    read_heartbeat,
    write_heartbeat,
)
from portraitd.store.database import StoreLock
from portraitd.store.erasure import retention_record


def test_health_is_heard_from_the_process_that_holds_the_lock(tmp_path: Path) -> None:
    """What an earlier one said does not count, and looking takes no lock."""
    write_heartbeat(tmp_path, Health(1, 5.0, "disk full", 4.0))
    assert Health(0, 0.0) == read_heartbeat(tmp_path)
    with StoreLock(tmp_path):
        mine = lock_holder(tmp_path)
        assert Health(mine, 0.0) == read_heartbeat(tmp_path)
        write_heartbeat(tmp_path, Health(mine, 5.0, "disk full", 4.0))
        assert Health(mine, 5.0, "disk full", 4.0) == read_heartbeat(tmp_path)
    assert 0 == lock_holder(tmp_path)


def test_a_process_that_gave_up_says_why_after_its_end(tmp_path: Path) -> None:
    """Until another one runs, or ends with everything done."""
    blocked, recorder = Reason(ReasonCode.PUBLISHING_FAILED, "disk full"), HealthRecorder(tmp_path)
    with StoreLock(tmp_path):
        recorder.record(blocked, Now(100.0, 10.0))
        recorder.record(blocked, Now(150.0, 60.0))
        assert 50.0 == recorder.blocked_s(Now(150.0, 60.0))
        recorder.end(blocked, Now(160.0, 70.0))
        mine = lock_holder(tmp_path)
        assert Health(mine, 0.0) == read_heartbeat(tmp_path)
    assert Health(0, 160.0, "disk full", 100.0, "publishing_failed") == read_heartbeat(tmp_path)

    HealthRecorder(tmp_path).end(NO_REASON, Now(200.0, 0.0))
    assert Health(0, 200.0) == read_heartbeat(tmp_path)


def test_health_never_needs_more_room(tmp_path: Path) -> None:
    """However long the reason."""
    for reason in ("", "x" * 10_000, 'é\n"' * 400):
        write_heartbeat(tmp_path, Health(1, 5.0, reason))
        data = (tmp_path / FILE_NAME).read_bytes()
        assert SIZE == len(data)
        assert reason.startswith(json.loads(data)["blocked"])


@pytest.mark.parametrize("content", ["[" * 60_000, '{"clock_s": 1' + "0" * 400 + "}", "1e999"])
def test_a_damaged_record_of_the_state_is_none(content: str, tmp_path: Path) -> None:
    """Nothing in such a file ends the service, or a command."""
    for name in (FILE_NAME, active_settings.FILE_NAME, retention_record.FILE_NAME):
        (tmp_path / name).write_text(content)
    with StoreLock(tmp_path):
        assert Health(lock_holder(tmp_path), 0.0) == read_heartbeat(tmp_path)
        assert active_settings.read_active(tmp_path) is None

    assert retention_record.RetentionRecord() == retention_record.read_record(tmp_path)
