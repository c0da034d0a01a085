"""How recognisable a face is: its size, its sharpness, and whether it looks at the camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Landmarks, Quality

Point = NDArray[np.float64]

MMOD_CONFIDENCE_RAMP = (0.7, 0.9)
"""Scores of MMOD at which the confidence is 0 and 1.

Below are faces cut by the edge of the frame, heads seen from behind, and hands. On labelled
clips, the best score of a person's track is 0.87 to 1.1; any lower end from 0.7 to 0.8 gives the
same groups.
"""

YUNET_CONFIDENCE_RAMP = (0.84, 0.94)
"""The same for YuNet. On labelled photos and clips it gives the same groups as a ramp from 0.7 to
0.9, but half as many groups of different bystanders, and of masked faces."""


MOUTH = (slice(90, 120), slice(47, 102))
EYES = ((slice(35, 54), slice(34, 64)), (slice(35, 54), slice(85, 115)))
INNER_FACE = (slice(27, 123), slice(32, 117))
"""Where they are in a chip of 150 px: rows and columns."""

VISIBILITY_RAMP = (0.15, 0.35)
"""Detail in the mouth and the eyes, in relation to the inner face, at which they count as covered,
and as seen. It is 0.06 in the median with a mask, and 0.0 with sunglasses; below 0.15 are 0.6 % of
labelled photos without either, below 0.35 are 2 %."""


def measure_quality(
    box: Box, chip: NDArray[np.uint8], frontal: float, confidence: float = 1.0
) -> Quality:
    """Return the quality of one face.

    Args:
        box: In source pixels.
        chip: Shape ``(150, 150, 3)``, RGB.
        frontal: From ``frontality_from_corners`` or ``frontality_from_centres``.
        confidence: As in ``Detection``.
    """
    return Quality(
        size_px=float(min(box.width, box.height)),
        sharpness=measure_sharpness(chip) * measure_visibility(chip),
        frontal=frontal,
        confidence=confidence,
    )


def confidence_of(score: float, ramp: tuple[float, float]) -> float:
    """Convert a score of MMOD or YuNet to a confidence, 0 to 1.

    Args:
        score: The detector's.
        ramp: The scores at which the confidence is 0 and 1.
    """
    return float(np.interp(score, ramp, (0.0, 1.0)))


def measure_sharpness(chip: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of the grey chip.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000). All chips have
    the same size, so a small face that had to be enlarged counts as blurred, as it should.
    """
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def measure_visibility(chip: NDArray[np.uint8]) -> float:
    """Return whether the eyes and the mouth are to be seen: 0 if one is covered, 1 for both.

    A mask and sunglasses have little detail where a mouth and eyes have much. The embeddings of
    covered faces are close to each other even for different people, and for those of dlib no other
    measure shows it.

    Args:
        chip: Shape ``(150, 150, 3)``, RGB.
    """
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    detail = np.hypot(across, down)
    eyes = np.mean([np.median(detail[eye]) for eye in EYES])
    least = min(float(np.median(detail[MOUTH])), float(eyes))
    usual = float(detail[INNER_FACE].mean())
    return float(np.interp(least / max(usual, 1e-6), VISIBILITY_RAMP, (0.0, 1.0)))


def frontality_from_corners(points: Landmarks) -> float:
    """Return how frontal a face is, from dlib's points: two corners of each eye, and the nose."""
    right_outer, right_inner, left_outer, left_inner, nose = np.asarray(points, np.float64)
    return _frontality((left_outer + left_inner) / 2, (right_outer + right_inner) / 2, nose)


def frontality_from_centres(points: Landmarks) -> float:
    """Return how frontal a face is, from YuNet's points: two eyes, nose, corners of the mouth."""
    left, right, nose = np.asarray(points, np.float64)[:3]
    return _frontality(left, right, nose)


def _frontality(left_eye: Point, right_eye: Point, nose: Point) -> float:
    """Return 1.0 for a nose half-way between the eyes, 0.0 for one below or beyond an eye.

    The nose is projected on the line through the eyes, so tilting the head changes nothing.
    """
    line = right_eye - left_eye
    length = float(line @ line)
    if length == 0.0:
        return 0.0
    along = float((nose - left_eye) @ line) / length
    return max(0.0, 1.0 - abs(2.0 * along - 1.0))
