"""Connected components of a graph given as an array of edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def connected_components(edges: Indices, size: int) -> Indices:
    """Name every node after the lowest node it is connected with.

    Args:
        edges: Shape ``(k, 2)``, nodes from 0 to ``size - 1``; loops and repeats are ignored.
        size: Number of nodes.

    Returns:
        Shape ``(size,)``; a node without edges is named after itself.
    """
    if not len(edges):
        return np.arange(size, dtype=np.int64)
    # Imported in the worker that groups: the service imports this module and must stay small.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components as label_components

    ones = np.ones(len(edges), dtype=np.bool_)
    graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(size, size))
    _, labels = label_components(graph, directed=False)
    _, lowest = np.unique(labels, return_index=True)
    names: Indices = lowest[labels]
    return names
