"""Decode and validate the results of workers, which may be compromised.

Workers send pickles, and a pickle can name any function for its reader to call: a worker that a
hostile file took over could take over the daemon. The decoder here accepts only the value types
that jobs return, and portraitd's errors. The faces of a slice must also be possible for that slice.
"""

from __future__ import annotations

import io
import math
import pickle
import sys
from collections.abc import Sequence
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from portraitd.model.errors import PortraitdError, WorkerDied
from portraitd.model.face import (
    Box,
    DetectedFace,
    Face,
    Portrait,
    Quality,
    SliceFaces,
)
from portraitd.model.media_file import MediaFacts, MediaKind, Slice
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.recording_time import RecordingTime

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
"""Types and functions of libraries that a result may consist of, by module and name."""

MAX_JPEG_BYTES = 32 << 20
MAX_SIDE_PX = 1 << 17
MAX_HASH_LENGTH = 64

RESULT_PROTOCOL = 4
"""The protocol of Python 3.8 and later, the default of 3.11."""


def encode_result(value: object) -> bytes:
    """Pickle a result for the daemon.

    Raises:
        WorkerDied: It cannot be pickled.
    """
    try:
        return _dump_values(value)
    except Exception as error:
        raise WorkerDied(
            Reason.of(ReasonCode.INVALID_RESULT, error=f"it cannot be sent: {error}")
        ) from error


def _dump_values(value: object) -> bytes:
    """Pickle a value as its own type says, not as a library in this process has it done.

    Dask, for instance, has every error pickled as a call of its own.
    """
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, RESULT_PROTOCOL)
    pickler.dispatch_table = {}
    pickler.dump(value)
    return buffer.getvalue()


def decode_result(data: bytes) -> Any:
    """Unpickle a result that consists of values only.

    Raises:
        WorkerDied: It is damaged, or names something that is not a value type.
    """
    try:
        return _ResultUnpickler(io.BytesIO(data)).load()
    except Exception as error:
        # Any exception: a compromised worker may have sent anything.
        raise WorkerDied(Reason.of(ReasonCode.INVALID_RESULT, error=error)) from error


class _ResultUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return the type that a result names, if it is allowed; import nothing for it."""
        if (module, name) == ("builtins", "getattr"):
            # Before Python 3.11.4 a member of an enumeration is pickled as its attribute.
            return _member
        loaded = sys.modules.get(module)
        if loaded is not None and (module, name) in _NAMED:
            return super().find_class(module, name)
        found = getattr(loaded, name, None) if module.startswith("portraitd.") else None
        if not (isinstance(found, type) and found.__module__ == module and _holds_values(found)):
            raise pickle.UnpicklingError(f"{module}.{name} is not an allowed type")
        return found


def _member(kind: Any, name: Any) -> Enum:
    """Return a member of an enumeration; refuse attributes of anything else."""
    if not (isinstance(kind, type) and issubclass(kind, Enum) and isinstance(name, str)):
        raise pickle.UnpicklingError(f"{kind!r} is not an enumeration")
    member = kind.__members__.get(name)
    if member is None:
        raise pickle.UnpicklingError(f"{kind.__name__} has no member {name!r}")
    return member


def _holds_values(kind: type) -> bool:
    """Return whether creating an instance only stores the given values."""
    named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return named_tuple or is_dataclass(kind) or issubclass(kind, Enum | PortraitdError)


def validate_facts(result: Any) -> MediaFacts:
    """Return the result of a probe if all of its values are of the right kind.

    Raises:
        WorkerDied: One is not; the message names it.
    """
    if not isinstance(result, MediaFacts):
        problem = f"a {type(result).__name__}, not facts"
    else:
        sizes = (result.width_px, result.height_px)
        recorded = result.recorded
        checks = (
            (_is_hash(result.sha256) and result.sha256 != "", "a content hash"),
            (_is_hash(result.extends) and _is_hash(result.picture_hash), "a hash"),
            (isinstance(result.kind, MediaKind), "a kind"),
            (isinstance(result.duration_s, float) and result.duration_s >= 0, "a duration"),
            (_is_finite(result.fps), "a frame rate"),
            (all(isinstance(side, int) and 0 < side < MAX_SIDE_PX for side in sizes), "a size"),
            (recorded is None or _is_recording_time(recorded), "a date"),
        )
        problem = next((problem for is_valid, problem in checks if not is_valid), "")
    if problem:
        raise WorkerDied(Reason.of(ReasonCode.INVALID_RESULT, error=problem))
    return result  # type: ignore[no-any-return]


def validate_faces(video_slice: Slice, result: Any, embedding_size: int) -> SliceFaces:
    """Return the result if it is possible for this slice.

    Args:
        video_slice: What the worker was given.
        result: What it returned.
        embedding_size: How many numbers each embedding must have.

    Raises:
        WorkerDied: It is not; the message names the problem.
    """
    problem = _find_problem(video_slice, result, embedding_size)
    if problem:
        raise WorkerDied(Reason.of(ReasonCode.INVALID_RESULT, error=problem))
    return result  # type: ignore[no-any-return]


def _find_problem(video_slice: Slice, result: Any, embedding_size: int) -> str:
    if not isinstance(result, SliceFaces) or not isinstance(result.detections, Sequence):
        return f"a {type(result).__name__}, not faces"
    counts = (result.sampled, result.decoded)
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return "the number of frames"
    if not _is_finite(result.seconds) or result.seconds < 0:
        return "the time it took"
    if result.ended_s is not None and not _is_within(video_slice, result.ended_s):
        return f"an end at {result.ended_s} s"
    if not isinstance(result.kept, Sequence) or not all(map(_is_frame, result.kept)):
        return "a kept frame"
    problems = (
        _find_detection_problem(video_slice, detection, embedding_size)
        for detection in result.detections
    )
    return next(filter(None, problems), "")


def _find_detection_problem(video_slice: Slice, detection: Any, embedding_size: int) -> str:
    if not isinstance(detection, DetectedFace) or not isinstance(detection.face, Face):
        return f"a {type(detection).__name__} among its faces"
    face, portrait = detection.face, detection.portrait
    checks = (
        (_is_within(video_slice, detection.t_s), f"a face at {detection.t_s} s"),
        (_is_box(face.box), "the box of a face"),
        (_is_vector(face.embedding, embedding_size), "an embedding"),
        (_is_finite(face.score) and _is_quality(face.quality), "the score of a face"),
        (_are_landmarks(face.landmarks), "the landmarks of a face"),
        (_is_portrait(portrait), "a portrait"),
    )
    return next((problem for is_valid, problem in checks if not is_valid), "")


def _is_hash(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= MAX_HASH_LENGTH and text.isascii()


def _is_recording_time(time: Any) -> bool:
    return (
        isinstance(time, RecordingTime)
        and isinstance(time.at_s, float)
        and (time.offset_min is None or isinstance(time.offset_min, int))
    )


def _is_vector(vector: Any, size: int) -> bool:
    return (
        isinstance(vector, np.ndarray)
        and vector.shape == (size,)
        and vector.dtype == np.float32
        and bool(np.isfinite(vector).all())
    )


def _is_quality(quality: Any) -> bool:
    return isinstance(quality, Quality) and all(
        map(_is_finite, (quality.size_px, quality.sharpness, quality.frontal, quality.confidence))
    )


def _are_landmarks(points: Any) -> bool:
    return points is None or (
        isinstance(points, tuple)
        and len(points) == 5
        and all(len(point) == 2 and all(map(_is_finite, point)) for point in points)
    )


def _is_frame(kept: Any) -> bool:
    return isinstance(kept, tuple) and len(kept) == 2 and _is_finite(kept[0]) and _is_jpeg(kept[1])


def _is_portrait(portrait: Any) -> bool:
    return isinstance(portrait, Portrait) and _is_box(portrait.area) and _is_jpeg(portrait.jpeg)


def _is_jpeg(data: Any) -> bool:
    return (
        isinstance(data, bytes) and data.startswith(b"\xff\xd8\xff") and len(data) <= MAX_JPEG_BYTES
    )


def _is_within(video_slice: Slice, t_s: Any) -> bool:
    if not _is_finite(t_s):
        return False
    return video_slice.kind is MediaKind.PHOTO or bool(
        video_slice.start_s <= t_s < video_slice.stop_s
    )


def _is_finite(number: Any) -> bool:
    return isinstance(number, int | float | np.number) and math.isfinite(number)


def _is_box(box: Any) -> bool:
    if not isinstance(box, Box) or not all(isinstance(side, int | np.integer) for side in box):
        return False
    fits = all(abs(side) < MAX_SIDE_PX for side in box)
    return fits and box.left < box.right and box.top < box.bottom
