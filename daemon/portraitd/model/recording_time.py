"""When a recording was made, as its file says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Self

DAY_S = 86400.0

_FIRST_PHOTOGRAPH_S = datetime(1826, 1, 1, tzinfo=UTC).timestamp()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ZERO_DAYS = (datetime(1904, 1, 1, tzinfo=UTC), _EPOCH)
"""Where the clocks of containers start. A date within a day of them means: never set."""

_ZERO_MOMENT = datetime(1980, 1, 1, tzinfo=UTC)
"""Where FAT and the clocks of many cameras start."""

_MAX_OFFSET_MIN = 24 * 60


@dataclass(frozen=True, slots=True)
class RecordingTime:
    """A moment.

    Attributes:
        at_s: Seconds since 1970. Without an offset it is a local time, read as though it were UTC.
        offset_min: Offset of the local time from UTC in minutes; None if the file has none.
    """

    at_s: float
    offset_min: int | None

    @property
    def wall_s(self) -> float:
        """What a clock on the wall showed, read as though it were UTC."""
        return self.at_s + 60 * (self.offset_min or 0)

    @property
    def year(self) -> int:
        """The year on a calendar on the wall."""
        return _as_utc(self.wall_s).year

    def is_credible(self, now_s: float) -> bool:
        """Return whether it is neither the zero of a clock, nor in the future, nor too early."""
        offset_min = self.offset_min or 0
        if not abs(offset_min) < _MAX_OFFSET_MIN:
            return False
        # A local time may be half a day ahead.
        if not _FIRST_PHOTOGRAPH_S <= self.at_s <= now_s + DAY_S:
            return False
        moments = {_as_utc(self.at_s), _as_utc(self.wall_s)}
        return _ZERO_MOMENT not in moments and all(
            abs((moment - zero).total_seconds()) >= DAY_S
            for zero in _ZERO_DAYS
            for moment in moments
        )

    def iso(self) -> str:
        """Return it as ISO 8601, to the second; a local time has no offset."""
        text = _as_utc(self.wall_s).replace(tzinfo=None).isoformat(timespec="seconds")
        if self.offset_min is None:
            return text
        if self.offset_min == 0:
            return f"{text}Z"
        hours, minutes = divmod(abs(self.offset_min), 60)
        return f"{text}{'-' if self.offset_min < 0 else '+'}{hours:02d}:{minutes:02d}"


class DateKind(StrEnum):
    """What the date of a recording is: when it was made or, if unknown, when it was dropped."""

    RECORDED = "recorded"
    DROPPED = "dropped"


class RecordingDate(NamedTuple):
    """The date under which a recording is listed."""

    kind: DateKind
    time: RecordingTime

    @classmethod
    def of(cls, recorded: RecordingTime | None, dropped_at: float) -> Self:
        """Choose it: when the recording was made or, if unknown, when it was dropped."""
        if recorded is None:
            return cls(DateKind.DROPPED, RecordingTime(dropped_at, 0))
        return cls(DateKind.RECORDED, recorded)


def _as_utc(seconds: float) -> datetime:
    # Unlike fromtimestamp, this works for every year on every platform.
    return _EPOCH + timedelta(seconds=seconds)
