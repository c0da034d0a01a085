"""Find tracks that probably do not belong to the person they are assigned to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.group_statistics import GroupStatistics
from portraitd.model.face import Embeddings
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.track import l2_normalised

MIN_TRACKS = 5
"""With fewer tracks, an outlier cannot be told from the rest."""

NEAREST = 3
"""A track of the person is near at least this many others of theirs."""


@dataclass(frozen=True, slots=True, eq=False)
class Outliers:
    """Tracks that are probably another person.

    Attributes:
        rows: Shape ``(m,)``; the outliers, the farthest first.
        distances: Shape ``(m,)``; of each from the nearest tracks of the person, on average.
        median: Median of these distances of all tracks; 0 without outliers.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]
    median: float


def measure_person(embeddings: Embeddings, rules: EmbeddingRules) -> GroupStatistics:
    """Return the statistics of one person, in which each of their tracks counts once.

    Args:
        embeddings: Shape ``(n, d)``; the mean of each track.
        rules: Of the model that made the embeddings.
    """
    vectors = l2_normalised(embeddings, rules.vector_length)
    count = len(vectors)
    tracks = GroupStatistics.of_tracks(vectors, np.zeros(count))
    return tracks.combine(np.zeros(count, np.int64))


def find_outliers(
    embeddings: Embeddings, rules: EmbeddingRules, people: GroupStatistics, own: int
) -> Outliers:
    """Find the tracks of a person that are nearer to another person and far from their own.

    A person may vary, so neither is enough alone. A track is compared with the whole of a person
    by the root of the mean squared distance to all of their tracks, and is far from its own if
    even the nearest of them are farther than ``OutlierRule.min_distance``.

    Args:
        embeddings: Shape ``(n, d)``; the mean of each track.
        rules: Of the model that made the embeddings.
        people: All people, see ``measure_person``.
        own: Which of them this person is.
    """
    none = Outliers(np.empty(0, np.int64), np.empty(0), 0.0)
    count = len(embeddings)
    if count < MIN_TRACKS or len(people) < 2:
        return none
    vectors = l2_normalised(embeddings, rules.vector_length).astype(np.float64)
    gaps = np.square(vectors - people.means[own]).sum(axis=1)
    # Without the track itself, which is at no distance.
    own_squares = (gaps + people.variances[own]) * count / (count - 1)
    limit = rules.outliers.min_distance
    doubtful = np.flatnonzero(own_squares > limit**2)
    if not len(doubtful):
        return none
    means = people.means.astype(np.float64)
    squares = np.einsum("ij,ij->i", means, means) + people.variances
    to_others = -2 * vectors[doubtful] @ means.T + squares
    to_others[:, own] = np.inf
    nearest = to_others.min(axis=1)
    nearest += np.einsum("ij,ij->i", vectors[doubtful], vectors[doubtful])
    doubtful = doubtful[nearest < own_squares[doubtful]]
    distances = _distances_to_nearest(vectors, doubtful)
    is_far = distances > limit
    order = np.argsort(-distances[is_far], kind="stable")
    rows, distances = doubtful[is_far][order], distances[is_far][order]
    if not len(rows):
        return none
    some = np.arange(0, count, max(1, count // 100))
    return Outliers(rows, distances, float(np.median(_distances_to_nearest(vectors, some))))


def _distances_to_nearest(
    vectors: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mean distance of some tracks to the nearest other ones."""
    found = np.empty(len(rows))
    for at, row in enumerate(rows):
        distances = np.linalg.norm(vectors - vectors[row], axis=1)
        distances[row] = np.inf
        found[at] = np.partition(distances, NEAREST - 1)[:NEAREST].mean()
    return found
