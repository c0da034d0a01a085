"""The pure functions that run in worker processes. Values go in, values come out.

Heavy libraries are imported inside: the daemon process names these functions, and never
loads OpenCV, dlib or scikit-learn itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from portraitd.faces.interface import EncoderSpec
from portraitd.model.face import DetectedFace, Face, Image, Portrait, SliceFaces
from portraitd.model.media_file import MediaFacts, Slice, Source

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


def probe(source: Source, partial_copies: tuple[tuple[int, str], ...] = ()) -> MediaFacts:
    """Fingerprint a file and find out what it is.

    Args:
        source: The file.
        partial_copies: Size and SHA-256 of contents that it may begin with.

    Raises:
        VideoError: It is no media, or changed while it was read.
    """
    from portraitd.media import video

    return video.probe(source, partial_copies)


def encode(piece: Slice, settings: EncodeOptions) -> SliceFaces:
    """Find, embed and cut out every face of a slice.

    The same slice gives the same faces, whoever runs it.

    Raises:
        VideoError: The content is at fault, or changed while it was read.
    """
    from portraitd.faces.crops import crop_portrait
    from portraitd.media import video
    from portraitd.media.jpeg import TRAINING_QUALITY, encode_jpeg

    began = time.monotonic()
    encoder = _encoder(settings.encoder)
    frames = video.SampledFrames(
        piece.source, piece.kind, piece.start_s, piece.stop_s, settings.fps, settings.keyframes
    )
    sampled = 0
    detections: list[DetectedFace] = []
    found: list[tuple[Face, Portrait]] = []
    kept: list[tuple[float, bytes]] = []
    before: Image | None = None
    for frame in frames:
        sampled += 1
        # The very same picture has the very same faces; a still costs one detection.
        if before is None or not np.array_equal(before, frame.image):
            faces = _inside(encoder.encode([frame.image])[0], frame.image)
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


def warm_up(settings: EncoderSpec) -> str:
    """Load the models, so that the first slice does not wait for them. Returns the encoder's id."""
    return _encoder(settings).id


def encoder_identity(settings: EncoderSpec) -> str:
    """What two workers must have in common to find the same faces: space and detector."""
    from portraitd.faces.factory import resolve_detector

    return f"{settings.embedding_space} by {settings.kind}, {resolve_detector(settings)}"


def decode(piece: Slice, fps: float) -> int:
    """Read every frame of a slice and look at none: what encoding cannot be faster than.

    Returns:
        How many frames there were.
    """
    from portraitd.media import video

    frames = video.SampledFrames(piece.source, piece.kind, piece.start_s, piece.stop_s, fps)
    for _ in frames:
        pass
    return frames.decoded


def _inside(faces: Sequence[Face], image: Image) -> list[Face]:
    """Without those that a detector placed beyond the frame's edge: they cannot be shown."""
    height_px, width_px = image.shape[:2]
    shares = [face.box.clipped(width_px, height_px) for face in faces]
    return [
        face
        for face, share in zip(faces, shares, strict=True)
        if share.width > 0 and share.height > 0
    ]


@lru_cache(maxsize=1)
def _encoder(settings: EncoderSpec) -> Encoder:
    """The models are loaded once per worker."""
    from portraitd.faces.factory import build_encoder

    return build_encoder(settings)
