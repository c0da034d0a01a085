"""Find pairs of people so similar that a user should decide whether they are one person.

The faces of some people are closer together than the limit (children, and people whom the
network saw few in training), and some people change more than it allows. A grouping has to
decide either way near the limit; this finds the pairs to show side by side. How likely a pair is
one person is calculated from the distance, from how far the next other person is, and from how
good and how many the faces of both are.

Which people are near each other is kept between two groupings, and found again for those who
changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats, GroupStatistics, MergingStatistics
from portraitd.clustering.neighbours import BLOCK_CELLS, find_neighbours
from portraitd.model.grouping_rules import SuggestionRule
from portraitd.model.suggestion import SHOWN_PROBABILITY

CHUNK_GROUPS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class MergeCandidates:
    """Pairs of groups that may be one person, the most likely first.

    Attributes:
        groups: Shape ``(k, 2)``; names as in ``Agglomeration.groups``, lower first.
        distances: Shape ``(k,)``; root of the mean squared distance between their faces.
        probabilities: Shape ``(k,)``; that they are one person.
    """

    groups: Indices
    distances: Floats
    probabilities: Floats

    def joined_with(self, other: MergeCandidates) -> MergeCandidates:
        """Return these pairs and others, each once: as it is here, if it is in both."""
        new = ~np.isin(_to_keys(other.groups), _to_keys(self.groups))
        groups = np.concatenate([self.groups, other.groups[new]])
        distances = np.concatenate([self.distances, other.distances[new]])
        probabilities = np.concatenate([self.probabilities, other.probabilities[new]])
        order = np.lexsort((distances, -probabilities))
        return MergeCandidates(groups[order], distances[order], probabilities[order])


@dataclass(frozen=True, slots=True, eq=False)
class NearPairs:
    """All pairs of people within a limit.

    Attributes:
        limit: Shape ``(1,)``; the largest distance; 0 before the first search.
        names: Shape ``(g,)``; the groups among whom pairs were searched, ascending.
        groups: Shape ``(k, 2)``; pairs of them, lower first, ascending.
        distances: Shape ``(k,)``; root of the mean squared distance between their faces.
    """

    limit: Floats
    names: Indices
    groups: Indices
    distances: Floats

    @classmethod
    def empty(cls) -> Self:
        """Return the state before the first search."""
        none = np.empty(0, dtype=np.int64)
        return cls(np.zeros(1), none, np.empty((0, 2), dtype=np.int64), np.empty(0))

    def select(self, names: Indices) -> NearPairs:
        """Return the pairs among those of the given groups that were searched."""
        kept = np.isin(self.groups, names).all(axis=1)
        return NearPairs(
            self.limit, np.intersect1d(self.names, names), self.groups[kept], self.distances[kept]
        )

    def search(self, names: Indices, statistics: GroupStatistics, limit: float) -> NearPairs:
        """Return all pairs among some groups; those that are known already are not measured.

        Args:
            names: Shape ``(g,)``; ascending. Those that were searched before did not change.
            statistics: Of these groups.
            limit: The largest distance.
        """
        before = (self if self.limit[0] == limit else NearPairs.empty()).select(names)
        new = np.flatnonzero(~np.isin(names, before.names))
        pairs = _find_near_pairs(statistics, new, limit**2)
        groups = np.concatenate([before.groups, names[pairs]])
        distances = np.concatenate([before.distances, _measure_distances(statistics, pairs)])
        order = np.lexsort((groups[:, 1], groups[:, 0]))
        return NearPairs(np.array([limit]), names, groups[order], distances[order])


def find_near_pairs(
    known: NearPairs,
    agglomeration: Agglomeration,
    rule: SuggestionRule,
    max_distance: float,
    best_quality: Floats,
) -> NearPairs:
    """Return all pairs of people that are near enough to be candidates.

    Args:
        known: Pairs among groups that did not change.
        agglomeration: Of this grouping.
        rule: As for ``find_merge_candidates``.
        max_distance: ``AgglomerationRule.max_distance``; the margin of the rule is added to it.
        best_quality: As for ``find_merge_candidates``.
    """
    names = agglomeration.names
    is_person = best_quality[names] >= 0
    return known.search(
        names[is_person], agglomeration.statistics[is_person], max_distance + rule.margin
    )


def find_merge_candidates(
    near: NearPairs,
    agglomeration: Agglomeration,
    tracks: TrackTable,
    rule: SuggestionRule,
    best_quality: Floats,
    kept: NDArray[np.bool_],
) -> MergeCandidates:
    """Find for each group the nearest other one that no constraint keeps separate.

    Args:
        near: From ``find_near_pairs``.
        agglomeration: Of this grouping.
        tracks: The tracks that the agglomeration was made of.
        rule: How likely such a pair is one person.
        best_quality: Shape ``(n,)``; from ``find_best_quality``. Groups that are not a person
            count neither as candidates nor as neighbours.
        kept: Shape ``(n,)``; whether a user named, locked or ignored the person the row has. Two
            such people are not asked about: the user knows both.
    """
    groups, names = agglomeration.groups, agglomeration.names
    is_person = best_quality[names] >= 0
    inside = np.flatnonzero(groups >= 0)
    owners = np.zeros(len(names), dtype=np.int64)
    is_kept = np.zeros(len(names), dtype=np.bool_)
    position = np.searchsorted(names, groups[inside])
    np.maximum.at(owners, position, agglomeration.seeding.pinned[inside])
    np.logical_or.at(is_kept, position, kept[inside])
    names, owners, is_kept = names[is_person], owners[is_person], is_kept[is_person]
    statistics = agglomeration.statistics[is_person]

    pairs, distances = np.searchsorted(names, near.groups), near.distances
    separate = np.sort(groups[tracks.cannot_link], axis=1)
    size = len(groups) + 1
    barred = np.unique(separate[:, 0] * size + separate[:, 1])
    keys = names[pairs[:, 0]] * size + names[pairs[:, 1]]
    left, right = owners[pairs].T
    is_known = is_kept[pairs].all(axis=1) & (left != right) & (left != 0) & (right != 0)
    allowed = ~np.isin(keys, barred) & ~is_known
    pairs, distances = pairs[allowed], distances[allowed]
    nearest = _find_nearest(pairs, distances)
    pairs, distances = pairs[nearest], distances[nearest]
    quality, counts = best_quality[names], statistics.counts

    def estimate(gaps: Floats) -> Floats:
        return rule.estimate_probability(distances, gaps, quality[pairs], counts[pairs])

    # Gaps are expensive: only for pairs that some gap makes likely enough.
    most = estimate(np.full(len(pairs), np.inf if rule.gap > 0 else -np.inf))
    pairs, distances = pairs[most >= SHOWN_PROBABILITY], distances[most >= SHOWN_PROBABILITY]
    gaps = _measure_gaps(statistics, pairs, distances) if rule.gap else np.zeros(len(pairs))
    probabilities = estimate(gaps)
    shown = np.flatnonzero(probabilities >= SHOWN_PROBABILITY)
    order = shown[np.lexsort((distances[shown], -probabilities[shown]))]
    return MergeCandidates(names[pairs[order]], distances[order], probabilities[order])


def find_best_quality(people: Indices, quality: Floats) -> Floats:
    """Return the quality of the best track of the person named after each row, shape ``(n,)``.

    It is -1 for rows that no person is named after.

    Args:
        people: Shape ``(n,)``; the group of each row that is a person, else -1.
        quality: Shape ``(n,)``; as in ``TrackSummaries``.
    """
    best = np.full(len(people), -1.0)
    inside = people >= 0
    np.maximum.at(best, people[inside], quality[inside])
    return best


def _to_keys(pairs: Indices) -> Indices:
    """Return one number for each pair."""
    return pairs[:, 0] << 32 | pairs[:, 1]


def _find_nearest(pairs: Indices, distances: Floats) -> Indices:
    """Return which pairs are the nearest of at least one of the two groups, rising."""
    ends = np.concatenate([pairs[:, 0], pairs[:, 1]])
    others = np.concatenate([pairs[:, 1], pairs[:, 0]])
    far = np.tile(distances, 2)
    least = np.full(ends.max(initial=-1) + 1, np.inf)
    np.minimum.at(least, ends, far)
    nearest = np.flatnonzero(far == least[ends])
    order = nearest[np.lexsort((others[nearest], ends[nearest]))]
    _, first = np.unique(ends[order], return_index=True)
    return np.unique(order[first] % max(len(pairs), 1))


def _measure_gaps(statistics: GroupStatistics, pairs: Indices, distances: Floats) -> Floats:
    """Return how much farther than each pair the next other group is, on the side where it is less.

    The gap is 0 where there is no other group: then nothing is known of strangers.
    """
    groups = MergingStatistics.of(statistics)
    size = len(groups.means)
    if size < 3 or not len(pairs):
        return np.zeros(len(pairs))
    ends, at = np.unique(pairs, return_inverse=True)
    nearest = np.empty((len(ends), 2), dtype=np.int64)
    squares = np.empty((len(ends), 2))
    own = np.einsum("ij,ij->i", groups.means, groups.means) + groups.variances
    rows = max(1, BLOCK_CELLS // size)
    for start in range(0, len(ends), rows):
        some = ends[start : start + rows]
        block = (-2 * groups.means[some]) @ groups.means.T
        block += own
        block += own[some, None]
        block[np.arange(len(some)), some] = np.inf
        two = np.argpartition(block, 1, axis=1)[:, :2]
        nearest[start : start + rows] = two
        squares[start : start + rows] = np.take_along_axis(block, two, axis=1)
    nearest, squares = nearest[at.reshape(-1, 2)], squares[at.reshape(-1, 2)]
    is_partner = nearest == pairs[:, ::-1, None]
    following = np.where(is_partner, np.inf, squares).min(axis=2)
    gaps = np.sqrt(np.maximum(following, 0)) - distances[:, None]
    return np.asarray(gaps.min(axis=1))


def _find_near_pairs(groups: GroupStatistics, new: Indices, limit: float) -> Indices:
    """Return the pairs within the limit that have a new group: positions, the lower first.

    Args:
        groups: All groups.
        new: Shape ``(m,)``; positions, ascending.
        limit: A squared distance.

    Returns:
        Shape ``(k, 2)``.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    is_new = np.zeros(len(groups), dtype=np.bool_)
    is_new[new] = True
    for start in range(0, len(new), CHUNK_GROUPS):
        at = new[start : start + CHUNK_GROUPS]
        some = groups[at]
        for query, other in find_neighbours(
            some.means, groups.means, limit, some.variances, groups.variances
        ):
            one = at[query]
            once = np.where(is_new[other], one < other, one != other)
            found.append(np.sort(np.stack([one, other], axis=1)[once], axis=1))
    return np.concatenate(found)


def _measure_distances(groups: GroupStatistics, pairs: Indices) -> Floats:
    """Return the root mean squared distance between the faces of each pair of groups."""
    at, ends = np.unique(pairs, return_inverse=True)
    return np.sqrt(MergingStatistics.of(groups[at]).distances(ends.reshape(-1, 2)))
