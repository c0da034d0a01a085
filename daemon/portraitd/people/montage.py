"""A person at one glance: a few of their portraits in one picture. Imports cv2: workers only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portraitd.media.jpeg import PORTRAIT_QUALITY, encode_jpeg
from portraitd.media.opencv import cv2
from portraitd.model.face import Image

_EMPTY = 128
"""Grey of a tile that has no portrait."""


def build_montage(
    jpegs: Sequence[bytes],
    columns: int = 5,
    rows: int = 5,
    tile: tuple[int, int] = (96, 120),
) -> bytes:
    """Portraits side by side, row by row, as one JPEG.

    Each portrait fills its tile: scaled until it covers it, then cut evenly to its middle.
    Tiles without a portrait, or with one that cannot be decoded, stay grey; portraits beyond
    the last tile are left out.

    Args:
        jpegs: The portraits in the order they are shown.
        columns: Tiles in a row.
        rows: Rows of tiles.
        tile: Width and height of a tile in pixels.
    """
    width_px, height_px = tile
    sheet: Image = np.full((rows * height_px, columns * width_px, 3), _EMPTY, np.uint8)
    for place, jpeg in enumerate(jpegs[: rows * columns]):
        picture = _decoded(jpeg)
        if picture is None:
            continue
        top, left = place // columns * height_px, place % columns * width_px
        sheet[top : top + height_px, left : left + width_px] = _covering(picture, tile)
    return encode_jpeg(sheet, PORTRAIT_QUALITY)


def _decoded(jpeg: bytes) -> Image | None:
    if not jpeg:
        return None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if picture is None else np.asarray(picture, np.uint8)


def _covering(picture: Image, tile: tuple[int, int]) -> Image:
    """The middle of a picture at the smallest scale that fills the tile."""
    width_px, height_px = tile
    scale = max(width_px / picture.shape[1], height_px / picture.shape[0])
    size = (
        max(round(picture.shape[1] * scale), width_px),
        max(round(picture.shape[0] * scale), height_px),
    )
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
    left, top = (size[0] - width_px) // 2, (size[1] - height_px) // 2
    return resized[top : top + height_px, left : left + width_px]
