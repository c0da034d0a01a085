"""Tracks: one face followed through a shot, and how much a face says about whose it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Embeddings

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

VECTOR_LENGTH = 1.4


@dataclass(frozen=True, slots=True, eq=False)
class VideoFaces:
    """All faces of one video or photo, in any order.

    Attributes:
        times_s: Shape ``(n,)``; faces of one frame have the very same time.
        boxes: Shape ``(n, 4)``; left, top, right, bottom in pixels of the full-size frame.
        embeddings: Shape ``(n, 128)``, as the encoder gives them.
        quality: Shape ``(n,)``; as ``face_quality`` gives it.
        shots: Shape ``(n,)``; a number for each stretch between two cuts, where the decoder
            knows them. None otherwise: a cut then shows in the boxes and the embeddings.
    """

    times_s: Floats
    boxes: Floats
    embeddings: Embeddings
    quality: Floats
    shots: Indices | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrackSummaries:
    """What grouping needs of each track, by track number.

    Attributes:
        embeddings: Shape ``(k, 128)``, float32; the mean of the l2_normalised embeddings, in which
            poor faces weigh less. Shorter than they are, the more its faces differ.
        variances: Shape ``(k,)``; mean squared distance of the faces from that mean, 0 for a
            single face. Added to squared distances of means it gives those of faces, so one
            threshold fits photographs and tracks of a hundred frames.
        faces: Shape ``(k,)``; how many faces.
        quality: Shape ``(k,)``; of the best face.
        best: Shape ``(k,)``; index of the best face, the earliest of equals.
    """

    embeddings: Embeddings
    variances: Floats
    faces: Indices
    quality: Floats
    best: Indices


def l2_normalised(embeddings: Embeddings) -> Embeddings:
    """Scale every vector to dlib's average length, so that distances keep their meaning.

    How long a vector is says more about the picture than about the person: on labelled
    photos and clips, at one stranger in ten thousand taken for the same person, levelling
    raises the pairs recognised from 0.85 to 0.88 and from 0.74 to 0.79.

    Args:
        embeddings: Shape ``(n, 128)``. A vector of zeros stays one.
    """
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    scaled = embeddings * (VECTOR_LENGTH / np.where(lengths > 0, lengths, 1.0))
    return np.asarray(scaled, dtype=np.float32)
