"""When a recording was made, and which dates are none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from portraitd.model.recording_time import DateKind, RecordingDate, RecordingTime

NOW_S = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()


def at(year: int, month: int = 1, day: int = 1, hour: int = 0, second: int = 0) -> float:
    return datetime(year, month, day, hour, 0, second, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (RecordingTime(at(2019, 7, 14, 15), None), "2019-07-14T15:00:00"),
        (RecordingTime(at(2019, 7, 14, 13), 120), "2019-07-14T15:00:00+02:00"),
        (RecordingTime(at(2019, 7, 14, 15), 0), "2019-07-14T15:00:00Z"),
        (RecordingTime(at(2019, 7, 14, 15), -570), "2019-07-14T05:30:00-09:30"),
        (RecordingTime(at(1935, 7, 14, 15), None), "1935-07-14T15:00:00"),
    ],
)
def test_a_time_is_written_on_the_clock_of_its_place(time: RecordingTime, text: str) -> None:
    """With the offset from UTC, where it is known."""
    assert text == time.iso()


@pytest.mark.parametrize(
    ("at_s", "offset_min", "credible"),
    [
        (at(2019, 7, 14), None, True),
        (at(1935, 7, 14), None, True),
        (at(2000), 0, True),
        (at(1980, second=1), None, True),
        (NOW_S + 13 * 3600, None, True),
        (at(1904), 0, False),
        (at(1904, 1, 1, 12), None, False),
        (at(1970), 0, False),
        (at(1970, 1, 1, 7), 0, False),
        (at(1969, 12, 31, 23), 60, False),
        (at(1980), None, False),
        (at(1979, 12, 31, 23), 60, False),
        (at(1700), None, False),
        (NOW_S + 3 * 86400, 0, False),
        (at(2019), 24 * 60, False),
        (float("nan"), 0, False),
        (float("inf"), 0, False),
        (1e300, None, False),
    ],
)
def test_the_zero_of_a_clock_and_the_future_are_no_dates(
    at_s: float, offset_min: int | None, credible: bool
) -> None:
    """On the clock of the place and in UTC."""
    assert credible == RecordingTime(at_s, offset_min).is_credible(NOW_S)


def test_an_unknown_date_is_that_of_the_drop() -> None:
    """And says so."""
    made = RecordingTime(at(2019), None)

    assert (DateKind.RECORDED, made) == RecordingDate.of(made, NOW_S)
    assert (DateKind.DROPPED, RecordingTime(NOW_S, 0)) == RecordingDate.of(None, NOW_S)
