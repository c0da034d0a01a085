"""Turn a decoded video frame into the picture that a person would see.

Deinterlaced, upright, with square pixels, in 8-bit BGR. A frame that cannot be converted raises an
error; it never yields the content of another frame.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from portraitd.media.opencv import cv2
from portraitd.model.errors import UnreadableVideo
from portraitd.model.face import Image
from portraitd.model.reasons import Reason, ReasonCode

MAX_PIXELS = 50_000_000
"""Larger pictures are refused: one such picture already takes 150 MB."""

COMB_DEPTH = 8
"""Grey levels by which a row differs from both its neighbours."""

LEAST_COMBS = 0.15
"""Share of a block; below it, little enough moves there to keep every row."""

BLOCKS = 8


def picture_of(frame: VideoFrame, pixel_aspect: float = 1.0) -> Image:
    """Return a frame as BGR picture, upright, as wide as it is meant to be seen.

    Args:
        frame: As the decoder gave it.
        pixel_aspect: Width over height of one of its pixels.

    Raises:
        UnreadableVideo: It is too large, or FFmpeg cannot convert it.
    """
    if frame.width * frame.height > MAX_PIXELS:
        raise UnreadableVideo(too_large(frame.width, frame.height))
    try:
        image = _deinterlaced(frame) if frame.interlaced_frame else _converted(frame)
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise UnreadableVideo(Reason.of(ReasonCode.FRAME_NOT_CONVERTED, error=error)) from error
    return _upright(_with_square_pixels(image, pixel_aspect), display_matrix(frame))


def too_large(width_px: int, height_px: int) -> Reason:
    """Return the reason to refuse a picture of this size."""
    return Reason.of(
        ReasonCode.TOO_MANY_PIXELS,
        width=width_px,
        height=height_px,
        megapixels=width_px * height_px / 1e6,
        limit=MAX_PIXELS / 1e6,
    )


def _converted(frame: VideoFrame) -> Image:
    image = frame.to_ndarray(format="bgr24")
    if image.shape != (frame.height, frame.width, 3):
        raise ValueError(f"converted to shape {image.shape}")
    return np.asarray(image, np.uint8)


def _deinterlaced(frame: VideoFrame) -> Image:
    """Return one field at full height, where the two fields show different moments.

    Many recordings are flagged as interlaced and are not: their rows are all kept.
    """
    image = _converted(frame)
    if not _is_combed(image[:, :, 1]):
        return image
    field = _converted(_first_field(frame))
    size = (frame.width, frame.height)
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _is_combed(plane: NDArray[np.uint8]) -> bool:
    """Return whether the rows of two moments alternate somewhere in a picture.

    A comb is a row that differs from both its neighbours in the same direction. Texture has
    combs too, but there each field has about as many.
    """
    in_frame, in_field = _shares_of_combs(plane), _shares_of_combs(plane[::2])
    return bool(((in_frame > LEAST_COMBS) & (in_frame > 2 * in_field)).any())


def _shares_of_combs(plane: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share of combs in each of 8 x 8 blocks."""
    rows = plane.astype(np.int32)
    if min(rows.shape) < 3 * BLOCKS:
        return np.zeros((BLOCKS, BLOCKS))
    above, below = rows[:-2] - rows[1:-1], rows[2:] - rows[1:-1]
    combs = np.asarray(above * below > COMB_DEPTH**2, np.float32)
    return np.asarray(cv2.resize(combs, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA), np.float64)


def _first_field(frame: VideoFrame) -> VideoFrame:
    """Return the rows of the top field as a frame of half the height, chroma included."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        # One frame alone has no rate; the filter wants one.
        time_base=Fraction(1, 1000),
    )
    field = graph.add("field", "top")
    sink = graph.add("buffersink")
    source.link_to(field)
    field.link_to(sink)
    graph.configure()
    graph.push(frame)
    pulled = graph.pull()
    if not isinstance(pulled, VideoFrame):
        raise ValueError("the field filter gave no frame")
    return pulled


def _with_square_pixels(image: Image, pixel_aspect: float) -> Image:
    if pixel_aspect == 1.0 or not 1 / 8 <= pixel_aspect <= 8:
        return image
    height, width = image.shape[:2]
    size = (max(1, round(width * pixel_aspect)), height)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def display_matrix(frame: VideoFrame) -> tuple[int, ...]:
    """Return the 3 x 3 matrix that the container asks for; the unit matrix by default."""
    # Not `frame.side_data`: frame and container would refer to each other, and frames would fill
    # the memory until Python looks for such circles.
    container: Any = SideDataContainer
    data = container(frame).get(Type.DISPLAYMATRIX)
    if data is not None:
        return struct.unpack("=9i", bytes(data)[:36])
    return (1, 0, 0, 0, 1, 0, 0, 0, 1)


def _upright(image: Image, matrix: tuple[int, ...]) -> Image:
    """Turn and mirror by quarters, as the ffmpeg program does.

    A pixel at ``(x, y)`` is shown at ``(a x + c y, b x + d y)``.
    """
    a, b, _, c, d = matrix[:5]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        across, down = a, d
    else:
        image = image.transpose(1, 0, 2)
        across, down = c, b
    if across < 0:
        image = image[:, ::-1]
    if down < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
