"""Compare two detectors on drawn faces, from clear ones to those that are hardly faces.

No photograph is needed, so this runs on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portraitd.faces.dlib_comparison import draw_face
from portraitd.faces.interface import Detector
from portraitd.media.opencv import cv2
from portraitd.model.face import Detection, Image

SAME_FACE_IOU = 0.5

MIN_RECALL = 0.99

MAX_OTHERS = 0.01
"""For each face of the reference."""

MAX_SCORE_DIFFERENCE = 0.01

CROWDS = 8
"""Pictures that a detector is compared on; takes a second with MMOD."""

# Two by two faces in a picture; MMOD finds those in squares of 165 pixels and more.
_CELL_PX = 250
_MIN_SQUARE_PX = 165
_MIN_CONTRAST = 0.2
_MAX_TILT_DEGREES = 20.0
_MAX_BLUR = 0.025
_NOISE = 6.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far another detector agrees with a reference.

    Attributes:
        faces: How many the reference finds.
        found: How many of them the other finds, too.
        others: How many it finds besides.
        score_difference: The largest, of the faces that both find.
    """

    faces: int
    found: int
    others: int
    score_difference: float

    @property
    def is_close(self) -> bool:
        """Whether either detector may be used for the other."""
        return (
            self.found >= MIN_RECALL * self.faces > 0
            and self.others <= MAX_OTHERS * self.faces
            and self.score_difference <= MAX_SCORE_DIFFERENCE
        )


def compare_detectors(reference: Detector, other: Detector, pictures: Sequence[Image]) -> Agreement:
    """Search pictures, all of one size, with two detectors."""
    faces = found = others = 0
    difference = 0.0
    for expected, mine in zip(
        reference.detect(pictures, 0.0), other.detect(pictures, 0.0), strict=True
    ):
        pairs = _pair(expected, mine)
        faces += len(expected)
        found += len(pairs)
        others += len(mine) - len(pairs)
        difference = max([difference, *(abs(one.score - two.score) for one, two in pairs)])
    return Agreement(faces, found, others, difference)


def draw_crowds(count: int) -> list[Image]:
    """Return pictures with drawn faces of all sizes and qualities, the same on every machine."""
    random = np.random.default_rng(14)
    return [_draw_crowd(random) for _ in range(count)]


def _pair(
    expected: Sequence[Detection], found: Sequence[Detection]
) -> list[tuple[Detection, Detection]]:
    """Return the pairs that are one face; each detection is in one pair at most."""
    left = list(found)
    pairs = []
    for face in expected:
        best = max(left, key=lambda one: one.box.iou(face.box), default=None)
        if best is not None and best.box.iou(face.box) >= SAME_FACE_IOU:
            left.remove(best)
            pairs.append((face, best))
    return pairs


def _draw_crowd(random: np.random.Generator) -> Image:
    side = 2 * _CELL_PX
    colours = random.integers(90, 170, (8, 8, 3)).astype(np.uint8)
    picture = cv2.resize(colours, (side, side), interpolation=cv2.INTER_CUBIC)
    for top in (0, _CELL_PX):
        for left in (0, _CELL_PX):
            square = int(random.integers(_MIN_SQUARE_PX, _CELL_PX))
            contrast = random.uniform(_MIN_CONTRAST, 1.0)
            part = picture[top : top + square, left : left + square]
            part[...] = cv2.addWeighted(_draw_one(random, square), contrast, part, 1 - contrast, 0)
    noisy = picture + random.normal(0, _NOISE, picture.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def _draw_one(random: np.random.Generator, side_px: int) -> Image:
    middle = side_px / 2
    tilt = random.uniform(-_MAX_TILT_DEGREES, _MAX_TILT_DEGREES)
    turn = cv2.getRotationMatrix2D((middle, middle), tilt, 1.0)
    turned = cv2.warpAffine(
        draw_face(side_px), turn, (side_px, side_px), borderMode=cv2.BORDER_REPLICATE
    )
    blur = random.uniform(0.002, _MAX_BLUR) * side_px
    return np.asarray(cv2.GaussianBlur(turned, (0, 0), blur), np.uint8)
