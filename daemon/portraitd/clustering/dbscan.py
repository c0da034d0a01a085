"""Incremental DBSCAN: insert and remove points, with the result of a run from scratch.

Ester et al., "A Density-Based Algorithm for Discovering Clusters in Large Spatial Databases with
Noise" (KDD 1996) and "Incremental Clustering for Mining in a Data Warehousing Environment" (VLDB
1998), done in batches with matrix products. Three numbers are kept per point: how many
neighbours it has, which component it is in, and which core is nearest.

The result never depends on the order of inserts and removals. DBSCAN does not define which
cluster a border point joins; here it is that of the nearest core, the lowest row on a tie.

Cost: ``m`` inserted points take one product with all stored points, and each older point that
had neighbours and becomes a core takes one more. A removal finds the neighbours of the removed
points, and then searches only the clusters that lost a core.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.dbscan_removal import split_component
from portraitd.clustering.graph_components import Indices, connected_components
from portraitd.clustering.neighbours import Vectors, find_neighbours, squared_distances
from portraitd.model.grouping_rules import DbscanRule

NOISE = -1
CHUNK_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class IncrementalDbscan:
    """The state between two groupings; row ``i`` belongs to vector ``i``.

    Attributes:
        counts: Shape ``(n,)``, int32. Points within eps, itself included; 0 for a row that
            is not included (removed, or never inserted).
        components: Shape ``(n,)``. For a core, the lowest core row it is connected with;
            otherwise -1.
        nearest_cores: Shape ``(n,)``. The nearest core: itself for a core, -1 for noise.
    """

    counts: NDArray[np.int32]
    components: Indices
    nearest_cores: Indices

    @classmethod
    def empty(cls) -> Self:
        """Return the state without points."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64))

    @property
    def labels(self) -> Indices:
        """Shape ``(n,)``: the cluster, named after its lowest core row; -1 for noise."""
        labels = np.full(len(self.nearest_cores), NOISE, dtype=np.int64)
        in_cluster = self.nearest_cores >= 0
        labels[in_cluster] = self.components[self.nearest_cores[in_cluster]]
        return labels

    @property
    def included(self) -> NDArray[np.bool_]:
        """Shape ``(n,)``: whether the row was inserted and not removed."""
        return self.counts > 0

    def insert(self, vectors: Vectors, rows: Indices, rule: DbscanRule) -> IncrementalDbscan:
        """Return the state with more rows.

        Args:
            vectors: Shape ``(n, d)``, finite; all previous rows, unchanged, followed by any
                number of new ones.
            rows: The rows to insert; other new rows are not included.
            rule: The same in every call.

        Raises:
            ValueError: If a row is included already or does not exist.
        """
        rows = np.unique(rows)
        draft = _DbscanDraft(self, vectors, rule)
        if len(rows) and (rows[0] < 0 or rows[-1] >= len(vectors) or draft.counts[rows].any()):
            raise ValueError("only existing rows that are not included can be inserted")
        for start in range(0, len(rows), CHUNK_ROWS):
            draft.insert(rows[start : start + CHUNK_ROWS])
        return IncrementalDbscan(draft.counts, draft.components, draft.nearest_cores)

    def remove(self, vectors: Vectors, rows: Indices, rule: DbscanRule) -> IncrementalDbscan:
        """Return the state without some rows; they may be inserted again.

        Args:
            vectors: As for ``insert``.
            rows: The rows to remove.
            rule: The same in every call.

        Raises:
            ValueError: If a row is not included.
        """
        rows = np.unique(rows)
        draft = _DbscanDraft(self, vectors, rule)
        if len(rows) and (rows[0] < 0 or rows[-1] >= len(vectors) or not draft.counts[rows].all()):
            raise ValueError("only included rows can be removed")
        for start in range(0, len(rows), CHUNK_ROWS):
            draft.remove(rows[start : start + CHUNK_ROWS])
        return IncrementalDbscan(draft.counts, draft.components, draft.nearest_cores)


class _DbscanDraft:
    """A copy of a state that is changed in place, one chunk of rows after the other."""

    def __init__(self, before: IncrementalDbscan, vectors: Vectors, rule: DbscanRule) -> None:
        missing = len(vectors) - len(before.counts)
        if missing < 0:
            raise ValueError("vectors can only be appended")
        self.counts = np.pad(before.counts, (0, missing))
        self.components = np.pad(before.components, (0, missing), constant_values=NOISE)
        self.nearest_cores = np.pad(before.nearest_cores, (0, missing), constant_values=NOISE)
        self._vectors = vectors
        self._rule = rule

    def insert(self, rows: Indices) -> None:
        was_core = self._is_core()
        was_alone = self.counts == 1
        included = self.counts > 0
        included[rows] = True
        own_counts = np.zeros(len(rows), dtype=np.int64)
        links, kept = _ComponentLinks(self.components), []
        for query, row in self._find_near(rows, included):
            own_counts += np.bincount(query, minlength=len(rows))
            self._count(row, 1)
            links.add(rows[query], row, was_core[row])
            # A point with enough neighbours is certainly a core and needs no nearest core, so of
            # its older cores only the component matters; that bounds what is kept.
            wanted = ~was_core[row] | (own_counts[query] < self._rule.min_samples)
            kept.append(np.stack([rows[query[wanted]], row[wanted]], axis=1))
        self.counts[rows] = own_counts
        pairs = _stack(kept)

        promoted = np.setdiff1d(pairs[:, 1], rows)
        promoted = promoted[~was_core[promoted] & self._is_core(promoted)]
        # A point that had no neighbour has the inserted ones only, whose pairs are known.
        searched = promoted[~was_alone[promoted]]
        for start in range(0, len(searched), CHUNK_ROWS):
            part = searched[start : start + CHUNK_ROWS]
            for query, row in self._find_near(part, included):
                links.add(part[query], row, was_core[row])
                open_end = ~was_core[row]
                more = np.stack([part[query[open_end]], row[open_end]], axis=1)
                pairs = np.concatenate([pairs, more])

        new_cores = np.concatenate([rows[self._is_core(rows)], promoted])
        self._join(
            new_cores, links, pairs[self._is_core(pairs).all(axis=1) & ~was_core[pairs[:, 1]]]
        )
        self._update_nearest_cores(np.concatenate([pairs, pairs[:, ::-1]]))

    def remove(self, rows: Indices) -> None:
        was_core = self._is_core()
        for _, row in self._find_near(rows, self.counts > 0):
            self._count(row, -1)
        self.counts[rows] = 0
        lost = np.flatnonzero(was_core & ~self._is_core())
        components_lost = self.components[lost]
        self.components[lost] = NOISE
        affected = np.unique(components_lost)
        survivors = np.flatnonzero(np.isin(self.components, affected))
        survivors_in = self.components[survivors]
        for component in affected:
            remaining = survivors[survivors_in == component]
            gaps = lost[components_lost == component]
            for part in split_component(self._vectors, remaining, gaps, self._rule.eps**2):
                self.components[part] = part.min()

        is_lost = np.zeros(len(self.counts), dtype=np.bool_)
        is_lost[lost] = True
        # nearest_cores may be -1 for noise, which would read the last row.
        orphaned = (self.nearest_cores >= 0) & is_lost[self.nearest_cores]
        self.nearest_cores[orphaned] = NOISE
        self.nearest_cores[rows] = NOISE
        orphans = np.flatnonzero(orphaned & (self.counts > 0))
        core = self._is_core()
        found = [
            np.stack([orphans[query], row], axis=1) for query, row in self._find_near(orphans, core)
        ]
        self._update_nearest_cores(_stack(found))

    def _count(self, found: Indices, change: int) -> None:
        """Change the count of each row by how often it was found, among neighbouring rows."""
        first = int(found.min())
        times = np.bincount(found - first)
        self.counts[first : first + len(times)] += (change * times).astype(np.int32)

    def _is_core(self, rows: Indices | slice = slice(None)) -> NDArray[np.bool_]:
        core: NDArray[np.bool_] = self.counts[rows] >= self._rule.min_samples
        return core

    def _find_near(
        self, rows: Indices, among: NDArray[np.bool_]
    ) -> Iterator[tuple[Indices, Indices]]:
        offsets = np.where(among, 0.0, np.inf)
        return find_neighbours(self._vectors[rows], self._vectors, self._rule.eps**2, None, offsets)

    def _join(self, new_cores: Indices, links: _ComponentLinks, pairs: Indices) -> None:
        """Connect new cores with each other and with the components near them."""
        self.nearest_cores[new_cores] = new_cores
        edges = np.concatenate([links.select_cores(self.counts, self._rule), pairs])
        nodes = np.unique(np.concatenate([new_cores, edges.ravel()]))
        names = nodes[connected_components(np.searchsorted(nodes, edges), len(nodes))]
        renamed = np.arange(len(self.components))
        renamed[nodes] = names
        self.components[new_cores] = new_cores
        core = self.components >= 0
        self.components[core] = renamed[self.components[core]]

    def _update_nearest_cores(self, pairs: Indices) -> None:
        """Set the nearest core of each border point, from its old one and the given pairs.

        Args:
            pairs: Shape ``(k, 2)``: point and neighbour; only pairs of a border point and a core
                count.
        """
        pairs = pairs[~self._is_core(pairs[:, 0]) & self._is_core(pairs[:, 1])]
        points = np.unique(pairs[:, 0])
        points = points[self.nearest_cores[points] >= 0]
        pairs = np.concatenate([pairs, np.stack([points, self.nearest_cores[points]], axis=1)])
        distance = squared_distances(self._vectors, pairs[:, 0], self._vectors, pairs[:, 1])
        pairs = pairs[np.lexsort((pairs[:, 1], distance, pairs[:, 0]))]
        points, first = np.unique(pairs[:, 0], return_index=True)
        self.nearest_cores[points] = pairs[first, 1]


class _ComponentLinks:
    """Which points are near which older components, each pair once."""

    def __init__(self, components: Indices) -> None:
        self._components = components
        self._size = max(len(components), 1)
        self._keys: list[Indices] = []

    def add(self, points: Indices, rows: Indices, was_core: NDArray[np.bool_]) -> None:
        keys = points[was_core] * self._size + self._components[rows[was_core]]
        self._keys.append(np.unique(keys))

    def select_cores(self, counts: NDArray[np.int32], rule: DbscanRule) -> Indices:
        """Return the links of points that are cores, shape ``(k, 2)``: point and component."""
        keys = np.unique(np.concatenate([np.empty(0, np.int64), *self._keys]))
        links = np.stack(np.divmod(keys, self._size), axis=1)
        selected: Indices = links[counts[links[:, 0]] >= rule.min_samples]
        return selected


def _stack(pairs: list[Indices]) -> Indices:
    return np.concatenate([np.empty((0, 2), np.int64), *pairs])
