"""Faces: boxes, detections, portraits, and what one slice of a video gives.

A *face* is a box in one frame. Boxes are in pixels of the full-size upright frame throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EMBEDDING_SIZE = 128

Image = NDArray[np.uint8]
"""Shape ``(height, width, 3)``, BGR, as OpenCV decodes it."""

Embeddings = NDArray[np.float32]
"""Shape ``(n, 128)``. Not normalised: dlib's vectors have a length of about 1.4."""


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
        """The part inside a frame of this size."""
        return Box(
            min(max(self.left, 0), width_px),
            min(max(self.top, 0), height_px),
            min(max(self.right, 0), width_px),
            min(max(self.bottom, 0), height_px),
        )

    def overlap(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.width * self.height + other.width * other.height - shared)


Landmarks = tuple[tuple[float, float], ...]
"""Five points ``(x, y)`` in frame pixels. Which five depends on the detector."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found in a frame, before it is embedded.

    Attributes:
        box: In pixels of the image given to the detector.
        score: The detector's own confidence; comparable within one detector only.
        landmarks: Five points, or None where the detector gives none.
        confidence: 0 to 1, what the score says of a face's worth for telling people apart;
            comparable between detectors.
    """

    box: Box
    score: float
    landmarks: Landmarks | None = None
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Quality:
    """How much a face says about whose it is.

    Attributes:
        size_px: Shorter side of the box in source pixels.
        sharpness: Variance of the Laplacian of the grey 150 px chip.
        frontal: 1.0 for a face that looks at the camera, towards 0 for a profile.
        confidence: As in ``Detection``.
    """

    size_px: float
    sharpness: float
    frontal: float
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture cut around a face from the full-size frame.

    Attributes:
        area: The part of the frame it shows, clipped to the frame.
        jpeg: The encoded picture; its scale against ``area`` is free.
    """

    area: Box
    jpeg: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face in one frame with its embedding.

    Attributes:
        box: In pixels of the full-size frame.
        score: The detector's confidence.
        landmarks: Five points in pixels of the full-size frame.
        embedding: Shape ``(128,)``, float32.
        quality: What a grouping may weigh.
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
    """A face, when it was seen, and its portrait: what a worker hands back."""

    t_s: float
    face: Face
    portrait: Portrait


@dataclass(frozen=True, slots=True)
class SliceFaces:
    """What one slice gave.

    Attributes:
        detections: Every face, in the order of time.
        sampled: Frames looked at.
        decoded: Frames read from the file, looked at or not.
        ended_s: Timestamp of the last frame read; None if there was none.
        seconds: Time the worker spent.
        kept: Time and JPEG of each frame with a face, if they are to be kept.
    """

    detections: Sequence[DetectedFace]
    sampled: int
    decoded: int
    ended_s: float | None
    seconds: float
    kept: Sequence[tuple[float, bytes]] = ()
