"""Tracks that probably do not belong to their person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.outliers import MIN_TRACKS, find_outliers
from support.embedding_rules import DLIB_RULES
from support.gallery import identity_vector


def tracks(*people: int, noise: float = 0.02) -> NDArray[np.float32]:
    """A track of each person that is named, no two alike."""
    random = np.random.default_rng(5)
    vectors = [identity_vector(one) + random.normal(0, noise, 128) for one in people]
    return np.array(vectors, np.float32)


def test_a_stranger_among_many_is_found() -> None:
    """Which one, and how far it lies compared with the others."""
    found = find_outliers(tracks(1, 1, 1, 2, 1, 1, 1), DLIB_RULES)

    assert [3] == found.rows.tolist()
    assert found.distances[0] > 1.0
    assert found.median < 0.4


def test_strangers_do_not_hide_each_other() -> None:
    """Two of the same person among eight move the mean, but not the middle; farthest first."""
    found = find_outliers(tracks(1, 1, 2, 1, 1, 2, 1, 3, 1, 1, 1), DLIB_RULES)

    assert {2, 5, 7} == set(found.rows.tolist())
    assert sorted(found.distances, reverse=True) == found.distances.tolist()


def test_people_who_vary_hold_no_strangers() -> None:
    """Nor do those whose tracks are all but the same: near is near."""
    assert [] == find_outliers(tracks(*[1] * 40, noise=0.05), DLIB_RULES).rows.tolist()
    nearly = tracks(*[1] * 9, noise=0.0)
    nearly[4, 0] += 0.2

    assert [] == find_outliers(nearly, DLIB_RULES).rows.tolist()


def test_few_tracks_have_no_outlier() -> None:
    """Two against two is no majority; and nothing at all is nothing to doubt."""
    assert [] == find_outliers(tracks(1, 1, 2, 2), DLIB_RULES).rows.tolist()
    assert [] == find_outliers(np.empty((0, 128), np.float32), DLIB_RULES).rows.tolist()
    assert [4] == find_outliers(tracks(1, 1, 1, 1, 2), DLIB_RULES).rows.tolist()
    assert 5 == MIN_TRACKS


def test_how_long_a_vector_is_does_not_matter() -> None:
    """It says more about the picture than about the person."""
    vectors = tracks(1, 1, 1, 2, 1, 1, 1)
    vectors[0] *= 0.6

    assert [3] == find_outliers(vectors, DLIB_RULES).rows.tolist()
