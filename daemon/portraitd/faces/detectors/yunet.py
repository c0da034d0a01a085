"""The YuNet face detector: much faster than MMOD, with five landmarks; an optional model.

W. Wu et al., "YuNet: A Tiny Millisecond-level Face Detector" (2023). Returns the same boxes as
``cv2.FaceDetectorYN`` in less than half of its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from portraitd.faces.detectors.nms import suppress_non_maxima
from portraitd.faces.quality import YUNET_CONFIDENCE_RAMP, confidence_of
from portraitd.faces.runtime import Session
from portraitd.faces.search_scales import limits_of
from portraitd.model.face import Box, Detection, Image, Landmarks

MIN_SCORE = 0.6
"""Faces below this score are not reported."""

MAX_IOU = 0.3
"""Boxes with a larger intersection over union are one face."""

_STRIDES = (8, 16, 32)

# Width and height of the input must be multiples of the largest stride.
_BLOCK_PX = _STRIDES[-1]

# One large frame fills the caches; several small ones run together.
_PIXELS_PER_RUN = 250_000


@dataclass(frozen=True, slots=True)
class _Candidate:
    score: float
    box: Box
    centre: tuple[float, float]
    height: float
    landmarks: Landmarks


class YunetDetector:
    """Finds faces of at least about 10 px.

    Args:
        session: The graph that ``onnx_export.build_yunet_graph`` builds.
    """

    has_landmarks = True

    def __init__(self, session: Session) -> None:
        self._session = session
        self.limits = limits_of("yunet", 0)

    def detect(self, images: Sequence[Image], min_face_px: float) -> list[list[Detection]]:
        """See ``Detector``.

        The score is 0 to 1. The landmarks are the centres of both eyes, the tip of the nose
        and both corners of the mouth; of each pair, the one on the left of the picture comes
        first, unless the face is upside down.
        """
        found: list[list[Detection]] = []
        for padded in _make_batches(images):
            for cells in self._session.run(padded):
                candidates = _decode(cells, *padded.shape[1:3])
                scores, boxes = [one.score for one in candidates], [one.box for one in candidates]
                kept = suppress_non_maxima(scores, boxes, MAX_IOU)
                found.append([_to_detection(candidates[at]) for at in kept])
        return found


def _make_batches(images: Sequence[Image]) -> Iterator[NDArray[np.uint8]]:
    """Yield batches of pictures, padded with black on the right and below."""
    if not images:
        return
    height, width = images[0].shape[:2]
    shape = (height + -height % _BLOCK_PX, width + -width % _BLOCK_PX, 3)
    per_run = max(1, _PIXELS_PER_RUN // (shape[0] * shape[1]))
    for start in range(0, len(images), per_run):
        batch = images[start : start + per_run]
        padded = np.zeros((len(batch), *shape), np.uint8)
        for target, image in zip(padded, batch, strict=True):
            target[:height, :width] = image
        yield padded


def _decode(cells: NDArray[np.float32], height: int, width: int) -> list[_Candidate]:
    """Decode the cells of the network, as OpenCV's ``face_detect.cpp`` does.

    Args:
        cells: Shape ``(n, 16)``: face, object, box (4), landmarks (10); the cells of all
            strides, row by row.
        height, width: Of the padded picture, in pixels.
    """
    scores = np.sqrt(np.clip(cells[:, 0], 0, 1) * np.clip(cells[:, 1], 0, 1))
    chosen = np.flatnonzero(scores >= MIN_SCORE)
    grid, values = _make_grid(height, width)[chosen], cells[chosen].astype(np.float64)
    places, strides = grid[:, :2], grid[:, 2:]
    centres = (values[:, 2:4] + places) * strides
    sizes = np.exp(values[:, 4:6]) * strides
    points = (values[:, 6:].reshape(-1, 5, 2) + places[:, None]) * strides[:, None]
    return [
        _Candidate(
            score, _to_box(x, y, across, down), (x, y), down, tuple((px, py) for px, py in corners)
        )
        for score, (x, y), (across, down), corners in zip(
            scores[chosen].tolist(), centres.tolist(), sizes.tolist(), points.tolist(), strict=True
        )
    ]


@lru_cache(maxsize=8)
def _make_grid(height: int, width: int) -> NDArray[np.int64]:
    """Return column, row and stride of each cell, shape ``(cells, 3)``."""
    cells = []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([columns, rows, np.full_like(rows, stride)], axis=-1).reshape(-1, 3))
    return np.concatenate(cells)


def _to_detection(candidate: _Candidate) -> Detection:
    """Convert a candidate to a detection with the square box that dlib's detector would give.

    YuNet's boxes are higher than wide and include the forehead; dlib's landmarks and aligned
    chips need the square. The factors are fitted to the boxes of both on labelled clips.
    """
    (x, y), height = candidate.centre, candidate.height
    side = 0.821 * height
    square = _to_box(x - 0.034 * height, y - 0.006 * height, side, side)
    score = candidate.score
    return Detection(
        square, score, candidate.landmarks, confidence_of(score, YUNET_CONFIDENCE_RAMP)
    )


def _to_box(x: float, y: float, width: float, height: float) -> Box:
    return Box(
        round(x - width / 2), round(y - height / 2), round(x + width / 2), round(y + height / 2)
    )
