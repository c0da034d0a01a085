"""Larger people whom people of few tracks may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.merge_candidates import MergeCandidates, find_best_quality
from portraitd.clustering.small_people import find_small_people
from portraitd.model.grouping_rules import NearMissRule
from support.track_tables import fresh, spots

LIKELY = NearMissRule(intercept=3.0, distance=-1.0)

TRACKS = spots((0.0, 7), (2.0, 8), (3.5, 2))


def find(
    tracks: TrackTable = TRACKS, rule: NearMissRule = LIKELY, kept: tuple[int, ...] = ()
) -> MergeCandidates:
    rows = np.arange(len(tracks.vectors))
    agglomeration = fresh(tracks, rows)
    quality = find_best_quality(agglomeration.groups, np.ones(len(rows)))
    return find_small_people(agglomeration, tracks, rule, quality, np.isin(rows, kept))


def test_a_small_person_may_be_the_nearest_larger_one() -> None:
    """Of two large people, neither may be the other."""
    found = find()

    assert [[7, 15]] == found.groups.tolist()
    assert np.allclose([1.5], found.distances, atol=1e-3)
    assert np.allclose(1 / (1 + np.exp(-1.5)), found.probabilities, atol=1e-3)


def test_the_gap_to_the_next_person_counts() -> None:
    """As for a single face."""
    rule = NearMissRule(gap=1.0, max_gap=9.0)

    assert np.allclose(1 / (1 + np.exp(-2.0)), find(rule=rule).probabilities, atol=1e-3)


def test_who_is_known_or_apart_is_not_asked_about() -> None:
    """A named person stays who they are; two in one frame are two."""
    assert [] == find(kept=(15,)).groups.tolist()
    apart = replace(TRACKS, cannot_link=np.array([[7, 16]]))
    assert [[0, 15]] == find(apart, replace(LIKELY, intercept=6.0)).groups.tolist()
    assert [] == find(rule=replace(LIKELY, intercept=0.0)).groups.tolist()
    assert [] == find(spots((0.0, 2), (2.0, 2))).groups.tolist()


def test_pairs_are_joined_once() -> None:
    """The first ones keep their probabilities; the most likely one is first."""
    one = MergeCandidates(np.array([[0, 7]]), np.array([1.0]), np.array([0.5]))
    other = MergeCandidates(np.array([[7, 15], [0, 7]]), np.ones(2), np.array([0.9, 0.8]))

    found = one.joined_with(other)

    assert [[7, 15], [0, 7]] == found.groups.tolist()
    assert [0.9, 0.5] == found.probabilities.tolist()
