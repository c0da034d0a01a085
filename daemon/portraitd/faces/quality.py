"""How much a face says about whose it is: size, sharpness, and whether it looks here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Landmarks, Quality

Point = NDArray[np.float64]


CONFIDENCE_RAMP = (0.7, 0.9)
"""Scores of MMOD and of YuNet from which a face counts for something, and for everything.

Below lie halves of faces at an edge, heads seen from behind and hands. On labelled clips, tracks
of people score 0.87 to 1.1 at their best; any lower end from 0.7 to 0.8 groups them alike.
"""


def measure(box: Box, chip: NDArray[np.uint8], frontal: float, confidence: float = 1.0) -> Quality:
    """The quality of one face.

    Args:
        box: In source pixels.
        chip: Shape ``(150, 150, 3)``, RGB.
        frontal: As ``frontal_of_corners`` or ``frontal_of_centres`` gives it.
        confidence: As in ``Detection``.
    """
    return Quality(
        size_px=float(min(box.width, box.height)),
        sharpness=sharpness(chip),
        frontal=frontal,
        confidence=confidence,
    )


def confidence(score: float) -> float:
    """What a score of MMOD or YuNet is worth, 0 to 1."""
    return float(np.interp(score, CONFIDENCE_RAMP, (0.0, 1.0)))


def sharpness(chip: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the grey chip.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000). All chips
    have one size, so a small face that had to be enlarged counts as blurred, rightly.
    """
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def frontal_of_corners(points: Landmarks) -> float:
    """``frontal`` of dlib's five points: two corners of each eye, and the nose."""
    right_outer, right_inner, left_outer, left_inner, nose = np.asarray(points, np.float64)
    return _frontal((left_outer + left_inner) / 2, (right_outer + right_inner) / 2, nose)


def frontal_of_centres(points: Landmarks) -> float:
    """``frontal`` of YuNet's five points: two eyes, nose, two corners of the mouth."""
    left, right, nose = np.asarray(points, np.float64)[:3]
    return _frontal(left, right, nose)


def _frontal(left_eye: Point, right_eye: Point, nose: Point) -> float:
    """1.0 where the nose stands over the middle between the eyes, 0.0 over or beyond one.

    The nose is projected on the line through the eyes, so a tilted head loses nothing.
    """
    line = right_eye - left_eye
    length = float(line @ line)
    if length == 0.0:
        return 0.0
    along = float((nose - left_eye) @ line) / length
    return max(0.0, 1.0 - abs(2.0 * along - 1.0))
