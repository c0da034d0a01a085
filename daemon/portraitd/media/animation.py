"""Read animated WebP, which FFmpeg cannot, as a short video."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image as Pillow
from PIL import ImageSequence

from portraitd.media.decoder import ANIMATION_FPS, Timeline
from portraitd.media.photo import PhotoFormat
from portraitd.media.picture_errors import DAMAGED
from portraitd.model.errors import UnreadableVideo
from portraitd.model.reasons import Reason, ReasonCode

DEFAULT_S = 0.1
"""How long a frame is shown that declares no duration, as browsers do."""


class Animation:
    """The frames of an animated picture.

    Args:
        picture: Opened by Pillow.
        on_work: Called for each picture that is read.
    """

    codec = "webp"
    pixel_aspect = 1.0
    declares_its_duration = True
    may_be_cover = False
    least_fps = ANIMATION_FPS

    def __init__(self, picture: Pillow.Image, on_work: Callable[[], None] | None = None) -> None:
        self._picture = picture
        times, now_s = [], 0.0
        for frame in ImageSequence.Iterator(picture):
            # Pillow tells the duration of a WebP frame once it is decoded.
            frame.load()
            if on_work is not None:
                on_work()
            times.append(now_s)
            now_s += float(frame.info.get("duration", 0) or DEFAULT_S * 1000) / 1000
        self._times_s = np.array(times, np.float64)
        self._duration_s = now_s

    @property
    def fps(self) -> float:
        """The mean rate."""
        return len(self._times_s) / self._duration_s if self._duration_s else 0.0

    @property
    def declared_s(self) -> float:
        """The sum of the durations of all frames."""
        return self._duration_s

    @property
    def frame_s(self) -> float:
        """The mean duration of a frame."""
        return 1 / self.fps if self.fps else DEFAULT_S

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return self._picture.size

    def timeline(self, start_s: float = 0.0, stop_s: float = math.inf) -> Timeline:
        """Return the times of all frames."""
        count = len(self._times_s)
        return Timeline(
            self._times_s, np.ones(count, np.bool_), True, True, np.arange(count), None, None
        )

    def frames(
        self, timeline: Timeline, wanted: Collection[int]
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the wanted frames with their indexes."""
        for index in sorted(wanted):
            self._picture.seek(index)
            yield index, VideoFrame.from_ndarray(np.asarray(self._picture.convert("RGB")), "rgb24")


@contextmanager
def open_animation(data: bytes, on_work: Callable[[], None] | None = None) -> Iterator[Animation]:
    """Open an animated picture; ``on_work`` is that of ``Animation``.

    Raises:
        UnreadableVideo: It is damaged.
    """
    try:
        with Pillow.open(io.BytesIO(data)) as picture:
            yield Animation(picture, on_work)
    except DAMAGED as error:
        raise UnreadableVideo(
            Reason.of(ReasonCode.PHOTO_NOT_DECODED, format=PhotoFormat.WEBP)
        ) from error
