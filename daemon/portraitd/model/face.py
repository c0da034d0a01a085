"""Faces: boxes, detections, portraits, and the faces of one slice of a video.

A *face* is a box in one frame. Boxes are in pixels of the full-size upright frame throughout.
numpy is imported where arrays are computed: commands that only look do not load it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Image: TypeAlias = "NDArray[np.uint8]"
"""Shape ``(height, width, 3)``, BGR, as OpenCV decodes it."""

Embeddings: TypeAlias = "NDArray[np.float32]"
"""Shape ``(n, d)``; ``d`` is the embedding size of the model. Their length is as the model gives
it."""


FrameTimes: TypeAlias = "NDArray[np.float64]"
"""Shape ``(n,)``; the time of each frame of a video, rising, in seconds."""


def stack_embeddings(blobs: Sequence[bytes]) -> Embeddings:
    """Return stored vectors, little-endian float32, as an array; ``(0, 0)`` for none.

    Raises:
        ValueError: They are not all of the same length.
    """
    import numpy as np

    if not blobs:
        return np.empty((0, 0), np.float32)
    return np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), len(blobs[0]) // 4)


SAME_FACE_IOU = 0.5
"""Faces of different people never overlap by so much in one frame."""

SAME_FRAME_S = 0.001
"""Times of frames are rounded where they are stored; this close, they are of one frame."""


class Box(NamedTuple):
    """A rectangle in pixels, right and bottom exclusive. May reach beyond the frame."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def clipped(self, width_px: int, height_px: int) -> Box:
        """Return the part inside a frame of this size."""
        return Box(
            min(max(self.left, 0), width_px),
            min(max(self.top, 0), height_px),
            min(max(self.right, 0), width_px),
            min(max(self.bottom, 0), height_px),
        )

    def shifted(self, right_px: int, down_px: int) -> Box:
        """Return the same rectangle elsewhere."""
        return Box(
            self.left + right_px, self.top + down_px, self.right + right_px, self.bottom + down_px
        )

    def placed_in(self, area: Box, scale: float) -> Box:
        """Return where it is in a picture of an area, which is scaled."""
        shifted = self.shifted(-area.left, -area.top)
        return Box(*(round(side * scale) for side in shifted))

    def iou(self, other: Box) -> float:
        """Return the intersection over union with another box, 0 to 1; see also ``box_iou``."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.width * self.height + other.width * other.height - shared)


def box_iou(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of arrays of boxes, with broadcasting.

    Args:
        left: Shape ``(..., 4)``; left, top, right, bottom.
        right: As ``left``.

    Returns:
        Shape ``(...)``.
    """
    import numpy as np

    corners = np.minimum(left[..., 2:], right[..., 2:])
    sides = np.clip(corners - np.maximum(left[..., :2], right[..., :2]), 0, None)
    shared = sides.prod(axis=-1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (left, right)]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9))


Landmarks = tuple[tuple[float, float], ...]
"""Five points ``(x, y)`` in frame pixels. Which five depends on the detector."""


def are_dlib_points(landmarks: Landmarks) -> bool:
    """Return whether five landmarks are dlib's: the corners of the eyes, and the nose base.

    Four of those are on one line. Other detectors return eye centres, nose and mouth corners.
    """
    ax, ay = landmarks[0]
    bx, by = landmarks[2]
    length = math.hypot(bx - ax, by - ay)
    if length == 0:
        return False

    def off_line(point: tuple[float, float]) -> float:
        return abs((bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)) / length

    return max(off_line(landmarks[1]), off_line(landmarks[3])) < 0.4 * off_line(landmarks[4])


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found in a frame, before it is embedded.

    Attributes:
        box: In pixels of the image given to the detector.
        score: The detector's own score; comparable within one detector only.
        landmarks: Five points, or None if the detector has none.
        confidence: 0 to 1, how useful the score says the face is for recognition; comparable
            between detectors.
    """

    box: Box
    score: float
    landmarks: Landmarks | None = None
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Quality:
    """How recognisable a face is.

    Attributes:
        size_px: Shorter side of the box in source pixels.
        sharpness: Variance of the Laplacian of the grey aligned chip of 150 px; 0 if the eyes or
            the mouth are covered.
        frontal: 1.0 for a face that looks at the camera, towards 0 for a profile.
        confidence: As in ``Detection``.
    """

    size_px: float
    sharpness: float
    frontal: float
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture of a face and its surroundings, cropped from the full-size frame.

    Attributes:
        area: The part of the frame that it shows, clipped to the frame.
        jpeg: The encoded picture; it may have another size than ``area``.
    """

    area: Box
    jpeg: bytes


class FoundFace(NamedTuple):
    """A face that was found before: where, in pixels of the full-size frame."""

    box: Box
    landmarks: Landmarks | None


class StoredPortrait(NamedTuple):
    """A face with its portrait, as the store has them.

    Attributes:
        face: In pixels of the full-size frame.
        area: The part of the frame that the portrait shows.
        jpeg: The portrait.
    """

    face: FoundFace
    area: Box
    jpeg: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face in one frame with its embedding.

    Attributes:
        box: In pixels of the full-size frame.
        score: As in ``Detection``.
        landmarks: Five points in pixels of the full-size frame.
        embedding: Shape ``(d,)``, float32.
        quality: What grouping and the choice of portraits use.
    """

    box: Box
    score: float
    landmarks: Landmarks | None
    embedding: NDArray[np.float32]
    quality: Quality


@dataclass(frozen=True, slots=True)
class Frame:
    """One sampled picture of a video, upright, full size; ``t_s`` from its own timestamp."""

    t_s: float
    image: Image


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFace:
    """A face with its time and portrait, as a worker returns it."""

    t_s: float
    face: Face
    portrait: Portrait


@dataclass(frozen=True, slots=True)
class SliceFaces:
    """The faces of one slice.

    Attributes:
        detections: Every face, in order of time.
        sampled: Number of frames that were searched for faces.
        decoded: Number of frames read from the file.
        ended_s: Timestamp of the last frame read; None if there was none, or if it is a photo
            whose end is missing.
        seconds: Time the worker took.
        kept: Time and JPEG of each frame with a face, if such frames are kept.
    """

    detections: Sequence[DetectedFace]
    sampled: int
    decoded: int
    ended_s: float | None
    seconds: float
    kept: Sequence[tuple[float, bytes]] = ()
