"""Whether what came back from another machine can be the answer to what was asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from portraitd.errors import WorkerDied
from portraitd.model import (
    EMBEDDING_SIZE,
    Box,
    Face,
    MediaKind,
    Portrait,
    Quality,
    Sighting,
    Slice,
    SliceFaces,
)

LARGEST_JPEG_BYTES = 32 << 20
LONGEST_PX = 1 << 17


def checked(piece: Slice, answer: Any) -> SliceFaces:
    """The answer, if it can be one about this slice.

    Raises:
        WorkerDied: It cannot; the message says what is wrong with it.
    """
    problem = _problem(piece, answer)
    if problem:
        raise WorkerDied(f"the worker's answer makes no sense: {problem}")
    return answer  # type: ignore[no-any-return]


def _problem(piece: Slice, answer: Any) -> str:
    if not isinstance(answer, SliceFaces) or not isinstance(answer.sightings, Sequence):
        return f"a {type(answer).__name__}, not faces"
    counts = (answer.sampled, answer.decoded)
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return "its counts of frames"
    if not _finite(answer.seconds) or answer.seconds < 0:
        return "the time it took"
    if answer.ended_s is not None and not _within(piece, answer.ended_s):
        return f"it ended at {answer.ended_s} s"
    for sighting in answer.sightings:
        problem = _sighting_problem(piece, sighting)
        if problem:
            return problem
    return ""


def _sighting_problem(piece: Slice, sighting: Any) -> str:
    if not isinstance(sighting, Sighting) or not isinstance(sighting.face, Face):
        return f"a {type(sighting).__name__} among its faces"
    face, portrait = sighting.face, sighting.portrait
    doubts = (
        (_within(piece, sighting.t_s), f"a face at {sighting.t_s} s"),
        (_is_box(face.box), "a face's place"),
        (_is_vector(face.embedding), "an embedding"),
        (_finite(face.score) and _is_quality(face.quality), "a face's score"),
        (_are_landmarks(face.landmarks), "a face's landmarks"),
        (_is_portrait(portrait), "a portrait"),
    )
    return next((problem for sound, problem in doubts if not sound), "")


def _is_vector(vector: Any) -> bool:
    return (
        isinstance(vector, np.ndarray)
        and vector.shape == (EMBEDDING_SIZE,)
        and vector.dtype == np.float32
        and bool(np.isfinite(vector).all())
    )


def _is_quality(quality: Any) -> bool:
    return isinstance(quality, Quality) and all(
        map(_finite, (quality.size_px, quality.sharpness, quality.frontal, quality.confidence))
    )


def _are_landmarks(points: Any) -> bool:
    return points is None or (
        isinstance(points, tuple)
        and len(points) == 5
        and all(len(point) == 2 and all(map(_finite, point)) for point in points)
    )


def _is_portrait(portrait: Any) -> bool:
    return (
        isinstance(portrait, Portrait)
        and _is_box(portrait.area)
        and isinstance(portrait.jpeg, bytes)
        and portrait.jpeg.startswith(b"\xff\xd8\xff")
        and len(portrait.jpeg) <= LARGEST_JPEG_BYTES
    )


def _within(piece: Slice, t_s: Any) -> bool:
    if not _finite(t_s):
        return False
    return piece.kind is MediaKind.PHOTO or bool(piece.start_s <= t_s < piece.stop_s)


def _finite(number: Any) -> bool:
    return isinstance(number, int | float | np.number) and math.isfinite(number)


def _is_box(box: Any) -> bool:
    if not isinstance(box, Box) or not all(isinstance(side, int | np.integer) for side in box):
        return False
    small = all(abs(side) < LONGEST_PX for side in box)
    return small and box.left < box.right and box.top < box.bottom
