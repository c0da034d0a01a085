"""Chips, blurred faces, tracks for CVAT, hidden people."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.datasets.annotations import ClassLabel, PlannedTrack, classify_face
from portraitd.datasets.contact_sheet import blur_in_portrait
from portraitd.datasets.cropping import blur_faces
from portraitd.datasets.formats.cvat import format_annotations
from portraitd.faces.alignment import (
    ARCFACE_TEMPLATE,
    ARCFACE_TEMPLATE_DLIB,
    align_arcface,
    fit_similarity,
)
from portraitd.media.jpeg import TRAINING_QUALITY, encode_jpeg
from portraitd.model.face import Box
from portraitd.model.media_file import MediaKind
from portraitd.store.dataset_store import DatasetFace, Recording
from support.pictures import astronaut

FACE = Box(180, 70, 270, 160)


def face(person: int | None, hidden: bool = False) -> DatasetFace:
    return DatasetFace(1, 1, 0.0, FACE, 1.0, 90.0, 100.0, 1.0, 1.0, None, None, person, hidden)


@given(st.floats(-3, 3), st.floats(0.1, 8), st.floats(-900, 900), st.floats(-900, 900))
def test_a_similarity_is_found_exactly(angle: float, scale: float, x: float, y: float) -> None:
    """If there is an exact one."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = ARCFACE_TEMPLATE @ turn.T + (x, y)

    found = fit_similarity(ARCFACE_TEMPLATE, target)

    assert np.allclose(np.column_stack([turn, (x, y)]), found, atol=1e-6 * max(1.0, scale))


@pytest.mark.parametrize(
    "template", [ARCFACE_TEMPLATE, ARCFACE_TEMPLATE_DLIB], ids=["centres", "corners"]
)
@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.5, 2.0), (-1.2, 4.0)])
def test_an_arcface_chip_matches_the_template(
    angle: float, scale: float, template: NDArray[np.float64]
) -> None:
    """Bright spots at the landmarks move to the template, for both kinds of landmarks."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = template @ turn.T + (300, 250)
    image = np.zeros((900, 900, 3), np.uint8)
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), round(3 * scale), (255, 255, 255), -1)

    chip = align_arcface(image, tuple((float(x), float(y)) for x, y in points))

    assert (112, 112, 3) == chip.shape
    _, _, _, middles = cv2.connectedComponentsWithStats((chip[:, :, 0] > 90).astype(np.uint8))
    found = sorted(map(tuple, middles[1:]))
    assert np.allclose(sorted(map(tuple, template)), found, atol=1.0)


def test_a_blurred_face_is_not_detected() -> None:
    """The rest of the image and another face stay unchanged."""
    import dlib

    detector = dlib.get_frontal_face_detector()
    image = astronaut()
    other = Box(270, 60, 340, 120)
    after = blur_faces(image, [FACE], [other])

    assert 1 == len([one for one in detector(image, 0) if FACE.left < one.center().x < FACE.right])
    assert not [one for one in detector(after, 0) if FACE.left < one.center().x < FACE.right]
    spared = np.s_[other.top : other.bottom, other.left : other.right]
    assert np.array_equal(image[spared], after[spared])
    assert np.array_equal(image[260:], after[260:])


def test_a_face_at_the_edge_is_blurred() -> None:
    """Its box may extend beyond the image."""
    image = astronaut()

    after = blur_faces(image, [Box(-40, -30, 60, 70)])

    assert not np.array_equal(image[:70, :60], after[:70, :60])


def test_a_hidden_person_is_blurred_in_other_portraits() -> None:
    """The face of the portrait stays unchanged."""
    image = astronaut()
    area, hidden = Box(100, 0, 400, 300), Box(300, 40, 380, 120)

    jpeg = blur_in_portrait(
        encode_jpeg(image[0:300, 100:400], TRAINING_QUALITY), area, FACE, [hidden]
    )
    after = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)

    assert after is not None
    before = image[0:300, 100:400]
    own, gone = np.s_[70:160, 80:170], np.s_[40:120, 200:280]
    assert np.abs(before[own].astype(int) - after[own]).mean() < 4
    sharp, soft = (cv2.Laplacian(one[gone], cv2.CV_64F).var() for one in (before, after))
    assert soft < sharp / 3


def test_hidden_takes_precedence_over_a_name() -> None:
    """A face may be of a named or unnamed person, and either may be hidden."""
    classes = {7: 0}

    assert "person" == classify_face(face(7), classes)
    assert "unknown" == classify_face(face(8), classes)
    assert "unknown" == classify_face(face(None), classes)
    assert "hidden" == classify_face(face(7, hidden=True), classes)
    assert "hidden" == classify_face(face(None, hidden=True), classes)


def test_a_cvat_track_ends_at_long_gaps() -> None:
    """An outside box follows the last detection and starts a long gap; labels are escaped.

    Everyone is declared, because a corrected box may show anyone.
    """
    recording = Recording(1, "ab" * 32, MediaKind.VIDEO, 25.0, 60.0, 640, 360, (), ())
    times = [0.0, 1.0, 2.0, 30.0, 31.0]
    track = PlannedTrack(0, tuple((t_s, Box(10, 20, 110, 130)) for t_s in times))
    document = ET.fromstring(
        format_annotations(
            recording,
            (track,),
            (
                ClassLabel(0, "A & <B>", "person", 3),
                ClassLabel(1, "unused-1", "person", None),
                ClassLabel(2, "Bea", "person", 4),
            ),
        )
    )
    boxes = [(int(box.attrib["frame"]), box.attrib["outside"]) for box in document.iter("box")]

    assert [
        (0, "0"), (25, "0"), (50, "0"), (75, "1"), (750, "0"), (775, "0"), (800, "1"),
    ] == boxes  # fmt: skip
    assert "1500" == document.findtext("meta/task/size")
    assert ["A & <B>"] == [one.get("label") for one in document.iter("track")]
    labels = [one.findtext("name") for one in document.iter("label")]
    assert ["A & <B>", "Bea", "unknown"] == labels
