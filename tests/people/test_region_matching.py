"""Which face a named region of a photo is about."""

from __future__ import annotations

import pytest

from portraitd.media.face_regions import FaceRegion
from portraitd.model.reasons import ReasonCode
from portraitd.people.references.region_matching import MatchedRegions, match_regions

LEFT, RIGHT = 7, 8
FACES = {LEFT: FaceRegion("", 0.3, 0.4, 0.1, 0.2), RIGHT: FaceRegion("", 0.6, 0.4, 0.1, 0.2)}


def around(face: int, name: str, times: float = 1.2) -> FaceRegion:
    """A region somewhat larger than the face."""
    x, y, w, h = FACES[face].area
    return FaceRegion(name, x, y, w * times, h * times)


def test_each_region_names_the_face_in_it() -> None:
    """In any order; the safe part of a name counts."""
    found = match_regions([around(RIGHT, "Bo/Bob"), around(LEFT, "Ann")], FACES)

    assert MatchedRegions({RIGHT: "Bo-Bob", LEFT: "Ann"}, set()) == found


def test_several_words_for_one_name_are_one() -> None:
    """digiKam writes each region twice, and a sidecar may repeat it."""
    found = match_regions([around(LEFT, "Ann"), around(LEFT, "Ann ", 1.0)], FACES)

    assert MatchedRegions({LEFT: "Ann"}, set()) == found


@pytest.mark.parametrize(
    ("regions", "fault"),
    [
        ([FaceRegion("Ann", 0.9, 0.9, 0.1, 0.1)], ReasonCode.REGION_WITHOUT_FACE),
        ([FaceRegion("Ann", 0.45, 0.4, 0.9, 0.9)], ReasonCode.REGION_WITHOUT_FACE),
        ([around(LEFT, "Ann"), around(LEFT, "Bo")], ReasonCode.REGION_OF_SEVERAL),
        ([around(LEFT, "Ann"), around(RIGHT, "Ann")], ReasonCode.REGION_OF_SEVERAL),
        ([around(LEFT, "person-0007")], ReasonCode.REGION_NAME_UNUSABLE),
        ([around(LEFT, "_unsorted")], ReasonCode.REGION_NAME_UNUSABLE),
        ([around(LEFT, "///")], ReasonCode.REGION_NAME_UNUSABLE),
        ([around(LEFT, "\u202e\0")], ReasonCode.REGION_NAME_UNUSABLE),
    ],
)
def test_what_is_not_clear_names_no_face(regions: list[FaceRegion], fault: ReasonCode) -> None:
    """No face, several faces or names, or a name that no folder can have."""
    assert MatchedRegions({}, {fault}) == match_regions(regions, FACES)


def test_a_region_around_two_faces_in_one_place_names_neither() -> None:
    """A detector may have found one face twice."""
    faces = {LEFT: FACES[LEFT], RIGHT: FaceRegion("", 0.31, 0.4, 0.1, 0.2)}

    assert ReasonCode.REGION_OF_SEVERAL in match_regions([around(LEFT, "Ann")], faces).faults
