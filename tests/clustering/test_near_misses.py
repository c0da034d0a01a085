"""Whom the tracks without a person may show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.assignment import scale_means
from portraitd.clustering.near_misses import NearMisses, find_near_misses
from portraitd.faces.models.cards import MOBILEFACENET
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.grouping_rules import NearMissRule
from portraitd.model.suggestion import ASKED_PROBABILITY
from support.track_tables import fresh, spots, stores

LIKELY = NearMissRule(intercept=3.0, distance=-1.0)
"""Everybody within 3 is likely."""


def find(
    tracks: TrackTable,
    rule: NearMissRule = LIKELY,
    without: tuple[int, ...] = (),
    quality: NDArray[np.float64] | None = None,
    left_out: tuple[int, ...] = (),
) -> NearMisses:
    """Groups are found among all rows; those in ``without`` belong to no person."""
    size = len(tracks.vectors)
    grouped = np.setdiff1d(np.arange(size), without)
    agglomeration = fresh(tracks, grouped)
    people = np.where(np.isin(np.arange(size), without), -1, agglomeration.groups)
    out = np.isin(np.arange(size), left_out)
    qualities = np.ones(size) if quality is None else quality
    return find_near_misses(people, out, agglomeration, tracks, qualities, rule)


def test_the_nearest_person_is_asked_about() -> None:
    """The most likely pair first; who is too far from everybody shows nobody known."""
    found = find(spots((0.0, 4), (2.0, 4), (0.9, 1), (2.1, 1), (9.0, 1)), without=(8, 9, 10))

    assert [9, 8] == found.rows.tolist()
    assert [4, 0] == found.people.tolist()
    assert np.allclose(1 / (1 + np.exp(-3 + np.array([0.1, 0.9]))), found.probabilities)


def test_a_person_who_is_near_as_well_makes_it_less_likely() -> None:
    """Without another person, nothing is known of strangers."""
    rule = replace(LIKELY, intercept=0.0, distance=0.0, gap=10.0, max_gap=0.2)

    found = find(spots((0.0, 4), (2.0, 4), (0.95, 1), (0.5, 1)), rule, without=(8, 9))

    assert [9, 8] == found.rows.tolist()
    assert np.allclose(1 / (1 + np.exp([-2.0, -1.0])), found.probabilities, atol=1e-4)
    assert [0.5] == find(spots((0.0, 4), (0.5, 1)), rule, without=(4,)).probabilities.tolist()


def test_good_faces_and_people_of_many_tracks_are_more_likely() -> None:
    """Up to a quality that is enough."""
    rule = NearMissRule(quality=4.0, enough_quality=0.5, log_tracks=1.0)
    quality = np.array([1.0, 1.0, 1.0, 1.0, 0.9, 0.1])

    found = find(spots((0.0, 4), (0.5, 1), (0.6, 1)), rule, (4, 5), quality)

    assert [4, 5] == found.rows.tolist()
    odds = np.array([2.0, 0.4]) + np.log(4)
    assert np.allclose(1 / (1 + np.exp(-odds)), found.probabilities)


def test_whom_a_user_rejected_is_not_asked_about_but_the_next_one() -> None:
    """Nor who was seen in the same frame."""
    tracks = spots((0.0, 4), (2.0, 4), (0.5, 1))
    tracks = replace(tracks, cannot_link=np.array([[2, 8]]))

    assert [4] == find(tracks, without=(8,)).people.tolist()


def test_what_is_left_out_is_not_asked_about() -> None:
    """Neither a track that a user took from everybody, nor a person who looks like all others."""
    tracks = spots((0.0, 4), (2.0, 4), (0.5, 1), (0.6, 1))

    found = find(tracks, without=(8, 9), left_out=(9, 0))

    assert ([8], [4]) == (found.rows.tolist(), found.people.tolist())


@pytest.mark.parametrize("without", [(), (0, 1, 2, 3)])
def test_without_people_or_without_others_nothing_is_asked(without: tuple[int, ...]) -> None:
    """Neither fails."""
    assert 0 == len(find(spots((0.0, 4)), without=without).rows)


@settings(max_examples=30)
@given(stores(), st.integers(0, 2**32 - 1))
def test_near_misses_are_as_by_definition(tracks: TrackTable, seed: int) -> None:
    """Compared with one pair after the other."""
    random = np.random.default_rng(seed)
    size = len(tracks.vectors)
    without = tuple(np.flatnonzero(random.random(size) < 0.3).tolist())
    rule = require_rules(MOBILEFACENET).suggestions.near_miss
    found = find(tracks, rule, without)
    grouped = np.setdiff1d(np.arange(size), without)
    if not len(grouped):
        return
    agglomeration = fresh(tracks, grouped)
    statistics = agglomeration.statistics
    centres = scale_means(statistics.means, statistics.variances)
    expected = {}
    for row in without:
        barred = {
            agglomeration.groups[a if b == row else b]
            for a, b in tracks.cannot_link.tolist()
            if row in (a, b) and (a if b == row else b) not in without
        }
        vector = scale_means(tracks.vectors[[row]], tracks.variances[[row]])[0]
        distances = np.linalg.norm(centres - vector, axis=1)
        allowed = [at for at, name in enumerate(agglomeration.names) if name not in barred]
        if not allowed:
            continue
        order = sorted(allowed, key=lambda at: distances[at])
        gap = distances[order[1]] - distances[order[0]] if len(order) > 1 else 0.0
        (probability,) = rule.estimate_probability(
            distances[order[:1]], np.array([gap]), np.ones(1), statistics.counts[order[:1]]
        )
        if probability >= ASKED_PROBABILITY:
            expected[row] = (agglomeration.names[order[0]], probability)

    assert expected.keys() == set(found.rows.tolist())
    for row, person, probability in zip(
        found.rows.tolist(), found.people.tolist(), found.probabilities.tolist(), strict=True
    ):
        assert expected[row][0] == person
        assert pytest.approx(expected[row][1], abs=1e-3) == probability
    assert sorted(found.probabilities.tolist(), reverse=True) == found.probabilities.tolist()
