"""Crop portraits around faces. Imports OpenCV, so only workers import this module."""

from __future__ import annotations

import numpy as np

from portraitd.faces.detectors.tiled_search import shrink_image
from portraitd.media.jpeg import PORTRAIT_QUALITY, encode_jpeg
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Image, Portrait

# The original pipeline added 100 pixels at each side and 150 above and below, in a frame of 500
# pixels height where a face was about 145 wide. As fractions of the face they suit every frame,
# and a square face gives 2.4 x 3.0: exactly the aspect of the montage's tiles of 96 x 120.
SIDE_MARGIN = 0.7
VERTICAL_MARGIN = 1.0


_MAX_ASPECT = 4
"""Largest height of a portrait in widths; limits the crop of a sliver at the edge of a frame."""


def portrait_area(box: Box, frame_width_px: int, frame_height_px: int) -> Box:
    """Return the part of a frame that a portrait of a face shows: the face with its margins.

    Raises:
        ValueError: If no part of the face is inside the frame.
    """
    face = box.clipped(frame_width_px, frame_height_px)
    if face.width <= 0 or face.height <= 0:
        raise ValueError(f"the box {tuple(box)} is outside the frame")
    aside = round(SIDE_MARGIN * box.width)
    above = round(VERTICAL_MARGIN * box.height)
    wide = Box(box.left - aside, box.top - above, box.right + aside, box.bottom + above)
    return wide.clipped(frame_width_px, frame_height_px)


def crop_portrait(image: Image, box: Box, width_px: int = 400) -> Portrait:
    """Return the face with its margins as a JPEG.

    Args:
        image: The full-size upright frame, shape ``(height, width, 3)``, BGR.
        box: The face in pixels of the frame; may reach beyond it.
        width_px: Width of the portrait, regardless of the size of the face.

    Raises:
        ValueError: If no part of the face is inside the frame.
    """
    frame_height_px, frame_width_px = image.shape[:2]
    area = portrait_area(box, frame_width_px, frame_height_px)
    cut = image[area.top : area.bottom, area.left : area.right]
    scale = min(width_px / area.width, _MAX_ASPECT * width_px / area.height)
    size = (max(round(area.width * scale), 1), max(round(area.height * scale), 1))
    resized = (
        shrink_image(cut, size)
        if scale < 1
        else np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    )
    return Portrait(area, encode_jpeg(resized, PORTRAIT_QUALITY))
