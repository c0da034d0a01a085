"""What the daemon believes of what a worker says: values, never programs.

Workers send pickles, and a pickle may name any function to be called by whoever reads it. A worker
that a hostile file took over could so take over the daemon. Here only the value types that jobs
return and our errors can be named. And a value that a worker sends of a slice must be one that a
slice can have.
"""

from __future__ import annotations

import io
import math
import pickle
import sys
from collections.abc import Sequence
from dataclasses import is_dataclass
from enum import Enum
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from portraitd.model.errors import PortraitdError, WorkerDied
from portraitd.model.face import (
    EMBEDDING_SIZE,
    Box,
    DetectedFace,
    Face,
    Portrait,
    Quality,
    SliceFaces,
)
from portraitd.model.media_file import MediaKind, Slice

_NAMED = frozenset({
    ("builtins", "MemoryError"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("pathlib", "PosixPath"),
})  # fmt: skip
"""What others define and an answer may be made of, by module and name."""


LARGEST_JPEG_BYTES = 32 << 20
LONGEST_PX = 1 << 17


def packed(value: object) -> bytes:
    """An answer, for the way to the daemon.

    Raises:
        WorkerDied: It cannot be sent.
    """
    try:
        return bytes(ForkingPickler.dumps(value))
    except Exception as error:
        raise WorkerDied(f"the job ended without an answer that can be sent: {error}") from error


def unpacked(data: bytes) -> Any:
    """An answer that is made of values.

    Raises:
        WorkerDied: It is damaged, or names something that is no value.
    """
    try:
        return _Reader(io.BytesIO(data)).load()
    except Exception as error:
        # Whatever is in it, it is what a worker sent that is no longer ours.
        raise WorkerDied(f"the worker's answer is not believed: {error}") from error


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What an answer names, if that is a value; nothing is imported for it."""
        if (module, name) == ("builtins", "getattr"):
            # Before 3.11.4 a member of an enumeration is named as an attribute of it.
            return _member
        loaded = sys.modules.get(module)
        if loaded is not None and (module, name) in _NAMED:
            return super().find_class(module, name)
        found = getattr(loaded, name, None) if module.startswith("portraitd.") else None
        if not (isinstance(found, type) and found.__module__ == module and _is_of_values(found)):
            raise pickle.UnpicklingError(f"{module}.{name} is no value")
        return found


def _member(kind: Any, name: Any) -> Enum:
    """One of an enumeration; of nothing else is anything looked up."""
    if not (isinstance(kind, type) and issubclass(kind, Enum) and isinstance(name, str)):
        raise pickle.UnpicklingError(f"{kind!r} is no enumeration")
    member = kind.__members__.get(name)
    if member is None:
        raise pickle.UnpicklingError(f"{kind.__name__} has no {name!r}")
    return member


def _is_of_values(kind: type) -> bool:
    """Whether making one does nothing but hold what it is given."""
    named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return named_tuple or is_dataclass(kind) or issubclass(kind, Enum | PortraitdError)


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
    if not isinstance(answer, SliceFaces) or not isinstance(answer.detections, Sequence):
        return f"a {type(answer).__name__}, not faces"
    counts = (answer.sampled, answer.decoded)
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return "its counts of frames"
    if not _finite(answer.seconds) or answer.seconds < 0:
        return "the time it took"
    if answer.ended_s is not None and not _within(piece, answer.ended_s):
        return f"it ended at {answer.ended_s} s"
    if not isinstance(answer.kept, Sequence) or not all(map(_is_frame, answer.kept)):
        return "a frame to keep"
    problems = (_sighting_problem(piece, detection) for detection in answer.detections)
    return next(filter(None, problems), "")


def _sighting_problem(piece: Slice, detection: Any) -> str:
    if not isinstance(detection, DetectedFace) or not isinstance(detection.face, Face):
        return f"a {type(detection).__name__} among its faces"
    face, portrait = detection.face, detection.portrait
    doubts = (
        (_within(piece, detection.t_s), f"a face at {detection.t_s} s"),
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


def _is_frame(kept: Any) -> bool:
    return isinstance(kept, tuple) and len(kept) == 2 and _finite(kept[0]) and _is_jpeg(kept[1])


def _is_portrait(portrait: Any) -> bool:
    return isinstance(portrait, Portrait) and _is_box(portrait.area) and _is_jpeg(portrait.jpeg)


def _is_jpeg(data: Any) -> bool:
    return (
        isinstance(data, bytes)
        and data.startswith(b"\xff\xd8\xff")
        and len(data) <= LARGEST_JPEG_BYTES
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
