"""The removal step of incremental DBSCAN: split a cluster that lost cores, if it has to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.graph_components import Indices
from portraitd.clustering.neighbours import Vectors, find_neighbours

FRONTIER_ROWS = 256


def split_component(
    vectors: Vectors, remaining: Indices, lost: Indices, limit: float
) -> list[Indices]:
    """Return the connected parts of the remaining cores of one component.

    Any path through lost cores enters and leaves a group of connected lost cores through cores
    near that group. So if the remaining cores near each such group are connected among
    themselves, the component is still connected, and the rest of it need not be searched.
    Otherwise the parts grow from there, the smallest first, until they meet or only one is left,
    which gets all other cores.

    Args:
        vectors: Shape ``(n, d)``.
        remaining: The remaining cores of the component, ascending.
        lost: The cores it lost.
        limit: Squared distance up to which cores are connected.

    Returns:
        The rows of each part; an empty list if no core remains.
    """
    if not len(remaining):
        return []
    border = np.zeros(len(remaining), dtype=np.bool_)
    for gap in find_connected_parts(vectors, lost, limit):
        near_gap = np.zeros(len(remaining), dtype=np.bool_)
        for start in range(0, len(gap), FRONTIER_ROWS):
            queries = vectors[gap[start : start + FRONTIER_ROWS]]
            for _, found in find_neighbours(queries, vectors[remaining], limit):
                near_gap[found] = True
        if len(find_connected_parts(vectors, remaining[near_gap], limit)) > 1:
            border |= near_gap
    if not border.any():
        return [remaining]
    return _grow_parts(
        vectors, remaining, find_connected_parts(vectors, remaining[border], limit), limit
    )


def find_connected_parts(vectors: Vectors, rows: Indices, limit: float) -> list[Indices]:
    """Return the connected parts of ``rows``, by breadth-first search."""
    parts = []
    unreached = rows
    while len(unreached):
        part = [unreached[:1]]
        frontier, unreached = unreached[:1], unreached[1:]
        while len(frontier) and len(unreached):
            step, frontier = frontier[:FRONTIER_ROWS], frontier[FRONTIER_ROWS:]
            reached = _find_reached(vectors, step, unreached, limit)
            part.append(unreached[reached])
            frontier = np.concatenate([frontier, unreached[reached]])
            unreached = unreached[~reached]
        parts.append(np.concatenate(part))
    return parts


def _find_reached(
    vectors: Vectors, step: Indices, others: Indices, limit: float
) -> NDArray[np.bool_]:
    reached = np.zeros(len(others), dtype=np.bool_)
    for _, found in find_neighbours(vectors[step], vectors[others], limit):
        reached[found] = True
    return reached


def _grow_parts(
    vectors: Vectors, remaining: Indices, starts: list[Indices], limit: float
) -> list[Indices]:
    """Grow parts from the starts through the remaining cores; each part holds a start."""
    owner = np.full(len(remaining), -1, dtype=np.int64)
    frontiers = {}
    for number, start in enumerate(starts):
        at = np.searchsorted(remaining, np.sort(start))
        owner[at] = number
        frontiers[number] = at
    sizes = {number: len(start) for number, start in enumerate(starts)}
    while len(frontiers) > 1:
        number = min(frontiers, key=lambda one: (sizes[one], one))
        step, rest = np.split(frontiers[number], [FRONTIER_ROWS])
        others = np.flatnonzero(owner != number)
        reached = others[_find_reached(vectors, remaining[step], remaining[others], limit)]
        fresh = reached[owner[reached] < 0]
        owner[fresh] = number
        frontier = [rest, fresh]
        for met in np.unique(owner[reached]):
            if met != number:
                frontier.append(frontiers.pop(int(met)))
                owner[owner == met] = number
        frontiers[number] = np.concatenate(frontier)
        sizes[number] = int(np.count_nonzero(owner == number))
        if not len(frontiers[number]):
            del frontiers[number]
    for number in frontiers:
        owner[owner < 0] = number
    return [remaining[owner == number] for number in np.unique(owner)]
