"""Deduplication: near-duplicates are left out, except for the first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.datasets.dedup import select_distinct
from portraitd.model.face import are_dlib_points

LINE = np.zeros((6, 128), np.float32)
LINE[:, 0] = [0.0, 0.05, 0.5, 0.54, 1.0, 0.01]


def select(
    vectors: NDArray[np.float32], tracks: list[int], times: list[float], near: float, apart: float
) -> list[bool]:
    return select_distinct(
        vectors, np.array(tracks), np.array(times, np.float64), near, apart
    ).tolist()


def test_near_duplicates_are_left_out() -> None:
    """File and track do not matter; the first face stays."""
    alone = list(range(6))

    assert [True, False, True, False, True, False] == select(LINE, alone, [0.0] * 6, 0.1, 1.0)


def test_a_threshold_of_zero_keeps_all_faces() -> None:
    """Only identical faces would be left out."""
    assert [True] * 6 == select(LINE, list(range(6)), [0.0] * 6, 0.0, 0.0)


def test_faces_of_a_track_are_spaced_in_time() -> None:
    """Another track at the same time gives its own face."""
    tracks, times = [1, 1, 1, 1, 2, 1], [0.0, 0.5, 1.96, 2.5, 2.5, 4.0]

    assert [True, False, True, False, True, True] == select(LINE, tracks, times, 0.0, 2.0)


@given(st.integers(0, 1000), st.integers(1, 30))
def test_later_faces_remove_no_earlier_ones(seed: int, count: int) -> None:
    """The selection among the first faces does not depend on what follows."""
    vectors = np.random.default_rng(seed).normal(0, 0.05, (count + 10, 128)).astype(np.float32)
    tracks, times = (
        [number % 3 for number in range(count + 10)],
        [float(n) for n in range(count + 10)],
    )

    everything = select(vectors, tracks, times, 0.7, 1.0)

    assert everything[:count] == select(vectors[:count], tracks[:count], times[:count], 0.7, 1.0)


def test_eye_centres_differ_from_eye_corners() -> None:
    """They need different templates."""
    yunet = ((103.0, 108.0), (149.0, 106.0), (130.0, 134.0), (110.0, 157.0), (148.0, 155.0))
    dlib = ((150.0, 100.0), (130.0, 102.0), (80.0, 101.0), (100.0, 103.0), (115.0, 135.0))

    assert not are_dlib_points(yunet)
    assert are_dlib_points(dlib)


@given(st.floats(-3.1, 3.1), st.floats(0.2, 5), st.booleans())
def test_rotated_landmarks_are_told_apart(angle: float, scale: float, is_yunet: bool) -> None:
    """Rotation and scale do not matter."""
    upright = (
        [(103, 108), (149, 106), (130, 134), (110, 157), (148, 155)]
        if is_yunet
        else [(150, 100), (130, 102), (80, 101), (100, 103), (115, 135)]
    )
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    points = tuple((float(x), float(y)) for x, y in np.array(upright) @ turn.T)

    assert is_yunet != are_dlib_points(points)
