"""Whether a density cluster that lost cores still holds together, and its parts if not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.graph_components import Indices
from portraitd.clustering.neighbours import Vectors, find_neighbours

FRONTIER_ROWS = 256


def split_component(vectors: Vectors, pool: Indices, lost: Indices, limit: float) -> list[Indices]:
    """The connected parts of what is left of one component.

    Any way through the lost cores enters and leaves a group of touching lost cores beside
    them. So where the survivors around each such group are connected among themselves, the
    component is whole, and the rest of it need not be looked at. Otherwise the parts grow
    from there, the smallest first, until they meet or one alone is left to take the rest.

    Args:
        vectors: Shape ``(n, d)``.
        pool: The surviving cores of the component, in ascending order.
        lost: The cores it lost.
        limit: Squared distance up to which cores are connected.

    Returns:
        The rows of each part; no part if nothing survived.
    """
    if not len(pool):
        return []
    torn = np.zeros(len(pool), dtype=np.bool_)
    for gap in find_connected_parts(vectors, lost, limit):
        beside = np.zeros(len(pool), dtype=np.bool_)
        for start in range(0, len(gap), FRONTIER_ROWS):
            queries = vectors[gap[start : start + FRONTIER_ROWS]]
            for _, found in find_neighbours(queries, vectors[pool], limit):
                beside[found] = True
        if len(find_connected_parts(vectors, pool[beside], limit)) > 1:
            torn |= beside
    if not torn.any():
        return [pool]
    return _grown(vectors, pool, find_connected_parts(vectors, pool[torn], limit), limit)


def find_connected_parts(vectors: Vectors, rows: Indices, limit: float) -> list[Indices]:
    """Connected parts of ``rows``, found by walking: what is reached leaves the search."""
    parts = []
    unreached = rows
    while len(unreached):
        part = [unreached[:1]]
        frontier, unreached = unreached[:1], unreached[1:]
        while len(frontier) and len(unreached):
            step, frontier = frontier[:FRONTIER_ROWS], frontier[FRONTIER_ROWS:]
            reached = _touched(vectors, step, unreached, limit)
            part.append(unreached[reached])
            frontier = np.concatenate([frontier, unreached[reached]])
            unreached = unreached[~reached]
        parts.append(np.concatenate(part))
    return parts


def _touched(vectors: Vectors, step: Indices, others: Indices, limit: float) -> NDArray[np.bool_]:
    reached = np.zeros(len(others), dtype=np.bool_)
    for _, found in find_neighbours(vectors[step], vectors[others], limit):
        reached[found] = True
    return reached


def _grown(vectors: Vectors, pool: Indices, seeds: list[Indices], limit: float) -> list[Indices]:
    """Grow the seeds through the pool, in which each part holds at least one of them."""
    owner = np.full(len(pool), -1, dtype=np.int64)
    frontiers = {}
    for number, seed in enumerate(seeds):
        at = np.searchsorted(pool, np.sort(seed))
        owner[at] = number
        frontiers[number] = at
    sizes = {number: len(seed) for number, seed in enumerate(seeds)}
    while len(frontiers) > 1:
        number = min(frontiers, key=lambda one: (sizes[one], one))
        step, rest = np.split(frontiers[number], [FRONTIER_ROWS])
        others = np.flatnonzero(owner != number)
        reached = others[_touched(vectors, pool[step], pool[others], limit)]
        fresh = reached[owner[reached] < 0]
        owner[fresh] = number
        grown = [rest, fresh]
        for met in np.unique(owner[reached]):
            if met != number:
                grown.append(frontiers.pop(int(met)))
                owner[owner == met] = number
        frontiers[number] = np.concatenate(grown)
        sizes[number] = int(np.count_nonzero(owner == number))
        if not len(frontiers[number]):
            del frontiers[number]
    for number in frontiers:
        owner[owner < 0] = number
    return [pool[owner == number] for number in np.unique(owner)]
