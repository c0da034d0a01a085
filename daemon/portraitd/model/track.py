"""Tracks: one face followed through a shot; and the quality of faces for recognition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from portraitd.model.face import Embeddings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Indices: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True, slots=True, eq=False)
class VideoFaces:
    """All faces of one video or photo, in any order.

    Attributes:
        times_s: Shape ``(n,)``; faces of one frame have exactly the same time.
        boxes: Shape ``(n, 4)``; left, top, right, bottom in pixels of the full-size frame.
        embeddings: Shape ``(n, d)``, as the encoder returns them.
        quality: Shape ``(n,)``; from ``face_quality``.
        shots: Shape ``(n,)``; the number of each face's shot, if the cuts are known. If None,
            cuts are detected by the boxes and the embeddings.
    """

    times_s: Floats
    boxes: Floats
    embeddings: Embeddings
    quality: Floats
    shots: Indices | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFaces:
    """Faces of one video with the tracks that they are in, by time.

    Attributes:
        ids: Shape ``(n,)``.
        times_s: Shape ``(n,)``.
        boxes: Shape ``(n, 4)``; as in ``VideoFaces``.
        embeddings: Shape ``(n, d)``, as the encoder returns them.
        tracks: Shape ``(n,)``; 0 for none.
        persons: Shape ``(n,)``; 0 for none.
        hidden: Shape ``(n,)``; as ``model.edit.Hidden``.
    """

    ids: Indices
    times_s: Floats
    boxes: Floats
    embeddings: Embeddings
    tracks: Indices
    persons: Indices
    hidden: Indices


@dataclass(frozen=True, slots=True, eq=False)
class TrackSummaries:
    """Summaries of the tracks of a video, by track number.

    Attributes:
        embeddings: Shape ``(k, d)``, float32; the mean of the L2-normalised embeddings, in
            which poor faces have less weight. The more the faces differ, the shorter it is.
        variances: Shape ``(k,)``; mean squared distance of the faces from that mean, 0 for a
            single face. Added to the squared distance of two means, it gives that of the faces,
            so one threshold suits photographs as well as tracks of a hundred frames.
        faces: Shape ``(k,)``; number of faces.
        quality: Shape ``(k,)``; of the best face.
        best: Shape ``(k,)``; index of the best face, the earliest among equals.
    """

    embeddings: Embeddings
    variances: Floats
    faces: Indices
    quality: Floats
    best: Indices


def l2_normalised(embeddings: Embeddings, length: float = 1.0) -> Embeddings:
    """Return vectors of one length: that of a vector says more about the picture than the person.

    Args:
        embeddings: Shape ``(n, d)``. A vector of zeros stays as it is.
        length: As ``EmbeddingRules.vector_length``.
    """
    import numpy as np

    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    scaled = embeddings * (length / np.where(lengths > 0, lengths, 1.0))
    return np.asarray(scaled, dtype=np.float32)
