"""The functions that workers run on files and slices: probe, encode, warm up.

Their arguments and results are plain values. They import heavy libraries inside: the service
submits these functions, and must not load OpenCV, dlib or scikit-learn itself; commands that look
at the store load this module without numpy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from portraitd.faces.interface import EncoderSpec
from portraitd.model.errors import NotMedia
from portraitd.model.face import (
    Box,
    DetectedFace,
    Embeddings,
    Face,
    FoundFace,
    FrameTimes,
    Image,
    Portrait,
    SliceFaces,
    StoredPortrait,
)
from portraitd.model.media_file import MediaFacts, MediaKind, Slice, Source
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.workers.job_results import returns

if TYPE_CHECKING:
    from portraitd.faces.encoder import Encoder


class EncodeOptions(NamedTuple):
    """What, besides the slice, decides which faces are found.

    ``keeps_frames`` says that frames with faces are handed back as well, for training sets.
    """

    fps: float
    keyframes: bool
    reuse_unchanged: bool
    encoder: EncoderSpec
    portrait_width_px: int
    keeps_frames: bool = False


@returns("portraitd.ingest.media_results:FACTS")
def probe(source: Source, partial_copies: tuple[tuple[int, str], ...] = ()) -> MediaFacts:
    """Hash a file and determine by its content what it is.

    Args:
        source: The file.
        partial_copies: Size and SHA-256 of known contents that the file may start with.

    Raises:
        VideoError: The file is not a video or photo, or changed while it was read.
    """
    from portraitd.media import video

    return video.probe(source, partial_copies)


@returns("portraitd.ingest.media_results:HASHES")
def hash_content(
    source: Source, partial_copies: tuple[tuple[int, str], ...] = ()
) -> tuple[str, str]:
    """Hash a file, in a worker that interprets none.

    A file can take over the worker that decodes it, and say that it is another one.

    Returns:
        The SHA-256, and that of the longest of ``partial_copies`` that it starts with.

    Raises:
        VideoError: The file cannot be read, or changed while it was read.
    """
    from portraitd.media import content_hash

    return content_hash.hash_content(source, partial_copies)


@returns("portraitd.ingest.media_results:FACES")
def encode(video_slice: Slice, settings: EncodeOptions) -> SliceFaces:
    """Find, embed and crop every face of a slice.

    The same slice gives the same faces on every worker.

    Raises:
        VideoError: The content is at fault, or changed while it was read.
    """
    from portraitd.faces.crops import crop_portrait
    from portraitd.media import video
    from portraitd.media.jpeg import TRAINING_QUALITY, encode_jpeg

    began = time.monotonic()
    encoder = load_encoder(settings.encoder)
    frames = video.SampledFrames(
        video_slice.source,
        video_slice.kind,
        video_slice.start_s,
        video_slice.stop_s,
        settings.fps,
        settings.keyframes,
        video_slice.also_s,
    )
    is_photo = video_slice.kind is MediaKind.PHOTO
    sampled = 0
    detections: list[DetectedFace] = []
    found: list[tuple[Face, Portrait]] = []
    kept: list[tuple[float, bytes]] = []
    before: Image | None = None
    for frame in frames:
        sampled += 1
        # An identical frame has identical faces; a still scene costs one detection.
        if before is None or not _is_same(before, frame.image):
            found_faces = encoder.encode([frame.image], are_photos=is_photo)[0]
            faces = keep_inside(found_faces, frame.image)
            found = [
                (face, crop_portrait(frame.image, face.box, settings.portrait_width_px))
                for face in faces
            ]
        before = frame.image if settings.reuse_unchanged else None
        detections += (DetectedFace(frame.t_s, face, portrait) for face, portrait in found)
        if found and settings.keeps_frames:
            kept.append((frame.t_s, encode_jpeg(frame.image, TRAINING_QUALITY)))
    return SliceFaces(
        detections, sampled, frames.decoded, frames.ended_s, time.monotonic() - began, kept
    )


@returns("portraitd.ingest.media_results:PICTURE_FACES")
def encode_picture(source: Source, settings: EncodeOptions) -> SliceFaces:
    """Find and embed every face of a picture that is asked about.

    Raises:
        VideoError: It is not a picture, or changed while it was read.
    """
    from portraitd.media import video

    facts = video.probe(source, ())
    if facts.kind is not MediaKind.PHOTO:
        raise NotMedia(Reason.of(ReasonCode.NOT_A_PHOTO))
    return encode(Slice(source, facts.kind, 0.0, math.inf, facts.sha256), settings)


class DrawnFrame(NamedTuple):
    """A frame in which a person drew boxes around faces."""

    t_s: float
    boxes: tuple[Box, ...]


@returns("portraitd.ingest.media_results:DRAWN_FACES")
def encode_drawn(
    source: Source,
    kind: MediaKind,
    start_s: float,
    frames: Sequence[DrawnFrame],
    settings: EncodeOptions,
) -> SliceFaces:
    """Embed and crop faces whose boxes a person drew.

    Args:
        source: The file.
        kind: Whether it is a video or a photo.
        start_s: Start of the slice that the frames are from.
        frames: By rising time.
        settings: As for ``encode``.

    Returns:
        The faces in the frames that were found.

    Raises:
        VideoError: The content is at fault, or changed.
    """
    from portraitd.faces.crops import crop_portrait
    from portraitd.media import video

    began = time.monotonic()
    encoder = load_encoder(settings.encoder)
    boxes = {frame.t_s: frame.boxes for frame in frames}
    detections = []
    for t_s, frame in video.FramesAt(source, kind, start_s, list(boxes)):
        for face in keep_inside(encoder.encode_boxes(frame.image, boxes[t_s]), frame.image):
            portrait = crop_portrait(frame.image, face.box, settings.portrait_width_px)
            detections.append(DetectedFace(t_s, face, portrait))
    count = len(boxes)
    return SliceFaces(detections, count, count, None, time.monotonic() - began)


@returns("portraitd.ingest.media_results:FRAME_TIMES")
def read_frame_times(source: Source, kind: MediaKind) -> FrameTimes:
    """Return the time of every frame of a video, in the order of presentation.

    Raises:
        VideoError: The content is at fault, or changed.
    """
    from portraitd.media import video

    return video.read_frame_times(source, kind)


class KnownFrame(NamedTuple):
    """A frame in which faces were found before, and those faces."""

    t_s: float
    faces: tuple[FoundFace, ...]


@returns("portraitd.ingest.media_results:PORTRAIT_EMBEDDINGS")
def embed_portraits(portraits: Sequence[StoredPortrait], settings: EncoderSpec) -> Embeddings:
    """Embed faces again from their portraits; see ``faces.portrait_embedding``."""
    from portraitd.faces import portrait_embedding

    return portrait_embedding.embed_portraits(load_encoder(settings), portraits)


@returns("portraitd.ingest.media_results:FRAME_EMBEDDINGS")
def embed_frames(
    source: Source,
    kind: MediaKind,
    start_s: float,
    frames: Sequence[KnownFrame],
    settings: EncoderSpec,
) -> Embeddings:
    """Embed faces again from their file.

    Args:
        source: The file.
        kind: Whether it is a video or a photo.
        start_s: Start of the slice that the frames are from.
        frames: By rising time.
        settings: Names the model.

    Returns:
        Shape ``(n, d)``, in the order of the faces; NaN for those whose frame is not found.

    Raises:
        VideoError: The content is at fault, or changed.
    """
    import numpy as np

    from portraitd.faces.portrait_embedding import embed_found
    from portraitd.media import video

    encoder = load_encoder(settings)
    by_time = {frame.t_s: frame.faces for frame in frames}
    found = {
        t_s: embed_found(encoder, frame.image, by_time[t_s])
        for t_s, frame in video.FramesAt(source, kind, start_s, list(by_time))
    }
    missing = np.full(settings.embedding_size, np.nan, np.float32)
    rows = [found.get(t_s, [missing] * len(faces)) for t_s, faces in by_time.items()]
    return np.array([vector for vectors in rows for vector in vectors], np.float32).reshape(
        -1, settings.embedding_size
    )


@returns("portraitd.ingest.media_results:IDENTITY")
def warm_up(settings: EncoderSpec) -> str:
    """Load the models, so that the first slice does not wait for them. Return the encoder's id."""
    return load_encoder(settings).id


@returns("portraitd.ingest.media_results:IDENTITY")
def encoder_identity(settings: EncoderSpec) -> str:
    """Return the embedding space and detector; equal on workers that find the same faces."""
    # Not by the factory: a worker that only hashes would load all detectors with it.
    from portraitd.faces.models.model_registry import wanted_detector

    detector = wanted_detector(settings.detector, settings.kind, settings.models_dir)
    return f"{settings.embedding_space} by {settings.kind}, {detector}"


def _is_same(one: Image, other: Image) -> bool:
    """Return whether two frames are equal in every pixel."""
    import numpy as np

    # A row from the middle tells most frames apart.
    middle = len(one) // 2
    return np.array_equal(one[middle : middle + 1], other[middle : middle + 1]) and np.array_equal(
        one, other
    )


def keep_inside(faces: Sequence[Face], image: Image) -> list[Face]:
    """Drop faces that a detector placed entirely outside the frame."""
    height_px, width_px = image.shape[:2]
    shares = [face.box.clipped(width_px, height_px) for face in faces]
    return [
        face
        for face, share in zip(faces, shares, strict=True)
        if share.width > 0 and share.height > 0
    ]


@lru_cache(maxsize=1)
def load_encoder(settings: EncoderSpec) -> Encoder:
    """Build the encoder; its models are loaded once per worker."""
    from portraitd.faces.factory import build_encoder

    return build_encoder(settings)
