"""Let the people whom users assigned tracks to claim the density clusters around those tracks.

A pinned track belongs to a person. A seed is a pinned track that also brings its whole density
cluster (seeding: Basu, Banerjee and Mooney, "Semi-supervised Clustering by Seeding", 2002). A
cluster that holds seeds of two people, or a cannot-link, is split first; each person then gets
the parts around their own seeds. Unpinned tracks with a cannot-link to a pinned one stay out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.cannot_link_split import split_by_cannot_links
from portraitd.clustering.graph_components import Indices, connected_components
from portraitd.clustering.neighbours import Vectors
from portraitd.model.grouping_rules import DbscanRule

NO_SEEDS = np.empty(0, dtype=np.int64)

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Seeding:
    """Which tracks are pinned, which of them are seeds, and the density cluster of each track.

    Attributes:
        clusters: Shape ``(n,)``; the density cluster of each row, or the row itself for noise.
        owners: Shape ``(n,)``; the person for a seed, minus the person for a pinned row that is
            not a seed, 0 for an unpinned row.
    """

    clusters: Indices
    owners: Indices

    @classmethod
    def of(cls, labels: Indices, pinned: Indices, seeds: Indices) -> Seeding:
        """Combine clusters, pinned rows and seeds.

        Args:
            labels: Shape ``(n,)``; density clusters, -1 for noise.
            pinned: Shape ``(n,)``; the person each row is pinned to, 0 for none.
            seeds: Rows that bring their cluster; rows that are not pinned are ignored.
        """
        owners = -pinned
        owners[seeds] = pinned[seeds]
        return cls(np.where(labels >= 0, labels, np.arange(len(labels))), owners)

    @property
    def pinned(self) -> Indices:
        """Shape ``(n,)``: the person each row is pinned to, 0 for none."""
        pinned: Indices = np.abs(self.owners)
        return pinned

    def join_clusters(self, included: Flags) -> Indices:
        """Join what seeds connect; cannot-links are not applied yet.

        People with seeds in the same cluster share one group, which holds everything they claim.

        Args:
            included: Shape ``(n,)``; rows that are grouped at all.

        Returns:
            Shape ``(n,)``; the cluster of each row, or minus one minus a person, or -1 for rows
            that are not included.
        """
        # One below, so that person 0 (unpinned) cannot collide with -1.
        joined = np.where(self.owners != 0, -1 - self.pinned, self.clusters)
        seeds = np.flatnonzero((self.owners > 0) & included)
        edges = np.concatenate([-1 - self.owners[seeds], self.clusters[seeds]])
        names, nodes = np.unique(edges, return_inverse=True)
        if len(names):
            # The lowest name of each component is that of a person.
            named = names[connected_components(nodes.reshape(2, -1).T, len(names))]
            at = np.minimum(np.searchsorted(names, joined), len(names) - 1)
            joined = np.where(names[at] == joined, named[at], joined)
        return np.where(included, joined, -1)

    def split(
        self, vectors: Vectors, rows: Indices, cannot_link: Indices, rule: DbscanRule
    ) -> Indices:
        """Split one group of ``join_clusters`` between the people who claim it.

        Args:
            vectors: Shape ``(n, d)``.
            rows: Shape ``(k,)``, ascending; the rows of the group.
            cannot_link: Shape ``(m, 2)``; pairs of positions in ``rows``.
            rule: The rule of the density step.

        Returns:
            Shape ``(k,)``; minus one minus the person who gets the row, or another number for
            each part that no person gets.
        """
        owners, clusters, pinned = self.owners[rows], self.clusters[rows], self.pinned[rows]
        result = np.where(pinned > 0, -1 - pinned, np.arange(len(rows)))
        for cluster in np.unique(clusters[owners == 0]).tolist():
            inside = np.flatnonzero((clusters == cluster) & (owners >= 0))
            pairs = np.concatenate(
                [_pairs_inside(inside, cannot_link), _pair_rival_seeds(owners[inside])]
            )
            # If a user pinned both tracks to one person, the user knew better.
            same = (owners[inside[pairs]] > 0).all(axis=1) & (
                owners[inside[pairs[:, 0]]] == owners[inside[pairs[:, 1]]]
            )
            parts = split_by_cannot_links(vectors[rows[inside]], pairs[~same], rule)
            for part in np.unique(parts).tolist():
                members = inside[parts == part]
                people = np.unique(owners[members][owners[members] > 0])
                free = members[owners[members] == 0]
                result[free] = -1 - people[0] if len(people) == 1 else free.min(initial=len(rows))
        _remove_conflicting(result, pinned, cannot_link)
        return result


def _pairs_inside(inside: Indices, cannot_link: Indices) -> Indices:
    """Return the pairs with both ends in ``inside``, as positions in it."""
    pairs: Indices = np.searchsorted(inside, cannot_link[np.isin(cannot_link, inside).all(axis=1)])
    return pairs


def _pair_rival_seeds(owners: Indices) -> Indices:
    """Return all pairs of seeds of different people."""
    seeds = np.flatnonzero(owners > 0)
    one, other = np.triu_indices(len(seeds), 1)
    pairs = np.stack([seeds[one], seeds[other]], axis=1)
    rivals: Indices = pairs[owners[pairs[:, 0]] != owners[pairs[:, 1]]]
    return rivals


def _remove_conflicting(result: Indices, pinned: Indices, cannot_link: Indices) -> None:
    """Take unpinned rows out of a group in which they have a cannot-link."""
    together = cannot_link[(result[cannot_link[:, 0]] == result[cannot_link[:, 1]])]
    leaving = np.unique(together[pinned[together] == 0])
    result[leaving] = leaving
