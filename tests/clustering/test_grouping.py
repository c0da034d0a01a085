"""A whole grouping: new tracks are added, excluded ones removed, and a restart loses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.grouping import GroupingState, from_arrays, to_arrays
from portraitd.model.grouping_rules import (
    AgglomerationRule,
    AssignmentRule,
    DbscanRule,
    GroupingRule,
    RecordingRule,
)
from support.embedding_rules import DLIB_RULES

Rows = NDArray[np.int64]

RULE = DLIB_RULES.grouping
BY_CENTRE = replace(RULE, assignment=replace(RULE.assignment, centre_distance=0.55, centre_faces=4))
"""Lone and low-quality tracks also join the nearest centre."""
IN_RECORDINGS = replace(BY_CENTRE, recording=RecordingRule(0.65, 0.01))
"""What is left over joins a person of its recording."""


def table(seed: int, size: int) -> tuple[TrackTable, NDArray[np.float64], Rows]:
    """Tracks of some people, how good they are, and how many faces they have."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 0.05, (6, 128))
    vectors = centres[random.integers(0, 6, size)] + random.normal(0, 0.028, (size, 128))
    pairs = random.integers(0, max(size, 1), (size // 4, 2))
    tracks = TrackTable(
        vectors=vectors.astype(np.float32),
        variances=random.uniform(0, 0.02, size),
        pinned=np.where(random.random(size) < 0.05, random.integers(1, 3, size), 0),
        cannot_link=np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0),
    )
    return tracks, random.random(size), random.integers(1, 4, size)


def first(tracks: TrackTable, size: int) -> TrackTable:
    return TrackTable(
        tracks.vectors[:size],
        tracks.variances[:size],
        tracks.pinned[:size],
        tracks.cannot_link[(tracks.cannot_link < size).all(axis=1)],
    )


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 60), min_size=1, max_size=5),
    st.sampled_from([RULE, BY_CENTRE, IN_RECORDINGS]),
)
def test_many_groupings_give_what_one_gives(
    seed: int, sizes: list[int], rule: GroupingRule
) -> None:
    """However the tracks are spread over groupings, and whatever is deleted in between."""
    sizes.sort()
    tracks, quality, faces = table(seed, sizes[-1])
    excluded = np.random.default_rng(seed).random(sizes[-1]) < 0.15
    grouping = GroupingState.empty(128)
    for number, size in enumerate(sizes):
        excluded_now = excluded[:size] if number == len(sizes) - 1 else np.zeros(size, np.bool_)
        grouping = grouping.update(
            first(tracks, size), quality[:size], faces[:size], excluded_now, rule
        )
    at_once = GroupingState.empty(128).update(tracks, quality, faces, excluded, rule)

    people, expected = (
        state.join_in_recordings(
            state.select_people(faces, rule),
            tracks,
            faces,
            np.arange(sizes[-1]) // 9,
            excluded,
            rule,
        )
        for state in (grouping, at_once)
    )
    assert expected.tolist() == people.tolist()
    kept, found = (
        set(zip(*(one.tolist() for one in (some.rows, some.groups, some.by_centre)), strict=True))
        for some in (grouping.assignment.offers, at_once.assignment.offers)
    )
    assert found == kept
    assert (people[excluded] == -1).all()
    for a, b in tracks.cannot_link:
        assert people[a] != people[b] or people[a] < 0 or tracks.pinned[[a, b]].any()


@given(st.integers(0, 2**32 - 1))
def test_a_restart_changes_nothing(seed: int) -> None:
    """What was saved is all there is."""
    tracks, quality, faces = table(seed, 50)
    excluded = np.zeros(50, np.bool_)
    before = GroupingState.empty(128).update(
        first(tracks, 30), quality[:30], faces[:30], excluded[:30], RULE
    )
    restored = from_arrays(to_arrays(before), 128)
    one, other = (
        state.update(tracks, quality, faces, excluded, RULE) for state in (before, restored)
    )

    assert one.select_people(faces, RULE).tolist() == other.select_people(faces, RULE).tolist()
    for left, right in zip(to_arrays(one).values(), to_arrays(other).values(), strict=True):
        assert np.array_equal(left, right)


def test_a_state_is_saved_without_pickle(tmp_path: Path) -> None:
    """Plain arrays in a file that numpy reads with pickle forbidden."""
    tracks, quality, faces = table(5, 40)
    state = GroupingState.empty(128).update(tracks, quality, faces, np.zeros(40, np.bool_), RULE)
    np.savez(tmp_path / "state.npz", allow_pickle=False, **to_arrays(state))
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        restored = from_arrays(arrays, 128)

    assert state.select_people(faces, RULE).tolist() == restored.select_people(faces, RULE).tolist()


def lone(quality: list[float], faces: list[int], pinned: list[int] | None = None) -> Rows:
    """Groups of tracks that all show the same person, of whom nothing else is known."""
    size = len(quality)
    tracks = TrackTable(
        np.full((size, 128), 0.1, dtype=np.float32),
        np.zeros(size),
        np.array(pinned or [0] * size),
        np.empty((0, 2), dtype=np.int64),
    )
    excluded = np.zeros(size, dtype=np.bool_)
    grouping = GroupingState.empty(128).update(
        tracks, np.array(quality), np.array(faces), excluded, RULE
    )
    return grouping.select_people(np.array(faces), RULE)


def test_low_quality_tracks_alone_found_no_person() -> None:
    """However many they are; with one good track they all join."""
    assert [-1, -1, -1] == lone([0.1, 0.1, 0.0], [9, 9, 9]).tolist()
    assert [2, 2, 2] == lone([0.1, 0.1, 0.9], [9, 9, 2]).tolist()


def test_a_short_track_must_be_better_to_found_a_person() -> None:
    """A few poor faces can resemble someone by chance; many do not."""
    assert [-1, -1, -1] == lone([0.39, 0.39, 0.39], [3, 3, 3]).tolist()
    assert [0, 0, 0] == lone([0.39, 0.39, 0.39], [4, 3, 3]).tolist()
    assert [0, 0] == lone([0.4, 0.4], [1, 1]).tolist()
    assert [-1, -1] == lone([0.19, 0.19], [50, 50]).tolist()


def test_a_person_needs_faces_of_good_tracks() -> None:
    """One good face and a low-quality track near it are not enough."""
    assert [-1, -1] == lone([0.9, 0.1], [1, 5]).tolist()
    assert [0, 0] == lone([0.9, 0.9], [1, 1]).tolist()


def test_a_pinned_track_is_good_enough() -> None:
    """The user who pinned it could see who it is."""
    assert [0, 0] == lone([0.1, 0.1], [2, 2], pinned=[4, 0]).tolist()


def test_a_hard_picture_joins_a_person_by_the_centre() -> None:
    """It is far from each face, which varies, and near to what they have in common."""
    random = np.random.default_rng(3)
    common = np.zeros(128)
    common[0] = 1.0
    faces_of_ann = common + random.normal(0, 0.05, (12, 128))
    hard = common + random.normal(0, 0.08, (1, 128))
    stranger = np.zeros((1, 128))
    stranger[0, 1] = 1.2
    vectors = np.concatenate([faces_of_ann, hard, stranger]).astype(np.float32)
    vectors *= np.float32(1.4) / np.linalg.norm(vectors, axis=1, keepdims=True)
    none = np.zeros(14, np.int64)
    faces, quality = np.full(14, 2), np.ones(14)
    distances = np.linalg.norm(vectors[:12] - vectors[12], axis=1)
    near = float(np.sqrt((distances**2).mean())) - 0.01
    rule = replace(
        RULE,
        dbscan=DbscanRule(0.5 * near, 3),
        agglomeration=AgglomerationRule(near, near),
        assignment=AssignmentRule(near, near, centre_distance=0.9 * near),
    )

    def people(table: TrackTable, rule: GroupingRule) -> list[int]:
        state = GroupingState.empty(128).update(table, quality, faces, np.zeros(14, np.bool_), rule)
        return state.select_people(faces, rule).tolist()

    tracks = TrackTable(vectors, np.zeros(14), none, np.empty((0, 2), np.int64))
    by_faces = replace(rule, assignment=AssignmentRule(near, near))

    assert [0] * 12 + [12, 13] == people(tracks, by_faces)
    assert [0] * 13 + [13] == people(tracks, rule)
    apart = replace(tracks, cannot_link=np.array([[3, 12]]))
    assert [0] * 12 + [12, 13] == people(apart, rule)
