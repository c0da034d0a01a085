"""Sufficient statistics of groups of tracks: count, mean and variance.

The mean squared distance between the faces of two groups is
``|mean_A - mean_B|^2 + variance_A + variance_B``, so these three figures represent any number of
faces, and those of a merged group follow from its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.graph_components import Indices
from portraitd.clustering.neighbours import Vectors, chunk_pairs, release_pages

Floats = NDArray[np.float64]

SUMMED_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class GroupStatistics:
    """Sufficient statistics of some groups.

    Attributes:
        counts: Shape ``(g,)``; tracks, each of which counts once regardless of its length.
        means: Shape ``(g, d)``, float32.
        variances: Shape ``(g,)``; mean squared distance of the faces from the mean.
    """

    counts: Indices
    means: Vectors
    variances: Floats

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, which: Indices | NDArray[np.bool_]) -> GroupStatistics:
        """Return some of the groups, by index or by mask."""
        return GroupStatistics(self.counts[which], self.means[which], self.variances[which])

    @classmethod
    def empty(cls, width: int) -> Self:
        """Return no groups, for vectors of ``width`` dimensions."""
        return cls(np.empty(0, np.int64), np.empty((0, width), np.float32), np.empty(0))

    @classmethod
    def of_tracks(cls, vectors: Vectors, variances: Floats) -> Self:
        """Return one group for each track.

        Args:
            vectors: Shape ``(g, d)``; the means of the tracks.
            variances: Shape ``(g,)``; as in ``TrackSummaries``.
        """
        return cls(np.ones(len(variances), np.int64), np.asarray(vectors), variances)

    @classmethod
    def stack(cls, parts: Sequence[GroupStatistics], width: int) -> Self:
        """Return the groups of all parts, one after the other.

        Args:
            parts: Any number of them, of one embedding model.
            width: Dimensions of its vectors.
        """
        every: list[GroupStatistics] = [cls.empty(width), *parts]
        return cls(
            np.concatenate([one.counts for one in every]),
            np.concatenate([one.means for one in every]),
            np.concatenate([one.variances for one in every]),
        )

    def combine(self, into: Indices) -> GroupStatistics:
        """Return statistics of groups of these groups, in ascending order of their names.

        Args:
            into: Shape ``(g,)``; the name of the group that each one becomes part of.
        """
        _, first, at, sizes = np.unique(
            into, return_index=True, return_inverse=True, return_counts=True
        )
        result = self[first]
        several = np.flatnonzero(sizes[at] > 1)
        if len(several):
            order = several[np.argsort(at[several], kind="stable")]
            starts = np.flatnonzero(np.diff(at[order], prepend=-1))
            to = at[order[starts]]
            counts = np.add.reduceat(self.counts[order], starts)
            share = self.counts[order] / counts.repeat(sizes[to])
            means = _sums(self.means[order] * share[:, None].astype(np.float32), starts)
            result.counts[to], result.means[to] = counts, means
            gaps = self.means[order] - result.means[at[order]]
            variances = self.variances[order] + np.einsum("ij,ij->i", gaps, gaps)
            result.variances[to] = np.add.reduceat(share * variances, starts)
        return result

    def append(self, others: GroupStatistics) -> GroupStatistics:
        """Return these groups followed by the others."""
        return GroupStatistics.stack((self, others), self.means.shape[1])


def measure_groups(
    vectors: Vectors, variances: Floats, rows: Indices, groups: Indices
) -> GroupStatistics:
    """Return statistics of groups of rows, in ascending order of the groups' names.

    Each group is summed in ascending order of its rows and separately from all others, so its
    figures are the same to the last bit whatever else is measured in the same call.

    Args:
        vectors: Shape ``(n, d)``; may be memory-mapped.
        variances: Shape ``(n,)``; of each row, as in ``TrackSummaries``.
        rows: Shape ``(k,)``.
        groups: Shape ``(k,)``; the name of each row's group.
    """
    order = np.lexsort((rows, groups))
    rows, groups = rows[order], groups[order]
    starts = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))
    counts = np.diff(starts, append=len(rows))
    means = np.empty((len(starts), vectors.shape[1]), dtype=np.float32)
    deviations = np.empty(len(starts))
    for part in _split_into_chunks(counts, chunk_pairs(vectors.shape[1])):
        inside = slice(starts[part.start], starts[part.stop - 1] + counts[part.stop - 1])
        found = vectors[rows[inside]]
        release_pages(vectors)
        at = starts[part] - inside.start
        means[part] = _sums(found, at) / counts[part, None]
        found -= means[part].repeat(counts[part], axis=0)
        squares = np.einsum("ij,ij->i", found, found) + variances[rows[inside]]
        deviations[part] = np.add.reduceat(squares, at) / counts[part]
    return GroupStatistics(counts, means, deviations)


def _sums(values: Vectors, starts: Indices) -> Floats:
    """Sum runs of rows that begin at ``starts``: in float32 over blocks, in float64 over those."""
    lengths = np.diff(starts, append=len(values))
    steps = -(-lengths // SUMMED_ROWS)
    firsts = np.cumsum(steps) - steps
    at = starts.repeat(steps) + (np.arange(steps.sum()) - firsts.repeat(steps)) * SUMMED_ROWS
    part_sums = np.add.reduceat(values, at, axis=0).astype(np.float64)
    return np.asarray(np.add.reduceat(part_sums, firsts, axis=0))


def _split_into_chunks(counts: Indices, most: int) -> list[slice]:
    """Return runs of groups with few enough rows to be read at once; a large group alone."""
    parts, first, size = [], 0, 0
    for group, count in enumerate(counts.tolist()):
        if group > first and size + count > most:
            parts.append(slice(first, group))
            first, size = group, 0
        size += count
    if first < len(counts):
        parts.append(slice(first, len(counts)))
    return parts


@dataclass(slots=True, eq=False)
class MergingStatistics:
    """Statistics in float64 that are updated in place as groups are merged."""

    counts: Floats
    means: Floats
    variances: Floats

    @classmethod
    def of(cls, statistics: GroupStatistics) -> Self:
        """Return a copy to work on."""
        return cls(
            statistics.counts.astype(np.float64),
            statistics.means.astype(np.float64),
            statistics.variances.copy(),
        )

    def merge(self, left: Indices, right: Indices) -> None:
        """Merge each right group into the left one beside it; no group may appear twice."""
        counts = self.counts[left] + self.counts[right]
        share = (self.counts[right] / counts)[:, None]
        gap = self.means[right] - self.means[left]
        inner = (1 - share[:, 0]) * self.variances[left] + share[:, 0] * self.variances[right]
        between = share[:, 0] * (1 - share[:, 0]) * np.einsum("ij,ij->i", gap, gap)
        self.means[left] += share * gap
        self.variances[left] = inner + between
        self.counts[left] = counts

    def distances(self, pairs: Indices) -> Floats:
        """Return the mean squared distance between the faces of each pair of groups."""
        result = np.empty(len(pairs))
        step = chunk_pairs(self.means.shape[1])
        for start in range(0, len(pairs), step):
            left, right = pairs[start : start + step].T
            gap = self.means[left] - self.means[right]
            squares = np.einsum("ij,ij->i", gap, gap)
            result[start : start + step] = squares + (self.variances[left] + self.variances[right])
        return result

    def freeze(self, which: Indices) -> GroupStatistics:
        """Return some of the groups in their current state."""
        return GroupStatistics(
            self.counts[which].astype(np.int64),
            self.means[which].astype(np.float32),
            self.variances[which],
        )
