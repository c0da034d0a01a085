"""What the name and the place of a picture say."""

from __future__ import annotations

import pytest

from portraitd.model.edit import (
    AssignFaces,
    DeferQuestion,
    Edit,
    MergePeople,
    RejectPerson,
    SeparatePeople,
    SplitPerson,
)
from portraitd.model.question import CardAnswer, Question
from portraitd.people.questions.question_answers import list_edits, read_answer, read_numbers


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("2.jpg", {2}),
        ("2 5.JPG", {2, 5}),
        ("2, 5 , 10", {2, 5, 10}),
        ("1-3+7.jpeg", {1, 2, 3, 7}),
        ("1.5.jpg", {1, 5}),
        ("3-1.jpg", {0}),
        ("01 which of these 4 are right.jpg", set()),
        ("IMG_0002.jpg", set()),
        ("20261127.jpg", set()),
        ("2 (1).jpg", set()),
        ("002.jpg", set()),
        ("0.jpg", set()),
        ("2.png", set()),
        ("2 5 right.jpg", set()),
        (".jpg", set()),
        ("1 " * 90 + "1.jpg", set()),
        ("٢.jpg", set()),
    ],
)
def test_a_name_is_numbers_or_says_nothing(name: str, numbers: set[int]) -> None:
    """Only what a person means as an answer; the numbers that a camera gives are none."""
    assert numbers == read_numbers(name)


@pytest.mark.parametrize(
    ("place", "name", "answer"),
    [
        ("", "01 which.jpg", ""),
        ("", "7 2.jpg", "2,7"),
        ("yes", "01 which.jpg", "yes"),
        ("yes", "7 2.jpg", "2,7"),
        ("no", "01 which.jpg", "no"),
        ("no", "2.jpg", "both"),
    ],
)
def test_place_and_name_give_an_answer(place: str, name: str, answer: str) -> None:
    """A picture in the folder no whose name says that something is right contradicts itself."""
    assert answer == read_answer(place, name)


QUESTION = Question.of("is:1:10.is:1:11.is:2:12.new:20,21.same:3,4")
assert QUESTION


@pytest.mark.parametrize(
    ("answer", "edits"),
    [
        (
            CardAnswer.YES,
            [
                SplitPerson((20, 21), "", ""),
                MergePeople(4, 3),
                AssignFaces((10, 11), 1),
                AssignFaces((12,), 2),
            ],
        ),
        (
            CardAnswer.NO,
            [
                DeferQuestion("new:20,21", "not-all"),
                SeparatePeople(3, 4),
                RejectPerson((10, 11), 1),
                RejectPerson((12,), 2),
            ],
        ),
        (
            frozenset({2, 5}),
            [
                DeferQuestion("new:20,21", "not-all"),
                MergePeople(4, 3),
                AssignFaces((11,), 1),
                RejectPerson((10,), 1),
                RejectPerson((12,), 2),
            ],
        ),
        (CardAnswer.LATER, [DeferQuestion(QUESTION.key, "later")]),
        (CardAnswer.BOTH, [DeferQuestion(QUESTION.key, "")]),
    ],
)
def test_an_answer_is_edits(answer: CardAnswer | frozenset[int], edits: list[Edit]) -> None:
    """Of what is right, and of what is not."""
    assert QUESTION
    assert edits == list_edits(QUESTION, answer)


def test_a_face_that_was_moved_by_hand_is_left_out() -> None:
    """Whatever the answer says of it; what else it says counts."""
    assert QUESTION
    moved = {10, 12, 20}

    assert [
        SplitPerson((21,), "", ""),
        MergePeople(4, 3),
        AssignFaces((11,), 1),
    ] == list_edits(QUESTION, CardAnswer.YES, moved)
    one = Question.about_face(10, 1)
    assert [DeferQuestion("is:1:10", "")] == list_edits(one, CardAnswer.YES, moved)
