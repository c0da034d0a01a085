"""Contact sheets: an overview of the faces of a class. Imports OpenCV, so for workers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from portraitd.datasets.annotations import Split
from portraitd.datasets.cropping import blur_faces
from portraitd.media.jpeg import TRAINING_QUALITY, encode_jpeg
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Image

COLUMNS = 8
"""So few that the faces can be recognised on a phone."""

TILE_PX = (96, 120)
BORDER_PX = 4

SPLIT_BGR: Mapping[Split, tuple[int, int, int]] = {
    "train": (150, 110, 40),
    "val": (40, 140, 240),
    "test": (80, 140, 60),
}
"""Colours of the borders of tiles, BGR."""


def draw_contact_sheet(jpegs: Sequence[bytes], splits: Sequence[Split]) -> bytes:
    """Return a PNG with portraits in rows; the border of each has the colour of its split.

    Args:
        jpegs: The portraits, in order; a portrait that cannot be decoded stays empty.
        splits: The split of each.
    """
    width, height = TILE_PX[0] + 2 * BORDER_PX, TILE_PX[1] + 2 * BORDER_PX
    columns = max(1, min(COLUMNS, len(jpegs)))
    rows = max(1, -(-len(jpegs) // columns))
    # Transparent between the tiles, for a page that is light or dark.
    sheet = np.zeros((rows * height, columns * width, 4), np.uint8)
    for place, (jpeg, split) in enumerate(zip(jpegs, splits, strict=True)):
        top, left = place // columns * height, place % columns * width
        tile = sheet[top + 1 : top + height - 1, left + 1 : left + width - 1]
        tile[:] = (*SPLIT_BGR[split], 255)
        image = _decode(jpeg)
        if image is not None:
            inner = tile[BORDER_PX - 1 : 1 - BORDER_PX, BORDER_PX - 1 : 1 - BORDER_PX, :3]
            inner[:] = _fill_tile(image, inner.shape[1], inner.shape[0])
    done, data = cv2.imencode(".png", sheet)
    if not done:
        raise ValueError(f"a sheet of shape {sheet.shape} cannot be encoded as PNG")
    return data.tobytes()


def blur_in_portrait(jpeg: bytes, area: Box, face: Box, hidden: Sequence[Box]) -> bytes:
    """Return a portrait with other faces in it blurred.

    Args:
        jpeg: The portrait.
        area: The part of the frame it shows, in pixels of the frame like all boxes here.
        face: The face of the portrait.
        hidden: The faces to blur.
    """
    image = _decode(jpeg)
    if image is None:
        return jpeg
    scale = image.shape[1] / area.width
    blurred = blur_faces(
        image, [box.placed_in(area, scale) for box in hidden], [face.placed_in(area, scale)]
    )
    return encode_jpeg(blurred, TRAINING_QUALITY)


def _decode(jpeg: bytes) -> Image | None:
    """Decode a portrait; None if it is not a JPEG.

    It comes from a worker that decoded an untrusted file, so other formats are rejected.
    """
    if not jpeg.startswith(b"\xff\xd8\xff"):
        return None
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, np.uint8)


def _fill_tile(image: Image, width_px: int, height_px: int) -> Image:
    """Scale and crop an image to fill a tile."""
    height, width = image.shape[:2]
    scale = max(width_px / width, height_px / height)
    size = (max(width_px, round(width * scale)), max(height_px, round(height * scale)))
    resized = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    left, top = (size[0] - width_px) // 2, (size[1] - height_px) // 2
    return resized[top : top + height_px, left : left + width_px]
