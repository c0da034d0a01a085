"""Deduplication: selects faces of a person that differ enough from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Embeddings


def select_distinct(
    embeddings: Embeddings,
    tracks: NDArray[np.int64],
    times_s: NDArray[np.float64],
    near_duplicate: float,
    apart_s: float,
) -> NDArray[np.bool_]:
    """Select faces that are no near-duplicates of an earlier selected face.

    Earlier faces take precedence, so a face that was selected once stays selected.

    Args:
        embeddings: Shape ``(n, d)``; of one person, in order of arrival.
        tracks: Shape ``(n,)``; the track of each face.
        times_s: Shape ``(n,)``; time of each face in its video.
        near_duplicate: Largest distance of near-duplicates, in any files.
        apart_s: Minimum time between two faces of one track.

    Returns:
        Shape ``(n,)``; True for the selected faces.
    """
    selected = np.zeros(len(embeddings), np.bool_)
    vectors = np.empty((len(embeddings), embeddings.shape[1]), np.float32)
    squares = np.empty(len(embeddings), np.float64)
    last_s: dict[int, float] = {}
    count = 0
    for row in range(len(embeddings)):
        track, t_s = int(tracks[row]), float(times_s[row])
        # With a tolerance: frames sampled once per second are never exactly a second apart.
        if t_s - last_s.get(track, -np.inf) < 0.9 * apart_s:
            continue
        vector = embeddings[row]
        square = float(vector.astype(np.float64) @ vector.astype(np.float64))
        if count:
            distances = squares[:count] + square - 2.0 * (vectors[:count] @ vector)
            if float(distances.min()) <= near_duplicate**2:
                continue
        selected[row] = True
        last_s[track] = t_s
        vectors[count], squares[count] = vector, square
        count += 1
    return selected
