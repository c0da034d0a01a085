"""Align faces: cut the upright chip that an embedding model was trained on.

dlib's network wants dlib's own chip of 150 px, defined by dlib's five landmarks. All other models
want the chip of 112 px that ArcFace made common, defined by eyes, nose and mouth corners.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import dlib
import numpy as np
from numpy.typing import NDArray

from portraitd.faces.interface import ARCFACE_CHIP_PX, DLIB_CHIP_PX
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Detection, Image, Landmarks, are_dlib_points

# A chip reaches half a face beyond the box at most, and more where the head is tilted.
MARGIN = 1.0

CHIP_PADDING = 0.25
"""The padding that dlib's ``compute_face_descriptor`` uses when it cuts a chip itself."""

ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
     (70.7299, 92.2041)],
    np.float64,
)  # fmt: skip
"""Eyes, nose and mouth corners in a chip of 112 x 112 pixels, as ArcFace was trained."""

ARCFACE_TEMPLATE_DLIB = np.array(
    [(80.2, 53.2), (66.5, 53.7), (31.4, 52.8), (45.2, 53.5), (55.8, 80.5)], np.float64
)
"""dlib's five points (eye corners and nose base) in such chips.

Medians over 1,047 photographed faces whose chips were aligned by YuNet's points; each coordinate
varies by 2 to 3 pixels.
"""

_DLIB_TEMPLATE = np.array(
    [(0.8595675, 0.2134982), (0.6460605, 0.2289674), (0.1205751, 0.2137275), (0.3340851, 0.2290642),
     (0.4901123, 0.6277975)],
    np.float64,
)  # fmt: skip
"""The same points in dlib's chip, as fractions of the chip without its padding (dlib, MIT-like
Boost licence, ``image_transforms/interpolation.h``)."""


class AlignedFace(NamedTuple):
    """A face, ready to be embedded.

    Attributes:
        chip: Shape ``(n, n, 3)``, RGB; what the embedder wants.
        plain_chip: Shape ``(150, 150, 3)``, RGB; sharpness is measured on it, whatever the
            embedder wants, so that one threshold suits all models.
        landmarks: Those the chip was cut by, in pixels of the frame.
    """

    chip: NDArray[np.uint8]
    plain_chip: NDArray[np.uint8]
    landmarks: Landmarks


class FaceAligner(Protocol):
    """Cuts the chip that one kind of embedder wants."""

    def align_face(self, image: Image, detection: Detection) -> AlignedFace:
        """Cut the chip of one face from a full-size frame, BGR."""


class Aligner:
    """Cuts dlib's chips from full-size frames.

    Args:
        predictor: A ``dlib.shape_predictor`` with five points.
    """

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor

    @classmethod
    def load(cls, path: Path) -> Aligner:
        """Read dlib's five-point model."""
        return cls(dlib.shape_predictor(str(path)))

    def align_face(self, image: Image, detection: Detection) -> AlignedFace:
        """See ``FaceAligner``."""
        chip, points = self.align(image, detection.box)
        return AlignedFace(chip, chip, points)

    def align(self, image: Image, box: Box) -> tuple[NDArray[np.uint8], Landmarks]:
        """Cut the aligned chip of one face.

        Only the region around the face is processed, so a small face in a large frame is cheap.

        Args:
            image: The full-size frame, BGR.
            box: The face in it; may reach beyond the frame.

        Returns:
            The aligned chip, shape ``(150, 150, 3)``, RGB, and dlib's five landmarks in pixels
            of the frame: both corners of the eye on the right of the picture, outer first, both
            of the one on the left, outer first, and the base of the nose.
        """
        region, rgb, shape = self._predict(image, box)
        chip = dlib.get_face_chip(rgb, shape, DLIB_CHIP_PX, CHIP_PADDING)
        return chip, _to_landmarks(shape, region)

    def find_landmarks(self, image: Image, box: Box) -> Landmarks:
        """Return dlib's five landmarks alone, as ``align`` does."""
        region, _, shape = self._predict(image, box)
        return _to_landmarks(shape, region)

    def _predict(self, image: Image, box: Box) -> tuple[Box, Image, Any]:
        region = region_around(image, box)
        rgb = _to_rgb(image[region.top : region.bottom, region.left : region.right])
        # dlib's rectangles include their right and bottom edge.
        face = dlib.rectangle(
            box.left - region.left,
            box.top - region.top,
            box.right - region.left - 1,
            box.bottom - region.top - 1,
        )
        return region, rgb, self._predictor(rgb, face)


class ArcfaceAligner:
    """Cuts chips of 112 px, by the detector's landmarks or else by dlib's.

    Args:
        dlib_aligner: Finds the landmarks that a detector does not give.
    """

    def __init__(self, dlib_aligner: Aligner) -> None:
        self._dlib_aligner = dlib_aligner

    def align_face(self, image: Image, detection: Detection) -> AlignedFace:
        """See ``FaceAligner``."""
        points = detection.landmarks or self._dlib_aligner.find_landmarks(image, detection.box)
        region = region_around(image, detection.box)
        cut = image[region.top : region.bottom, region.left : region.right]
        within = np.asarray(points, np.float64) - (region.left, region.top)
        turn = _fit_arcface(within)
        return AlignedFace(
            _to_rgb(_warp(cut, turn, ARCFACE_CHIP_PX)),
            _to_rgb(_warp(cut, _compose(_TO_PLAIN_CHIP, turn), DLIB_CHIP_PX)),
            points,
        )


def align_arcface(image: Image, landmarks: Landmarks) -> Image:
    """Return a face aligned to 112 x 112 pixels for ArcFace-style recognisers, BGR.

    Args:
        image: The full-size frame, BGR.
        landmarks: Both eyes, the nose and both mouth corners, the left one of the image first,
            in pixels of the frame; or dlib's five points, with a less exact result.
    """
    return _warp(image, _fit_arcface(np.asarray(landmarks, np.float64)), ARCFACE_CHIP_PX)


def fit_similarity(points: Any, target: Any) -> Any:
    """Return the similarity transform that maps points to a target, as a 2 x 3 matrix.

    Least squares (Umeyama, 1991), without reflection.
    """
    mean, target_mean = points.mean(axis=0), target.mean(axis=0)
    centred, target_centred = points - mean, target - target_mean
    left, stretch, right = np.linalg.svd(target_centred.T @ centred / len(points))
    sign = np.array([1.0, 1.0 if np.linalg.det(left) * np.linalg.det(right) > 0 else -1.0])
    turn = left @ np.diag(sign) @ right
    scale = float((stretch * sign).sum() / centred.var(axis=0).sum())
    return np.hstack([scale * turn, (target_mean - scale * turn @ mean)[:, None]])


def region_around(image: Image, box: Box) -> Box:
    """Return the part of a frame that the chip of a face can show; never empty."""
    height, width = image.shape[:2]
    across, down = round(box.width * MARGIN), round(box.height * MARGIN)
    around = Box(box.left - across, box.top - down, box.right + across, box.bottom + down).clipped(
        width, height
    )
    if around.width > 0 and around.height > 0:
        return around
    return Box(0, 0, width, height)


def _fit_arcface(points: NDArray[np.float64]) -> Any:
    corners = are_dlib_points(tuple((float(x), float(y)) for x, y in points))
    return fit_similarity(points, ARCFACE_TEMPLATE_DLIB if corners else ARCFACE_TEMPLATE)


def _warp(image: Image, turn: Any, side_px: int) -> Image:
    scale = float(np.hypot(turn[0, 0], turn[0, 1]))
    if scale < 0.5:
        # Shrinking by more than half would skip pixels, so average them first.
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.35 / scale), np.uint8)
    return np.asarray(cv2.warpAffine(image, turn, (side_px, side_px)), np.uint8)


def _compose(after: Any, before: Any) -> Any:
    """Return the affine map that applies ``before`` and then ``after``, as 2 x 3 matrices."""
    return after @ np.vstack([before, (0.0, 0.0, 1.0)])


_TO_PLAIN_CHIP = fit_similarity(
    ARCFACE_TEMPLATE_DLIB,
    (_DLIB_TEMPLATE + CHIP_PADDING) / (1 + 2 * CHIP_PADDING) * DLIB_CHIP_PX,
)
"""From a chip of 112 px to one that shows what dlib's chip shows."""


def _to_rgb(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _to_landmarks(shape: Any, region: Box) -> Landmarks:
    return tuple((float(p.x + region.left), float(p.y + region.top)) for p in shape.parts())
