"""How well vectors tell confirmed people apart: precision and recall over pairs of faces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.rule_measurement import SurePairs, measure_rules
from portraitd.model.errors import ConfigError
from portraitd.model.face import Embeddings
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.track import l2_normalised

FALSE_MATCH_RATE = 1e-3
"""The share of pairs of two people that count as one, where the recall is compared."""


class PairScore(NamedTuple):
    """The result of one model.

    Attributes:
        distance: The distance up to which two faces count as one person; None if it is unknown.
        precision: Share of the pairs within it that are one person; None if there is no such pair.
        recall: Share of the pairs of one person that are within it.
        recall_at_rate: The same for the distance at ``FALSE_MATCH_RATE``, whatever the model's own
            is; None with too few pairs of two people.
    """

    distance: float | None
    precision: float | None
    recall: float | None
    recall_at_rate: float | None


def compare_pairs(embeddings: Embeddings, people: NDArray[np.int64]) -> SurePairs:
    """Return the distances of all pairs, between vectors of length 1.

    Args:
        embeddings: Shape ``(n, d)``.
        people: Shape ``(n,)``; the person of each.
    """
    vectors = l2_normalised(embeddings).astype(np.float64)
    lower, higher = np.triu_indices(len(vectors), 1)
    distances = np.sqrt(np.maximum(2 - 2 * (vectors @ vectors.T)[lower, higher], 0.0))
    is_same = people[lower] == people[higher]
    return SurePairs(distances[is_same], distances[~is_same])


def score_pairs(pairs: SurePairs, rules: EmbeddingRules | None) -> PairScore:
    """Return precision and recall of pairs.

    Args:
        pairs: From ``compare_pairs``.
        rules: Of the model; without them, the distance is measured on these pairs.
    """
    length = 1.0
    try:
        known = rules or measure_rules(pairs)
        length = known.vector_length
        distance: float | None = known.grouping.agglomeration.max_distance
    except ConfigError:
        distance = None
    precision = recall = None
    if distance is not None:
        same = int((pairs.same * length <= distance).sum())
        within = same + int((pairs.different * length <= distance).sum())
        precision = same / within if within else None
        recall = same / len(pairs.same) if len(pairs.same) else None
    at_rate = None
    if len(pairs.different) >= 1 / FALSE_MATCH_RATE and len(pairs.same):
        allowed = int(len(pairs.different) * FALSE_MATCH_RATE)
        nearest = np.partition(pairs.different, allowed)[allowed]
        at_rate = float(np.mean(pairs.same < nearest))
    return PairScore(distance, precision, recall, at_rate)
