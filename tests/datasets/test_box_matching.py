"""Boxes are matched with the faces of their frame; what may mean two things is listed."""

from __future__ import annotations

import pytest

from portraitd.datasets.box_import.box_matching import FrameFace, FrameMatch, match_frame
from portraitd.datasets.box_import.imported_boxes import ImportedBox
from portraitd.model.face import Box
from portraitd.model.reasons import ReasonCode

SIZE_PX = (640, 480)

FRAME = "3ddf3af578c4-000001000-"

ONE, OTHER = Box(100, 100, 180, 180), Box(300, 100, 380, 180)


def face(number: int, box: Box, is_hidden: bool = False) -> FrameFace:
    return FrameFace(number, f"{FRAME}{box.left}-{box.top}", box, is_hidden)


def drawn(box: Box, key: str = "", is_drawn: bool = True) -> ImportedBox:
    left, top, right, bottom = map(float, box)
    return ImportedBox("Ann", (left, top, right, bottom), key, "", is_drawn, f"box at {box.left}")


def key(box: Box) -> str:
    return f"{FRAME}{box.left}-{box.top}"


def match(faces: list[FrameFace], *boxes: ImportedBox) -> FrameMatch:
    return match_frame(faces, boxes, FRAME, SIZE_PX)


def pairs(found: FrameMatch) -> list[tuple[int, bool]]:
    return [(one.face.id, one.is_moved) for one in found.matched]


def test_boxes_in_place_are_unchanged() -> None:
    """With a key and without one."""
    found = match([face(1, ONE), face(2, OTHER)], drawn(OTHER), drawn(ONE, key(ONE)))

    assert [(1, False), (2, False)] == sorted(pairs(found))
    assert ([], [], []) == (found.new, found.missing, found.problems)


def test_a_box_that_says_its_face_may_be_moved_anywhere() -> None:
    """Also beyond the frame: what is outside of it is cut off."""
    far = Box(500, 300, 700, 460)

    found = match([face(1, ONE)], drawn(far, key(ONE)))

    assert [(1, True)] == pairs(found)
    assert Box(500, 300, 640, 460) == found.matched[0].box


def test_a_box_without_a_key_is_matched_by_its_place() -> None:
    """It overlaps the face by more than half."""
    found = match([face(1, ONE)], drawn(ONE.shifted(5, 5)))

    assert [(1, True)] == pairs(found)


def test_a_new_box_and_a_missing_one() -> None:
    """They do not overlap, so one has nothing to do with the other."""
    found = match([face(1, ONE)], drawn(OTHER))

    assert [OTHER] == [box for _, box in found.new]
    assert [1] == [one.id for one in found.missing]


def test_an_interpolated_box_neither_moves_a_face_nor_is_a_new_one() -> None:
    """CVAT made it between two keyframes; no person drew it."""
    near = drawn(ONE.shifted(5, 5), is_drawn=False)

    found = match([face(1, ONE)], near, drawn(OTHER, is_drawn=False))

    assert [(1, False)] == pairs(found)
    assert ([], [], []) == (found.new, found.missing, found.problems)


def test_without_keys_a_box_that_overlaps_a_little_may_mean_two_things() -> None:
    """It was moved, or a face was deleted and another drawn. Neither face nor box counts."""
    found = match([face(1, ONE)], drawn(ONE.shifted(60, 0)))

    assert [(ReasonCode.BOX_AMBIGUOUS, "box at 160")] == found.problems
    assert ([], [], []) == (found.matched, found.new, found.missing)


def test_with_keys_it_is_a_new_one() -> None:
    """The box of the face would have its key."""
    boxes = drawn(ONE.shifted(60, 0)), drawn(OTHER, key(OTHER))

    found = match([face(1, ONE), face(2, OTHER)], *boxes)

    assert [(2, False)] == pairs(found)
    assert [ONE.shifted(60, 0)] == [box for _, box in found.new]
    assert [1] == [one.id for one in found.missing]


def test_a_copy_of_a_box_marks_another_face() -> None:
    """The copy has the attributes of the original, which is still in its place."""
    found = match([face(1, ONE)], drawn(OTHER, key(ONE)), drawn(ONE, key(ONE)))

    assert [(1, False)] == pairs(found)
    assert [OTHER] == [box for _, box in found.new]


def test_two_boxes_for_one_face_are_ambiguous() -> None:
    """Both say that they are for it, and neither is in its place."""
    both = drawn(ONE.shifted(5, 0), key(ONE)), drawn(ONE.shifted(0, 5), key(ONE))

    found = match([face(1, ONE)], *both)

    assert [ReasonCode.BOX_AMBIGUOUS] * 2 == [code for code, _ in found.problems]
    assert ([], [], []) == (found.matched, found.new, found.missing)


def test_a_box_between_two_faces_is_ambiguous() -> None:
    """It overlaps both by as much."""
    near = ONE.shifted(20, 0)

    found = match([face(1, ONE), face(2, near)], drawn(ONE.shifted(10, 0)))

    assert [ReasonCode.BOX_AMBIGUOUS] == [code for code, _ in found.problems]
    assert [] == found.matched


def test_a_face_that_was_deleted_before_is_not_drawn_again() -> None:
    """The entry that deleted it can be undone."""
    found = match([face(1, ONE, is_hidden=True)], drawn(ONE.shifted(2, 2)))

    assert [ReasonCode.FACE_HIDDEN] == [code for code, _ in found.problems]
    assert ([], []) == (found.new, found.missing)


def test_a_box_of_a_face_that_is_gone_is_listed() -> None:
    """Another detector did not find it."""
    found = match([], drawn(ONE, key(ONE)))

    assert [ReasonCode.FACE_GONE] == [code for code, _ in found.problems]


def test_a_key_of_another_frame_says_nothing() -> None:
    """CVAT gives a new keyframe the attributes of the one before."""
    found = match([face(1, OTHER)], drawn(ONE, "3ddf3af578c4-000000500-1-2"), drawn(OTHER))

    assert [ONE] == [box for _, box in found.new]


@pytest.mark.parametrize("box", [Box(700, 0, 800, 80), Box(10, 10, 14, 60), Box(50, 50, 40, 60)])
def test_boxes_that_show_nothing_are_listed(box: Box) -> None:
    """Outside of the frame, too small, or turned inside out."""
    found = match([], drawn(box))

    assert [ReasonCode.BOX_UNUSABLE] == [code for code, _ in found.problems]


def test_two_new_boxes_in_one_place_are_one() -> None:
    """The first counts; the second is listed."""
    found = match([], drawn(ONE), drawn(ONE.shifted(3, 3)))

    assert [ONE] == [box for _, box in found.new]
    assert [ReasonCode.BOX_AMBIGUOUS] == [code for code, _ in found.problems]
