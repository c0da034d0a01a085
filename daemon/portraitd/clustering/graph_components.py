"""Connected components of a graph given as an array of edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def connected_components(edges: Indices, size: int) -> Indices:
    """Name every node after the lowest node it is connected with.

    Hooking and pointer jumping (Shiloach and Vishkin, 1982): each round hangs the higher
    of two touching trees under the lower and then flattens, so the rounds grow with the
    logarithm of the longest path, and no step is a Python loop over nodes.

    Args:
        edges: Shape ``(k, 2)``, nodes from 0 to ``size - 1``; loops and repeats do no harm.
        size: Number of nodes.

    Returns:
        Shape ``(size,)``; a node without edges is named after itself.
    """
    names = np.arange(size, dtype=np.int64)
    while len(edges):
        ends = names[edges]
        open_ends = ends[ends[:, 0] != ends[:, 1]]
        if not len(open_ends):
            break
        np.minimum.at(names, open_ends.max(axis=1), open_ends.min(axis=1))
        while True:
            jumped = names[names]
            if np.array_equal(jumped, names):
                break
            names = jumped
        edges = open_ends
    return names
