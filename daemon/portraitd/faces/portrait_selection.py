"""Select the portraits that represent a person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Embeddings

MAX_COMPARED = 200
"""Of more faces, only the best are compared to find the middle of a person."""


def pick_diverse(
    embeddings: Embeddings, qualities: Sequence[float] | NDArray[np.float64], count: int = 25
) -> list[int]:
    """Choose good portraits that differ most from each other (farthest-point sampling).

    Among the better half (or ``count``, if that is more) the cover is chosen first, then always
    the one farthest from all chosen so far. The lower index wins a tie, so the same faces give the
    same choice.

    Args:
        embeddings: Shape ``(n, d)``, of one length.
        qualities: Of each face, length ``n``; higher is better.
        count: Maximum number.

    Returns:
        Indices into ``embeddings``: the cover, then the others from the middle of the person to
        its edge, where a stranger would be.

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
    chosen = [int(np.flatnonzero(good == pick_cover(embeddings, qualities))[0])]
    nearest = np.full(len(good), np.inf)
    while len(chosen) < min(count, len(good)):
        nearest = np.minimum(nearest, np.linalg.norm(vectors - vectors[chosen[-1]], axis=1))
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
    distances = measure_eccentricity(embeddings, qualities)[good[chosen]]
    others = 1 + np.argsort(distances[1:], kind="stable")
    return [int(good[chosen[index]]) for index in (0, *others)]


def pick_cover(embeddings: Embeddings, qualities: Sequence[float] | NDArray[np.float64]) -> int:
    """Choose the portrait that stands for a person: of the better half, the most typical one.

    Not the best of all: a stranger among the faces of a person may well be the sharpest.

    Args:
        embeddings: Shape ``(n, d)``, of one length; at least one.
        qualities: Of each face, length ``n``; higher is better. The better one wins a tie.
    """
    by_quality = np.argsort(-np.asarray(qualities, np.float64), kind="stable")
    good = by_quality[: -(-len(by_quality) // 2)]
    if len(by_quality) < 3:
        return int(good[0])
    # Rounded: two faces that define the middle are equally far from it.
    distances = np.round(measure_eccentricity(embeddings, qualities), 6)
    return int(good[np.argmin(distances[good])])


def measure_eccentricity(
    embeddings: Embeddings, qualities: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of each face from the middle of its person, shape ``(n,)``.

    The middle is the mean of the densest half, so that strangers do not move it.

    Args:
        embeddings: Shape ``(n, d)``, of one length; at least one.
        qualities: Of each face, length ``n``; of very many, the best define the middle.
    """
    vectors: NDArray[np.float64] = np.asarray(embeddings, np.float64)
    by_quality = np.argsort(-np.asarray(qualities, np.float64), kind="stable")
    some = vectors[by_quality[:MAX_COMPARED]]
    distances = np.linalg.norm(some[:, None] - some[None], axis=2)
    half = len(some) // 2 + 1
    density = np.sort(distances, axis=1)[:, :half].mean(axis=1)
    nearest = np.argsort(distances[int(np.argmin(density))], kind="stable")[:half]
    return np.asarray(np.linalg.norm(vectors - some[nearest].mean(axis=0), axis=1))
