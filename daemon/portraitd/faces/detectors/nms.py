"""Non-maximum suppression: keep one of several boxes that show the same face."""

from __future__ import annotations

from collections.abc import Sequence

from portraitd.model.face import Box


def suppress_non_maxima(scores: Sequence[float], boxes: Sequence[Box], max_iou: float) -> list[int]:
    """Return the positions of the boxes to keep, best first.

    A box is dropped if its intersection over union with a better one exceeds ``max_iou``. The
    order of the input decides between equal scores.
    """
    kept: list[int] = []
    for at in sorted(range(len(scores)), key=lambda at: -scores[at]):
        if all(boxes[at].iou(boxes[better]) <= max_iou for better in kept):
            kept.append(at)
    return kept
