"""Embed faces that were found before with another model: from stored portraits, or from frames.

Imports OpenCV, so only workers import this module.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portraitd.faces.encoder import Encoder
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Detection, Embeddings, FoundFace, Image, StoredPortrait

MIN_FACE_PX = 56
"""A face this small in its portrait is read from its file, if it is larger there: an aligned chip
of 112 px shows about as much as a face of 100 px."""

MIN_GAIN = 1.5
"""How many times larger it must be there."""


def embed_portraits(encoder: Encoder, portraits: Sequence[StoredPortrait]) -> Embeddings:
    """Return the embedding of each portrait's face.

    Returns:
        Shape ``(n, d)``; a row of NaN for a portrait that cannot be decoded, or that shows its
        face much smaller than the file does.
    """
    chips = []
    rows = []
    for row, portrait in enumerate(portraits):
        if not portrait.jpeg:
            continue
        image = cv2.imdecode(np.frombuffer(portrait.jpeg, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            continue
        picture = np.asarray(image, np.uint8)
        face = _face_in(portrait, picture)
        scale = face.box.width / max(portrait.face.box.width, 1)
        if face.box.width < MIN_FACE_PX and scale * MIN_GAIN < 1:
            continue
        chips.append(encoder.align(picture, encoder.refine(picture, face)).chip)
        rows.append(row)
    return _spread(encoder.embed(chips), rows, len(portraits))


def embed_found(encoder: Encoder, image: Image, faces: Sequence[FoundFace]) -> Embeddings:
    """Return the embedding of faces that were found in a full-size frame before, ``(n, d)``."""
    known = (Detection(one.box, 1.0, one.landmarks) for one in faces)
    return encoder.embed([encoder.align(image, encoder.refine(image, one)).chip for one in known])


def _face_in(portrait: StoredPortrait, image: Image) -> Detection:
    """Return the face in pixels of its portrait."""
    area, face = portrait.area, portrait.face
    across = image.shape[1] / max(area.width, 1)
    down = image.shape[0] / max(area.height, 1)
    box = Box(
        round((face.box.left - area.left) * across),
        round((face.box.top - area.top) * down),
        round((face.box.right - area.left) * across),
        round((face.box.bottom - area.top) * down),
    )
    points = face.landmarks and tuple(
        ((x - area.left) * across, (y - area.top) * down) for x, y in face.landmarks
    )
    return Detection(box, 1.0, points)


def _spread(vectors: Embeddings, rows: Sequence[int], count: int) -> Embeddings:
    spread = np.full((count, vectors.shape[1]), np.nan, np.float32)
    spread[list(rows)] = vectors
    return spread
