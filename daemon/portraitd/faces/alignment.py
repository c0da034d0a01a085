"""Align faces: find five landmarks, and cut the upright chip of 150 px that they define.

The aligned chip is dlib's own, because its embedding network was trained on exactly these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlib
import numpy as np
from numpy.typing import NDArray

from portraitd.faces.interface import CHIP_PX
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Image, Landmarks

# A chip reaches half a face beyond the box at most, and more where the head is tilted.
MARGIN = 1.0

CHIP_PADDING = 0.25
"""The padding that dlib's ``compute_face_descriptor`` uses when it cuts a chip itself."""


class Aligner:
    """Cuts aligned chips from full-size frames.

    Args:
        predictor: A ``dlib.shape_predictor`` with five points.
    """

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor

    @classmethod
    def load(cls, path: Path) -> Aligner:
        """Read dlib's five-point model."""
        return cls(dlib.shape_predictor(str(path)))

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
        region = region_around(image, box)
        rgb = cv2.cvtColor(
            image[region.top : region.bottom, region.left : region.right], cv2.COLOR_BGR2RGB
        )
        # dlib's rectangles include their right and bottom edge.
        face = dlib.rectangle(
            box.left - region.left,
            box.top - region.top,
            box.right - region.left - 1,
            box.bottom - region.top - 1,
        )
        shape = self._predictor(rgb, face)
        chip = dlib.get_face_chip(rgb, shape, CHIP_PX, CHIP_PADDING)
        points = tuple((float(p.x + region.left), float(p.y + region.top)) for p in shape.parts())
        return chip, points


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
