"""Encode JPEG images, and check size and completeness, as loaders of training sets do.

OpenCV is imported inside: the service checks images and must not load it.
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
"""Markers of the segments that contain the size of the image."""


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
    """Return width and height in pixels; None if the file is not a JPEG."""
    with path.open("rb") as file:
        return read_size(file)


def jpeg_problem(path: Path, smallest_px: int) -> str:
    """Return why a loader would reject an image; empty if it would accept it.

    Args:
        path: The image.
        smallest_px: Minimum length of its shorter side.
    """
    try:
        with path.open("rb") as file:
            size = read_size(file)
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


def read_size(file: BinaryIO) -> tuple[int, int] | None:
    """Return width and height in pixels; None if the content is not a JPEG."""
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
