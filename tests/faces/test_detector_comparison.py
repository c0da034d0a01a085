"""Whether one detector may be used for another, asked with drawn faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from portraitd.faces.detector_comparison import compare_detectors, draw_crowds
from portraitd.faces.search_scales import limits_of
from portraitd.model.face import Box, Detection, Image


class Prepared:
    """A detector that finds what it was told to."""

    has_landmarks = False
    limits = limits_of("mmod", 0)

    def __init__(self, found: Sequence[Detection]) -> None:
        self._found = list(found)

    def detect(self, images: Sequence[Image], min_face_px: float) -> list[list[Detection]]:
        return [self._found for _ in images]


FACES = [
    Detection(Box(100 * place, 0, 100 * place + 80, 80), 1.0 - place / 10, None, 1.0)
    for place in range(5)
]


def moved(detection: Detection, by_px: int, score: float = 0.0) -> Detection:
    """Return a detection further to the right."""
    return replace(detection, box=detection.box.shifted(by_px, 0), score=detection.score + score)


@pytest.mark.parametrize(
    ("found", "is_close"),
    [
        (FACES, True),
        (FACES[::-1], True),
        ([moved(face, 8, 0.005) for face in FACES], True),
        (FACES[1:], False),
        ([moved(face, 60) for face in FACES], False),
        ([*FACES, Detection(Box(0, 300, 80, 380), 0.1, None, 0.0)], False),
        # One face twice.
        ([*FACES, moved(FACES[0], 4)], False),
        ([moved(FACES[0], 0, 0.02), *FACES[1:]], False),
        ([], False),
    ],
)
def test_one_lost_one_new_or_another_score_is_too_much(
    found: list[Detection], is_close: bool
) -> None:
    """Boxes may move a little."""
    picture = np.zeros((400, 600, 3), np.uint8)

    assert is_close is compare_detectors(Prepared(FACES), Prepared(found), [picture]).is_close


def test_a_reference_that_finds_nothing_proves_nothing() -> None:
    """Then nothing was compared."""
    picture = np.zeros((400, 600, 3), np.uint8)

    assert not compare_detectors(Prepared([]), Prepared([]), [picture]).is_close


def test_every_machine_draws_the_same_crowds() -> None:
    """Of one size, each another picture."""
    one, two = draw_crowds(2), draw_crowds(2)

    assert all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))
    assert one[0].shape == one[1].shape
    assert not np.array_equal(one[0], one[1])
