"""Find tracks that probably do not belong to the person they are assigned to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Embeddings
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.track import l2_normalised

MIN_TRACKS = 5
"""With fewer tracks, an outlier cannot be told from the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class Outliers:
    """Tracks that are probably another person.

    Attributes:
        rows: Shape ``(m,)``; the outliers, the farthest first.
        distances: Shape ``(m,)``; of each from the centre of the person.
        median: Median of the distances of all tracks.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]
    median: float


def find_outliers(embeddings: Embeddings, rules: EmbeddingRules) -> Outliers:
    """Find the tracks of a person that are far from the rest.

    The centre is the mean of the nearer half of the tracks, so that outliers do not move it. A
    track is far if its distance exceeds both limits of ``OutlierRule``.

    Args:
        embeddings: Shape ``(n, d)``; the mean of each track.
        rules: Of the model that made the embeddings.
    """
    if len(embeddings) < MIN_TRACKS:
        return Outliers(np.empty(0, np.int64), np.empty(0), 0.0)
    vectors = l2_normalised(embeddings, rules.vector_length).astype(np.float64)
    distances = np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1)
    for _ in range(2):
        nearer = np.argsort(distances, kind="stable")[: len(vectors) // 2]
        distances = np.linalg.norm(vectors - vectors[nearer].mean(axis=0), axis=1)
    median = float(np.median(distances))
    deviation = 1.4826 * float(np.median(np.abs(distances - median)))
    limit = max(median + rules.outliers.max_deviations * deviation, rules.outliers.min_distance)
    far = np.flatnonzero(distances > limit)
    rows = far[np.argsort(-distances[far], kind="stable")]
    return Outliers(rows, distances[rows], median)
