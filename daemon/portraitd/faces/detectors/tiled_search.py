"""Search a picture in copies of several sizes, the large ones tile by tile.

Tiles limit the memory that a search takes, and the number of shapes that a network is run with. A
face at the edge of a tile is whole in the next tile, or, if it is larger than the overlap, in
a smaller copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from portraitd.faces.interface import Detector
from portraitd.faces.search_scales import scaled_size
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Detection, Image

OVERLAP_PX = 200
"""Between two tiles."""

LEAST_MARGIN = 0.25
"""A face nearer to the edge of a tile, as a share of its width, may be cut by it."""

MAX_IOU = 0.3
"""Boxes of two copies with a larger intersection over union are one face."""

MAX_INSIDE = 0.6
"""A box that lies within a better one by more than this share is a part of the same face."""


class Tile(NamedTuple):
    """A part of a copy, in pixels."""

    left: int
    top: int
    width: int
    height: int


def search_scales(
    detector: Detector,
    image: Image,
    scales: Sequence[float],
    min_face_px: float,
    tile_px: int,
) -> list[Detection]:
    """Find the faces of a picture in several copies.

    Args:
        detector: Searches the tiles.
        image: BGR.
        scales: Of the copies.
        min_face_px: Smaller faces, in pixels of the picture, need not be found.
        tile_px: The largest side of a tile.

    Returns:
        The faces, highest score first, in pixels of the picture.
    """
    found = [
        detection
        for scale in scales
        for detection in _search_copy(detector, image, scale, min_face_px, tile_px)
    ]
    return merge_detections(found)


def merge_detections(found: Sequence[Detection]) -> list[Detection]:
    """Return the best detection of each face, highest score first."""
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda one: -one.score):
        if not any(_is_same_face(detection.box, better.box) for better in kept):
            kept.append(detection)
    return kept


def list_tiles(width: int, height: int, tile_px: int) -> list[Tile]:
    """Return tiles of one size that cover a picture and overlap by at least ``OVERLAP_PX``."""
    columns, across = _cut_side(width, tile_px)
    rows, down = _cut_side(height, tile_px)
    return [Tile(left, top, across, down) for top in rows for left in columns]


def shrink_image(image: Image, size: tuple[int, int]) -> Image:
    """Shrink a picture to a width and height.

    Whole factors are averaged, the rest is interpolated: as smooth as averaging alone, and seven
    times faster on 1080p.
    """
    if (image.shape[1], image.shape[0]) == size:
        return np.ascontiguousarray(image)
    whole = min(image.shape[1] // size[0], image.shape[0] // size[1])
    if whole > 1:
        part = (image.shape[1] // whole, image.shape[0] // whole)
        # Drop the few columns and rows that do not make a whole pixel: OpenCV averages whole
        # factors many times faster.
        image = image[: part[1] * whole, : part[0] * whole]
        image = np.asarray(cv2.resize(image, part, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def scale_detection(detection: Detection, across: float, down: float) -> Detection:
    """Return a detection in a picture that is so many times as wide and as high."""
    box, points = detection.box, detection.landmarks
    return Detection(
        box=Box(
            round(box.left * across),
            round(box.top * down),
            round(box.right * across),
            round(box.bottom * down),
        ),
        score=detection.score,
        landmarks=points and tuple((x * across, y * down) for x, y in points),
        confidence=detection.confidence,
    )


def _search_copy(
    detector: Detector, image: Image, scale: float, min_face_px: float, tile_px: int
) -> Iterator[Detection]:
    height, width = image.shape[:2]
    size = scaled_size(width, height, scale)
    copy = shrink_image(image, size)
    across, down = width / size[0], height / size[1]
    for tile in list_tiles(*size, tile_px):
        part = copy[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        [found] = detector.detect([np.ascontiguousarray(part)], min_face_px / max(across, down))
        for detection in found:
            if not _may_be_cut(detection.box, tile, size):
                yield scale_detection(_moved(detection, tile), across, down)


def _cut_side(length: int, tile_px: int) -> tuple[list[int], int]:
    """Return where the tiles of one side begin, and their length, which is the same for all."""
    if length <= tile_px:
        return [0], length
    count = -(-(length - OVERLAP_PX) // (tile_px - OVERLAP_PX))
    side = -(-(length + (count - 1) * OVERLAP_PX) // count)
    return [round(number * (length - side) / (count - 1)) for number in range(count)], side


def _may_be_cut(box: Box, tile: Tile, size: tuple[int, int]) -> bool:
    """Return whether a face may continue beyond an edge of its tile within the copy."""
    margin = LEAST_MARGIN * box.width
    return (
        (tile.left > 0 and box.left < margin)
        or (tile.top > 0 and box.top < margin)
        or (tile.left + tile.width < size[0] and box.right > tile.width - margin)
        or (tile.top + tile.height < size[1] and box.bottom > tile.height - margin)
    )


def _moved(detection: Detection, tile: Tile) -> Detection:
    """Return a detection in pixels of the copy."""
    box, points = detection.box, detection.landmarks
    return Detection(
        Box(box.left + tile.left, box.top + tile.top, box.right + tile.left, box.bottom + tile.top),
        detection.score,
        points and tuple((x + tile.left, y + tile.top) for x, y in points),
        detection.confidence,
    )


def _is_same_face(box: Box, better: Box) -> bool:
    width = min(box.right, better.right) - max(box.left, better.left)
    height = min(box.bottom, better.bottom) - max(box.top, better.top)
    if width <= 0 or height <= 0:
        return False
    smaller = min(box.width * box.height, better.width * better.height)
    return box.iou(better) > MAX_IOU or width * height > MAX_INSIDE * smaller
