"""JPEG: encode a picture, and check what a loader looks at first: size and completeness.

OpenCV is imported inside: the service checks pictures and must not load it.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from portraitd.model.face import Image

PORTRAIT_QUALITY = 90
TRAINING_QUALITY = 92

_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
"""Markers of the segments that say how large the picture is."""


def encode_jpeg(image: Image, quality: int) -> bytes:
    """Return the image as a complete JPEG.

    Raises:
        ValueError: If OpenCV cannot encode it.
    """
    from portraitd.media.opencv import cv2

    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be written as JPEG")
    return data.tobytes()


def jpeg_size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels; None if it is no JPEG."""
    with path.open("rb") as file:
        return _size(file)


def jpeg_problem(path: Path, smallest_px: int) -> str:
    """Why a loader would not take a picture; empty if it would.

    Args:
        path: The picture.
        smallest_px: Its shorter side must be no shorter.
    """
    try:
        with path.open("rb") as file:
            size = _size(file)
            if size is None:
                return "is not a JPEG"
            if min(size) < smallest_px:
                return f"is {size[0]}x{size[1]} pixels; at least {smallest_px} are needed"
            file.seek(-2, os.SEEK_END)
            if file.read() != b"\xff\xd9":
                return "is truncated"
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _size(file: BinaryIO) -> tuple[int, int] | None:
    if file.read(2) != b"\xff\xd8":
        return None
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        marker, length = head[1], struct.unpack(">H", head[2:])[0]
        if marker in _SIZES:
            data = file.read(5)
            if len(data) < 5:
                return None
            height, width = struct.unpack(">xHH", data)
            return width, height
        file.seek(length - 2, os.SEEK_CUR)
    return None
