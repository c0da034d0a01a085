"""Tracks that probably do not belong to their person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.group_statistics import GroupStatistics
from portraitd.clustering.outliers import MIN_TRACKS, Outliers, find_outliers, measure_person
from portraitd.model.track import l2_normalised
from support.embedding_rules import DLIB_RULES
from support.gallery import identity_vector


def tracks(*people: int, noise: float = 0.02) -> NDArray[np.float32]:
    """A track of each person that is named, no two alike."""
    random = np.random.default_rng(5)
    vectors = [identity_vector(one) + random.normal(0, noise, 128) for one in people]
    return np.array(vectors, np.float32)


def outliers(embeddings: NDArray[np.float32], *others: int) -> Outliers:
    """The outliers of a person among others, who have three tracks each."""
    people = [embeddings, *(tracks(one, one, one) for one in others)]
    measured = [measure_person(one, DLIB_RULES) for one in people if len(one)]
    return find_outliers(embeddings, DLIB_RULES, GroupStatistics.stack(measured, 128), 0)


def test_a_track_of_another_person_is_found() -> None:
    """Which one, and how far it is from the rest compared with the others."""
    found = outliers(tracks(1, 1, 1, 2, 1, 1, 1), 2, 3)

    assert [3] == found.rows.tolist()
    assert found.distances[0] > 1.0
    assert found.median < 0.4


def test_tracks_of_several_people_are_found() -> None:
    """They do not hide each other; the most distant comes first."""
    found = outliers(tracks(1, 1, 2, 1, 1, 4, 1, 3, 1, 1, 1), 2, 3, 4)

    assert {2, 5, 7} == set(found.rows.tolist())
    assert sorted(found.distances, reverse=True) == found.distances.tolist()


def test_a_track_that_is_like_nobody_else_is_no_outlier() -> None:
    """People vary: a poor picture is far from everything, and not worth a look."""
    assert [] == outliers(tracks(1, 1, 1, 2, 1, 1, 1), 3, 4).rows.tolist()
    assert [] == outliers(tracks(1, 1, 1, 2, 1, 1, 1)).rows.tolist()


def test_a_track_with_near_neighbours_is_no_outlier() -> None:
    """They are a side of the person: several were put there for a reason."""
    mixed = tracks(1, 1, 1, 1, 1, 1, 2, 2, 2, 2)

    assert [] == outliers(mixed, 2).rows.tolist()


def test_a_person_whose_tracks_vary_has_no_outlier() -> None:
    """Nor one whose tracks are nearly the same: near is near."""
    assert [] == outliers(tracks(*[1] * 40, noise=0.05), 2, 3).rows.tolist()
    nearly = tracks(*[1] * 9, noise=0.0)
    nearly[4, 0] += 0.2

    assert [] == outliers(nearly, 2).rows.tolist()


def test_few_tracks_have_no_outlier() -> None:
    """Two against two is no majority; and without tracks there is nothing to doubt."""
    assert [] == outliers(tracks(1, 1, 2, 2), 2).rows.tolist()
    assert [] == outliers(np.empty((0, 128), np.float32), 2).rows.tolist()
    assert [4] == outliers(tracks(1, 1, 1, 1, 2), 2).rows.tolist()
    assert 5 == MIN_TRACKS


def test_how_long_a_vector_is_does_not_matter() -> None:
    """It says more about the picture than about the person."""
    vectors = tracks(1, 1, 1, 2, 1, 1, 1)
    vectors[0] *= 0.6

    assert [3] == outliers(vectors, 2).rows.tolist()


def test_a_person_is_measured_with_each_track_once() -> None:
    """As the mean of their tracks, and how far these are from it."""
    vectors = l2_normalised(tracks(1, 1, 1, 1), DLIB_RULES.vector_length)

    measured = measure_person(vectors, DLIB_RULES)

    assert [4] == measured.counts.tolist()
    np.testing.assert_allclose(vectors.mean(axis=0), measured.means[0], atol=1e-6)
    expected = np.square(vectors - vectors.mean(axis=0)).sum(axis=1).mean()
    np.testing.assert_allclose(expected, measured.variances[0], atol=1e-6)
