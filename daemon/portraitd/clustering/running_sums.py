"""Running sums of large must-link groups, so that one more track costs one addition.

Each grouping brings a few tracks to people with tens of thousands of them. Summing all of them
again would read half of the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics, measure_groups
from portraitd.clustering.neighbours import Vectors

LARGE_ROWS = 128
CHUNK_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class RunningSums:
    """Sums of the must-link groups of at least ``LARGE_ROWS`` tracks.

    Attributes:
        names: Shape ``(b,)``; ascending.
        counts: Shape ``(b,)``.
        sums: Shape ``(b, d)``, float64; of the vectors.
        squares: Shape ``(b,)``, float64; of their squared lengths plus variances.
    """

    names: Indices
    counts: Indices
    sums: Floats
    squares: Floats

    @classmethod
    def empty(cls, width: int) -> Self:
        """Return no sums, for vectors of ``width`` dimensions."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, none, np.empty((0, width)), np.empty(0))

    def update(
        self, vectors: Vectors, variances: Floats, before: Indices, after: Indices
    ) -> RunningSums:
        """Return the sums after rows moved between groups.

        Args:
            vectors: Shape ``(n, d)``; rows that are part of the sums must not have changed.
            variances: Shape ``(n,)``.
            before: Shape ``(n,)``; the must-link group of each row when these sums were made,
                -1 for none.
            after: Shape ``(n,)``; the must-link group of each row now.
        """
        sizes = np.bincount(after[after >= 0], minlength=len(after))
        names = np.flatnonzero(sizes >= LARGE_ROWS)
        sums, squares = np.zeros((len(names), vectors.shape[1])), np.zeros(len(names))
        known = np.isin(names, self.names)
        then = np.searchsorted(self.names, names[known])
        sums[known], squares[known] = self.sums[then], self.squares[then]
        moved = np.flatnonzero(before != after)
        is_known, is_new = (np.zeros(len(sizes) + 1, np.bool_) for _ in range(2))
        is_known[names[known]], is_new[names[~known]] = True, True
        # The last entry is read for -1: no group.
        for sign, rows, groups in (
            (1.0, np.flatnonzero(is_new[after]), after),
            (1.0, moved[is_known[after[moved]]], after),
            (-1.0, moved[is_known[before[moved]]], before),
        ):
            for start in range(0, len(rows), CHUNK_ROWS):
                some = rows[start : start + CHUNK_ROWS]
                found = vectors[some].astype(np.float64)
                at = np.searchsorted(names, groups[some])
                np.add.at(sums, at, sign * found)
                np.add.at(
                    squares, at, sign * (np.einsum("ij,ij->i", found, found) + variances[some])
                )
        return RunningSums(names, sizes[names], sums, squares)

    def measure_groups(
        self, vectors: Vectors, variances: Floats, rows: Indices, groups: Indices
    ) -> GroupStatistics:
        """Return statistics of groups of rows, as ``group_statistics.measure_groups`` does."""
        large = np.isin(groups, self.names)
        small = measure_groups(vectors, variances, rows[~large], groups[~large])
        at = np.flatnonzero(np.isin(self.names, groups[large]))
        means = self.sums[at] / self.counts[at, None]
        deviations = self.squares[at] / self.counts[at] - np.einsum("ij,ij->i", means, means)
        theirs = GroupStatistics(self.counts[at], means.astype(np.float32), deviations)
        names = np.concatenate([np.unique(groups[~large]), self.names[at]])
        return small.append(theirs)[np.argsort(names)]
