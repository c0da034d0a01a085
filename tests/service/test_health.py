"""The heartbeat of the service, as other processes read it."""

from __future__ import annotations

import json
from pathlib import Path

from portraitd.service.health import (
    FILE_NAME,
    SIZE,
    Health,
    lock_holder,
    read_heartbeat,
    write_heartbeat,
)
from portraitd.store.database import StoreLock


def test_health_is_heard_from_the_process_that_holds_the_lock(tmp_path: Path) -> None:
    """What an earlier one said does not count, and looking takes no lock."""
    write_heartbeat(tmp_path, Health(1, 5.0, "disk full", 4.0))
    assert Health(0, 0.0) == read_heartbeat(tmp_path)
    with StoreLock(tmp_path):
        mine = lock_holder(tmp_path / "lock")
        assert Health(mine, 0.0) == read_heartbeat(tmp_path)
        write_heartbeat(tmp_path, Health(mine, 5.0, "disk full", 4.0))
        assert Health(mine, 5.0, "disk full", 4.0) == read_heartbeat(tmp_path)
    assert 0 == lock_holder(tmp_path / "lock")


def test_health_never_needs_more_room(tmp_path: Path) -> None:
    """However long the reason."""
    for reason in ("", "x" * 10_000, 'é\n"' * 400):
        write_heartbeat(tmp_path, Health(1, 5.0, reason))
        data = (tmp_path / FILE_NAME).read_bytes()
        assert SIZE == len(data)
        assert reason.startswith(json.loads(data)["blocked"])
