"""dlib's MMOD face detector in a modern runtime.

D. E. King, "Max-Margin Object Detection" (2015); a sliding window of 80 pixels over a
pyramid. Boxes and scores are those of dlib's own ``cnn_face_detection_model_v1``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from portraitd.faces.detectors import pyramid
from portraitd.faces.detectors.pyramid import CELL_PX, FIRST_CELL_PX, Level
from portraitd.faces.models.dlib_dat import WINDOW
from portraitd.faces.quality import confidence_of
from portraitd.faces.runtime import Session
from portraitd.model.face import Box, Detection, Image

"""What the weights file says of the sliding window, and is checked against."""

# Small levels of several frames run together; a large one alone fills the caches.
_PIXELS_PER_RUN = 400_000


class MmodDetector:
    """Finds faces from 80 px on, 40 px with one upsampling.

    Args:
        session: The graph that ``networks.detector_graph`` builds.
        upsample: How often pictures are doubled first.
    """

    def __init__(self, session: Session, upsample: int) -> None:
        self._session = session
        self._upsample = upsample

    def detect(self, images: Sequence[Image], min_face_px: float) -> list[list[Detection]]:
        """See ``Detector``. The score is the distance from the decision, above 0."""
        windows: list[list[tuple[float, Box]]] = [[] for _ in images]
        if not images:
            return []
        current = [self._doubled(image) for image in images]
        height, width = current[0].shape[:2]
        for level in pyramid.list_levels(width, height):
            current = [pyramid.shrink_to_level(image, level) for image in current]
            if WINDOW.size_px * pyramid.FACTOR**level.depth / 2**self._upsample < min_face_px:
                continue
            for index, scores in enumerate(self._scores(current, level)):
                windows[index] += _windows(scores, level)
        return [[self._detection(*window) for window in suppressed(found)] for found in windows]

    def _doubled(self, image: Image) -> Image:
        for _ in range(self._upsample):
            image = pyramid.double_image(image)
        return image

    def _scores(self, pictures: list[Image], level: Level) -> Iterator[NDArray[np.float32]]:
        """Shape ``(rows, columns)`` for each picture."""
        width, height = level.padded_size
        columns, rows = level.cells
        per_run = max(1, _PIXELS_PER_RUN // (width * height))
        for start in range(0, len(pictures), per_run):
            batch = pictures[start : start + per_run]
            # A view where there is only one: the large levels come alone.
            padded = [pyramid.pad_level(picture, level)[None] for picture in batch]
            together = padded[0] if len(padded) == 1 else np.concatenate(padded)
            yield from self._session.run(together)[:, 0, :rows, :columns]

    def _detection(self, score: float, box: Box) -> Detection:
        """A window of the doubled picture, in pixels of the picture given."""
        left, top, right, bottom = (
            float(box.left),
            float(box.top),
            box.right - 1.0,
            box.bottom - 1.0,
        )
        for _ in range(self._upsample):
            left, top = pyramid.halve_point(left, top)
            right, bottom = pyramid.halve_point(right, bottom)
        return Detection(_box(left, top, right, bottom), score, None, confidence_of(score))


def suppressed(windows: list[tuple[float, Box]]) -> list[tuple[float, Box]]:
    """Of windows that show one face the one with the highest score, best first."""
    kept: list[tuple[float, Box]] = []
    for score, box in sorted(windows, key=lambda window: -window[0]):
        if all(box.overlap(better) <= WINDOW.overlap for _, better in kept):
            kept.append((score, box))
    return kept


def _windows(scores: NDArray[np.float32], level: Level) -> Iterator[tuple[float, Box]]:
    """The windows with a score above 0, in pixels of the largest level."""
    half = (WINDOW.size_px - 1) / 2
    for row, column in np.argwhere(scores > 0):
        x = CELL_PX * float(column) + FIRST_CELL_PX - level.left
        y = CELL_PX * float(row) + FIRST_CELL_PX - level.top
        corners = (x - half, y - half, x + half, y + half)
        yield (
            float(scores[row, column]),
            _box(*(pyramid.enlarge_coordinate(at, level.depth) for at in corners)),
        )


def _box(left: float, top: float, right: float, bottom: float) -> Box:
    """From dlib's corners, which are both inside, rounded as dlib does."""
    return Box(_round(left), _round(top), _round(right) + 1, _round(bottom) + 1)


def _round(value: float) -> int:
    return math.floor(value + 0.5)
