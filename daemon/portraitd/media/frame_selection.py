"""Which frames of a video are sampled, and which packets must be decoded to see them.

Numbers in, numbers out: nothing here reads a file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TIE_S = 0.0001
"""Two frames whose distances differ by less are equally near: time stamps are rounded."""

ATTEMPTS = 3
"""How often frames that did not come out are decoded again, each time from farther back."""


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """The packets of one video stream in the order of decoding.

    Attributes:
        pts: Shape ``(n,)``, int64; when each is presented, in the stream's time base.
        is_key: Shape ``(n,)``; whether decoding can begin with it.
        is_shown: Shape ``(n,)``; False where an edit list leaves the frame out.
        is_reliable: Whether every packet has a time of its own, in an order that can be true.
    """

    pts: NDArray[np.int64]
    is_key: NDArray[np.bool_]
    is_shown: NDArray[np.bool_]
    is_reliable: bool


def select_frames(
    times_s: Sequence[float] | NDArray[np.float64], frame_s: float, fps: float, *, from_start: bool
) -> NDArray[np.int64]:
    """Return the indexes of the frames that a sampling rate picks.

    Of each multiple of ``1 / fps`` the frame nearest to it is picked: frame ``i`` if a multiple
    lies in ``(t[i-1] + h, t[i] + h]``, where ``h`` is half a frame, and the very first; of two
    that are equally near, the later. That depends on the two time stamps alone, so it does not
    matter where a video is cut into slices.

    Args:
        times_s: Shape ``(n,)``; rising.
        frame_s: How long a frame is presented at the declared rate.
        fps: Frames to pick a second.
        from_start: Whether the first time is that of the video's first frame. If not, it is only
            the predecessor of the second.
    """
    times = np.asarray(times_s, np.float64)
    marks = np.floor((times + (frame_s / 2 - TIE_S)) * fps)
    previous = np.concatenate([[-1.0 if from_start else math.inf], marks[:-1]])
    # A time that jumps back must not pick a second frame for the same multiple.
    return np.flatnonzero(marks > np.maximum.accumulate(previous) if from_start else _later(marks))


def _later(marks: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which marks are above all that precede them; never the first."""
    picked = np.zeros(len(marks), np.bool_)
    picked[1:] = marks[1:] > np.maximum.accumulate(marks)[:-1]
    return picked


def plan_packets(packets: Packets, wanted: Collection[int], attempt: int = 0) -> NDArray[np.bool_]:
    """Return which packets must be decoded to see the wanted frames.

    A group of pictures begins with a key frame. Of a group with a wanted frame everything up to
    the last such frame is decoded, in the order of decoding. A picture that is presented before
    its key frame (an open group) refers to the group before as well.

    Args:
        packets: In the order of decoding.
        wanted: Presentation times of the frames.
        attempt: 0 for the least that should do; 1 decodes whole groups from one group farther
            back, for streams whose key frames are only points of gradual refresh; 2 decodes
            everything from the beginning.

    Returns:
        Shape ``(n,)``.
    """
    needed = np.zeros(len(packets.pts), np.bool_)
    starts = np.flatnonzero(packets.is_key)
    hits = np.flatnonzero(np.isin(packets.pts, np.fromiter(wanted, np.int64, len(wanted))))
    if not len(starts) or not len(hits):
        return needed
    if attempt >= ATTEMPTS - 1:
        needed[starts[0] :] = True
        return needed
    stops = np.append(starts[1:], len(packets.pts))
    group_of = np.searchsorted(starts, hits, side="right") - 1
    for group in np.unique(group_of[group_of >= 0]):
        inside = hits[group_of == group]
        is_open = bool((packets.pts[inside] < packets.pts[starts[group]]).any())
        first = max(0, group - int(is_open) - attempt)
        needed[starts[first] : inside[-1] + 1 if attempt == 0 else stops[group]] = True
        if first < group:
            needed[starts[first] : starts[group]] = True
    return needed
