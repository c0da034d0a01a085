"""Notices in the store: one of a code per location, and the newest hundred."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.model.reasons import ReasonCode
from portraitd.model.review_notice import ReviewNotice
from portraitd.store.database import Database
from portraitd.store.review_notices import MAX_NOTICES, ReviewNotices

COPIED = ReviewNotice.of(ReasonCode.PORTRAITS_COPIED, "Bob", n=2)


@pytest.fixture
def notices(memory_path: Path) -> ReviewNotices:
    return ReviewNotices(Database.open(memory_path))


def test_the_same_notice_is_recorded_once(notices: ReviewNotices) -> None:
    """With the time of the first; with other facts it replaces the earlier one."""
    assert [replace(COPIED, at=5.0)] == notices.record([COPIED], 5.0)
    assert [] == notices.record([COPIED], 6.0)
    assert (replace(COPIED, at=5.0),) == notices.newest()

    more = ReviewNotice.of(ReasonCode.PORTRAITS_COPIED, "Bob", n=3)
    notices.record([more], 7.0)

    assert (replace(more, at=7.0),) == notices.newest()
    assert {"location": "Bob", "n": 3} == notices.newest()[0].values


def test_only_the_newest_notices_are_kept(notices: ReviewNotices) -> None:
    """Reviewers who do something odd a thousand times do not fill the store."""
    for number in range(MAX_NOTICES + 5):
        notices.record([replace(COPIED, location=f"folder {number}")], float(number))

    assert MAX_NOTICES == len(notices.newest())
    assert f"folder {MAX_NOTICES + 4}" == notices.newest(1)[0].location


def test_a_notice_is_cleared(notices: ReviewNotices) -> None:
    """By what it is about."""
    notices.record([COPIED, replace(COPIED, location="Carl")], 5.0)

    assert notices.clear(COPIED.code, "Bob")
    assert not notices.clear(COPIED.code, "Bob")
    assert ["Carl"] == [one.location for one in notices.newest()]
