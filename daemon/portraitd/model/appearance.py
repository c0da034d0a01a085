"""Appearances: where in which video a person is to be seen, as an editor wants to know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

GAP_S = 3.0
"""Somebody who looks away this long and is seen again did not leave."""

GAP_STEPS = 2.5
"""Where frames are looked at more seldom, one that shows no face is no gap yet."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A video or photo, as people know it.

    Attributes:
        name: Its path as text.
        is_photo: A photo has no time.
        duration_s: 0 where the container cannot be believed.
        step_s: How far apart the frames are that were looked at.
        added_at: When it came.
    """

    id: int
    name: str
    is_photo: bool
    duration_s: float
    step_s: float
    added_at: float


class Appearance(NamedTuple):
    """A stretch of a video in which a person is seen, from the first face until after the last."""

    start_s: float
    stop_s: float
    faces: int


def join_appearances(
    times_s: Sequence[float] | NDArray[np.float64], step_s: float, duration_s: float = 0.0
) -> list[Appearance]:
    """Join the faces of one person in one video to stretches.

    A face stands for the time until the next frame that was looked at. Faces no farther apart
    than ``GAP_S``, or two and a half such steps, are one stretch.

    Args:
        times_s: When the person was seen, rising.
        step_s: How far apart the frames are that were looked at.
        duration_s: No stretch ends later; 0 if unknown.
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
    """``3725.4`` as ``01:02:05.400``."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
