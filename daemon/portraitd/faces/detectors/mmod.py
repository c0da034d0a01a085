"""dlib's MMOD face detector in ONNX Runtime or OpenVINO.

D. E. King, "Max-Margin Object Detection" (2015); a sliding window of 80 pixels over a pyramid.
Boxes and scores are those of dlib's own ``cnn_face_detection_model_v1``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from portraitd.faces.detectors import pyramid
from portraitd.faces.detectors.nms import suppress_non_maxima
from portraitd.faces.detectors.pyramid import CELL_PX, FIRST_CELL_PX, Level
from portraitd.faces.models.dlib_dat import WINDOW
from portraitd.faces.quality import MMOD_CONFIDENCE_RAMP, confidence_of
from portraitd.faces.runtime import Session
from portraitd.faces.search_scales import limits_of
from portraitd.model.face import Box, Detection, Image

# Small levels of several frames run together; a single large one fills the caches.
_PIXELS_PER_RUN = 400_000

Window = tuple[float, Box]
"""Score and box."""


class MmodDetector:
    """Finds faces of at least 80 px, or 40 px with one upsampling.

    Args:
        session: The graph that ``onnx_export.build_mmod_graph`` builds.
        upsample: How often pictures are doubled first.
    """

    has_landmarks = False

    def __init__(self, session: Session, upsample: int) -> None:
        self._session = session
        self._upsample = upsample
        self.limits = limits_of("mmod", upsample)

    def detect(self, images: Sequence[Image], min_face_px: float) -> list[list[Detection]]:
        """See ``Detector``. The score is the distance from the decision boundary, above 0."""
        windows: list[list[Window]] = [[] for _ in images]
        if not images:
            return []
        current = [self._upsample_image(image) for image in images]
        height, width = current[0].shape[:2]
        for level in pyramid.list_levels(width, height):
            current = [pyramid.shrink_to_level(image, level) for image in current]
            if WINDOW.size_px * pyramid.FACTOR**level.depth / 2**self._upsample < min_face_px:
                continue
            for index, scores in enumerate(self._run(current, level)):
                windows[index] += _list_windows(scores, level)
        return [
            [self._to_detection(*window) for window in select_best_windows(found)]
            for found in windows
        ]

    def _upsample_image(self, image: Image) -> Image:
        for _ in range(self._upsample):
            image = pyramid.double_image(image)
        return image

    def _run(self, pictures: list[Image], level: Level) -> Iterator[NDArray[np.float32]]:
        """Yield the scores of each picture, shape ``(rows, columns)``."""
        width, height = level.padded_size
        columns, rows = level.cells
        per_run = max(1, _PIXELS_PER_RUN // (width * height))
        for start in range(0, len(pictures), per_run):
            batch = pictures[start : start + per_run]
            # A view if there is only one, as for the large levels.
            padded = [pyramid.pad_level(picture, level)[None] for picture in batch]
            together = padded[0] if len(padded) == 1 else np.concatenate(padded)
            yield from self._session.run(together)[:, 0, :rows, :columns]

    def _to_detection(self, score: float, box: Box) -> Detection:
        """Convert a window of the doubled picture to pixels of the given picture."""
        left, top, right, bottom = (
            float(box.left),
            float(box.top),
            box.right - 1.0,
            box.bottom - 1.0,
        )
        for _ in range(self._upsample):
            left, top = pyramid.halve_point(left, top)
            right, bottom = pyramid.halve_point(right, bottom)
        return Detection(
            _to_box(left, top, right, bottom),
            score,
            None,
            confidence_of(score, MMOD_CONFIDENCE_RAMP),
        )


def select_best_windows(windows: Sequence[Window]) -> list[Window]:
    """Return the best window of each face, best first."""
    scores, boxes = [score for score, _ in windows], [box for _, box in windows]
    return [windows[at] for at in suppress_non_maxima(scores, boxes, WINDOW.max_iou)]


def _list_windows(scores: NDArray[np.float32], level: Level) -> Iterator[Window]:
    """Yield the windows with a score above 0, in pixels of the largest level."""
    half = (WINDOW.size_px - 1) / 2
    for row, column in np.argwhere(scores > 0):
        x = CELL_PX * float(column) + FIRST_CELL_PX - level.left
        y = CELL_PX * float(row) + FIRST_CELL_PX - level.top
        corners = (x - half, y - half, x + half, y + half)
        yield (
            float(scores[row, column]),
            _to_box(*(pyramid.enlarge_coordinate(at, level.depth) for at in corners)),
        )


def _to_box(left: float, top: float, right: float, bottom: float) -> Box:
    """Convert dlib's corners, both of which are inside the box; round as dlib does."""
    return Box(_round(left), _round(top), _round(right) + 1, _round(bottom) + 1)


def _round(value: float) -> int:
    return math.floor(value + 0.5)
