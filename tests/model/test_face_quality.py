"""Two rankings of faces: by how well they are recognised, and by how well they look."""

from __future__ import annotations

import numpy as np

from portraitd.model.face_quality import face_quality, portrait_rank

GOOD = np.array([[80.0, 14.0, 0.12, 1.0]])
LARGE = np.array([[400.0, 90.0, 0.12, 1.0]])


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
