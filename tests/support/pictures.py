"""Pictures for tests, from installed packages: real faces, and one without a face."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage

from portraitd.model.face import Image

SHARED = Path(os.environ.get("PORTRAITD_SHARED", Path(__file__).parents[3] / "shared"))
"""Labelled media and models beside the repository; tests that need them are marked."""

YUNET_FILE = SHARED / "models" / "face_detection_yunet_2023mar.onnx"
MOBILEFACENET_FILE = SHARED / "models" / "mobilefacenet_foamliu.onnx"


def read(path: Path) -> Image:
    """Read a picture from a file, BGR."""
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.asarray(image, np.uint8)


@cache
def astronaut() -> Image:
    """Return a woman who looks at the camera, 512x512; her face is about 100 px."""
    return read(Path(skimage.__file__).parent / "data" / "astronaut.png")


@cache
def admiral() -> Image:
    """Return another woman who looks at the camera, 512x606."""
    return read(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")


@cache
def bricks() -> Image:
    """Return a picture without a face, 512x512."""
    return read(Path(skimage.__file__).parent / "data" / "brick.png")


def resized(image: Image, times: float) -> Image:
    """Resize a picture by a factor."""
    size = (round(image.shape[1] * times), round(image.shape[0] * times))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def mirrored(image: Image) -> Image:
    """Mirror a picture horizontally."""
    return np.ascontiguousarray(image[:, ::-1])
