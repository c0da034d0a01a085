"""Who does not seem to belong to a person: tracks far from the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Embeddings
from portraitd.model.track import l2_normalised

FEWEST = 5
"""Among fewer tracks nobody can say which is the odd one."""

DEVIATIONS = 2.5
FARTHER_THAN = 0.5
"""What lies nearer than this is no intruder, however alike the others are. On labelled photos of
40 people, 5 to 20 % of them put into the wrong folder by chance, the two numbers find 0.92 of
those and doubt 0.010 of the others (3 deviations: 0.84 and 0.010)."""


@dataclass(frozen=True, slots=True, eq=False)
class Outliers:
    """Tracks that are likely somebody else.

    Attributes:
        rows: Shape ``(m,)``; which of the tracks, the farthest first.
        distances: Shape ``(m,)``; of each from the middle of the person.
        usual: The middle one of all tracks' distances.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]
    usual: float


def find_outliers(embeddings: Embeddings) -> Outliers:
    """Say which tracks of a person lie far from the rest.

    The middle is the mean of the nearer half of the tracks, so that intruders do not move it.
    Far is beyond the median distance by ``DEVIATIONS`` of what the distances usually differ
    (the median absolute deviation, scaled to a standard deviation), and beyond ``FARTHER_THAN``.

    Args:
        embeddings: Shape ``(n, 128)``; the mean of each track.
    """
    if len(embeddings) < FEWEST:
        return Outliers(np.empty(0, np.int64), np.empty(0), 0.0)
    vectors = l2_normalised(embeddings).astype(np.float64)
    distances = np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1)
    for _ in range(2):
        nearer = np.argsort(distances, kind="stable")[: len(vectors) // 2]
        distances = np.linalg.norm(vectors - vectors[nearer].mean(axis=0), axis=1)
    usual = float(np.median(distances))
    deviation = 1.4826 * float(np.median(np.abs(distances - usual)))
    far = np.flatnonzero(distances > max(usual + DEVIATIONS * deviation, FARTHER_THAN))
    rows = far[np.argsort(-distances[far], kind="stable")]
    return Outliers(rows, distances[rows], usual)
