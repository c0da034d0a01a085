"""Which faces of a person say something that the others do not."""

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
    """Leave out faces that are nearly the same as an earlier one of the same person.

    The earlier one stays, so that what arrives later throws nothing out.

    Args:
        embeddings: Shape ``(n, 128)``; of one person, in the order of arrival.
        tracks: Shape ``(n,)``.
        times_s: Shape ``(n,)``; when each was seen in its video.
        near_duplicate: Faces no farther apart are the same picture, whatever file they are in.
        apart_s: Faces of one track less than this apart in time are the same moment.

    Returns:
        Shape ``(n,)``; True for those that stay.
    """
    staying = np.zeros(len(embeddings), np.bool_)
    vectors = np.empty((len(embeddings), embeddings.shape[1]), np.float32)
    squares = np.empty(len(embeddings), np.float64)
    last_s: dict[int, float] = {}
    count = 0
    for row in range(len(embeddings)):
        track, t_s = int(tracks[row]), float(times_s[row])
        # A little less: frames a second apart are never exactly that.
        if t_s - last_s.get(track, -np.inf) < 0.9 * apart_s:
            continue
        vector = embeddings[row]
        square = float(vector.astype(np.float64) @ vector.astype(np.float64))
        if count:
            distances = squares[:count] + square - 2.0 * (vectors[:count] @ vector)
            if float(distances.min()) <= near_duplicate**2:
                continue
        staying[row] = True
        last_s[track] = t_s
        vectors[count], squares[count] = vector, square
        count += 1
    return staying
