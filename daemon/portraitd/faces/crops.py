"""Cutting a portrait around a face. Imports cv2: for workers only."""

from __future__ import annotations

import numpy as np

from portraitd.media.jpeg import PORTRAIT_QUALITY, encode_jpeg
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Image, Portrait

# The original took 100 pixels aside and 150 above and below in a frame 500 pixels high, where
# a face was about 145 wide. As shares of the face they fit every frame, and a square face
# gives 2.4 x 3.0: exactly the shape of the montage's tiles of 96 x 120.
MARGIN_ASIDE = 0.7
MARGIN_ABOVE_AND_BELOW = 1.0


_TALLEST = 4
"""A sliver at the frame's edge would become a picture of any height: no taller than this
many widths."""


def portrait_area(box: Box, frame_width_px: int, frame_height_px: int) -> Box:
    """The part of a frame that a portrait of this face shows: the face with its margins.

    Raises:
        ValueError: If nothing of the face lies inside the frame.
    """
    face = box.clipped(frame_width_px, frame_height_px)
    if face.width <= 0 or face.height <= 0:
        raise ValueError(f"the box {tuple(box)} lies outside of the frame")
    aside = round(MARGIN_ASIDE * box.width)
    above = round(MARGIN_ABOVE_AND_BELOW * box.height)
    wide = Box(box.left - aside, box.top - above, box.right + aside, box.bottom + above)
    return wide.clipped(frame_width_px, frame_height_px)


def crop_portrait(image: Image, box: Box, width_px: int = 400) -> Portrait:
    """The face with its margins, ``width_px`` wide, as a JPEG.

    Args:
        image: The full-size upright frame, shape ``(height, width, 3)``, BGR.
        box: The face in pixels of the frame; may reach beyond it.
        width_px: Of the portrait, whatever the size of the face.

    Raises:
        ValueError: If nothing of the face lies inside the frame.
    """
    frame_height_px, frame_width_px = image.shape[:2]
    area = portrait_area(box, frame_width_px, frame_height_px)
    cut = image[area.top : area.bottom, area.left : area.right]
    scale = min(width_px / area.width, _TALLEST * width_px / area.height)
    size = (max(round(area.width * scale), 1), max(round(area.height * scale), 1))
    resized = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return Portrait(area, encode_jpeg(np.asarray(resized, np.uint8), PORTRAIT_QUALITY))
