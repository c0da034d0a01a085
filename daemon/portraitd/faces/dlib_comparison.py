"""Compare the networks in the runtime in use with dlib itself, on a drawn picture.

No photograph is needed: a few ellipses are a face for MMOD (score above 1), and any chip can be
embedded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from portraitd.faces.dlib_reference import CnnDetector, DlibEmbedder
from portraitd.faces.interface import DLIB_CHIP_PX, AlignedChips, Detector, Embedder
from portraitd.faces.models.weights import MMOD, RESNET, find_weights
from portraitd.media.opencv import cv2
from portraitd.model.errors import ModelError
from portraitd.model.face import Image

EMBEDDING_LIMIT = 1e-5
"""Largest allowed difference of a float32 embedding from dlib's, in any of 128 numbers."""

SCORE_LIMIT = 0.01
"""Largest allowed difference of a float32 MMOD score from dlib's, which resizes differently."""


@dataclass(frozen=True, slots=True)
class DlibComparison:
    """How much the runtime in use differs from dlib on the drawn face.

    Attributes:
        embedding: Largest difference in any number of any embedding; None for another model.
        score: Difference of the scores; None for a detector other than MMOD.
    """

    embedding: float | None
    score: float | None


def measure_embedding_difference(embedder: Embedder) -> float:
    """Return the largest difference from dlib in any number of the embeddings of two chips."""
    return _measure_on(embedder, make_chips(DLIB_CHIP_PX))


def _measure_on(embedder: Embedder, chips: AlignedChips) -> float:
    reference = DlibEmbedder.load(find_weights(RESNET))
    return float(np.abs(embedder.embed(chips) - reference.embed(chips)).max())


def measure_score_difference(detector: Detector) -> float:
    """Return the difference from dlib in the score of the drawn face.

    Args:
        detector: MMOD without upsampling.

    Returns:
        The difference, or infinity unless both find one face at the same place.
    """
    face = draw_face()
    [[expected]] = CnnDetector.load(find_weights(MMOD), upsample=0).detect([face], 0.0)
    [found] = detector.detect([face], 0.0)
    if len(found) != 1 or found[0].box.iou(expected.box) < 0.5:
        return float("inf")
    return abs(found[0].score - expected.score)


def require_embedder(embedder: Embedder) -> None:
    """Check that an embedder gives dlib's embedding of the chip with every grey and colour.

    One chip, because dlib itself is slow and this delays the first start.

    Raises:
        ModelError: If it differs by more than ``EMBEDDING_LIMIT``.
    """
    _require("embedding", _measure_on(embedder, make_chips(DLIB_CHIP_PX)[1:]), EMBEDDING_LIMIT)


def require_detector(detector: Detector) -> None:
    """Check that an MMOD detector gives dlib's score.

    Raises:
        ModelError: If its score differs by more than ``SCORE_LIMIT``.
    """
    _require("detector", measure_score_difference(detector), SCORE_LIMIT)


def draw_face(size_px: int = 200) -> Image:
    """Return a frontal face, BGR, ``(size_px, size_px, 3)``, the same on every machine."""
    picture = np.full((size_px, size_px, 3), (120, 130, 125), np.uint8)
    for x, y, width, height, colour in _ELLIPSES:
        centre = (round(x * size_px), round(y * size_px))
        axes = (round(width * size_px), round(height * size_px))
        cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), size_px / 70), np.uint8)


# Centre, half axes (as parts of the side) and colour (BGR), from the back to the front.
_ELLIPSES = (
    (0.500, 0.950, 0.420, 0.220, (70, 60, 60)),  # shoulders
    (0.500, 0.420, 0.270, 0.340, (40, 45, 60)),  # hair
    (0.500, 0.750, 0.100, 0.140, (110, 140, 185)),  # neck
    (0.500, 0.480, 0.200, 0.270, (135, 165, 215)),  # face
    (0.415, 0.385, 0.055, 0.012, (50, 60, 80)),  # brows
    (0.585, 0.385, 0.055, 0.012, (50, 60, 80)),
    (0.415, 0.435, 0.038, 0.018, (225, 230, 235)),  # eyes
    (0.585, 0.435, 0.038, 0.018, (225, 230, 235)),
    (0.415, 0.435, 0.017, 0.018, (40, 45, 60)),
    (0.585, 0.435, 0.017, 0.018, (40, 45, 60)),
    (0.500, 0.565, 0.040, 0.016, (105, 130, 180)),  # nose
    (0.500, 0.645, 0.075, 0.022, (95, 95, 175)),  # mouth
)


def make_chips(side_px: int) -> AlignedChips:
    """Return the drawn face, and a chip in which every grey and every colour comes up."""
    face = cv2.resize(draw_face(), (side_px, side_px))[:, :, ::-1]
    steps = np.arange(side_px, dtype=np.int64)
    pattern = (steps[:, None, None] * 7 + steps[None, :, None] * 13) * np.array([1, 3, 5]) % 256
    return np.stack([face, pattern.astype(np.uint8)])


def _require(what: str, difference: float, limit: float) -> None:
    if not difference <= limit:
        raise ModelError(
            f"the {what} built from dlib's weights differs from dlib's own by {difference:.2g}; "
            'write encoder.kind = "dlib" and report it'
        )
