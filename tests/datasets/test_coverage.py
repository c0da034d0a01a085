"""The coverage card: in which cells faces are, and which cells lack some."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from portraitd.datasets.coverage import (
    CoverageCell,
    MeasuredFace,
    count_cells,
    find_lacking,
    judge_filling,
    locate_face,
)
from portraitd.datasets.face_light import measure_light, measure_portrait_light
from portraitd.media.jpeg import encode_jpeg
from portraitd.model.face import Box, Landmarks
from support.dataset_home import BuiltHome

DLIB: Landmarks = ((80.0, 40.0), (60.0, 40.0), (20.0, 40.0), (40.0, 40.0), (50.0, 60.0))


def five_points(nose_x: float = 50.0, nose_y: float = 62.0) -> Landmarks:
    """Eyes at a height of 40, the mouth at 80, as YuNet gives them."""
    return ((30.0, 40.0), (70.0, 40.0), (nose_x, nose_y), (35.0, 80.0), (65.0, 80.0))


def measured(
    landmarks: Landmarks | None = None, light: float | None = 100.0, year: int | None = None
) -> MeasuredFace:
    return MeasuredFace(100.0, 30.0, landmarks, light, year)


def names(face: MeasuredFace) -> dict[str, str]:
    return {cell.row: cell.name for cell in locate_face(face)}


@pytest.mark.parametrize(
    ("nose_x", "pose"),
    [(30.0, "left"), (41.0, "half left"), (50.0, "front"), (59.0, "half right"), (80.0, "right")],
)
def test_the_nose_shows_where_a_face_looks(nose_x: float, pose: str) -> None:
    """In the direction of the picture."""
    assert pose == names(measured(five_points(nose_x)))["pose"]


@pytest.mark.parametrize(("nose_y", "tilt"), [(57.0, "up"), (63.0, "level"), (70.0, "down")])
def test_the_nose_shows_whether_a_face_looks_up(nose_y: float, tilt: str) -> None:
    """Between the eyes and the mouth."""
    assert tilt == names(measured(five_points(nose_y=nose_y)))["tilt"]


def test_the_points_of_dlib_say_nothing_about_the_tilt() -> None:
    """They include no mouth."""
    found = names(measured(DLIB))

    assert "front" == found["pose"]
    assert "tilt" not in found


def test_a_head_that_leans_to_a_side_looks_ahead_all_the_same() -> None:
    """Only where the nose is between the eyes counts."""
    leaning = tuple((x - 0.5 * y, y + 0.5 * x) for x, y in five_points())

    assert names(measured(five_points())) == names(measured(leaning))


def test_a_card_lists_empty_cells_and_missing_years() -> None:
    """But no row about which nothing is known."""
    counts = count_cells([measured(year=2019), measured(year=2021, light=200.0)])

    assert {"light": [0, 1, 1], "sharpness": [0, 2, 0], "size": [0, 2, 0], "year": [1, 0, 1]} == {
        row: [count for cell, count in counts.items() if cell.row == row]
        for row in ("light", "sharpness", "size", "year")
    }
    assert {"light", "sharpness", "size", "year"} == {cell.row for cell in counts}


def test_years_far_apart_are_listed_without_those_between() -> None:
    """A photograph of 1890 beside one of today would give a row of a hundred cells."""
    counts = count_cells([measured(year=1890), measured(year=2021)])

    assert ["1890", "2021"] == [cell.name for cell in counts if cell.row == "year"]


def test_a_cell_lacks_what_is_missing_to_the_wanted_number() -> None:
    """A full one lacks nothing."""
    counts = {
        CoverageCell("light", "dark"): 0,
        CoverageCell("light", "normal"): 3,
        CoverageCell("light", "bright"): 2,
    }

    assert {CoverageCell("light", "dark"): 3, CoverageCell("light", "bright"): 1} == find_lacking(
        counts, 3
    )
    assert ["empty", "full", "thin"] == [judge_filling(one, 3) for one in counts.values()]


def test_the_light_of_a_portrait_is_that_of_its_frame() -> None:
    """Only the face counts, not what is around it."""
    frame = np.full((200, 200, 3), 20, np.uint8)
    frame[80:120, 60:100] = 180
    face, area = Box(60, 80, 100, 120), Box(20, 40, 140, 160)
    portrait = cv2.resize(frame[40:160, 20:140], (400, 400))

    found = measure_portrait_light(encode_jpeg(np.asarray(portrait, np.uint8), 90), area, face)

    assert 180 == measure_light(frame, face)
    assert found is not None
    # A quarter of the picture is decoded, so its edge is not sharp.
    assert 10 > abs(found - 180)
    assert measure_light(frame, Box(300, 300, 320, 320)) is None
    assert measure_portrait_light(b"GIF89a", area, face) is None


def test_the_report_shows_the_card_of_each_person(built: BuiltHome) -> None:
    """With the number that makes a cell full."""
    page = (built.root / "report" / "index.html").read_text()

    assert 2 <= page.count('<div class="card">')
    assert "from 10 faces on" in page
    assert '<span class="cell empty">left<b>0</b></span>' in page
