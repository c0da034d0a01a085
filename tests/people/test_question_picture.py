"""The picture of a question: real portraits, and names in any script."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from PIL import Image

from portraitd.model.errors import WorkerDied
from portraitd.people.questions.question_picture import (
    MAX_HEIGHT_PX,
    WIDTH_PX,
    FacePlace,
    QuestionSide,
    draw_question,
    make_drawable,
)
from portraitd.people.questions.question_picture_result import QUESTION_PICTURE
from support.tree import picture_of

MIDDLE = FacePlace(0.5, 0.5, 0.4, 0.4)


def side(name: str, count: int, place: FacePlace = MIDDLE, *captions: str) -> QuestionSide:
    jpegs = tuple(picture_of(number) for number in range(count))
    return QuestionSide(name, "person-0001", captions, jpegs, (place,) * count)


def draw(*rows: Sequence[QuestionSide], title: str = "Same?", name: str = "") -> Image.Image:
    answer = draw_question(title, name, rows, "yes or no")
    checked = QUESTION_PICTURE.decode(
        QUESTION_PICTURE.encode(1, answer), 1, (title, name, rows, "yes or no"), {}
    )
    picture = Image.open(io.BytesIO(checked))
    picture.load()
    return picture


@pytest.mark.parametrize(
    "rows", [[(1, 1)], [(4, 1)], [(4, 0)], [(0, 0)], [(12,)], [(1, 3)] * 2, [(12,), *[(3, 3)] * 9]]
)
def test_a_picture_is_as_wide_as_a_phone_shows(rows: list[tuple[int, ...]]) -> None:
    """And as high as it has to be, with all rows in it."""
    sides = [[side("Anna", count, MIDDLE, "a.mp4, 0:01") for count in row] for row in rows]
    picture = draw(*sides)

    assert WIDTH_PX == picture.width
    assert 150 < picture.height <= MAX_HEIGHT_PX


def test_two_sides_are_beside_each_other() -> None:
    """The portraits of the first one are on the left, of the second one on the right."""
    few, more = draw([side("A", 1), side("B", 0)]), draw([side("A", 0), side("B", 1)])
    paper = np.asarray(draw([side("A", 0), side("B", 0)])).mean()

    left, right = (np.asarray(one)[200:400, :430].mean() for one in (few, more))
    assert left < paper - 50 < right


def test_several_rows_have_numbers() -> None:
    """On the left of each; one row has none."""
    rows = [[side("A", 1), side("B", 1)]] * 3
    one, three = (np.asarray(draw(*some)) for some in (rows[:1], rows))

    numbers = three[100:-160, 28:100] < 100
    assert 3 == np.count_nonzero(np.diff(numbers.any(axis=(1, 2)).astype(int)) == 1)
    assert one.shape[0] < three.shape[0]


def test_a_damaged_portrait_is_a_grey_tile() -> None:
    """The others are drawn."""
    damaged = QuestionSide("A", "A", (), (b"", b"\xff\xd8 no"), (MIDDLE, MIDDLE))

    assert WIDTH_PX == draw([damaged, side("B", 1)]).width


def test_a_face_at_the_edge_of_its_portrait_has_a_frame() -> None:
    """Another person may be in the middle; a face in the middle needs none."""
    plain, framed = (
        np.asarray(draw([side("A", 1, place), side("B", 1)]), np.int64)
        for place in (MIDDLE, FacePlace(0.2, 0.5, 0.4, 0.4))
    )

    changed = np.abs(plain - framed).max(axis=2) > 60
    assert 100 < changed[:, : WIDTH_PX // 2].sum() < changed[:, : WIDTH_PX // 2].size / 10
    assert not changed[:, WIDTH_PX // 2 :].any()


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("Anna", {"Anna"}),
        ("Müller-Łukasz", {"Müller-Łukasz", "Muller-Lukasz"}),
        ("Straße Æneas Øre", {"Straße Æneas Øre", "Strasse Aeneas Ore"}),
        ("Zoe\u0308", {"Zoë", "Zoe"}),
        ("Анна", {"Анна", ""}),
        ("小林さくら", {"小林さくら", ""}),
        ("آنا", {"آنا", ""}),
        ("Anna 😀", {"Anna 😀", "Anna"}),
        ("Anna\u202e\x07\n", {"Anna"}),
        ("\U000f0000", {""}),
        ("", {""}),
    ],
)
def test_what_no_font_can_draw_is_replaced(name: str, drawn: set[str]) -> None:
    """By plain letters, or by the number of the person; which fonts there are differs."""
    assert make_drawable(name) in drawn


def test_a_name_that_cannot_be_drawn_is_a_number() -> None:
    """In the title and in the heading; the picture is that of a person without a name."""
    unknown, number = "\U000f0000" * 5, "person-0001"
    one = draw([side(unknown, 1), side("B", 1)], title="Is this {name}?", name=unknown)
    other = draw([side(number, 1), side("B", 1)], title="Is this {name}?", name=number)

    assert np.array_equal(np.asarray(one), np.asarray(other))


def test_long_texts_stay_inside() -> None:
    """The margin on the right is empty."""
    text = "Wolfeschlegelsteinhausenbergerdorff " * 9
    picture = np.asarray(
        draw([side(text, 1, MIDDLE, text), side(text.replace(" ", ""), 1)], title=text)
    )

    assert picture[:, -20:].min() > 230


def test_a_picture_of_another_width_is_refused() -> None:
    """A worker may be compromised."""
    done, data = cv2.imencode(".jpg", np.zeros((10, 20, 3), np.uint8))
    assert done
    arguments = ("", "", [], "")

    with pytest.raises(WorkerDied):
        QUESTION_PICTURE.decode(QUESTION_PICTURE.encode(1, data.tobytes()), 1, arguments, {})
