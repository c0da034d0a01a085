"""Match faces of one video by time and box, whatever encoder or sampling found them.

Another sampling, detector or encoder gives other rows, at times a little beside the old ones.
Faces of different people never overlap by half in the same instant.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import SAME_FACE_IOU, box_iou

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

SLACK_S = 0.05
"""The frame nearest to a sampling time is read; it may be this far from it."""


class Fingerprints(NamedTuple):
    """Faces of one video, as they are compared.

    Attributes:
        times_s: Shape ``(n,)``.
        boxes: Shape ``(n, 4)``; left, top, right, bottom in pixels of the full-size frame.
        steps_s: Shape ``(n,)``; seconds between the samples among which each was found.
    """

    times_s: Floats
    boxes: Floats
    steps_s: Floats

    @classmethod
    def of(cls, rows: list[tuple[float, float, float, float, float, float]]) -> Fingerprints:
        """Make them from rows of time, box and step."""
        table = np.array(rows, np.float64).reshape(-1, 6)
        return cls(table[:, 0], table[:, 1:5], table[:, 5])


def match_fingerprints(known: Fingerprints, faces: Fingerprints) -> Indices:
    """Match each known face to one face: within half a sampling step, overlapping by half.

    The nearest pair in time is matched first, and each side is used once. The order of the rows
    on either side does not change the result.

    Returns:
        Shape ``(len(known),)``; the index of the face, -1 where there is none.
    """
    found = np.full(len(known.times_s), -1, dtype=np.int64)
    one, other = _close_in_time(known, faces)
    iou = box_iou(known.boxes[one], faces.boxes[other])
    is_match = iou >= SAME_FACE_IOU
    one, other, iou = one[is_match], other[is_match], iou[is_match]
    gap_s = np.abs(known.times_s[one] - faces.times_s[other])
    order = np.lexsort(
        (*faces.boxes[other].T, faces.times_s[other], *known.boxes[one].T, known.times_s[one],
         -iou, gap_s)
    )  # fmt: skip
    is_used = np.zeros(len(faces.times_s), dtype=np.bool_)
    for known_at, face_at in zip(one[order].tolist(), other[order].tolist(), strict=True):
        if found[known_at] < 0 and not is_used[face_at]:
            found[known_at] = face_at
            is_used[face_at] = True
    return found


def _close_in_time(known: Fingerprints, faces: Fingerprints) -> tuple[Indices, Indices]:
    """Return the indices of all pairs that are near enough in time."""
    order = np.argsort(faces.times_s, kind="stable")
    times = faces.times_s[order]
    step_s = float(faces.steps_s.max(initial=0.0))
    tolerance_s = np.maximum(known.steps_s, step_s) / 2 + SLACK_S
    first = np.searchsorted(times, known.times_s - tolerance_s, "left")
    counts = np.searchsorted(times, known.times_s + tolerance_s, "right") - first
    one = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return one, order[np.repeat(first, counts) + within]
