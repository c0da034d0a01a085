"""Draw a montage: several portraits of one person in one picture.

``draw_montage`` is a worker function. OpenCV is imported inside the functions, because the
service names the function and must not load OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portraitd.model.face import Image
from portraitd.workers.job_results import returns

MONTAGE_COLUMNS = 5
MONTAGE_ROWS = 5

TILE_PX = (96, 120)
"""Width and height of a tile."""

_EMPTY = 128
"""Grey value of a tile without a portrait."""


@returns("portraitd.people.montage_result:MONTAGE")
def draw_montage(
    jpegs: Sequence[bytes],
    columns: int = MONTAGE_COLUMNS,
    rows: int = MONTAGE_ROWS,
    tile: tuple[int, int] = TILE_PX,
) -> bytes:
    """Return portraits side by side, row by row, as one JPEG.

    Each portrait fills its tile: it is scaled until it covers the tile, then cropped to the
    centre. Tiles without a portrait, or with one that cannot be decoded, stay grey; portraits
    after the last tile are left out. The picture is as large as ``compute_grid`` says.

    Args:
        jpegs: The portraits in the order they are shown.
        columns: Most tiles in a row.
        rows: Most rows of tiles.
        tile: Width and height of a tile in pixels.
    """
    from portraitd.media.jpeg import PORTRAIT_QUALITY, encode_jpeg

    width_px, height_px = tile
    columns, rows = compute_grid(len(jpegs), columns, rows)
    sheet: Image = np.full((rows * height_px, columns * width_px, 3), _EMPTY, np.uint8)
    for index, jpeg in enumerate(jpegs[: rows * columns]):
        picture = decode_portrait(jpeg)
        if picture is None:
            continue
        top, left = index // columns * height_px, index % columns * width_px
        sheet[top : top + height_px, left : left + width_px] = crop_to_tile(picture, tile)
    return encode_jpeg(sheet, PORTRAIT_QUALITY)


def compute_grid(count: int, columns: int, rows: int) -> tuple[int, int]:
    """Return the columns and rows of a montage of some portraits, without empty ones."""
    return max(1, min(count, columns)), max(1, min(-(-count // columns), rows))


def fill_from_corner(count: int, columns: int = MONTAGE_COLUMNS) -> list[int]:
    """Return which of ``count`` portraits each tile shows, row by row.

    The first ones fill the upper left corner: small pictures of a person show only that.
    """
    tiles = sorted(range(count), key=lambda tile: (max(divmod(tile, columns)), tile))
    return sorted(range(count), key=lambda portrait: tiles[portrait])


def decode_portrait(jpeg: bytes) -> Image | None:
    """Return a portrait in OpenCV's order of colours; None if it cannot be decoded."""
    from portraitd.media.opencv import cv2

    if not jpeg:
        return None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if picture is None else np.asarray(picture, np.uint8)


def crop_to_tile(picture: Image, tile: tuple[int, int]) -> Image:
    """Return the centre of a picture at the smallest scale that fills the tile."""
    from portraitd.media.opencv import cv2

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
