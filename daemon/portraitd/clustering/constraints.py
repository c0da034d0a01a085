"""Clusters that a person claims: those around tracks of which somebody said whose they are.

A placed track brings itself. A speaker brings its whole density cluster, unless that cluster
holds speakers of two people, or tracks seen side by side: then it is parted first, and each
person gets the parts around their own. Tracks seen beside one that was placed stay out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.cannot_link import parted
from portraitd.clustering.connected import Indices, connected
from portraitd.clustering.dbscan import DensityRule
from portraitd.clustering.neighbours import Vectors

NO_ONE = np.empty(0, dtype=np.int64)

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """What somebody said about the tracks, beside the density clusters they are in.

    Attributes:
        clusters: Shape ``(n,)``; the cluster of each row, or the row itself.
        told: Shape ``(n,)``; the person a row was placed with if it is a speaker, minus the
            person if it is not, 0 for rows nobody placed.
    """

    clusters: Indices
    told: Indices

    @classmethod
    def of(cls, labels: Indices, placed: Indices, speakers: Indices) -> Claims:
        """Put together what is known of each row.

        Args:
            labels: Shape ``(n,)``; density clusters, -1 for none.
            placed: Shape ``(n,)``; the person somebody put the track with, 0 for nobody.
            speakers: Rows that bring their cluster; those not placed are none.
        """
        told = -placed
        told[speakers] = placed[speakers]
        return cls(np.where(labels >= 0, labels, np.arange(len(labels))), told)

    @property
    def placed(self) -> Indices:
        """Shape ``(n,)``; the person of each row, 0 for nobody."""
        placed: Indices = np.abs(self.told)
        return placed

    def units(self, taking_part: Flags) -> Indices:
        """Name what each row belongs to before anything is parted.

        People who claim the same cluster share a unit, and it holds all they claim.

        Returns:
            Shape ``(n,)``; the cluster, or minus one minus a person, or -1 for rows that take
            no part.
        """
        # One below, so that nobody's name is that of no unit.
        units = np.where(self.told != 0, -1 - self.placed, self.clusters)
        speakers = np.flatnonzero((self.told > 0) & taking_part)
        edges = np.concatenate([-1 - self.told[speakers], self.clusters[speakers]])
        names, nodes = np.unique(edges, return_inverse=True)
        if len(names):
            # The lowest name of each component is that of a person.
            named = names[connected(nodes.reshape(2, -1).T, len(names))]
            at = np.minimum(np.searchsorted(names, units), len(names) - 1)
            units = np.where(names[at] == units, named[at], units)
        return np.where(taking_part, units, -1)

    def divided(
        self, vectors: Vectors, rows: Indices, apart: Indices, rule: DensityRule
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
        told, clusters, placed = self.told[rows], self.clusters[rows], self.placed[rows]
        result = np.where(placed > 0, -1 - placed, np.arange(len(rows)))
        for cluster in np.unique(clusters[told == 0]).tolist():
            inside = np.flatnonzero((clusters == cluster) & (told >= 0))
            pairs = np.concatenate([_within(inside, apart), _rivals(told[inside])])
            # Whoever placed both with one person knew better.
            same = (told[inside[pairs]] > 0).all(axis=1) & (
                told[inside[pairs[:, 0]]] == told[inside[pairs[:, 1]]]
            )
            parts = parted(vectors[rows[inside]], pairs[~same], rule)
            for part in np.unique(parts).tolist():
                members = inside[parts == part]
                people = np.unique(told[members][told[members] > 0])
                free = members[told[members] == 0]
                result[free] = -1 - people[0] if len(people) == 1 else free.min(initial=len(rows))
        _step_aside(result, placed, apart)
        return result


def _within(inside: Indices, apart: Indices) -> Indices:
    """The pairs of which both are inside, by their position there."""
    pairs: Indices = np.searchsorted(inside, apart[np.isin(apart, inside).all(axis=1)])
    return pairs


def _rivals(told: Indices) -> Indices:
    """Every two speakers of different people."""
    speakers = np.flatnonzero(told > 0)
    one, other = np.triu_indices(len(speakers), 1)
    pairs = np.stack([speakers[one], speakers[other]], axis=1)
    rivals: Indices = pairs[told[pairs[:, 0]] != told[pairs[:, 1]]]
    return rivals


def _step_aside(result: Indices, placed: Indices, apart: Indices) -> None:
    """Rows that nobody placed leave a person whom somebody beside them belongs to."""
    together = apart[(result[apart[:, 0]] == result[apart[:, 1]])]
    leaving = np.unique(together[placed[together] == 0])
    result[leaving] = leaving
