"""The YuNet face detector: far cheaper than MMOD, with five landmarks, added by the user.

W. Wu et al., "YuNet: A Tiny Millisecond-level Face Detector" (2023). The same boxes as
``cv2.FaceDetectorYN`` gives, in less than half of its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.faces.quality import confidence_of
from portraitd.faces.runtime import Session
from portraitd.model.face import Box, Detection, Image, Landmarks

SCORE = 0.6
"""Faces below are not reported."""

OVERLAP = 0.3
"""Boxes that share more are one face."""

_STRIDES = (8, 16, 32)

# Width and height of what goes in must be multiples of the largest stride.
_BLOCK_PX = _STRIDES[-1]

# A frame alone fills the caches already; several small ones go together.
_PIXELS_PER_RUN = 250_000


@dataclass(frozen=True, slots=True)
class _Candidate:
    score: float
    box: Box
    centre: tuple[float, float]
    height: float
    landmarks: Landmarks


class YunetDetector:
    """Finds faces from about 10 px on.

    Args:
        session: The graph that ``networks.yunet_graph`` builds.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def detect(self, images: Sequence[Image], min_face_px: float) -> list[list[Detection]]:
        """See ``Detector``.

        The score goes from 0 to 1. The landmarks are the centres of both eyes, the tip of
        the nose and both corners of the mouth; of a pair first the one on the left of the
        picture, unless the face is upside down.
        """
        found: list[list[Detection]] = []
        for padded in _batches(images):
            for cells in self._session.run(padded):
                best = _suppressed(_candidates(cells, *padded.shape[1:3]))
                found.append([_detection(candidate) for candidate in best])
        return found


def _batches(images: Sequence[Image]) -> Iterator[NDArray[np.uint8]]:
    """The pictures with black margins right and below, a few together."""
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


def _candidates(cells: NDArray[np.float32], height: int, width: int) -> list[_Candidate]:
    """What the network sees in its cells, as OpenCV's ``face_detect.cpp`` reads it.

    Args:
        cells: Shape ``(n, 16)``: face, object, box (4), landmarks (10); the cells of all
            strides, row by row.
        height, width: Of the padded picture, in pixels.
    """
    scores = np.sqrt(np.clip(cells[:, 0], 0, 1) * np.clip(cells[:, 1], 0, 1))
    grid = np.concatenate([_grid(height, width, stride) for stride in _STRIDES])
    chosen = np.flatnonzero(scores >= SCORE)
    found = []
    for score, cell, (column, row, stride) in zip(
        scores[chosen].tolist(), cells[chosen], grid[chosen].tolist(), strict=True
    ):
        x, y = (float(cell[2]) + column) * stride, (float(cell[3]) + row) * stride
        across, down = np.exp(cell[4:6].astype(np.float64)) * stride
        points = (cell[6:].reshape(5, 2).astype(np.float64) + np.array([column, row])) * stride
        found.append(
            _Candidate(
                score,
                _box(x, y, float(across), float(down)),
                (x, y),
                float(down),
                tuple((float(px), float(py)) for px, py in points),
            )
        )
    return found


def _grid(height: int, width: int, stride: int) -> NDArray[np.int64]:
    """Column, row and stride of each cell, shape ``(cells, 3)``."""
    rows, columns = np.mgrid[: height // stride, : width // stride]
    return np.stack([columns, rows, np.full_like(rows, stride)], axis=-1).reshape(-1, 3)


def _suppressed(candidates: list[_Candidate]) -> list[_Candidate]:
    """Of candidates for one face the one with the highest score, best first."""
    kept: list[_Candidate] = []
    for candidate in sorted(candidates, key=lambda one: -one.score):
        if all(candidate.box.overlap(better.box) <= OVERLAP for better in kept):
            kept.append(candidate)
    return kept


def _detection(candidate: _Candidate) -> Detection:
    """With the square that dlib's detector would have given.

    YuNet's boxes are higher than wide and reach over the forehead; dlib's points and chips
    want the square. The factors are fitted to the boxes of both on labelled clips.
    """
    (x, y), height = candidate.centre, candidate.height
    side = 0.821 * height
    square = _box(x - 0.034 * height, y - 0.006 * height, side, side)
    score = candidate.score
    return Detection(square, score, candidate.landmarks, confidence_of(score))


def _box(x: float, y: float, width: float, height: float) -> Box:
    return Box(
        round(x - width / 2), round(y - height / 2), round(x + width / 2), round(y + height / 2)
    )
