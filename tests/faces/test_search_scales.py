"""Which copies of a picture are searched, and from which size on faces are found."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.faces.interface import DetectorName, EncoderSpec, SmallFaces
from portraitd.faces.search_scales import STEP, limits_of, list_scales, smallest_face_px

detectors = st.sampled_from(["mmod", "yunet", "hog", "cnn"])
sides = st.integers(16, 9000)


@pytest.mark.parametrize(
    ("detector", "width", "height", "is_photo", "expected_px"),
    [
        ("yunet", 4000, 3000, True, 24),
        ("yunet", 8660, 5773, True, 24),
        ("yunet", 3840, 2160, False, 24),
        ("yunet", 1920, 1080, False, 24),
        ("yunet", 1280, 720, False, 26),
        ("mmod", 4000, 3000, True, 40),
        ("mmod", 6000, 4000, True, 57),
        ("mmod", 8660, 5773, True, 82),
        ("mmod", 3840, 2160, False, 112),
        ("mmod", 1920, 1080, False, 110),
        ("mmod", 1280, 720, False, 74),
        ("hog", 4000, 3000, True, 240),
    ],
)
def test_the_smallest_face_depends_on_detector_and_picture(
    tmp_path: Path, detector: DetectorName, width: int, height: int, is_photo: bool,
    expected_px: int,
) -> None:  # fmt: skip
    """As docs/formats.md lists it."""
    settings = EncoderSpec(tmp_path)
    limits = limits_of(detector, settings.upsample)

    assert expected_px == smallest_face_px(width, height, settings, limits, is_photo=is_photo)


@pytest.mark.parametrize(
    ("small_faces", "of_photo", "of_video"), [("all", 3, 2), ("photos", 3, 1), ("off", 1, 1)]
)
def test_larger_copies_are_searched_where_the_settings_say_so(
    tmp_path: Path, small_faces: SmallFaces, of_photo: int, of_video: int
) -> None:
    """Without them only the reduced copy is searched."""
    settings = EncoderSpec(tmp_path, small_faces=small_faces)
    limits = limits_of("yunet", 1)

    assert of_photo == len(list_scales(8660, 5773, settings, limits, is_photo=True))
    assert of_video == len(list_scales(1920, 1080, settings, limits, is_photo=False))


def test_doubling_a_copy_changes_nothing_but_the_size_of_the_copy(tmp_path: Path) -> None:
    """MMOD finds faces of the same size in it."""
    sizes = set()
    for upsample in (0, 1, 2):
        settings = EncoderSpec(tmp_path, upsample=upsample, max_width=80, max_height=80)
        limits = limits_of("mmod", upsample)
        sizes.add(smallest_face_px(12_000, 4000, settings, limits, is_photo=True))

    assert {80} == sizes


@given(sides, sides, detectors, st.booleans())
def test_copies_shrink_step_by_step_to_the_reduced_one(
    width: int, height: int, detector: DetectorName, is_photo: bool
) -> None:
    """A face that is too large for one copy is not too small for the next."""
    settings = EncoderSpec(Path())
    scales = list_scales(width, height, settings, limits_of(detector, 1), is_photo=is_photo)

    assert min(1.0, 700 / width, 500 / height) == scales[-1]
    assert all(0 < smaller < larger <= 1 for larger, smaller in itertools.pairwise(scales))
    # The last step may be half as large again, before another copy would be worth it.
    assert all(
        larger / smaller <= 1.5 * STEP or math.isclose(larger / smaller, 1.5 * STEP)
        for larger, smaller in itertools.pairwise(scales)
    )
