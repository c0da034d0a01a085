"""What is left over joins a person of the same recording, within a wider limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.grouping import GroupingState
from portraitd.faces.models.cards import MOBILEFACENET
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.grouping_rules import GroupingRule

Rows = NDArray[np.int64]

RULE: GroupingRule = require_rules(MOBILEFACENET).grouping
MARGIN = 0.02
assert RULE.recording is not None
WIDE = RULE.recording.max_distance
GAP = RULE.recording.min_gap


def at(direction: int, distance: float, away: int) -> NDArray[np.float64]:
    """A vector of length 1 at this distance from an axis, in the direction of another one."""
    cosine = 1 - distance**2 / 2
    vector = np.zeros(16)
    vector[direction], vector[away] = cosine, np.sqrt(1 - cosine**2)
    return vector


ANN, BOB = 0, 1
PEOPLE = [at(ANN, 0.3, 2), at(ANN, 0.3, 3), at(BOB, 0.3, 4), at(BOB, 0.3, 5)]
"""Two tracks of each of two people."""


def group(
    more: list[NDArray[np.float64]],
    videos: list[int],
    *,
    faces: int = 1,
    quality: float = 0.9,
    pairs: list[tuple[int, int]] | None = None,
    fixed: Rows | None = None,
    rule: GroupingRule = RULE,
) -> list[int]:
    """Group both people, in recording 1, and more tracks."""
    vectors = np.array(PEOPLE + more, np.float32)
    size = len(vectors)
    table = TrackTable(
        vectors,
        np.zeros(size),
        np.zeros(size, np.int64),
        np.array(pairs or [], np.int64).reshape(-1, 2),
    )
    counts = np.array([4] * len(PEOPLE) + [faces] * len(more))
    qualities = np.array([0.9] * len(PEOPLE) + [quality] * len(more))
    state = GroupingState.empty(16).update(table, qualities, counts, np.zeros(size, np.bool_), rule)
    kept = np.isin(np.arange(size), [] if fixed is None else fixed)
    people = state.select_people(counts, rule)
    every = np.array([1] * len(PEOPLE) + videos)
    joined = state.join_in_recordings(people, table, counts, every, kept, rule)
    return [int(one) for one in joined[len(PEOPLE) :]]


def test_what_is_left_over_joins_a_person_of_its_recording() -> None:
    """A single face, a low-quality track, and a person of one track; in no other recording."""
    left = at(ANN, WIDE - MARGIN, 6)

    assert [0] == group([left], [1])
    assert [0] == group([left], [1], quality=0.0)
    assert [0] == group([left], [1], faces=9)
    assert [-1] == group([left], [2])
    assert [4] == group([left], [2], faces=9)
    assert [-1] == group([left], [1], rule=replace(RULE, recording=None))
    assert [-1] == group([at(ANN, WIDE + MARGIN, 6)], [1])


def test_the_next_person_of_the_recording_must_be_farther() -> None:
    """A track between two people joins neither, whichever is a little nearer."""
    between = np.zeros(16)
    between[[ANN, BOB, 7]] = 0.40, 0.38, np.sqrt(1 - 0.40**2 - 0.38**2)
    to_ann, to_bob = (float(np.sqrt(2 - 2 * between[one])) for one in (ANN, BOB))

    assert to_ann < to_bob < to_ann + GAP
    assert to_ann < WIDE
    assert [-1] == group([between], [1], quality=0.0)


def test_tracks_of_one_frame_do_not_join_one_person() -> None:
    """The nearer one joins; nothing joins a person who was seen beside it."""
    near, far = at(ANN, WIDE - 2 * MARGIN, 6), at(ANN, WIDE - MARGIN, 8)

    assert [0, 0] == group([near, far], [1, 1], quality=0.0)
    assert [0, -1] == group([near, far], [1, 1], quality=0.0, pairs=[(4, 5)])
    assert [-1, 0] == group([near, far], [1, 1], quality=0.0, pairs=[(1, 4)])


def test_a_person_of_one_track_brings_what_joined_it() -> None:
    """All together, or none of them if one was seen beside the other person."""
    alone = at(ANN, WIDE - MARGIN, 6)
    follower = alone + 0.3 * at(9, 0.0, 10)
    follower /= np.linalg.norm(follower)

    def both(pairs: list[tuple[int, int]]) -> list[int]:
        vectors = np.array([*PEOPLE, alone, follower], np.float32)
        counts = np.array([4, 4, 4, 4, 9, 1])
        table = TrackTable(
            vectors, np.zeros(6), np.zeros(6, np.int64), np.array(pairs, np.int64).reshape(-1, 2)
        )
        quality, none = np.array([0.9] * 5 + [0.0]), np.zeros(6, np.bool_)
        state = GroupingState.empty(16).update(table, quality, counts, none, RULE)
        people = state.select_people(counts, RULE)
        assert [4, 4] == people[4:].tolist()
        videos = np.array([1, 1, 1, 1, 1, 2])
        joined = state.join_in_recordings(people, table, counts, videos, none, RULE)
        return [int(one) for one in joined[4:]]

    assert [0, 0] == both([])
    assert [4, 4] == both([(0, 5)])


def test_what_a_user_decided_stays() -> None:
    """A person of one track whom a user named, and a track that belongs to nobody."""
    left = at(ANN, WIDE - MARGIN, 6)

    assert [4] == group([left], [1], faces=9, fixed=np.array([4]))
    assert [-1] == group([left], [1], fixed=np.array([4]))
