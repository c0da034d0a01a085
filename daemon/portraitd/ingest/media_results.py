"""What the jobs of ``media_jobs`` may return: facts, faces, embeddings.

A worker that a file has taken over can still say anything that is possible for that file. It
cannot say anything that is not possible, nor which content the file has: ``hash_content`` runs in
workers that read files and interpret nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from portraitd.faces.interface import EncoderSpec
from portraitd.media.jpeg_structure import check_jpeg
from portraitd.model.errors import ConfigError, VideoError
from portraitd.model.face import (
    DetectedFace,
    Embeddings,
    Face,
    FrameTimes,
    Portrait,
    Quality,
    SliceFaces,
    StoredPortrait,
)
from portraitd.model.media_file import MediaFacts, MediaKind, Slice, Source
from portraitd.model.recording_time import RecordingTime
from portraitd.workers.result_codec import (
    Array,
    Record,
    ResultSchema,
    pack_array,
    require_within,
    unpack_array,
)
from portraitd.workers.wire_types import (
    MAX_SIDE_PX,
    BoxData,
    Count,
    Finite,
    Hash,
    MaybeHash,
    Name,
    Positive,
    Share,
    Side,
    is_finite,
    pack_box,
    unpack_box,
)

if TYPE_CHECKING:
    from portraitd.ingest.media_jobs import DrawnFrame, EncodeOptions, KnownFrame

MAX_DURATION_S = 31 * 24 * 3600.0
"""A day more than ``media.video`` takes for a valid duration."""

MIN_BYTES_PER_S = 10.0
"""Half of what ``media.video`` requires of a valid duration."""

MAX_PIXELS = 50_000_000
"""As ``media.picture.MAX_PIXELS``, which is not loaded here."""

MAX_FACES = 100_000
"""Largest number of faces in a slice, and of frames that are handed back with it."""

MAX_PORTRAIT_ASPECT = 4
"""Largest height of a portrait in widths; see ``faces.crops``."""

MAX_JPEG_BYTES = 32 << 20

MAX_WORK_S = 8 * 24 * 3600.0
"""A day more than ``workers.time_limit_s`` can be."""

MAX_COMPONENT = 1e4
"""Embedders give numbers up to about 30; with larger ones distances would lose their meaning."""

_ERRORS = (VideoError, ConfigError)


# --- Probing.


class TimeData(Record):
    """A ``RecordingTime``."""

    at_s: Finite
    offset_min: Annotated[int, Meta(ge=-100_000, le=100_000)] | None


class FactsData(Record):
    """A ``MediaFacts``."""

    sha256: Hash
    kind: MediaKind
    duration_s: Annotated[float, Meta(ge=0)]
    fps: Annotated[float, Meta(ge=0, le=1e6)]
    width_px: Side
    height_px: Side
    extends: MaybeHash
    picture_hash: MaybeHash
    recorded: TimeData | None


def _pack_facts(facts: MediaFacts) -> FactsData:
    recorded = facts.recorded
    is_sendable = recorded is not None and is_finite(recorded.at_s)
    return FactsData(
        facts.sha256,
        facts.kind,
        float(facts.duration_s),
        float(facts.fps),
        int(facts.width_px),
        int(facts.height_px),
        facts.extends,
        facts.picture_hash,
        TimeData(recorded.at_s, recorded.offset_min) if recorded and is_sendable else None,
    )


def _unpack_facts(
    found: FactsData, source: Source, partial_copies: Sequence[tuple[int, str]] = ()
) -> MediaFacts:
    duration_s = found.duration_s
    if found.kind is MediaKind.PHOTO and duration_s != 0:
        raise ValueError("a photo with a duration")
    if math.isfinite(duration_s) and (
        duration_s > MAX_DURATION_S or source.stamp.size < duration_s * MIN_BYTES_PER_S
    ):
        raise ValueError(f"{duration_s:g} s in {source.stamp.size} bytes")
    if found.extends and found.extends not in {sha256 for _, sha256 in partial_copies}:
        raise ValueError("the hash of content that was not requested")
    recorded = found.recorded
    return MediaFacts(
        found.sha256,
        found.kind,
        duration_s,
        found.fps,
        found.width_px,
        found.height_px,
        found.extends,
        found.picture_hash,
        None if recorded is None else RecordingTime(recorded.at_s, recorded.offset_min),
    )


FACTS = ResultSchema(FactsData, _pack_facts, _unpack_facts, errors=_ERRORS, max_bytes=1 << 16)


def _unpack_hashes(
    found: tuple[str, str], source: Source, partial_copies: Sequence[tuple[int, str]] = ()
) -> tuple[str, str]:
    return found


HASHES = ResultSchema(
    tuple[Hash, MaybeHash], tuple, _unpack_hashes, errors=_ERRORS, max_bytes=1 << 16
)


# --- Faces.


class FaceData(Record):
    """A ``DetectedFace``."""

    t_s: Finite
    box: BoxData
    score: Finite
    landmarks: Annotated[list[tuple[Finite, Finite]], Meta(min_length=5, max_length=5)] | None
    embedding: bytes
    size_px: Annotated[float, Meta(ge=0, le=MAX_SIDE_PX)]
    sharpness: Positive
    frontal: Share
    confidence: Share
    area: BoxData
    jpeg: Annotated[bytes, Meta(max_length=MAX_JPEG_BYTES)]


class FacesData(Record):
    """A ``SliceFaces``."""

    detections: Annotated[list[FaceData], Meta(max_length=MAX_FACES)]
    sampled: Count
    decoded: Count
    ended_s: Finite | None
    seconds: Annotated[float, Meta(ge=0, le=MAX_WORK_S)]
    kept: Annotated[
        list[tuple[Finite, Annotated[bytes, Meta(max_length=MAX_JPEG_BYTES)]]],
        Meta(max_length=MAX_FACES),
    ]


def pack_faces(result: SliceFaces) -> FacesData:
    return FacesData(
        [_pack_face(detection) for detection in result.detections],
        int(result.sampled),
        int(result.decoded),
        None if result.ended_s is None else float(result.ended_s),
        float(result.seconds),
        [(float(t_s), jpeg) for t_s, jpeg in result.kept],
    )


def _pack_face(detection: DetectedFace) -> FaceData:
    face, portrait, quality = detection.face, detection.portrait, detection.face.quality
    points = face.landmarks
    return FaceData(
        float(detection.t_s),
        pack_box(face.box),
        float(face.score),
        None if points is None else [(float(x), float(y)) for x, y in points],
        np.asarray(face.embedding).astype("<f4").tobytes(),
        float(quality.size_px),
        float(quality.sharpness),
        float(quality.frontal),
        float(quality.confidence),
        pack_box(portrait.area),
        portrait.jpeg,
    )


def unpack_faces(found: FacesData, video_slice: Slice, settings: EncodeOptions) -> SliceFaces:
    vectors = _read_vectors(
        [one.embedding for one in found.detections], settings.encoder.embedding_size
    )
    if len({one.t_s for one in found.detections}) > found.sampled:
        raise ValueError("faces of more frames than were searched")
    if found.ended_s is not None:
        _require_in_slice(found.ended_s, video_slice)
    if found.kept and not settings.keeps_frames:
        raise ValueError("frames that were not asked for")
    for t_s, jpeg in found.kept:
        _require_in_slice(t_s, video_slice)
        width_px, height_px = check_jpeg(jpeg, MAX_SIDE_PX, MAX_SIDE_PX)
        if width_px * height_px > MAX_PIXELS:
            raise ValueError(f"a frame of {width_px}x{height_px} pixels")
    return SliceFaces(
        [
            _unpack_face(one, vector, video_slice, settings.portrait_width_px)
            for one, vector in zip(found.detections, vectors, strict=True)
        ],
        found.sampled,
        found.decoded,
        found.ended_s,
        found.seconds,
        found.kept,
    )


def _unpack_face(
    found: FaceData, vector: NDArray[np.float32], video_slice: Slice, portrait_width_px: int
) -> DetectedFace:
    _require_in_slice(found.t_s, video_slice)
    box, area = unpack_box(found.box), unpack_box(found.area)
    if area.left < 0 or area.top < 0:
        raise ValueError("a portrait from outside the frame")
    if box.iou(area) <= 0:
        raise ValueError("a portrait that does not show its face")
    check_jpeg(found.jpeg, portrait_width_px, MAX_PORTRAIT_ASPECT * portrait_width_px)
    return DetectedFace(
        found.t_s,
        Face(
            box,
            found.score,
            None if found.landmarks is None else tuple(found.landmarks),
            vector,
            Quality(found.size_px, found.sharpness, found.frontal, found.confidence),
        ),
        Portrait(area, found.jpeg),
    )


def _require_in_slice(t_s: float, video_slice: Slice) -> None:
    if video_slice.kind is not MediaKind.PHOTO and not (
        video_slice.start_s <= t_s < video_slice.stop_s
    ):
        raise ValueError(f"a frame at {t_s:g} s, outside of the slice")


def _read_vectors(blobs: Sequence[bytes], size: int) -> NDArray[np.float32]:
    """Return embeddings, shape ``(n, size)``."""
    if any(len(blob) != 4 * size for blob in blobs):
        raise ValueError(f"an embedding of another size than {size}")
    vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, size).astype(np.float32)
    require_within(vectors, -MAX_COMPONENT, MAX_COMPONENT, "an embedding")
    return vectors


def _unpack_picture_faces(found: FacesData, source: Source, settings: EncodeOptions) -> SliceFaces:
    return unpack_faces(found, Slice(source, MediaKind.PHOTO, 0.0, math.inf), settings)


FACES = ResultSchema(FacesData, pack_faces, unpack_faces, errors=_ERRORS, max_bytes=1 << 30)

PICTURE_FACES = ResultSchema(
    FacesData, pack_faces, _unpack_picture_faces, errors=_ERRORS, max_bytes=1 << 28
)


def _unpack_drawn_faces(
    found: FacesData,
    source: Source,
    kind: MediaKind,
    start_s: float,
    frames: Sequence[DrawnFrame],
    settings: EncodeOptions,
) -> SliceFaces:
    faces = unpack_faces(found, Slice(source, kind, start_s, math.inf), settings)
    places = {(frame.t_s, box) for frame in frames for box in frame.boxes}
    returned = [(one.t_s, one.face.box) for one in faces.detections]
    if len(set(returned)) < len(returned) or not places.issuperset(returned):
        raise ValueError("a face where no box was drawn")
    return faces


DRAWN_FACES = ResultSchema(
    FacesData, pack_faces, _unpack_drawn_faces, errors=_ERRORS, max_bytes=1 << 28
)


# --- Times of frames.

MAX_FRAMES = 100_000_000
"""A month at 38 frames a second."""


def _pack_times(times_s: FrameTimes) -> Array:
    return pack_array(times_s, "<f8")


def _unpack_times(found: Array, source: Source, kind: MediaKind) -> FrameTimes:
    times_s = unpack_array(found, "<f8", None)
    if len(times_s) > MAX_FRAMES or not np.isfinite(times_s).all():
        raise ValueError("times that no video has")
    if (np.diff(times_s) < 0).any():
        raise ValueError("times that do not rise")
    return times_s


FRAME_TIMES = ResultSchema(Array, _pack_times, _unpack_times, errors=_ERRORS, max_bytes=1 << 30)


# --- Embeddings of known faces.


def _pack_embeddings(vectors: Embeddings) -> Array:
    return pack_array(vectors, "<f4")


def _unpack_rows(found: Array, count: int, size: int) -> Embeddings:
    """Return one row for each face; a row of NaN stands for a face that was not found."""
    vectors = unpack_array(found, "<f4", count, size)
    missing = np.isnan(vectors).any(axis=1)
    if not np.isnan(vectors[missing]).all():
        raise ValueError("an embedding that is only partly known")
    require_within(vectors[~missing], -MAX_COMPONENT, MAX_COMPONENT, "an embedding")
    return vectors


def _unpack_portraits(
    found: Array, portraits: Sequence[StoredPortrait], settings: EncoderSpec
) -> Embeddings:
    return _unpack_rows(found, len(portraits), settings.embedding_size)


def _unpack_frames(
    found: Array,
    source: Source,
    kind: MediaKind,
    start_s: float,
    frames: Sequence[KnownFrame],
    settings: EncoderSpec,
) -> Embeddings:
    # As the job does: the last of two frames with one time counts.
    faces = {frame.t_s: len(frame.faces) for frame in frames}
    return _unpack_rows(found, sum(faces.values()), settings.embedding_size)


PORTRAIT_EMBEDDINGS = ResultSchema(
    Array, _pack_embeddings, _unpack_portraits, errors=_ERRORS, max_bytes=1 << 28
)

FRAME_EMBEDDINGS = ResultSchema(
    Array, _pack_embeddings, _unpack_frames, errors=_ERRORS, max_bytes=1 << 28
)


# --- Names.


def _same_name(name: str, settings: EncoderSpec) -> str:
    return name


IDENTITY = ResultSchema(Name, str, _same_name, errors=_ERRORS, max_bytes=1 << 16)
