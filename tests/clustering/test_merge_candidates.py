"""Similar people become candidates with a probability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.merge_candidates import (
    MergeCandidates,
    NearPairs,
    find_best_quality,
    find_merge_candidates,
    find_near_pairs,
)
from portraitd.faces.models.cards import DLIB, MOBILEFACENET, EmbedderCard
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.grouping_rules import SuggestionRule
from portraitd.model.suggestion import LIKELY_PROBABILITY, SHOWN_PROBABILITY
from support.track_tables import DENSE, RULE, fresh, spots, stores

NEAR = SuggestionRule(margin=0.06, intercept=3.0, distance=-1.0)
"""Every pair within the margin is likely."""


def find(
    tracks: TrackTable,
    rule: SuggestionRule,
    best_quality: NDArray[np.float64] | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> MergeCandidates:
    size = len(tracks.vectors)
    if kept is None:
        kept = np.zeros(size, np.bool_)
    if best_quality is None:
        best_quality = np.ones(size)
    agglomeration = fresh(tracks, np.arange(size))
    near = find_near_pairs(NearPairs.empty(), agglomeration, rule, RULE.max_distance, best_quality)
    return find_merge_candidates(near, agglomeration, tracks, rule, best_quality, kept)


def test_candidates_are_near_pairs_without_a_cannot_link() -> None:
    """The nearest other group within the margin, unless it is known to be another person."""
    tracks = spots((0.0, 4), (0.57, 4), (1.9, 4), (2.45, 4), (9.0, 1))
    found = find(replace(tracks, cannot_link=np.array([[8, 12]])), NEAR)

    assert [[0, 4]] == found.groups.tolist()
    assert np.allclose([0.57], found.distances)
    assert np.allclose(1 / (1 + np.exp(-2.43)), found.probabilities)
    assert [[8, 12], [0, 4]] == find(tracks, NEAR).groups.tolist()


def test_two_people_whom_a_user_named_are_not_asked_about() -> None:
    """But one of them and a person of whom a user moved a face, or said who they are not."""
    tracks = spots((0.0, 4), (0.57, 4))
    pinned = replace(tracks, pinned=np.repeat([1, 2], 4), seeds=np.array([0, 4]))
    named = np.arange(8) < 8

    assert [] == find(pinned, NEAR, kept=named).groups.tolist()
    assert [[0, 4]] == find(pinned, NEAR, kept=named & (np.arange(8) < 4)).groups.tolist()


def test_the_most_likely_comes_first_and_the_unlikely_are_left_out() -> None:
    """Those at 0.57 are below the probability from which pairs are shown."""
    tracks = spots((0.0, 4), (0.57, 4), (1.9, 4), (2.45, 4), (5.0, 4), (5.545, 4))
    rule = replace(NEAR, intercept=56.4, distance=-100.0)

    assert [[16, 20], [8, 12]] == find(tracks, rule).groups.tolist()


def test_the_next_other_person_makes_a_pair_less_likely() -> None:
    """From either of the two; one that is a little farther away is worth more than none nearer."""
    rule = replace(NEAR, intercept=0.0, distance=0.0, gap=10.0, gap_range=(-0.1, 0.2))
    tracks = spots((0.0, 4), (0.57, 4), (1.24, 4))
    found = find(tracks, rule)
    alone = find(spots((0.0, 4), (0.57, 4), (9.0, 4)), rule)

    assert [[0, 4]] == found.groups.tolist()
    # The third person is 0.67 from the second one, 0.1 farther than the first.
    assert pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-5) == found.probabilities[0]
    assert pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-5) == alone.probabilities[0]
    two = find(spots((0.0, 4), (0.57, 4)), replace(rule, intercept=2.0))
    assert pytest.approx(1 / (1 + np.exp(-2.0))) == two.probabilities[0]


def test_a_few_faces_beside_many_are_more_likely_one_person() -> None:
    """Than two people who have equally many."""
    rule = replace(NEAR, log_ratio=1.0)
    few, many = (find(spots((0.0, 20), (0.57, count)), rule) for count in (4, 20))

    assert pytest.approx(1 / (1 + np.exp(-(2.43 + np.log(5)))), abs=1e-5) == few.probabilities[0]
    assert pytest.approx(1 / (1 + np.exp(-2.43)), abs=1e-5) == many.probabilities[0]


def test_the_quality_of_the_poorer_one_counts() -> None:
    """Of the best face of each."""
    people, quality = np.repeat([0, 4], 4), np.array([0.9, 0.2, 0.2, 0.2, 0.1, 0.3, 0.2, 0.1])
    best = find_best_quality(people, quality)
    found = find(spots((0.0, 4), (0.57, 4)), replace(NEAR, quality=-1.0), best)

    assert [0.9, -1.0, -1.0, -1.0, 0.3, -1.0, -1.0, -1.0] == best.tolist()
    assert pytest.approx(1 / (1 + np.exp(-2.13)), abs=1e-5) == found.probabilities[0]


def test_groups_that_are_not_a_person_do_not_count() -> None:
    """Nor do they stand between two others: the nearest is searched among the rest."""
    tracks = spots((0.0, 4), (0.55, 1), (-0.59, 4))
    everyone = np.repeat([0, 4, 5], [4, 1, 4])
    people = np.repeat([0, -1, 5], [4, 1, 4])

    assert [[0, 4]] == find(tracks, replace(NEAR, margin=0.02)).groups.tolist()
    both = find(tracks, NEAR, find_best_quality(everyone, np.ones(9)))
    assert [[0, 4], [0, 5]] == both.groups.tolist()
    found = find(tracks, NEAR, find_best_quality(people, np.ones(9)))
    assert [[0, 5]] == found.groups.tolist()


@given(stores(), st.integers(0, 2**32 - 1))
def test_gaps_and_probabilities_are_as_by_definition(tracks: TrackTable, seed: int) -> None:
    """In every store, with any people left out."""
    size = len(tracks.vectors)
    best_quality = np.random.default_rng(seed).uniform(-0.25, 1, size)
    # So that nothing is left out.
    rule = SuggestionRule(0.3, 1.5, -0.5, 0.5, (-0.3, 0.3), quality=-0.1, log_ratio=0.05)
    found = find(tracks, rule, best_quality)
    agglomeration = fresh(tracks, np.arange(size))
    groups = agglomeration.groups
    names = [name for name in np.unique(groups).tolist() if best_quality[name] >= 0]
    exact = tracks.vectors.astype(np.float64)

    def distance(one: int, other: int) -> float:
        left, right = (np.flatnonzero(groups == name) for name in (one, other))
        squares = ((exact[left][:, None] - exact[right]) ** 2).sum(axis=2)
        means = squares.mean() + tracks.variances[left].mean() + tracks.variances[right].mean()
        return float(np.sqrt(means))

    def gap(one: int, other: int) -> float:
        others = [name for name in names if name not in (one, other)]
        if not others:
            return 0.0
        nearest = min(distance(end, name) for end in (one, other) for name in others)
        return nearest - distance(one, other)

    for (one, other), far, probability in zip(
        found.groups.tolist(), found.distances, found.probabilities, strict=True
    ):
        fewer, more = sorted([(groups == one).sum(), (groups == other).sum()])
        odds = 1.5 - 0.5 * far + 0.5 * np.clip(gap(one, other), -0.3, 0.3)
        odds += 0.05 * np.log(more / fewer) - 0.1 * best_quality[[one, other]].min()
        assert one in names
        assert other in names
        assert pytest.approx(distance(one, other), abs=1e-4) == far
        assert pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-3) == probability


@given(stores(), st.integers(0, 2**32 - 1))
def test_pairs_that_were_kept_are_the_pairs_found_at_once(tracks: TrackTable, seed: int) -> None:
    """With groups that are new, that changed, and that are a person in some steps only."""
    random = np.random.default_rng(seed)
    size = len(tracks.vectors)
    dbscan, agglomeration = IncrementalDbscan.empty(), Agglomeration.empty(128)
    near = NearPairs.empty()
    for some in np.array_split(random.permutation(size), 4):
        dbscan = dbscan.insert(tracks.vectors, some, DENSE)
        agglomeration = agglomeration.update(dbscan, tracks, DENSE, RULE)
        groups = agglomeration.groups
        unchanged = np.unique(groups[(groups >= 0) & ~agglomeration.rebuilt])
        best_quality = random.uniform(-0.25, 1, size)
        near, at_once = (
            find_near_pairs(known, agglomeration, NEAR, 0.8, best_quality)
            for known in (near.select(unchanged), NearPairs.empty())
        )

        assert at_once.names.tolist() == near.names.tolist()
        assert at_once.groups.tolist() == near.groups.tolist()
        assert at_once.distances.tolist() == near.distances.tolist()


@pytest.mark.parametrize("card", [DLIB, MOBILEFACENET], ids=lambda card: card.name)
def test_the_cards_suggest_near_people_and_not_far_ones(card: EmbedderCard) -> None:
    """Good faces at the distance at which two pictures are one person, and at the margin."""
    rules = require_rules(card)
    limit = rules.grouping.agglomeration
    distances = np.array([limit.thin_distance, limit.max_distance + rules.suggestions.margin])
    gaps = np.array([rules.suggestions.gap_range[1], 0.0])
    near, far = rules.suggestions.estimate_probability(
        distances, gaps, np.full((2, 2), 0.7), np.array([[2, 10], [10, 10]])
    )

    assert near > LIKELY_PROBABILITY
    assert far < SHOWN_PROBABILITY


def test_a_rule_is_scaled_with_the_distances() -> None:
    """The same faces by a model whose distances are half as long have the same probabilities."""
    rule = require_rules(MOBILEFACENET).suggestions
    distances, gaps = np.array([1.1, 1.2]), np.array([0.05, 0.3])
    quality, tracks = np.array([[0.3, 0.9], [1.0, 0.5]]), np.array([[1, 9], [5, 5]])

    assert np.allclose(
        rule.estimate_probability(distances, gaps, quality, tracks),
        rule.scaled(0.5).estimate_probability(distances / 2, gaps / 2, quality, tracks),
    )
    assert rule.margin / 2 == rule.scaled(0.5).margin
