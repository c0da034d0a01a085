"""Faces by what they are: which face of today is the one that was noted long ago.

A face is known by the content of its video, its time and its box. Another sampling, detector or
encoder gives other rows, at times a little beside the old ones; nobody else's face overlaps by
half in the same instant.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MIN_IOU = 0.5

SLACK_S = 0.05
"""Of a sampling mark the nearest frame is looked at, which may lie beside it."""


class Fingerprints(NamedTuple):
    """Some faces of one video.

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
        """From rows of time, box and step."""
        table = np.array(rows, np.float64).reshape(-1, 6)
        return cls(table[:, 0], table[:, 1:5], table[:, 5])


def match_fingerprints(keys: Fingerprints, faces: Fingerprints) -> Indices:
    """Find each key's face: within half a sampling step, overlapping by half, the nearest first.

    Each side is used once. The order of the faces or of the keys changes nothing.

    Returns:
        Shape ``(len(keys),)``; the index of the face, -1 where there is none.
    """
    found = np.full(len(keys.times_s), -1, dtype=np.int64)
    key, face = _neighbours(keys, faces)
    overlap = _overlaps(keys.boxes[key], faces.boxes[face])
    near = overlap >= MIN_IOU
    key, face, overlap = key[near], face[near], overlap[near]
    gap = np.abs(keys.times_s[key] - faces.times_s[face])
    order = np.lexsort(
        (*faces.boxes[face].T, faces.times_s[face], *keys.boxes[key].T, keys.times_s[key],
         -overlap, gap)
    )  # fmt: skip
    taken = np.zeros(len(faces.times_s), dtype=np.bool_)
    for one, other in zip(key[order].tolist(), face[order].tolist(), strict=True):
        if found[one] < 0 and not taken[other]:
            found[one] = other
            taken[other] = True
    return found


def _neighbours(keys: Fingerprints, faces: Fingerprints) -> tuple[Indices, Indices]:
    """Every key with every face that is near enough in time."""
    order = np.argsort(faces.times_s, kind="stable")
    times = faces.times_s[order]
    step_s = float(faces.steps_s.max(initial=0.0))
    reach = np.maximum(keys.steps_s, step_s) / 2 + SLACK_S
    first = np.searchsorted(times, keys.times_s - reach, "left")
    counts = np.searchsorted(times, keys.times_s + reach, "right") - first
    key = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return key, order[np.repeat(first, counts) + within]


def _overlaps(left: Floats, right: Floats) -> Floats:
    """Intersection over union of each box with the one beside it."""
    corner = np.minimum(left[:, 2:], right[:, 2:])
    sides = np.clip(corner - np.maximum(left[:, :2], right[:, :2]), 0, None)
    shared = sides.prod(axis=1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (left, right)]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9))
