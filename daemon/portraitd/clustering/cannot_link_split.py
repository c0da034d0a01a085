"""Parting a cluster that cannot be one person.

By the density step again, at smaller and smaller eps, and where that does not help, the tracks
that stand beside each other leave as lone tracks.
"""

from __future__ import annotations

import numpy as np

from portraitd.clustering.dbscan import DbscanRule, IncrementalDbscan
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.neighbours import Vectors

SHRINK = 0.8
SHRINKINGS = 5
# Parting compares all rows of a cluster with each other, several times.
LARGEST_PARTED = 5_000


def split_by_cannot_links(vectors: Vectors, cannot_link: Indices, rule: DbscanRule) -> Indices:
    """Number the parts of one cluster such that no part holds a pair.

    Args:
        vectors: Shape ``(k, d)``.
        apart: Shape ``(m, 2)``; pairs of rows that are different people.
        rule: That of the density step.
    """
    size = len(vectors)
    parts = np.zeros(size, dtype=np.int64)
    for step in range(1, SHRINKINGS + 1):
        broken = parts[cannot_link[parts[cannot_link[:, 0]] == parts[cannot_link[:, 1]], 0]]
        if not len(broken) or size > LARGEST_PARTED:
            break
        smaller = DbscanRule(rule.eps * SHRINK**step, rule.min_samples)
        for part in np.unique(broken):
            members = np.flatnonzero(parts == part)
            finer = IncrementalDbscan.empty().insert(
                vectors[members], np.arange(len(members)), smaller
            )
            labels = np.where(finer.labels >= 0, finer.labels, np.arange(len(members)))
            # Parts of different parts stay different: each is named after one of its rows.
            parts[members] = size * step + members[labels]
    beside = cannot_link[parts[cannot_link[:, 0]] == parts[cannot_link[:, 1]]].ravel()
    parts[beside] = -1 - beside
    return parts
