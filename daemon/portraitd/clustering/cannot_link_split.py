"""Split a cluster that cannot be one person.

The density step runs again at smaller and smaller eps. Where that does not separate a
cannot-link, both of its tracks leave the cluster as single tracks.
"""

from __future__ import annotations

import numpy as np

from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.neighbours import Vectors
from portraitd.model.grouping_rules import DbscanRule

SHRINK_FACTOR = 0.8
MAX_SHRINKINGS = 5
# A split compares all rows of a cluster with each other, several times.
MAX_SPLIT_ROWS = 5_000


def split_by_cannot_links(vectors: Vectors, cannot_link: Indices, rule: DbscanRule) -> Indices:
    """Number the parts of one cluster such that no part holds a cannot-link.

    Args:
        vectors: Shape ``(k, d)``.
        cannot_link: Shape ``(m, 2)``; pairs of rows.
        rule: The rule of the density step.

    Returns:
        Shape ``(k,)``; the part of each row.
    """
    size = len(vectors)
    parts = np.zeros(size, dtype=np.int64)
    for step in range(1, MAX_SHRINKINGS + 1):
        conflicting = parts[cannot_link[parts[cannot_link[:, 0]] == parts[cannot_link[:, 1]], 0]]
        if not len(conflicting) or size > MAX_SPLIT_ROWS:
            break
        smaller = DbscanRule(rule.eps * SHRINK_FACTOR**step, rule.min_samples)
        for part in np.unique(conflicting):
            members = np.flatnonzero(parts == part)
            finer = IncrementalDbscan.empty().insert(
                vectors[members], np.arange(len(members)), smaller
            )
            labels = np.where(finer.labels >= 0, finer.labels, np.arange(len(members)))
            # Parts of different parts stay different: each is named after one of its rows.
            parts[members] = size * step + members[labels]
    remaining = cannot_link[parts[cannot_link[:, 0]] == parts[cannot_link[:, 1]]].ravel()
    parts[remaining] = -1 - remaining
    return parts
