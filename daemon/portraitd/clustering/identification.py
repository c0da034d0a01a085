"""Find whom a face from outside the store may show, and how likely that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.group_statistics import Floats, GroupStatistics
from portraitd.clustering.neighbours import Vectors
from portraitd.model.grouping_rules import EmbeddingRules, NearMissRule
from portraitd.model.track import l2_normalised
from portraitd.store.tracks import TrackStore

MAX_CANDIDATES = 3

MIN_PROBABILITY = 0.05
"""People who are less likely are not named."""


class Candidate(NamedTuple):
    """A person whom a face may show.

    Attributes:
        probability: None if the model in use was not measured.
        distance: Between the face and those of the person, root mean squared.
    """

    person_id: int
    probability: float | None
    distance: float


class KnownFaces(NamedTuple):
    """The faces of every person, summed up.

    Attributes:
        people: Shape ``(k,)``; ids, rising.
        means: Shape ``(k, d)``, float32.
        variances: Shape ``(k,)``; mean squared distance of the faces from their mean.
        tracks: Shape ``(k,)``; how many tracks each has.
    """

    people: NDArray[np.int64]
    means: Vectors
    variances: Floats
    tracks: NDArray[np.int64]

    @classmethod
    def read(cls, tracks: TrackStore, embedding_size: int) -> Self:
        """Sum up the tracks of each person; every track counts the same."""
        rows = tracks.rows()
        with_person = rows.ids[rows.persons > 0]
        names = [np.empty(0, np.int64)]
        parts: list[GroupStatistics] = []
        for ids, embeddings in tracks.embeddings(0, embedding_size):
            is_someones = np.isin(ids, with_person)
            at = np.searchsorted(rows.ids, ids[is_someones])
            one_each = GroupStatistics.of_tracks(embeddings[is_someones], rows.variances[at])
            names.append(np.unique(rows.persons[at]))
            parts.append(one_each.combine(rows.persons[at]))
        people = np.concatenate(names)
        summed = GroupStatistics.stack(parts, embedding_size).combine(people)
        return cls(np.unique(people), summed.means, summed.variances, summed.counts)

    def find(
        self, embeddings: Sequence[NDArray[np.float32]], rules: EmbeddingRules
    ) -> list[list[Candidate]]:
        """Return whom each face may show, the most likely first.

        Args:
            embeddings: Of the faces, as the model gives them.
            rules: Of that model.
        """
        if not len(self.people):
            return [[] for _ in embeddings]
        return [self._find_one(one, rules) for one in embeddings]

    def _find_one(self, embedding: NDArray[np.float32], rules: EmbeddingRules) -> list[Candidate]:
        vector = l2_normalised(embedding[None], rules.vector_length)[0].astype(np.float64)
        squares = ((self.means - vector) ** 2).sum(axis=1) + self.variances
        order = np.argsort(squares, kind="stable")[: MAX_CANDIDATES + 1]
        distances = np.sqrt(squares[order])
        # Only the nearest is farther from the next than nothing.
        gaps = np.zeros(len(order))
        gaps[0] = distances[1] - distances[0] if len(order) > 1 else 0.0
        rule = rules.suggestions.identification
        if rule == NearMissRule():
            return [Candidate(int(self.people[order[0]]), None, float(distances[0]))]
        chances = rule.estimate_probability(
            distances, gaps, np.zeros(len(order)), self.tracks[order]
        )
        # It can be only one of them.
        chances[1:] = np.minimum(chances[1:], 1.0 - chances[0])
        return [
            Candidate(int(self.people[at]), float(chance), float(distance))
            for at, chance, distance in zip(order, chances, distances, strict=True)
            if chance >= MIN_PROBABILITY
        ][:MAX_CANDIDATES]
