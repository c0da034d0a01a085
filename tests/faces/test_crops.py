"""Portraits, their annotations and the montage."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.faces.crops import crop_portrait, portrait_area
from portraitd.faces.portrait_selection import pick_cover, pick_diverse
from portraitd.media.jpeg import PORTRAIT_QUALITY, encode_jpeg
from portraitd.model.face import Box, Image
from portraitd.people.montage import draw_montage, fill_from_corner
from portraitd.people.tree.darknet import darknet_line

RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)


def plain(width_px: int, height_px: int, colour: tuple[int, int, int]) -> Image:
    return np.full((height_px, width_px, 3), colour, np.uint8)


def decoded(jpeg: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def is_about(image: Image, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(image.astype(int) - colour).max() <= 12)


def test_a_face_in_the_middle_has_the_shape_of_a_tile() -> None:
    """Margins of 0.7 and 1.0 faces: 2.4 to 3.0 is 96 to 120."""
    portrait = crop_portrait(plain(1920, 1080, RED), Box(900, 400, 1000, 500))

    assert Box(830, 300, 1070, 600) == portrait.area
    assert (500, 400, 3) == decoded(portrait.jpeg).shape
    assert portrait.jpeg.startswith(b"\xff\xd8")
    assert portrait.jpeg.endswith(b"\xff\xd9")


def test_at_the_edge_the_area_is_cut_off() -> None:
    """The portrait ends where the frame ends, and the face is where the annotation says."""
    image = plain(640, 480, BLUE)
    image[0:60, 0:80] = GREEN
    box = Box(-20, -20, 80, 60)
    portrait = crop_portrait(image, box)
    assert Box(0, 0, 150, 140) == portrait.area

    picture = decoded(portrait.jpeg)
    _, x, y, width, height = map(float, darknet_line(3, box, portrait.area).split())

    left, right = (x - width / 2) * picture.shape[1], (x + width / 2) * picture.shape[1]
    top, bottom = (y - height / 2) * picture.shape[0], (y + height / 2) * picture.shape[0]
    assert is_about(picture[int(top) : int(bottom) - 6, int(left) : int(right) - 6], GREEN)
    assert is_about(picture[int(bottom) + 6 :, int(right) + 6 :], BLUE)


def test_a_large_face_is_made_smaller() -> None:
    """The width is the same for every face."""
    portrait = crop_portrait(plain(4000, 4000, RED), Box(1500, 1500, 2500, 2500))

    assert (500, 400, 3) == decoded(portrait.jpeg).shape


def test_a_sliver_stays_a_picture() -> None:
    """A strip at the edge of the frame does not become a tower."""
    portrait = crop_portrait(plain(3, 2000, RED), Box(0, 900, 300, 1200))

    height_px, width_px, _ = decoded(portrait.jpeg).shape
    assert (1600, 5) == (height_px, width_px)


@pytest.mark.parametrize("box", [Box(700, 0, 800, 100), Box(10, 10, 10, 50), Box(0, -90, 50, 0)])
def test_a_face_outside_of_the_frame_is_refused(box: Box) -> None:
    """There is nothing to show."""
    with pytest.raises(ValueError, match="is outside the frame"):
        crop_portrait(plain(640, 480, RED), box)


boxes = st.builds(
    lambda left, top, width, height: Box(left, top, left + width, top + height),
    st.integers(-50, 630),
    st.integers(-50, 470),
    st.integers(51, 300),
    st.integers(51, 300),
)


@given(boxes, st.integers(0, 10_000))
def test_an_annotation_lies_inside_its_portrait(box: Box, class_number: int) -> None:
    """Five numbers; the four fractions give back the visible part of the box."""
    area = portrait_area(box, 640, 480)

    fields = darknet_line(class_number, box, area).split()

    x, y, width, height = (float(field) for field in fields[1:])
    seen = box.clipped(640, 480)
    assert [str(class_number), 5] == [fields[0], len(fields)]
    assert all(len(field.partition(".")[2]) == 6 for field in fields[1:])
    assert 0 < width <= 1
    assert 0 < height <= 1
    assert abs((x - width / 2) * area.width - (seen.left - area.left)) < 0.01
    assert abs((y + height / 2) * area.height - (seen.bottom - area.top)) < 0.01


def test_an_annotation_of_another_picture_is_refused() -> None:
    """The original's pixel corners and class -1 cannot happen."""
    with pytest.raises(ValueError, match="outside"):
        darknet_line(0, Box(0, 0, 10, 10), Box(20, 20, 40, 40))
    with pytest.raises(ValueError, match="at least 0"):
        darknet_line(-1, Box(0, 0, 10, 10), Box(0, 0, 40, 40))


def test_a_montage_shows_the_portraits_row_by_row() -> None:
    """Tiles of 96 x 120, five in a row; what is missing or damaged stays grey."""
    jpegs = [encode_jpeg(plain(400, 500, colour), PORTRAIT_QUALITY) for colour in (RED, GREEN)]
    jpegs += [b"no picture", b""] + [encode_jpeg(plain(400, 500, BLUE), PORTRAIT_QUALITY)] * 2

    sheet = decoded(draw_montage(jpegs))

    assert (240, 480, 3) == sheet.shape
    tiles = [
        sheet[row * 120 + 16 : row * 120 + 104, column * 96 + 16 : column * 96 + 80]
        for row in range(2)
        for column in range(5)
    ]
    expected = [RED, GREEN, (128, 128, 128), (128, 128, 128), BLUE, BLUE]
    assert all(is_about(tiles[place], colour) for place, colour in enumerate(expected))
    assert all(is_about(tile, (128, 128, 128)) for tile in tiles[6:])


def test_a_tile_shows_the_middle() -> None:
    """A wide portrait covers its tile; its sides are cut off evenly."""
    wide = plain(300, 120, RED)
    wide[:, 100:200] = GREEN

    sheet = decoded(draw_montage([encode_jpeg(wide, PORTRAIT_QUALITY)], columns=1, rows=1))

    assert (120, 96, 3) == sheet.shape
    assert is_about(sheet[8:112, 8:88], GREEN)


def test_portraits_beyond_the_last_tile_are_left_out() -> None:
    """A montage has a largest size; with fewer portraits, it has no empty rows or columns."""
    jpegs = [encode_jpeg(plain(96, 120, RED), PORTRAIT_QUALITY)] * 26

    assert (240, 192, 3) == decoded(draw_montage(jpegs, columns=2, rows=2)).shape
    assert [(120, 96, 3), (120, 288, 3), (240, 480, 3), (600, 480, 3)] == [
        decoded(draw_montage(jpegs[:count])).shape for count in (1, 3, 7, 26)
    ]


def on_a_line(*positions: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    embeddings = np.zeros((len(positions), 128), np.float32)
    embeddings[:, 0] = positions
    return embeddings


def test_the_most_different_are_chosen() -> None:
    """Of two alike only one is shown, and the poorer half is not asked."""
    embeddings = on_a_line(0.0, 0.01, 1.0, 0.6, 0.3, 0.3, 0.3, 0.3)
    qualities = [0.8, 0.9, 0.7, 0.6, 0.1, 0.1, 0.1, 0.1]

    assert [1, 3, 2] == pick_diverse(embeddings, qualities, count=3)


def test_the_cover_is_a_good_face_of_the_middle() -> None:
    """Not the best face of all, which is a stranger's, and not the most typical, which is poor."""
    embeddings = on_a_line(0.0, 0.1, 0.2, 0.3, 0.4, 0.2, 5.0)
    qualities = [0.5, 0.4, 0.9, 0.6, 0.3, 0.1, 7.0]

    assert 2 == pick_cover(embeddings, qualities)
    chosen = pick_diverse(embeddings, qualities, count=25)
    assert (2, 6) == (chosen[0], chosen[-1])
    assert 3 == pick_cover(embeddings, [0.5, 0.4, 0.2, 0.6, 0.3, 0.1, 7.0])
    # Of three, two are alike; of two, nothing tells which is the stranger.
    assert 1 == pick_cover(on_a_line(0.0, 0.1, 5.0), [0.5, 0.6, 0.9])
    assert 1 == pick_cover(on_a_line(0.0, 5.0), [0.5, 0.6])
    assert 0 == pick_cover(on_a_line(3.0), [0.0])


def test_of_very_many_faces_the_best_define_the_middle() -> None:
    """As many blurred faces of anyone change nothing."""
    embeddings = on_a_line(*[1.0] * 199, 1.5, *[9.0] * 400)
    qualities = [0.5] * 199 + [0.9] + [0.1] * 400

    assert 0 == pick_cover(embeddings, qualities)


@given(st.integers(0, 25))
def test_the_first_portraits_fill_the_corner(count: int) -> None:
    """Each is shown once, and any square in the corner shows the first ones."""
    order = fill_from_corner(count, columns=5)

    assert list(range(count)) == sorted(order)
    for side in range(2, 6):
        corner = [order[5 * row + column] for row in range(side) for column in range(side)
                  if 5 * row + column < count]  # fmt: skip
        if len(corner) == side * side:
            assert set(range(len(corner))) == set(corner)


def test_few_portraits_are_all_shown() -> None:
    """Fewer than asked for: every one, once."""
    chosen = pick_diverse(on_a_line(0, 0, 0, 5), [0.1, 0.2, 0.2, 0.1], count=25)

    assert [1, 0, 2, 3] == chosen
    assert [] == pick_diverse(on_a_line(), [], count=25)


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 3)), max_size=30), st.integers(0, 30))
def test_no_portrait_is_chosen_twice(faces: list[tuple[int, int]], count: int) -> None:
    """As many as there are or are asked for, all different, always the same."""
    embeddings = on_a_line(*(float(position) for position, _ in faces))
    qualities = [float(quality) for _, quality in faces]

    chosen = pick_diverse(embeddings, qualities, count)

    assert min(count, len(faces)) == len(set(chosen)) == len(chosen)
    assert chosen == pick_diverse(embeddings, qualities, count)


def test_lengths_that_differ_are_refused() -> None:
    """A quality belongs to each face."""
    with pytest.raises(ValueError, match="2 embeddings, but 1 qualities"):
        pick_diverse(on_a_line(0, 1), [1.0])


def test_the_tree_needs_no_opencv() -> None:
    """The daemon publishes; only workers import cv2."""
    code = (
        "import sys, portraitd.people.tree.people_tree, portraitd.people.tree.darknet\n"
        "assert 'cv2' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
