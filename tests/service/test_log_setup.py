"""Repeated errors are suppressed, events are not."""

from __future__ import annotations

from portraitd.service.log_setup import MAX_REMEMBERED, RepeatFilter


def test_the_same_complaint_is_made_once_a_minute() -> None:
    """Then it says how often it was held back; other facts are another line."""
    now = [0.0]
    log = RepeatFilter(lambda: now[0])
    line = {"event": "blocked", "level": "error", "reason": "disk full", "timestamp": "a"}

    assert 0 == log.check(line)
    assert [None, None] == [log.check({**line, "timestamp": t}) for t in "bc"]
    assert 0 == log.check({**line, "reason": "share away"})
    now[0] = 60.0
    assert 2 == log.check(line)
    assert 5 == log.counts["blocked"]


def test_what_happened_is_said_each_time() -> None:
    """Two starts within a minute are two starts."""
    log = RepeatFilter(lambda: 0.0)

    assert [0, 0] == [log.check({"event": "started", "level": "info"}) for _ in range(2)]


def test_what_was_said_is_remembered_within_bounds() -> None:
    """A hundred thousand files are a hundred thousand lines, and no leak."""
    log = RepeatFilter(lambda: 0.0)
    for number in range(MAX_REMEMBERED + 50):
        assert 0 == log.check({"event": "file_failed", "level": "error", "path": str(number)})

    assert MAX_REMEMBERED == len(log._windows)
