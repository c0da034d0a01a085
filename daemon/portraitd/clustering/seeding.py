"""Clusters that a person claims: those around tracks of which somebody said whose they are.

A pinned track brings itself. A speaker brings its whole density cluster, unless that cluster
holds seeds of two people, or tracks seen side by side: then it is parted first, and each
person gets the parts around their own. Tracks seen beside one that was pinned stay out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.cannot_link_split import split_by_cannot_links
from portraitd.clustering.dbscan import DbscanRule
from portraitd.clustering.graph_components import Indices, connected_components
from portraitd.clustering.neighbours import Vectors

NO_SEEDS = np.empty(0, dtype=np.int64)

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Seeding:
    """What somebody said about the tracks, beside the density clusters they are in.

    Attributes:
        clusters: Shape ``(n,)``; the cluster of each row, or the row itself.
        told: Shape ``(n,)``; the person a row was pinned with if it is a speaker, minus the
            person if it is not, 0 for rows nobody pinned.
    """

    clusters: Indices
    told: Indices

    @classmethod
    def of(cls, labels: Indices, pinned: Indices, seeds: Indices) -> Seeding:
        """Put together what is known of each row.

        Args:
            labels: Shape ``(n,)``; density clusters, -1 for none.
            pinned: Shape ``(n,)``; the person somebody put the track with, 0 for nobody.
            seeds: Rows that bring their cluster; those not pinned are none.
        """
        told = -pinned
        told[seeds] = pinned[seeds]
        return cls(np.where(labels >= 0, labels, np.arange(len(labels))), told)

    @property
    def pinned(self) -> Indices:
        """Shape ``(n,)``; the person of each row, 0 for nobody."""
        pinned: Indices = np.abs(self.told)
        return pinned

    def units(self, taking_part: Flags) -> Indices:
        """Name what each row belongs to before anything is parted.

        People who claim the same cluster share a unit, and it holds all they claim.

        Returns:
            Shape ``(n,)``; the cluster, or minus one minus a person, or -1 for rows that take
            no part.
        """
        # One below, so that nobody's name is that of no unit.
        units = np.where(self.told != 0, -1 - self.pinned, self.clusters)
        seeds = np.flatnonzero((self.told > 0) & taking_part)
        edges = np.concatenate([-1 - self.told[seeds], self.clusters[seeds]])
        names, nodes = np.unique(edges, return_inverse=True)
        if len(names):
            # The lowest name of each component is that of a person.
            named = names[connected_components(nodes.reshape(2, -1).T, len(names))]
            at = np.minimum(np.searchsorted(names, units), len(names) - 1)
            units = np.where(names[at] == units, named[at], units)
        return np.where(taking_part, units, -1)

    def divided(
        self, vectors: Vectors, rows: Indices, cannot_link: Indices, rule: DbscanRule
    ) -> Indices:
        """Divide a unit that people claim.

        Args:
            vectors: Shape ``(n, d)``.
            rows: Shape ``(k,)``, ascending; those of the unit.
            apart: Shape ``(m, 2)``; pairs of them that are different people, by position.
            rule: That of the density step.

        Returns:
            Shape ``(k,)``; minus one minus the person who got the row, or any other number for
            each part that nobody got.
        """
        told, clusters, pinned = self.told[rows], self.clusters[rows], self.pinned[rows]
        result = np.where(pinned > 0, -1 - pinned, np.arange(len(rows)))
        for cluster in np.unique(clusters[told == 0]).tolist():
            inside = np.flatnonzero((clusters == cluster) & (told >= 0))
            pairs = np.concatenate([_within(inside, cannot_link), _rivals(told[inside])])
            # Whoever pinned both with one person knew better.
            same = (told[inside[pairs]] > 0).all(axis=1) & (
                told[inside[pairs[:, 0]]] == told[inside[pairs[:, 1]]]
            )
            parts = split_by_cannot_links(vectors[rows[inside]], pairs[~same], rule)
            for part in np.unique(parts).tolist():
                members = inside[parts == part]
                people = np.unique(told[members][told[members] > 0])
                free = members[told[members] == 0]
                result[free] = -1 - people[0] if len(people) == 1 else free.min(initial=len(rows))
        _step_aside(result, pinned, cannot_link)
        return result


def _within(inside: Indices, cannot_link: Indices) -> Indices:
    """The pairs of which both are inside, by their position there."""
    pairs: Indices = np.searchsorted(inside, cannot_link[np.isin(cannot_link, inside).all(axis=1)])
    return pairs


def _rivals(told: Indices) -> Indices:
    """Every two seeds of different people."""
    seeds = np.flatnonzero(told > 0)
    one, other = np.triu_indices(len(seeds), 1)
    pairs = np.stack([seeds[one], seeds[other]], axis=1)
    rivals: Indices = pairs[told[pairs[:, 0]] != told[pairs[:, 1]]]
    return rivals


def _step_aside(result: Indices, pinned: Indices, cannot_link: Indices) -> None:
    """Rows that nobody pinned leave a person whom somebody beside them belongs to."""
    together = cannot_link[(result[cannot_link[:, 0]] == result[cannot_link[:, 1]])]
    leaving = np.unique(together[pinned[together] == 0])
    result[leaving] = leaving
