"""Boxes that another program says are around faces, as values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from portraitd.model.reasons import ReasonCode

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

FACE_ATTRIBUTE = "face"
"""Which face a box was exported for: the stem of its file names."""

EXPORT_ATTRIBUTE = "export"
"""The highest number of a face that its recording had when the file was exported."""

MAX_BOXES = 5_000_000


class TrackMark(NamedTuple):
    """The box of a track in one frame.

    Attributes:
        frame: Number of the frame in the video, from 0.
        is_outside: Whether the track is not visible from here on.
        is_keyframe: Whether a person or portraitd put it there; otherwise it is interpolated.
        key, export: See ``FACE_ATTRIBUTE`` and ``EXPORT_ATTRIBUTE``; empty if it has none.
    """

    frame: int
    corners: Corners
    is_outside: bool
    is_keyframe: bool
    key: str = ""
    export: str = ""


class ImportedBox(NamedTuple):
    """A box in one frame.

    Attributes:
        label: Empty if it has none.
        key, export: As in ``TrackMark``.
        is_drawn: Whether it stands in the file; otherwise it is interpolated.
        place: Where it is in the file, in words.
    """

    label: str
    corners: Corners
    key: str
    export: str
    is_drawn: bool
    place: str


@dataclass(frozen=True, slots=True)
class ImportedTrack:
    """A track of a video.

    Attributes:
        marks: Rising by frame; not empty.
    """

    label: str
    marks: Sequence[TrackMark]
    place: str

    def box_at(self, frame: int) -> ImportedBox | None:
        """Return the box in a frame, as CVAT shows it; None where the track is not visible.

        Between two keyframes, CVAT interpolates each corner linearly, also towards one at which the
        track ends. After the last one the box stays where it is.
        """
        at = bisect_right(self.marks, frame, key=lambda mark: mark.frame) - 1
        if at < 0 or self.marks[at].is_outside:
            return None
        mark = self.marks[at]
        corners = mark.corners
        if mark.frame < frame and at + 1 < len(self.marks):
            following = self.marks[at + 1]
            share = (frame - mark.frame) / (following.frame - mark.frame)
            pairs = zip(mark.corners, following.corners, strict=True)
            left, top, right, bottom = (one + (other - one) * share for one, other in pairs)
            corners = left, top, right, bottom
        is_drawn = mark.frame == frame and mark.is_keyframe
        place = f"{self.place}, frame {frame}"
        return ImportedBox(self.label, corners, mark.key, mark.export, is_drawn, place)


class ImportedImage(NamedTuple):
    """An image with all boxes in it.

    Attributes:
        number: Of the frame, if the image is named after one.
        size_px: Width and height; None if the file does not say.
    """

    name: str
    number: int | None
    size_px: tuple[int, int] | None
    boxes: Sequence[ImportedBox]


class Coverage(NamedTuple):
    """The frames of a video that a file is about."""

    first: int
    last: int
    step: int

    def has(self, frame: int) -> bool:
        """Return whether a frame is among them."""
        return self.first <= frame <= self.last and (frame - self.first) % self.step == 0


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """What a file says.

    Attributes:
        source: Name of the video or task; empty if the file does not say.
        size_px: Of the video.
        coverage: The frames that the tracks are about; None for images.
        left_out: Shapes that are no upright boxes, with the reason.
    """

    source: str
    size_px: tuple[int, int] | None
    coverage: Coverage | None
    tracks: Sequence[ImportedTrack]
    images: Sequence[ImportedImage]
    left_out: Sequence[tuple[ReasonCode, str]]
