"""Tracks are pure, complete where nothing happens, and independent of how faces arrive."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.track_building import build_tracks, find_cannot_links, summarise_tracks
from portraitd.model.track import VideoFaces, l2_normalised
from support.embedding_rules import DLIB_RULES

RULE = DLIB_RULES.tracking
ANN, BOB, EVE = np.eye(128, dtype=np.float32)[:3] * 1.4


def video(
    *faces: tuple[float, float, NDArray[np.floating]], shots: list[int] | None = None
) -> VideoFaces:
    """Faces of 100 px given by time, left edge and embedding."""
    times, lefts, embeddings = zip(*faces, strict=True)
    boxes = np.array([(left, 50.0, left + 100.0, 150.0) for left in lefts])
    return VideoFaces(
        np.array(times, dtype=np.float64),
        boxes,
        np.array(embeddings, dtype=np.float32),
        np.ones(len(times)),
        None if shots is None else np.array(shots),
    )


@st.composite
def videos(draw: st.DrawFn) -> VideoFaces:
    """People who walk, leave, return, turn and are cut to, at one to six samples a second."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rate = draw(st.sampled_from([1.0, 2.0, 3.0, 6.0]))
    people = random.normal(0, 0.06, (draw(st.integers(1, 5)), 128))
    rows = []
    for step in range(draw(st.integers(0, 30))):
        for person, centre in enumerate(people):
            if random.random() < 0.7:
                left = 150.0 * person + random.normal(0, 20)
                rows.append((step / rate, left, centre + random.normal(0, 0.02, 128)))
    if not rows:
        none = np.empty((0, 128), np.float32)
        return VideoFaces(np.empty(0), np.empty((0, 4)), none, np.empty(0))
    made = video(*rows)
    return VideoFaces(made.times_s, made.boxes, made.embeddings, random.random(len(rows)))


def taken(faces: VideoFaces, rows: NDArray[np.int64]) -> VideoFaces:
    return VideoFaces(
        faces.times_s[rows], faces.boxes[rows], faces.embeddings[rows], faces.quality[rows]
    )


@given(videos())
def test_no_track_is_in_one_frame_twice(faces: VideoFaces) -> None:
    """Two faces of one frame are two tracks, and the pair is reported."""
    tracks = build_tracks(faces, DLIB_RULES)
    seen = set(zip(faces.times_s.tolist(), tracks.tolist(), strict=True))
    expected = {(a, b) for t, a in seen for u, b in seen if t == u and a < b}

    assert len(seen) == len(tracks)
    assert sorted(expected) == [tuple(pair) for pair in find_cannot_links(faces, tracks).tolist()]


@given(videos(), st.integers(0, 2**32 - 1))
def test_the_order_of_storing_changes_nothing(faces: VideoFaces, seed: int) -> None:
    """Slices may arrive in any order, with any of their faces first."""
    order = np.random.default_rng(seed).permutation(len(faces.times_s))
    shuffled = taken(faces, order)
    tracks, tracks_shuffled = build_tracks(faces, DLIB_RULES), build_tracks(shuffled, DLIB_RULES)
    one, other = (
        summarise_tracks(faces, tracks, DLIB_RULES.vector_length),
        summarise_tracks(shuffled, tracks_shuffled, DLIB_RULES.vector_length),
    )

    assert tracks[order].tolist() == tracks_shuffled.tolist()
    assert np.array_equal(one.embeddings, other.embeddings)
    assert np.array_equal(one.best, order[other.best] if len(order) else other.best)


@given(videos())
def test_links_keep_the_rule(faces: VideoFaces) -> None:
    """Neighbours in a track are near in time and place, and tracks are numbered as they begin."""
    tracks = build_tracks(faces, DLIB_RULES)
    for number in range(tracks.max(initial=-1) + 1):
        rows = np.flatnonzero(tracks == number)
        rows = rows[np.argsort(faces.times_s[rows])]
        assert (np.diff(faces.times_s[rows]) <= RULE.max_gap_s).all()
        for before, after in itertools.pairwise(rows):
            shift = abs(faces.boxes[before, 0] - faces.boxes[after, 0])
            assert (100 - shift) / (100 + shift) >= RULE.min_overlap - 1e-9
    firsts = [faces.times_s[tracks == number].min() for number in range(tracks.max(initial=-1) + 1)]
    assert firsts == sorted(firsts)


@given(videos())
def test_a_track_lies_between_its_faces(faces: VideoFaces) -> None:
    """The mean is inside the box around its l2_normalised faces; the figures add up."""
    tracks = build_tracks(faces, DLIB_RULES)
    summary = summarise_tracks(faces, tracks, DLIB_RULES.vector_length)
    assert len(tracks) == summary.faces.sum()
    for number, mean in enumerate(summary.embeddings):
        own = l2_normalised(faces.embeddings[tracks == number], DLIB_RULES.vector_length)
        assert (mean >= own.min(axis=0) - 1e-6).all()
        assert (mean <= own.max(axis=0) + 1e-6).all()
        assert 0 <= summary.variances[number] <= np.square(own - own[0]).sum(axis=1).max() + 1e-6
        assert faces.quality[tracks == number].max() == summary.quality[number]
        assert tracks[summary.best[number]] == number


def test_a_still_face_is_one_track() -> None:
    """Also when one sample was missed."""
    faces = video((0.0, 0, ANN), (1.0, 5, ANN), (3.0, 9, ANN))

    assert [0, 0, 0] == build_tracks(faces, DLIB_RULES).tolist()


def test_a_long_absence_ends_a_track() -> None:
    """Whoever is in the same place later may be anybody."""
    assert [0, 1] == build_tracks(video((0.0, 0, ANN), (2.2, 0, ANN)), DLIB_RULES).tolist()


def test_a_cut_to_another_face_in_the_same_place_ends_a_track() -> None:
    """Without shot numbers the embedding tells."""
    assert [0, 1, 1] == build_tracks(
        video((0.0, 0, ANN), (0.5, 0, BOB), (1.0, 0, BOB)), DLIB_RULES
    ).tolist()


def test_a_known_cut_ends_every_track() -> None:
    """A decoder that saw the cut is believed, however alike the faces are."""
    faces = video((0.0, 0, ANN), (0.5, 0, ANN), (1.0, 0, ANN), shots=[1, 1, 2])

    assert [0, 0, 1] == build_tracks(faces, DLIB_RULES).tolist()


def test_a_jump_across_the_picture_ends_a_track() -> None:
    """A face elsewhere may be the same person; the boxes do not say so."""
    assert [0, 1] == build_tracks(video((0.0, 0, ANN), (0.5, 400, ANN)), DLIB_RULES).tolist()


def test_people_who_cross_keep_their_tracks() -> None:
    """The nearest embedding decides, not the nearest box."""
    faces = video((0.0, 0, ANN), (0.0, 60, BOB), (0.5, 0, BOB), (0.5, 60, ANN))

    assert [0, 1, 1, 0] == build_tracks(faces, DLIB_RULES).tolist()


def test_a_blurred_face_does_not_end_a_track() -> None:
    """The track's mean still recognises who comes after it."""
    blurred, after = ANN + 0.33 * BOB, ANN + 0.33 * EVE
    faces = video((0.0, 0, ANN), (0.5, 0, ANN), (1.0, 0, blurred), (1.5, 0, after))

    assert [0, 0, 0, 0] == build_tracks(faces, DLIB_RULES).tolist()


def test_poor_faces_have_less_weight_in_the_mean() -> None:
    """A face of no quality moves the mean by a tenth of what a good one would."""
    faces = video((0.0, 0, ANN), (0.5, 0, BOB))
    faces = VideoFaces(faces.times_s, faces.boxes, faces.embeddings, np.array([1.0, 0.0]))
    track = summarise_tracks(faces, np.array([0, 0]), DLIB_RULES.vector_length)
    mean = (ANN + 0.1 * BOB) / 1.1
    cannot_link = np.square(ANN - mean).sum(), np.square(BOB - mean).sum()

    assert np.allclose(track.embeddings[0], mean, atol=1e-6)
    assert np.isclose(track.variances[0], (cannot_link[0] + 0.1 * cannot_link[1]) / 1.1)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_normalised_vectors_differ_only_in_direction(seed: int, factor: float) -> None:
    """All have dlib's average length, whatever theirs was; zeros stay zeros."""
    vectors = np.random.default_rng(seed).normal(0, 0.1, (5, 128)).astype(np.float32)
    vectors[2] = 0
    level = l2_normalised(vectors, DLIB_RULES.vector_length)

    assert np.allclose(np.linalg.norm(level, axis=1), [1.4, 1.4, 0, 1.4, 1.4], atol=1e-6)
    assert np.allclose(
        l2_normalised(vectors * np.float32(factor), DLIB_RULES.vector_length), level, atol=1e-6
    )


def test_quality_is_the_minimum_of_all_parts() -> None:
    """Large and sharp does not make up for a profile."""
    size_px, frontal = np.array([100.0, 100.0, 48.0, 16.0]), np.array([1.0, 0.0, 1.0, 1.0])

    sharpness, sure = np.full(4, 50.0), np.ones(4)

    vectors, measure = np.ones((4, 128), np.float32), DLIB_RULES.quality.measure

    assert [1.0, 0.0, 0.5, 0.0] == measure(size_px, sharpness, frontal, sure, vectors).tolist()
    unsure = measure(size_px, sharpness, frontal, 0.3 * sure, vectors)
    assert [0.3, 0.0, 0.3, 0.0] == unsure.tolist()
