"""What is asked: the most valuable claims first, as many on a picture as one gesture can answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.model.question import MAX_CLAIMS, Claim, Question
from portraitd.model.suggestion import NearMiss, Newcomer, Suggestion
from portraitd.people.questions.question_selection import (
    LATER_S,
    MIN_VALUE,
    OpenCases,
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


def claims(cases: OpenCases, now_s: float = NOW_S) -> set[str]:
    """Return the claims of all questions."""
    return {
        claim.key for one in select_questions(cases, (), 20, now_s) for claim in one.question.claims
    }


def make_question(key: str) -> Question:
    question = Question.of(key)
    assert question
    return question


def deferred(key: str, answer: DeferredAnswer, at: float = NOW_S) -> Deferred:
    return Deferred(make_question(key), answer, at)


def test_the_value_is_the_expected_number_of_faces_put_right() -> None:
    """Of all claims together."""
    cases = replace(CASES, suggestions=[pair(1, 2, 0.7), pair(4, 5, 0.95)])

    (found,) = select_questions(cases, (), 20, NOW_S)

    assert "same:1,2.same:4,5" == found.question.key
    assert pytest.approx(0.7 * 10 + 0.95 * 2) == found.value
    assert [] == ask(cases, limit=0)


def test_a_question_of_little_value_is_not_asked() -> None:
    """One face that is probably another person's; with others it is."""
    one, other = NearMiss(10, 1, 0.4, 1), NearMiss(11, 1, 0.4, 1)

    assert [] == ask(replace(CASES, near_misses=[one]))
    assert ["is:1:10.is:1:11"] == ask(replace(CASES, near_misses=[one, other]))
    assert [] == ask(replace(CASES, near_misses=[NearMiss(face, 1, 0.1, 9) for face in range(9)]))


def test_who_is_kept_has_a_name_or_most_faces() -> None:
    """That person comes first."""
    cases = replace(CASES, suggestions=[pair(3, 4, 0.9), pair(2, 5, 0.9)])

    assert {"same:4,3", "same:2,5"} == claims(cases)


def test_two_names_are_two_people() -> None:
    """They are not asked about."""
    cases = replace(CASES, suggestions=[pair(1, 4, 0.99), pair(1, 2, 0.9)])

    assert {"same:1,2"} == claims(cases)


def test_who_was_separated_is_not_asked_about() -> None:
    """Nor a face that was said not to show the person; with another person it may be."""
    cases = replace(
        CASES,
        suggestions=[pair(2, 3, 0.9), pair(3, 5, 0.9)],
        separated={frozenset((2, 3))},
        near_misses=[NearMiss(10, 1, 0.9, 1), NearMiss(11, 1, 0.9, 1)],
        rejected={10: {1}, 11: {2}},
    )

    assert {"same:3,5", "is:1:11"} == claims(cases)


def test_a_picture_has_so_many_claims() -> None:
    """The most valuable ones together; in a picture, those about one person are neighbours."""
    misses = [NearMiss(face, 1 + face % 2, 0.9, 1 + face) for face in range(25)]

    found = select_questions(replace(CASES, near_misses=misses), (), 9, 0)

    assert [10, 10, 5] == [len(one.question.claims) for one in found]
    assert set(range(15, 25)) == set(found[0].question.face_ids)
    people = [claim.people[0] for claim in found[0].question.claims]
    assert people == sorted(people)


def test_someone_new_is_asked_about_before_anyone_known() -> None:
    """A face is asked about once at a time; after a no, with whom it may show."""
    newcomer = Newcomer((10, 11, 12), 5)
    misses = [NearMiss(10, 1, 0.9, 1), NearMiss(20, 1, 0.9, 1)]
    cases = replace(CASES, near_misses=misses, newcomers=[newcomer])
    assert {"new:10,11,12", "is:1:20"} == claims(cases)

    no = deferred("new:10,11,12", DeferredAnswer.NOT_ALL)
    assert {"is:1:10", "is:1:20"} == claims(replace(cases, deferred=[no]))


def test_people_who_were_merged_are_asked_about_as_who_they_are() -> None:
    """Suggestions, near misses and rejections name people of the last grouping."""
    cases = replace(
        CASES,
        suggestions=[pair(5, 3, 0.9), pair(9, 2, 0.9)],
        near_misses=[NearMiss(10, 9, 0.9, 1)],
        rejected={10: {3}},
        current_person=lambda person: 3 if person == 9 else person,
    )

    assert {"same:3,2", "same:3,5"} == claims(cases)


def test_not_now_is_a_week() -> None:
    """About each claim of the picture; a clock that was set back ends it."""
    cases = replace(
        CASES,
        suggestions=[pair(1, 2, 0.9), pair(3, 5, 0.9)],
        near_misses=[NearMiss(10, 1, 0.9, 1), NearMiss(11, 1, 0.9, 1)],
        deferred=[deferred("is:1:10.same:1,2", DeferredAnswer.LATER)],
    )

    assert {"same:3,5", "is:1:11"} == claims(cases)
    assert {"same:3,5", "is:1:11"} == claims(cases, now_s=NOW_S + LATER_S - 1)
    everything = {"same:1,2", "same:3,5", "is:1:10", "is:1:11"}
    assert everything == claims(cases, now_s=NOW_S + LATER_S)
    assert everything == claims(cases, now_s=NOW_S - 1)


def test_what_is_shown_stays_while_half_of_it_is_open() -> None:
    """Also if something else is worth more now; what it is about is not asked twice."""
    shown = make_question("is:1:10.is:1:11.same:4,5.same:4,9")
    cases = replace(
        CASES,
        suggestions=[pair(1, 2, 0.7), pair(4, 5, 0.6)],
        near_misses=[NearMiss(face, 1, 0.9, 1) for face in (10, 12)],
    )

    found = select_questions(cases, (shown,), 20, NOW_S)

    assert {shown.key, "is:1:12.same:1,2"} == {one.question.key for one in found}
    settled = {claim.key for one in found for claim in one.settled}
    assert {"is:1:11", "same:4,9"} == settled
    assert [shown.key] == ask(cases, (shown,), limit=1)
    assert shown.key not in ask(replace(cases, near_misses=[]), (shown,))


@pytest.mark.parametrize(
    "key", ["same:2,4", "same:1,9", "same:2,1", "is:1:99", "is:9:10", "new:10,11"]
)
def test_what_makes_no_sense_any_more_goes(key: str) -> None:
    """Of people or faces who are not there, or not open any more."""
    cases = replace(CASES, suggestions=[pair(1, 2, 0.7)], near_misses=[NearMiss(10, 1, 0.9, 1)])

    assert ["is:1:10.same:1,2"] == ask(cases, (make_question(key),))


@pytest.mark.parametrize(
    "key",
    [
        "same:1,2", "is:5:1", "new:1,2,3", "new:" + ",".join(map(str, range(12))),
        "is:5:1.same:7,3.new:8,9", ".".join(f"is:1:{face}" for face in range(MAX_CLAIMS)),
    ],
)  # fmt: skip
def test_a_key_is_a_question(key: str) -> None:
    """And the question has that key."""
    assert key == make_question(key).key


def test_a_key_of_an_earlier_version_is_several_claims() -> None:
    """Of several people or faces that were to be one person."""
    assert "same:7,3.same:7,9" == make_question("same:7,3,9").key
    assert "is:5:1.is:5:22" == make_question("is:5:1,22").key


@pytest.mark.parametrize(
    "key",
    [
        "", "same", "same:", "same:1", "same:1,1", "same:1,2:3", "is:1", "is:1,2:3", "is:1:",
        "x:1,2", "new:1", "new:1:2", "new:1,1", "same:1,2.", ".same:1,2", "same:1,2..is:1:2",
        "is:1:" + ",".join(map(str, range(13))), "new:" + ",".join(map(str, range(13))),
        ".".join(f"is:1:{face}" for face in range(MAX_CLAIMS + 1)),
        "same:-1,2", "same:1,2 ", "same:1,99999999999999999999", "undo:7", "same:１,２",
    ],
)  # fmt: skip
def test_another_key_is_none(key: str) -> None:
    """Any reviewer can write into a file."""
    assert Question.of(key) is None


@st.composite
def open_cases(draw: st.DrawFn) -> OpenCases:
    ids = st.integers(1, 8)
    pairs = st.tuples(ids, ids).filter(lambda two: two[0] != two[1])
    probability = st.floats(0.3, 0.999)
    people = {
        one: PersonFacts(draw(st.sampled_from([None, None, "A"])), draw(st.integers(1, 99)))
        for one in draw(st.sets(ids))
    }
    keys = draw(st.lists(pairs, max_size=8, unique_by=frozenset))
    later = [
        Deferred(Question((Claim(two),)), DeferredAnswer.LATER, 1.0)
        for two in draw(st.lists(pairs, max_size=3))
    ]
    return OpenCases(
        people,
        [pair(*two, draw(probability)) for two in keys],
        [
            NearMiss(face, draw(ids), draw(probability), draw(st.integers(1, 9)))
            for face in range(100, 100 + draw(st.integers(0, 20)))
        ],
        [Newcomer((face, face + 1), 2) for face in draw(st.sampled_from([(), (104,), (90, 118)]))],
        {frozenset(two) for two in draw(st.lists(pairs, max_size=3))},
        {face: {draw(ids)} for face in draw(st.sets(st.integers(100, 110), max_size=4))},
        later,
    )


@given(open_cases(), st.integers(0, 9))
def test_questions_are_about_what_may_be_asked(cases: OpenCases, limit: int) -> None:
    """Each pair and each face once; nothing that a user said is asked again; twice is the same."""
    found = select_questions(cases, (), limit, 2.0)

    assert len(found) <= limit
    assert found == sorted(found, key=lambda one: -one.value)
    faces = [face for one in found for face in one.question.face_ids]
    assert len(faces) == len(set(faces))
    asked = [claim for one in found for claim in one.question.claims]
    assert len(asked) == len(set(asked))
    for claim in asked:
        assert claim.is_usable
        assert set(claim.people) <= cases.people.keys()
        assert sum(cases.people[person].name is not None for person in claim.people) <= 1
        assert frozenset(claim.people) not in cases.separated
        for face in claim.face_ids:
            assert not cases.rejected.get(face, set()) & set(claim.people)
        assert all(claim not in one.question.claims for one in cases.deferred)
    for one in found:
        assert one.value >= MIN_VALUE
        assert len(one.question.claims) <= MAX_CLAIMS
        assert Question.of(one.question.key) == one.question
    shown = [one.question for one in found]
    assert {*shown} <= {one.question for one in select_questions(cases, shown, limit, 2.0)}
