"""Fingerprints of faces match the faces of a reprocessed video."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from portraitd.store.corrections.fingerprint_matching import (
    SLACK_S,
    Fingerprints,
    match_fingerprints,
)


@st.composite
def scenes(draw: st.DrawFn) -> Fingerprints:
    """Up to four people side by side, each seen at some of the sampling marks."""
    step_s = draw(st.sampled_from([0.5, 1.0, 2.0]))
    rows = []
    for person in range(draw(st.integers(0, 4))):
        left, top = person * 300 + draw(st.integers(0, 80)), draw(st.integers(0, 80))
        size = draw(st.integers(40, 200))
        for mark in draw(st.sets(st.integers(0, 12), max_size=8)):
            rows.append((mark * step_s, left, top, left + size, top + size, step_s))
    return Fingerprints.of(rows)


def part(marks: Fingerprints, which: list[int]) -> Fingerprints:
    return Fingerprints(*(column[which] for column in marks))


def pairs(
    keys: Fingerprints, faces: Fingerprints
) -> set[tuple[tuple[float, ...], tuple[float, ...]]]:
    """The matched pairs, in any order."""
    found = match_fingerprints(keys, faces).tolist()
    return {
        ((*tuple(keys.boxes[key]), keys.times_s[key]), (*faces.boxes[face], faces.times_s[face]))
        for key, face in enumerate(found)
        if face >= 0
    }


@given(scenes())
def test_every_face_is_recognised_as_itself(scene: Fingerprints) -> None:
    """Where nothing was reprocessed."""
    assert list(range(len(scene.times_s))) == match_fingerprints(scene, scene).tolist()


@given(scenes(), st.integers(0, 2**32 - 1))
def test_a_face_found_a_little_beside_is_the_same(scene: Fingerprints, seed: int) -> None:
    """Another detector cuts boxes otherwise, and the nearest frame to a mark may be another."""
    random = np.random.default_rng(seed)
    sizes = (scene.boxes[:, 2] - scene.boxes[:, 0])[:, None]
    again = Fingerprints(
        scene.times_s + random.uniform(-SLACK_S, SLACK_S, len(scene.times_s)),
        scene.boxes + random.uniform(-0.08, 0.08, (len(sizes), 4)) * sizes,
        scene.steps_s,
    )

    assert list(range(len(scene.times_s))) == match_fingerprints(scene, again).tolist()


@given(scenes(), scenes(), st.randoms())
def test_the_order_of_keys_and_faces_changes_nothing(
    keys: Fingerprints, faces: Fingerprints, random: np.random.RandomState
) -> None:
    """Only times and boxes decide."""
    some, others = list(range(len(keys.times_s))), list(range(len(faces.times_s)))
    random.shuffle(some)
    random.shuffle(others)

    assert pairs(keys, faces) == pairs(part(keys, some), part(faces, others))


@given(scenes(), scenes())
def test_nobody_is_recognised_twice_or_from_afar(keys: Fingerprints, faces: Fingerprints) -> None:
    """Each side once, half a step apart at most, and overlapping by half."""
    found = match_fingerprints(keys, faces)
    used = found[found >= 0]

    assert len(used) == len(np.unique(used))
    for key in np.flatnonzero(found >= 0):
        face = found[key]
        step_s = max(keys.steps_s[key], faces.steps_s.max())
        assert step_s / 2 + SLACK_S >= abs(keys.times_s[key] - faces.times_s[face])
        corner = np.minimum(keys.boxes[key, 2:], faces.boxes[face, 2:])
        sides = corner - np.maximum(keys.boxes[key, :2], faces.boxes[face, :2])
        assert (sides > 0).all()


@given(scenes())
def test_with_twice_the_samples_every_face_is_found(scene: Fingerprints) -> None:
    """The new faces in between match no fingerprint."""
    between = Fingerprints(scene.times_s + scene.steps_s / 2, scene.boxes, scene.steps_s / 2)
    whole = Fingerprints(*(np.concatenate(both) for both in zip(between, scene, strict=True)))
    count = len(scene.times_s)

    assert list(range(count, 2 * count)) == match_fingerprints(scene, whole).tolist()


def test_with_fewer_samples_the_nearest_is_taken() -> None:
    """A face between two marks of the new pace is recognised in the one that is nearer."""
    keys = Fingerprints.of([(1.0, 0, 0, 100, 100, 1.0), (2.0, 0, 0, 100, 100, 1.0)])
    faces = Fingerprints.of([(0.0, 0, 0, 100, 100, 3.0), (3.0, 0, 0, 100, 100, 3.0)])

    assert [0, 1] == match_fingerprints(keys, faces).tolist()


def test_somebody_else_in_the_same_place_later_is_not_taken() -> None:
    """Out of reach in time, or beside in the picture."""
    keys = Fingerprints.of([(1.0, 0, 0, 100, 100, 1.0)])

    assert [-1] == match_fingerprints(keys, Fingerprints.of([(1.7, 0, 0, 100, 100, 1.0)])).tolist()
    assert [-1] == match_fingerprints(keys, Fingerprints.of([(1.0, 60, 0, 160, 100, 1.0)])).tolist()
