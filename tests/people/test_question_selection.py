"""What is asked: the most valuable questions first, as much as one gesture can decide."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.model.question import Question
from portraitd.model.suggestion import NearMiss, Suggestion
from portraitd.people.questions.question_selection import (
    LATER_S,
    OpenCases,
    ValuedQuestion,
    select_questions,
)
from portraitd.store.questions import Deferred, DeferredAnswer, PersonFacts

NOW_S = 1_000_000.0

PEOPLE = {
    1: PersonFacts("Anna", 50),
    2: PersonFacts(None, 10),
    3: PersonFacts(None, 20),
    4: PersonFacts("Bob", 5),
    5: PersonFacts(None, 2),
}

CASES = OpenCases(PEOPLE)


def pair(one: int, other: int, probability: float) -> Suggestion:
    return Suggestion(min(one, other), max(one, other), 0.5, probability)


def ask(
    cases: OpenCases, shown: tuple[Question, ...] = (), limit: int = 20, now_s: float = NOW_S
) -> list[str]:
    return [one.question.key for one in select_questions(cases, shown, limit, now_s)]


def deferred(key: str, answer: DeferredAnswer, at: float = NOW_S) -> Deferred:
    question = Question.of(key)
    assert question
    return Deferred(question, answer, at)


def test_the_value_is_the_expected_number_of_faces_put_right() -> None:
    """A likely pair with few faces is worth less than an unlikely one with many."""
    cases = replace(CASES, suggestions=[pair(1, 2, 0.7), pair(4, 5, 0.95)])

    found = select_questions(cases, (), 20, NOW_S)

    assert [
        ValuedQuestion(Question((1, 2)), 0.7, 10),
        ValuedQuestion(Question((4, 5)), 0.95, 2),
    ] == found
    assert [pytest.approx(7.0), pytest.approx(1.9)] == [one.value for one in found]
    assert ["same:1,2"] == ask(cases, limit=1)
    assert [] == ask(cases, limit=0)


def test_who_is_kept_has_a_name_or_most_faces() -> None:
    """That person comes first."""
    cases = replace(CASES, suggestions=[pair(3, 4, 0.9), pair(2, 5, 0.9)])

    assert ["same:4,3", "same:2,5"] == ask(cases)


def test_several_people_are_one_question_while_yes_is_likely() -> None:
    """And while it is worth more."""
    likely = [pair(1, 2, 0.9), pair(2, 3, 0.9)]
    cases = replace(CASES, suggestions=[*likely, pair(3, 5, 0.6)])

    (both, third) = select_questions(cases, (), 20, NOW_S)

    assert ("same:1,2,3", pytest.approx(0.81), 30) == (
        both.question.key,
        both.probability,
        both.faces,
    )
    assert "same:3,5" == third.question.key


def test_two_names_are_two_people() -> None:
    """Also where others connect them."""
    cases = replace(CASES, suggestions=[pair(1, 4, 0.99), pair(1, 2, 0.9), pair(2, 4, 0.8)])

    assert ["same:1,2", "same:4,2"] == ask(cases)


def test_who_was_separated_is_not_asked_about() -> None:
    """Nor with a third person who is like both."""
    cases = replace(
        CASES,
        suggestions=[pair(2, 3, 0.9), pair(3, 5, 0.9)],
        separated={frozenset((2, 5)), frozenset((1, 2))},
    )

    assert ["same:3,2", "same:3,5"] == ask(cases)
    assert ["same:3,5"] == ask(replace(cases, separated={frozenset((2, 3))}))


def test_faces_of_one_person_are_one_question_while_yes_is_likely() -> None:
    """The most likely ones first; each face is in one question."""
    misses = [
        NearMiss(face, 1, probability, 1)
        for face, probability in [(10, 0.95), (11, 0.95), (12, 0.9), (13, 0.6), (14, 0.55)]
    ]
    cases = replace(CASES, near_misses=[*misses, NearMiss(20, 2, 0.9, 3), NearMiss(21, 9, 0.9, 1)])

    assert ["is:2:20", "is:1:10,11,12", "is:1:13", "is:1:14"] == ask(cases)


def test_twelve_faces_are_enough_for_one_picture() -> None:
    """However likely they are."""
    cases = replace(CASES, near_misses=[NearMiss(face, 1, 0.999, 1) for face in range(30)])

    assert [12, 12, 6] == [len(one.question.face_ids) for one in select_questions(cases, (), 9, 0)]


def test_a_rejected_face_is_asked_about_with_others_only() -> None:
    """A no to one person says nothing about another one."""
    misses = [NearMiss(10, 1, 0.9, 1), NearMiss(11, 1, 0.9, 1)]
    cases = replace(CASES, near_misses=misses, rejected={10: {1}, 11: {2}})

    assert ["is:1:11"] == ask(cases)


def test_people_who_were_merged_are_asked_about_as_who_they_are() -> None:
    """Suggestions, near misses and rejections name people of the last grouping."""
    cases = replace(
        CASES,
        suggestions=[pair(5, 3, 0.9), pair(9, 2, 0.9)],
        near_misses=[NearMiss(10, 9, 0.9, 1)],
        rejected={10: {3}},
        current_person=lambda person: 3 if person == 9 else person,
    )

    assert ["same:3,2,5"] == ask(cases)


def test_not_now_is_a_week() -> None:
    """About these people, and these faces and that person; a clock that was set back ends it."""
    cases = replace(
        CASES,
        suggestions=[pair(1, 2, 0.9), pair(3, 5, 0.9)],
        near_misses=[NearMiss(10, 1, 0.9, 1), NearMiss(11, 1, 0.9, 1)],
        deferred=[
            deferred("same:1,2", DeferredAnswer.LATER),
            deferred("is:1:10", DeferredAnswer.LATER),
        ],
    )

    assert ["same:3,5", "is:1:11"] == ask(cases)
    assert ["same:3,5", "is:1:11"] == ask(cases, now_s=NOW_S + LATER_S - 1)
    everything = ["same:1,2", "same:3,5", "is:1:10,11"]
    assert everything == ask(cases, now_s=NOW_S + LATER_S)
    assert everything == ask(cases, now_s=NOW_S - 1)


def test_after_no_to_several_faces_half_of_them_are_asked_about() -> None:
    """Until the one is found that is another person; those that were right do not count."""
    misses = [NearMiss(face, 1, 0.95, 1) for face in (10, 11, 12, 13)]
    no = deferred("is:1:10,11,12,13", DeferredAnswer.NOT_ALL)
    unsorted: dict[int, int | None] = dict.fromkeys((10, 11, 12, 13))
    cases = replace(CASES, near_misses=misses, deferred=[no], person_of=unsorted)
    assert ["is:1:10,11", "is:1:12,13"] == ask(cases)

    right = {10: 1, 11: 1, 12: None, 13: None}
    after_yes = replace(cases, near_misses=misses[2:], person_of=right)
    assert ["is:1:12", "is:1:13"] == ask(after_yes)

    one_left = replace(after_yes, near_misses=misses[3:], person_of={**right, 12: 1})
    assert [] == ask(one_left)

    found = replace(after_yes, rejected={12: {1}})
    assert ["is:1:13"] == ask(found)
    elsewhere = replace(after_yes, person_of={**right, 12: 4})
    assert ["is:1:12,13"] == ask(elsewhere)


def test_after_no_to_several_people_pairs_are_asked_about() -> None:
    """If all but one turn out to be one person, that one is another person."""
    suggestions = [pair(1, 2, 0.95), pair(2, 3, 0.95), pair(3, 5, 0.95)]
    no = deferred("same:1,2,3,5", DeferredAnswer.NOT_ALL)
    cases = replace(CASES, suggestions=suggestions, deferred=[no])

    assert {"same:1,2", "same:3,2", "same:3,5"} == set(ask(cases))

    merged = replace(
        cases,
        people={one: facts for one, facts in PEOPLE.items() if one not in (2, 3)},
        suggestions=[pair(1, 5, 0.95)],
        current_person=lambda person: 1 if person in (2, 3) else person,
    )
    assert [] == ask(merged)


def test_what_is_shown_stays_while_it_makes_sense() -> None:
    """Also if something else is worth more now; what it is about is not asked twice."""
    cases = replace(
        CASES,
        suggestions=[pair(1, 2, 0.7), pair(2, 3, 0.95), pair(4, 5, 0.6)],
        near_misses=[NearMiss(face, 1, 0.9, 1) for face in (10, 11, 12)],
    )
    shown = (Question((4, 5)), Question((1,), (11,)))

    assert ["same:4,5", "is:1:11"] == sorted(ask(cases, shown, limit=2), reverse=True)
    everything = ask(cases, shown)
    assert {"same:4,5", "is:1:11", "is:1:10,12"} < set(everything)


@pytest.mark.parametrize(
    "question",
    [
        Question((2, 4)),
        Question((1, 9)),
        Question((2, 1)),
        Question((1, 2, 5)),
        Question((1,), (99,)),
        Question((9,), (10,)),
    ],
)
def test_what_makes_no_sense_any_more_goes(question: Question) -> None:
    """Of people or faces who are not there, or not open any more."""
    cases = replace(CASES, suggestions=[pair(1, 2, 0.7)], near_misses=[NearMiss(10, 1, 0.9, 1)])

    assert ["same:1,2", "is:1:10"] == ask(cases, (question,))


@pytest.mark.parametrize(
    "key",
    ["same:1,2", "same:7,3,9", "is:5:1", "is:5:1,22,333", "is:1:" + ",".join(map(str, range(12)))],
)
def test_a_key_is_a_question(key: str) -> None:
    """And the question has that key."""
    question = Question.of(key)

    assert question
    assert key == question.key


@pytest.mark.parametrize(
    "key",
    [
        "", "same", "same:", "same:1", "same:1,1", "same:1,2:3", "is:1", "is:1,2:3", "is:1:",
        "x:1,2",
        "is:1:" + ",".join(map(str, range(13))), "same:1,2,3,4,5,6,7", "same:-1,2", "same:1,2 ",
        "same:1,99999999999999999999", "undo:7", "same:１,２",
    ],
)  # fmt: skip
def test_another_key_is_none(key: str) -> None:
    """Any reviewer can write into a file."""
    assert Question.of(key) is None


@st.composite
def open_cases(draw: st.DrawFn) -> OpenCases:
    ids = st.integers(1, 8)
    pairs = st.tuples(ids, ids).filter(lambda two: two[0] != two[1])
    probability = st.floats(0.5, 0.999)
    people = {
        one: PersonFacts(draw(st.sampled_from([None, None, "A"])), draw(st.integers(1, 99)))
        for one in draw(st.sets(ids))
    }
    keys = draw(st.lists(pairs, max_size=8, unique_by=frozenset))
    no = [
        Deferred(Question(tuple(draw(st.lists(ids, min_size=2, max_size=5, unique=True)))), a, 1.0)
        for a in draw(st.lists(st.sampled_from(DeferredAnswer), max_size=3))
    ]
    return OpenCases(
        people,
        [pair(*two, draw(probability)) for two in keys],
        [
            NearMiss(face, draw(ids), draw(probability), draw(st.integers(1, 9)))
            for face in range(100, 100 + draw(st.integers(0, 20)))
        ],
        {frozenset(two) for two in draw(st.lists(pairs, max_size=3))},
        {face: {draw(ids)} for face in draw(st.sets(st.integers(100, 110), max_size=4))},
        no,
    )


@given(open_cases(), st.integers(0, 9))
def test_questions_are_about_what_may_be_asked(cases: OpenCases, limit: int) -> None:
    """Each pair and each face once; nothing that a user said is asked again; twice is the same."""
    found = select_questions(cases, (), limit, 2.0)

    assert len(found) <= limit
    assert found == sorted(found, key=lambda one: -one.value)
    faces = [face for one in found for face in one.question.face_ids]
    assert len(faces) == len(set(faces))
    for one in found:
        people = one.question.people
        assert set(people) <= cases.people.keys()
        assert sum(cases.people[person].name is not None for person in people) <= 1
        assert not any(two <= set(people) for two in cases.separated)
        assert not any(people[0] in cases.rejected.get(f, ()) for f in one.question.face_ids)
        assert 0.5 <= one.probability <= 1
        assert Question.of(one.question.key) == one.question
    shown = [one.question for one in found]
    assert {*shown} <= {one.question for one in select_questions(cases, shown, limit, 2.0)}
