"""The scales at which MMOD searches a picture, laid out exactly as in dlib.

dlib shrinks a picture by 5/6 again and again and tiles all levels into one large picture
(``create_tiled_pyramid`` in ``dlib/image_transforms/image_pyramid.h``). The network evaluates
every eighth pixel of that, so the position of a level decides which of its pixels are used. Here
the levels stay separate, which is less to compute; each keeps its position in the tiled picture
modulo eight, so the same pixels are used and the same boxes found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from portraitd.media.opencv import cv2
from portraitd.model.face import Image

FACTOR = 6 / 5
"""Scale from one level to the next larger one."""

CELL_PX = 8
"""The network evaluates every eighth pixel."""

FIRST_CELL_PX = 14
"""The pixel at the centre of the first cell; there is no padding before it."""

MIN_LEVEL_PX = 40
"""A smaller level shows less than half a window of 80 px in one direction."""

# dlib's defaults for the model in use: around the tiled picture, and between two levels.
_OUTER_PADDING = 11
_PADDING = 10

# The mean colour that the network subtracts, BGR: a margin of it becomes zeros.
_MARGIN_COLOUR = (104, 117, 123)

# In dlib's picture there is free space to the right of every level but the first. Half a window
# of it is enough to find the faces that the edge of the frame cuts.
_FREE_PADDING = 43

_MIN_TILE_PX = 5


@dataclass(frozen=True, slots=True)
class Level:
    """One scale of the pyramid.

    Attributes:
        depth: How often the picture was shrunk; 0 is the picture itself.
        width, height: In pixels.
        left, top: Margins in pixels that align the level with dlib's grid of cells.
    """

    depth: int
    width: int
    height: int
    left: int
    top: int

    @property
    def padded_size(self) -> tuple[int, int]:
        """Width and height with all four margins.

        The right one ends a few pixels after the last that the network looks at. That makes the
        width a multiple of eight, and MMOD in int8 needs one of four.
        """
        right = _FREE_PADDING if self.depth else _OUTER_PADDING
        columns = count_cells(self.left + self.width + right)
        return end_of_cells(columns), self.top + self.height + _OUTER_PADDING

    @property
    def cells(self) -> tuple[int, int]:
        """Columns and rows of cells that the network computes for the level."""
        width, height = self.padded_size
        return count_cells(width), count_cells(height)


def double_size(width: int, height: int) -> tuple[int, int]:
    """Return the size that dlib's ``pyramid_up`` makes, which is not quite double."""
    return 2 * width + 2, 2 * height + 1


def list_levels(width: int, height: int) -> list[Level]:
    """Return the levels of a picture that are worth searching, the largest first."""
    return [
        Level(depth, *size, left=_align_margin(left), top=_align_margin(top))
        for depth, (size, (left, top)) in enumerate(lay_out_tiles(width, height))
        if min(size) >= MIN_LEVEL_PX
    ]


def lay_out_tiles(width: int, height: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return (width, height) and (left, top) of each level in dlib's tiled picture."""
    sizes = _list_sizes(width, height)
    return list(zip(sizes, _list_corners(sizes), strict=False))


def double_image(image: Image) -> Image:
    """Enlarge a picture as dlib does before it searches for small faces."""
    size = double_size(image.shape[1], image.shape[0])
    return _resize(image, size)


def shrink_to_level(image: Image, level: Level) -> Image:
    """Return a level from the next larger one, or the same picture if it has that size."""
    size = (level.width, level.height)
    return image if (image.shape[1], image.shape[0]) == size else _resize(image, size)


def pad_level(image: Image, level: Level) -> Image:
    """Return a level with its margins."""
    width, height = level.padded_size
    right, bottom = width - level.left - level.width, height - level.top - level.height
    return np.asarray(
        cv2.copyMakeBorder(
            image,
            level.top,
            bottom,
            level.left,
            right,
            cv2.BORDER_CONSTANT,
            value=_MARGIN_COLOUR,
        ),
        np.uint8,
    )


def count_cells(pixels: int) -> int:
    """Return the output length of three convolutions of 5 pixels with stride 2."""
    for _ in range(3):
        pixels = (pixels - 5) // 2 + 1
    return pixels


def end_of_cells(count: int) -> int:
    """Return the length in pixels of this many cells, a multiple of ``CELL_PX``."""
    return CELL_PX * (count + 3)


def enlarge_coordinate(position: float, depth: int) -> float:
    """Convert a coordinate of a level to the picture (``pyramid_down<6>::point_up``)."""
    for _ in range(depth):
        position = position * FACTOR + 0.3
    return position


def halve_point(x: float, y: float) -> tuple[float, float]:
    """Convert a point of a doubled picture to the picture (``pyramid_down<2>::point_down``)."""
    return x / 2 - 1.25, y / 2 - 0.75


def _resize(image: Image, size: tuple[int, int]) -> Image:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _list_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """Return width and height of every level that dlib builds."""
    sizes = [(width, height)]
    while True:
        width, height = math.floor(width * 5 / 6), math.floor(height * 5 / 6)
        if width == 0 or height < _MIN_TILE_PX:
            return sizes
        sizes.append((width, height))


def _list_corners(sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return left and top of each level in dlib's tiled picture.

    Levels are placed down one column until the rest fits beside its end, then up along the right
    side until one would touch the first level. That one and all smaller ones are omitted.
    """
    first_width, first_height = sizes[0]
    half_way = (sum(height + _PADDING for _, height in sizes) - 2 * _PADDING + first_height) / 2
    corners: list[tuple[int, int]] = []
    top, width_above = _OUTER_PADDING, 0
    for width, height in sizes:
        fits = width <= first_width - width_above - _PADDING
        if fits and top - _OUTER_PADDING >= half_way:
            break
        corners.append((_OUTER_PADDING, top))
        top += height + _PADDING
        width_above = width
    bottom = top - _PADDING
    for width, height in sizes[len(corners) :]:
        if bottom - height < _OUTER_PADDING + first_height:
            break
        corners.append((_OUTER_PADDING + first_width - width, bottom - height))
        bottom -= height + _PADDING
    return corners


def _align_margin(at: int) -> int:
    """Return a margin of 8 to 15 pixels that equals the position modulo eight."""
    return CELL_PX + at % CELL_PX
