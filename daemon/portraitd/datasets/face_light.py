"""Measure how bright a face is. Imports OpenCV, so for workers only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.datasets.coverage import MeasuredFace
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Image
from portraitd.store.dataset_store import DatasetFace, DatasetStore


def measure_light(image: Image, face: Box) -> float | None:
    """Return the mean brightness of a face, 0 to 255; None if it is not in the picture.

    The skin counts as well: a dark face in good light is darker than a fair one.

    Args:
        image: BGR.
        face: In pixels of the image.
    """
    inside = face.clipped(image.shape[1], image.shape[0])
    part = image[inside.top : inside.bottom, inside.left : inside.right]
    if not part.size:
        return None
    return float(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).mean())


def measure_portrait_light(jpeg: bytes, area: Box, face: Box) -> float | None:
    """Return the mean brightness of a face in its portrait; None if that cannot be decoded.

    Args:
        jpeg: The portrait. It comes from a worker that decoded an untrusted file.
        area: The part of the frame that it shows, in pixels of the frame.
        face: In pixels of the frame.
    """
    if not jpeg.startswith(b"\xff\xd8\xff"):
        return None
    # A quarter of the size is enough, and takes a quarter of the time.
    data: NDArray[np.uint8] = np.frombuffer(jpeg, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_4)
    if image is None:
        return None
    scale = image.shape[1] / area.width
    return measure_light(np.asarray(image, np.uint8), face.placed_in(area, scale))


def measure_face(store: DatasetStore, face: DatasetFace, year: int | None) -> MeasuredFace:
    """Return what the coverage card needs of a stored face.

    Args:
        store: Holds its portrait.
        face: The face.
        year: The year of its recording.
    """
    area, jpeg = store.portrait(face.id)
    light = measure_portrait_light(jpeg, area, face.box)
    return MeasuredFace(face.size_px, face.sharpness, face.landmarks, light, year)
