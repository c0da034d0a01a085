"""Contact sheets: the faces of a class at one glance. Imports OpenCV: for workers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portraitd.datasets.cropping import blur_faces
from portraitd.media.jpeg import TRAINING_QUALITY, encode_jpeg
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Image

COLUMNS = 12
TILE_PX = (96, 120)
BORDER_PX = 4

TRAIN, VAL = (150, 110, 40), (40, 140, 240)
"""Colours of the frames around tiles, BGR."""

_PAPER = 245


def draw_contact_sheet(jpegs: Sequence[bytes], is_val: Sequence[bool]) -> bytes:
    """A PNG of portraits in rows; those of val are framed in orange, those of train in blue.

    Args:
        jpegs: The portraits in the order they are shown; one that cannot be read stays empty.
        is_val: On which side each lies.
    """
    width, height = TILE_PX[0] + 2 * BORDER_PX, TILE_PX[1] + 2 * BORDER_PX
    columns = max(1, min(COLUMNS, len(jpegs)))
    rows = max(1, -(-len(jpegs) // columns))
    sheet: Image = np.full((rows * height, columns * width, 3), _PAPER, np.uint8)
    for place, (jpeg, val) in enumerate(zip(jpegs, is_val, strict=True)):
        top, left = place // columns * height, place % columns * width
        tile = sheet[top + 1 : top + height - 1, left + 1 : left + width - 1]
        tile[:] = VAL if val else TRAIN
        picture = _decoded(jpeg)
        if picture is not None:
            inner = tile[BORDER_PX - 1 : 1 - BORDER_PX, BORDER_PX - 1 : 1 - BORDER_PX]
            inner[:] = _filling(picture, inner.shape[1], inner.shape[0])
    done, data = cv2.imencode(".png", sheet)
    if not done:
        raise ValueError(f"a sheet of shape {sheet.shape} cannot be written as PNG")
    return data.tobytes()


def blur_in_portrait(jpeg: bytes, area: Box, face: Box, hidden: Sequence[Box]) -> bytes:
    """A portrait in which other faces are blurred that happen to be in it.

    Args:
        jpeg: The portrait.
        area: The part of the frame it shows; like the other boxes in pixels of the frame.
        face: Whose portrait it is.
        hidden: The other faces.
    """
    picture = _decoded(jpeg)
    if picture is None:
        return jpeg
    scale = picture.shape[1] / area.width

    def placed(box: Box) -> Box:
        return Box(
            round((box.left - area.left) * scale),
            round((box.top - area.top) * scale),
            round((box.right - area.left) * scale),
            round((box.bottom - area.top) * scale),
        )

    return encode_jpeg(
        blur_faces(picture, [placed(box) for box in hidden], [placed(face)]), TRAINING_QUALITY
    )


def _decoded(jpeg: bytes) -> Image | None:
    """A portrait; None if it is none. A worker cut it that had seen a foreign file: JPEG alone."""
    if not jpeg.startswith(b"\xff\xd8\xff"):
        return None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if picture is None else np.asarray(picture, np.uint8)


def _filling(picture: Image, width_px: int, height_px: int) -> Image:
    """The middle of a picture at the smallest scale that fills the tile."""
    height, width = picture.shape[:2]
    scale = max(width_px / width, height_px / height)
    size = (max(width_px, round(width * scale)), max(height_px, round(height * scale)))
    resized = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    left, top = (size[0] - width_px) // 2, (size[1] - height_px) // 2
    return resized[top : top + height_px, left : left + width_px]
