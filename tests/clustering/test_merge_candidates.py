"""Similar people become candidates with a probability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.merge_candidates import (
    MergeCandidates,
    find_merge_candidates,
    find_suggestible,
)
from portraitd.faces.models.cards import DLIB, MOBILEFACENET, EmbedderCard
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.grouping_rules import SuggestionRule
from portraitd.model.suggestion import LIKELY_PROBABILITY, SHOWN_PROBABILITY
from support.track_tables import RULE, fresh, spots, stores

NEAR = SuggestionRule(margin=0.06, intercept=3.0, distance=-1.0)
"""Every pair within the margin is likely."""


def find(
    tracks: TrackTable, rule: SuggestionRule, among: NDArray[np.bool_] | None = None
) -> MergeCandidates:
    size = len(tracks.vectors)
    agglomeration = fresh(tracks, np.arange(size))
    everyone = np.ones(size, np.bool_)
    return find_merge_candidates(
        agglomeration, tracks, rule, RULE.max_distance, everyone if among is None else among
    )


def test_candidates_are_near_pairs_without_a_cannot_link() -> None:
    """The nearest other group within the margin, unless it is known to be another person."""
    tracks = spots((0.0, 4), (0.57, 4), (1.9, 4), (2.45, 4), (9.0, 1))
    found = find(replace(tracks, cannot_link=np.array([[8, 12]])), NEAR)

    assert [[0, 4]] == found.groups.tolist()
    assert np.allclose([0.57], found.distances)
    assert np.allclose(1 / (1 + np.exp(-2.43)), found.probabilities)
    assert [[8, 12], [0, 4]] == find(tracks, NEAR).groups.tolist()


def test_the_most_likely_comes_first_and_the_unlikely_are_left_out() -> None:
    """At a distance of 0.55 the odds are even, at 0.57 they are against it."""
    tracks = spots((0.0, 4), (0.57, 4), (1.9, 4), (2.45, 4), (5.0, 4), (5.545, 4))
    rule = replace(NEAR, intercept=0.5501, distance=-1.0)

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
    assert pytest.approx(0.5) == find(spots((0.0, 4), (0.57, 4)), rule).probabilities[0]


def test_well_filled_people_are_less_likely_one_person() -> None:
    """The tracks of the smaller one count."""
    rule = replace(NEAR, log_tracks=-1.0)
    few, many = (find(spots((0.0, 20), (0.57, count)), rule) for count in (3, 8))

    assert pytest.approx(1 / (1 + np.exp(-(2.43 - np.log(3))))) == few.probabilities[0]
    assert pytest.approx(1 / (1 + np.exp(-(2.43 - np.log(8))))) == many.probabilities[0]


def test_people_without_a_good_face_are_not_suggested() -> None:
    """Nor do they stand between two others: the nearest is searched among the rest."""
    tracks = spots((0.0, 4), (0.57, 4), (1.15, 4))
    people = np.repeat([0, 4, 8], 4)
    poor = np.full(12, 0.3)
    quality = poor.copy()
    quality[[0, 11]] = 0.9
    among = find_suggestible(people, quality, NEAR)

    assert [0, 8] == np.flatnonzero(among).tolist()
    assert [] == find(tracks, NEAR, among).groups.tolist()
    assert not find_suggestible(np.full(12, -1), quality, NEAR).any()
    assert not find_suggestible(people, poor, NEAR).any()


@given(stores(), st.integers(0, 2**32 - 1))
def test_gaps_and_probabilities_are_as_by_definition(tracks: TrackTable, seed: int) -> None:
    """In every store, with any people left out."""
    size = len(tracks.vectors)
    among = np.random.default_rng(seed).random(size) < 0.8
    # So that nothing is left out.
    rule = SuggestionRule(0.3, 1.0, -0.5, gap=0.5, gap_range=(-0.3, 0.3), log_tracks=-0.05)
    found = find(tracks, rule, among)
    agglomeration = fresh(tracks, np.arange(size))
    groups = agglomeration.groups
    names = [name for name in np.unique(groups).tolist() if among[name]]
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
        fewer = min((groups == one).sum(), (groups == other).sum())
        odds = 1.0 - 0.5 * far + 0.5 * np.clip(gap(one, other), -0.3, 0.3) - 0.05 * np.log(fewer)
        assert one in names
        assert other in names
        assert pytest.approx(distance(one, other), abs=1e-4) == far
        assert pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-3) == probability


@pytest.mark.parametrize("card", [DLIB, MOBILEFACENET], ids=lambda card: card.name)
def test_the_cards_show_people_at_the_edge_of_their_distance(card: EmbedderCard) -> None:
    """Pairs just beyond what the grouping joins are likely enough; far ones are not."""
    rules = require_rules(card)
    limit = rules.grouping.agglomeration.thin_distance
    far = rules.grouping.agglomeration.max_distance + rules.suggestions.margin
    widest = np.array([rules.suggestions.gap_range[1]])
    one = np.ones(1, np.int64)
    near_probability = rules.suggestions.estimate_probability(np.array([limit]), widest, one)
    far_probability = rules.suggestions.estimate_probability(np.array([far]), 0 * widest, one)

    assert near_probability[0] > LIKELY_PROBABILITY
    assert far_probability[0] < SHOWN_PROBABILITY


def test_a_rule_is_scaled_with_the_distances() -> None:
    """The same faces by a model whose distances are half as long have the same probabilities."""
    rule = require_rules(MOBILEFACENET).suggestions
    distances, gaps = np.array([1.1, 1.2]), np.array([0.05, 0.3])
    tracks = np.array([1, 5])

    assert np.allclose(
        rule.estimate_probability(distances, gaps, tracks),
        rule.scaled(0.5).estimate_probability(distances / 2, gaps / 2, tracks),
    )
    assert 0.05 == rule.scaled(0.5).margin
