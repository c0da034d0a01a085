"""Two rankings of faces: by how well they are recognised, and by how well they look."""

from __future__ import annotations

import numpy as np

from portraitd.model.face_quality import QualityRule, portrait_rank
from support.embedding_rules import DLIB_RULES

GOOD = np.array([[80.0, 14.0, 0.12, 1.0]])
LARGE = np.array([[400.0, 90.0, 0.12, 1.0]])
VECTOR = np.ones((1, 128), np.float32)


def face_quality(*measures: np.ndarray) -> float:
    """How much a face says about whose it is, with dlib's vectors."""
    return float(DLIB_RULES.quality.measure(*measures, VECTOR)[0])


def test_beyond_enough_of_everything_a_face_is_not_recognised_better() -> None:
    """A larger, sharper picture of it looks better all the same."""
    assert face_quality(*GOOD.T) == face_quality(*LARGE.T) == 1.0
    assert portrait_rank(*GOOD.T) < portrait_rank(*LARGE.T)


def test_every_measure_counts_in_both() -> None:
    """A face that is half as good in one of them is worse by both rankings."""
    for measure in range(4):
        worse = GOOD.copy()
        worse[0, measure] /= 2

        assert face_quality(*worse.T) < face_quality(*GOOD.T)
        assert portrait_rank(*worse.T) < portrait_rank(*GOOD.T)


def test_a_model_may_tell_by_the_length_of_its_vectors() -> None:
    """Half of the ramp counts half, and sharpness still counts; the other measures do not."""
    rule = QualityRule(sharpness=(2.0, 14.0), vector_norm=(10.0, 20.0))
    long, short = np.array([[12.0, 9.0]], np.float32), np.array([[3.0, 4.0]], np.float32)
    tiny = [np.array([value]) for value in (1.0, 14.0, 0.0, 0.0)]
    blurred = [np.array([value]) for value in (80.0, 8.0, 0.12, 1.0)]

    assert [0.5] == rule.measure(*tiny, long).tolist()
    assert [0.0] == rule.measure(*tiny, short).tolist()
    assert [0.5] == rule.measure(*blurred, 2 * long).tolist()
