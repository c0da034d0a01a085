"""People keep their ids and names whatever a grouping makes of their faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.identity import carry_over
from portraitd.model.person import CarriedOver

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """A grouping with people from the one before."""

    groups: Rows
    previous: Rows
    faces: Rows
    kept: frozenset[int]
    pinned: Rows
    next_id: int

    def carried(self) -> CarriedOver:
        return carry_over(
            self.groups,
            self.previous,
            self.faces,
            self.next_id,
            kept=self.kept,
            pinned=self.pinned,
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Few people and groups, so that they split and merge in every way."""
    size = draw(st.integers(0, 25))

    def column(low: int, high: int) -> Rows:
        values = st.lists(st.integers(low, high), min_size=size, max_size=size)
        return np.array(draw(values), dtype=np.int64)

    pinned = column(-12, 6)
    return Case(
        groups=column(-1, 6),
        previous=column(0, 7),
        faces=column(1, 4),
        kept=frozenset(draw(st.sets(st.integers(1, 7), max_size=4))),
        pinned=np.maximum(pinned, 0),
        next_id=draw(st.integers(8, 12)),
    )


def grouped(*counts: tuple[int, int, int]) -> tuple[Rows, Rows, Rows]:
    """Tracks given as (group, person before, how many tracks), of one face each."""
    groups, previous, sizes = (np.array(column) for column in zip(*counts, strict=True))
    return groups.repeat(sizes), previous.repeat(sizes), np.ones(sizes.sum(), dtype=np.int64)


@given(cases())
def test_ids_are_never_reused(case: Case) -> None:
    """Each person is a known one, or has an id that was never used."""
    result = case.carried()
    known = set(case.previous.tolist()) | set(case.pinned.tolist()) | {0}
    new = set(result.people.tolist()) - known

    assert new <= set(range(case.next_id, result.next_id))
    assert set(result.split_from) <= set(range(case.next_id, result.next_id))
    assert set(result.merged_into) <= known - set(result.people.tolist())
    assert set(result.merged_into.values()) <= set(result.people.tolist())


@given(cases())
def test_names_are_never_lost(case: Case) -> None:
    """A kept person loses their last track only to a user edit."""
    result = case.carried()
    for person in case.kept:
        theirs = case.previous == person
        pinned_elsewhere = case.pinned[theirs] > 0
        if theirs.any() and not pinned_elsewhere.all():
            assert person in result.people
    assert set(result.names_lost) <= case.kept
    assert not set(result.names_lost) & set(result.people.tolist())


@given(cases())
def test_pinned_tracks_stay(case: Case) -> None:
    """A grouping never moves a pinned track."""
    people = case.carried().people

    assert (people[case.pinned > 0] == case.pinned[case.pinned > 0]).all()


@given(cases())
def test_a_group_is_one_person(case: Case) -> None:
    """Except for pinned tracks and kept people who leave; and no two groups are one person."""
    result = case.carried()
    given_back = np.isin(result.people, list(case.kept)) & (result.people == case.previous)
    free = (case.pinned == 0) & ~given_back
    groups, people = case.groups[free], result.people[free]
    pairs = set(zip(groups.tolist(), people.tolist(), strict=True))

    assert all((person == 0) == (group < 0) for group, person in pairs)
    inside = [pair for pair in pairs if pair[0] >= 0]
    assert len(inside) == len({group for group, _ in inside})
    assert len(inside) == len({person for _, person in inside})


@given(cases())
def test_a_grouping_that_changes_nothing_changes_no_person(case: Case) -> None:
    """With the people found as its groups, a grouping gives the same people again."""
    first = case.carried()
    again = Case(
        groups=np.where(first.people > 0, first.people, -1),
        previous=first.people,
        faces=case.faces,
        kept=case.kept,
        pinned=case.pinned,
        next_id=first.next_id,
    ).carried()

    assert first.people.tolist() == again.people.tolist()
    assert (0, {}, {}, ()) == (again.churn, again.merged_into, again.split_from, again.names_lost)
    assert first.next_id == again.next_id


@given(cases(), st.permutations(range(7)))
def test_the_names_of_groups_do_not_matter(case: Case, names: list[int]) -> None:
    """Unless shares are equal and nothing else decides; then any name may decide."""
    factors = 5 ** np.arange(len(case.groups), dtype=np.int64)
    distinct = Case(**{**vars(case), "faces": factors})
    renamed = np.where(case.groups < 0, -1, np.array(names)[case.groups])
    other = Case(**{**vars(distinct), "groups": renamed})

    assert distinct.carried().people.tolist() == other.carried().people.tolist()


@given(cases())
def test_churn_counts_faces(case: Case) -> None:
    """Faces, not tracks, and only those that had a person."""
    result = case.carried()
    pairs = zip(case.previous, result.people, case.faces, strict=True)

    assert sum(n for before, after, n in pairs if before and before != after) == result.churn


def test_a_person_who_splits_keeps_the_larger_part() -> None:
    """The smaller part is a new person with a record of the split."""
    result = carry_over(*grouped((0, 5, 2), (1, 5, 3)), next_id=9)

    assert [9, 9, 5, 5, 5] == result.people.tolist()
    assert {9: 5} == result.split_from
    assert 2 == result.churn


def test_people_who_merge_become_the_one_with_more_faces() -> None:
    """The other one points to them."""
    result = carry_over(*grouped((0, 5, 2), (0, 4, 3)), next_id=9)

    assert {4} == set(result.people.tolist())
    assert {5: 4} == result.merged_into


def test_the_older_id_wins_a_tie() -> None:
    """Two people who give the same number of faces become the one known longer."""
    assert {4} == set(carry_over(*grouped((0, 5, 2), (0, 4, 2)), next_id=9).people.tolist())


def test_faces_count_and_not_tracks() -> None:
    """One long track outweighs two short ones."""
    groups, previous = np.array([0, 0, 0]), np.array([5, 5, 6])
    result = carry_over(groups, previous, np.array([1, 1, 10]), next_id=9)

    assert {6} == set(result.people.tolist())


def test_a_name_outlives_a_merge_with_many_strangers() -> None:
    """Two faces of a named person beat twenty of an unnamed one."""
    result = carry_over(*grouped((0, 4, 20), (0, 5, 2)), next_id=9, kept={5})

    assert {5} == set(result.people.tolist())
    assert {4: 5} == result.merged_into


def test_two_names_are_never_merged_into_one() -> None:
    """The one with more has the group and what is new in it; the other leaves as they came."""
    result = carry_over(*grouped((0, 4, 3), (0, 5, 2), (0, 0, 1)), next_id=9, kept={4, 5})

    assert [4, 4, 4, 5, 5, 4] == result.people.tolist()
    assert () == result.names_lost


def test_a_named_person_may_lose_faces_to_another() -> None:
    """A correction between named people goes through as long as both have a group."""
    groups, previous, faces = grouped((0, 4, 3), (0, 5, 1), (1, 5, 3))
    result = carry_over(groups, previous, faces, next_id=9, kept={4, 5})

    assert [4, 4, 4, 4, 5, 5, 5] == result.people.tolist()


def test_a_name_stays_when_its_faces_are_noise_now() -> None:
    """After a change of thresholds nothing may be near enough; the folder stays."""
    groups, previous, faces = grouped((-1, 4, 2), (-1, 5, 2))
    result = carry_over(groups, previous, faces, next_id=9, kept={4})

    assert [4, 4, 0, 0] == result.people.tolist()
    assert 2 == result.churn


def test_a_group_belongs_to_the_person_its_tracks_are_pinned_to() -> None:
    """One face put there by hand says more than ten that a grouping put elsewhere."""
    pinned = np.array([0] * 10 + [7])
    result = carry_over(*grouped((0, 4, 10), (0, 0, 1)), next_id=9, kept={4}, pinned=pinned)

    assert 7 == result.people[10]
    assert [4] * 10 == result.people[:10].tolist()


def test_tracks_pinned_elsewhere_do_not_keep_an_id() -> None:
    """Somebody moved most of person 4 to 7; the rest is 4, not what else is beside those."""
    pinned = np.array([7] * 5 + [0] * 5)
    result = carry_over(*grouped((0, 4, 5), (1, 0, 2), (2, 4, 3)), next_id=9, pinned=pinned)
    torn = carry_over(
        *grouped((0, 4, 4), (1, 4, 1), (0, 0, 2), (2, 4, 3)), next_id=9, pinned=pinned
    )

    assert [7] * 5 + [9] * 2 + [4] * 3 == result.people.tolist()
    assert [7] * 7 + [4] * 3 == torn.people.tolist()


def test_misuse_is_refused() -> None:
    """Arrays of one length, and ids below the next."""
    groups, previous, faces = grouped((0, 4, 2))
    with pytest.raises(ValueError, match="one entry per track"):
        carry_over(groups, previous[:1], faces, next_id=9)
    with pytest.raises(ValueError, match="above every id"):
        carry_over(groups, previous, faces, next_id=4)
