"""Select the portraits that represent a person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Embeddings


def pick_diverse(
    embeddings: Embeddings, qualities: Sequence[float] | NDArray[np.float64], count: int = 25
) -> list[int]:
    """Choose good portraits that differ most from each other (farthest-point sampling).

    Among the better half (or ``count``, if that is more) the best comes first, then always the
    one farthest from all chosen so far. The lower index wins a tie, so the same faces give the
    same choice.

    Args:
        embeddings: Shape ``(n, d)``.
        qualities: Of each face, length ``n``; higher is better.
        count: Maximum number.

    Returns:
        Indices into ``embeddings``, in the order they were chosen.

    Raises:
        ValueError: If the lengths differ.
    """
    if len(embeddings) != len(qualities):
        raise ValueError(f"{len(embeddings)} embeddings, but {len(qualities)} qualities")
    if not len(embeddings) or count <= 0:
        return []
    by_quality = np.argsort(-np.asarray(qualities, np.float64), kind="stable")
    good = np.sort(by_quality[: max(-(-len(by_quality) // 2), count)])
    vectors: NDArray[np.float64] = np.asarray(embeddings, np.float64)[good]
    chosen = [int(np.flatnonzero(good == by_quality[0])[0])]
    nearest = np.full(len(good), np.inf)
    while len(chosen) < min(count, len(good)):
        nearest = np.minimum(nearest, np.linalg.norm(vectors - vectors[chosen[-1]], axis=1))
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
    return [int(good[index]) for index in chosen]
