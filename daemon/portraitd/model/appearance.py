"""Appearances: the time ranges of a video in which a person is visible, as editors need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.model.recording_time import RecordingDate, RecordingTime

GAP_S = 3.0
"""A longer gap ends an appearance; a shorter one may be a person looking away."""

GAP_STEPS = 2.5
"""The longest gap in sampling steps, where frames are sampled less often."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A video or photo, as people know it.

    Attributes:
        name: Its path as text.
        is_photo: A photo has no duration.
        duration_s: 0 if unknown.
        step_s: Time between sampled frames.
        added_at: When it was dropped.
        recorded: When it was made; None if the file does not say.
        path: Its path below the inbox; empty if it is somewhere else.
    """

    id: int
    name: str
    is_photo: bool
    duration_s: float
    step_s: float
    added_at: float
    recorded: RecordingTime | None = None
    path: str = ""

    @property
    def date(self) -> RecordingDate:
        """When it was made or, if unknown, when it was dropped."""
        return RecordingDate.of(self.recorded, self.added_at)


class Appearance(NamedTuple):
    """A time range of a video in which a person is visible, with its number of faces."""

    start_s: float
    stop_s: float
    faces: int


def join_appearances(
    times_s: Sequence[float] | NDArray[np.float64], step_s: float, duration_s: float = 0.0
) -> list[Appearance]:
    """Join the faces of one person in one video to appearances.

    A face stands for the time until the next sampled frame. Faces up to ``GAP_S`` apart, or
    ``GAP_STEPS`` sampling steps if that is longer, belong to one appearance.

    Args:
        times_s: Times of the faces, ascending.
        step_s: Time between sampled frames.
        duration_s: Duration of the video, after which no appearance ends; 0 if unknown.
    """
    times = np.asarray(times_s, np.float64)
    if not len(times):
        return []
    cuts = np.flatnonzero(np.diff(times) > max(GAP_S, GAP_STEPS * step_s)) + 1
    return [
        Appearance(float(part[0]), _end(float(part[-1]), step_s, duration_s), len(part))
        for part in np.split(times, cuts)
    ]


def _end(last_s: float, step_s: float, duration_s: float) -> float:
    end_s = last_s + step_s
    return max(last_s, min(end_s, duration_s)) if duration_s else end_s


def format_clock(seconds: float) -> str:
    """Format seconds, such as ``3725.4``, as ``01:02:05.400``."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
