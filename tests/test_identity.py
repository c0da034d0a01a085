"""People outlive groupings: laws of carrying their ids over."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from portraitd.grouping.identity import carry_over

pairs = st.lists(st.tuples(st.integers(-1, 6), st.integers(0, 6)), max_size=60)
"""For each face its cluster now, -1 for noise, and its person before, 0 for none."""


def carried(faces: list[tuple[int, int]]) -> dict[int, int]:
    labels = np.array([label for label, _ in faces], np.int32)
    previous = np.array([person for _, person in faces], np.int64)
    return carry_over(labels, previous)


@given(pairs)
def test_each_person_and_each_cluster_is_used_once(faces: list[tuple[int, int]]) -> None:
    """And only where they share a face."""
    result = carried(faces)

    assert len(result) == len(set(result.values()))
    assert {(label, person) for label, person in result.items()} <= set(faces)
    assert -1 not in result
    assert 0 not in result.values()


@given(pairs)
def test_nobody_is_left_out_who_could_be_carried(faces: list[tuple[int, int]]) -> None:
    """A person and a cluster that share a face are not both left over."""
    result = carried(faces)

    left_over = [
        (label, person)
        for label, person in faces
        if label >= 0 and person > 0 and label not in result and person not in result.values()
    ]
    assert [] == left_over


@given(st.lists(st.integers(-1, 6), max_size=60))
def test_nothing_changes_where_nothing_changed(labels: list[int]) -> None:
    """Everybody keeps their id."""
    result = carried([(label, label + 1 if label >= 0 else 0) for label in labels])

    assert {label: label + 1 for label in labels if label >= 0} == result


@given(pairs, st.permutations(range(7)))
def test_the_numbers_of_clusters_mean_nothing(
    faces: list[tuple[int, int]], numbers: list[int]
) -> None:
    """Given other numbers, the same clusters continue the same people, unless there are ties."""
    counts = [faces.count(pair) for pair in set(faces) if pair[0] >= 0 and pair[1] > 0]
    assume(len(counts) == len(set(counts)))
    renamed = [(numbers[label] if label >= 0 else -1, person) for label, person in faces]

    expected = {numbers[label]: person for label, person in carried(faces).items()}
    assert expected == carried(renamed)


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_faces_means_nothing(faces: list[tuple[int, int]], random: object) -> None:
    """Shuffled, the same."""
    shuffled = list(faces)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert carried(faces) == carried(shuffled)


@given(pairs)
def test_the_pair_that_shares_most_is_kept(faces: list[tuple[int, int]]) -> None:
    """Whatever happens to the others."""
    known = [pair for pair in faces if pair[0] >= 0 and pair[1] > 0]
    result = carried(faces)

    most = max((known.count(pair) for pair in known), default=0)
    assert most == max((known.count(pair) for pair in result.items()), default=0)


def test_a_person_who_splits_keeps_the_larger_part() -> None:
    """The other part is somebody new."""
    assert {4: 1} == carried([(3, 1), (4, 1), (4, 1)])


def test_of_two_who_are_one_now_the_larger_stays() -> None:
    """Where both are as large, the older."""
    assert {0: 2} == carried([(0, 1), (0, 2), (0, 2)])
    assert {0: 1} == carried([(0, 2), (0, 1)])


def test_arrays_that_differ_in_length_are_refused() -> None:
    """They do not speak of the same faces."""
    with pytest.raises(ValueError, match="2 labels for 1 faces"):
        carry_over(np.zeros(2, np.int32), np.zeros(1, np.int64))
