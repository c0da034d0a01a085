"""The pure functions that run in worker processes. Values go in, values come out.

Heavy libraries are imported inside: the daemon process names these functions, and never
loads OpenCV, dlib or scikit-learn itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.encoder.interface import EncoderSettings
from portraitd.grouping.assembly import TrackTable
from portraitd.grouping.claims import Claims
from portraitd.grouping.clumps import told_groups
from portraitd.grouping.density import DensityRule
from portraitd.grouping.memory import remember, remembered
from portraitd.grouping.steps import Grouping, GroupingRule
from portraitd.grouping.tightness import TightPairs, tight_pairs
from portraitd.model import (
    EMBEDDING_SIZE,
    Face,
    Image,
    MediaFacts,
    Portrait,
    Sighting,
    Slice,
    SliceFaces,
    Source,
)
from portraitd.tracks import (
    TrackRule,
    Tracks,
    VideoFaces,
    divided,
    follow,
    in_one_frame,
    stand_ins,
    summarise,
)

if TYPE_CHECKING:
    from portraitd.encoder.engine import Encoder


class EncodeSettings(NamedTuple):
    """What, besides the slice, decides which faces are found.

    ``keep_frames_below`` is the state folder if frames with faces are to be kept for training
    sets.
    """

    fps: float
    keyframes: bool
    reuse_unchanged: bool
    encoder: EncoderSettings
    portrait_width_px: int
    keep_frames_below: Path | None = None


def probe(source: Source) -> MediaFacts:
    """Fingerprint a file and find out what it is.

    Raises:
        VideoError: It is no media, or changed while it was read.
    """
    from portraitd import video

    return video.probe(source)


def encode(piece: Slice, settings: EncodeSettings) -> SliceFaces:
    """Find, embed and cut out every face of a slice.

    The same slice gives the same faces, whoever runs it.

    Raises:
        VideoError: The content is at fault, or changed while it was read.
    """
    from portraitd import video
    from portraitd.dataset.cutting import keep_frame
    from portraitd.people.portraits import cut_portrait

    began = time.monotonic()
    encoder = _encoder(settings.encoder)
    frames = video.SampledFrames(
        piece.source, piece.kind, piece.start_s, piece.stop_s, settings.fps, settings.keyframes
    )
    sampled = 0
    sightings: list[Sighting] = []
    found: list[tuple[Face, Portrait]] = []
    before: Image | None = None
    for frame in frames:
        sampled += 1
        # The very same picture has the very same faces; a still costs one detection.
        if before is None or not np.array_equal(before, frame.image):
            faces = _inside(encoder.encode([frame.image])[0], frame.image)
            found = [
                (face, cut_portrait(frame.image, face.box, settings.portrait_width_px))
                for face in faces
            ]
        before = frame.image if settings.reuse_unchanged else None
        sightings += (Sighting(frame.t_s, face, portrait) for face, portrait in found)
        if found and settings.keep_frames_below:
            keep_frame(piece.sha256, frame, settings.keep_frames_below)
    return SliceFaces(sightings, sampled, frames.decoded, frames.ended_s, time.monotonic() - began)


def warm_up(settings: EncoderSettings) -> str:
    """Load the models, so that the first slice does not wait for them. Returns the encoder's id."""
    return _encoder(settings).id


def decode(piece: Slice, fps: float) -> int:
    """Read every frame of a slice and look at none: what encoding cannot be faster than.

    Returns:
        How many frames there were.
    """
    from portraitd import video

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


class VideoTracks(NamedTuple):
    """The tracks of a video: of each face, what each is like, and which are two people."""

    tracks: NDArray[np.int64]
    summary: Tracks
    apart: NDArray[np.int64]
    ranks: NDArray[np.int64]


class Said(NamedTuple):
    """What people said about the faces of a video; see ``tracks.divided``."""

    labels: NDArray[np.int64]
    whole: NDArray[np.bool_]


def track(faces: VideoFaces, said: Said | None = None) -> VideoTracks:
    """Follow every face of a video; see ``portraitd.tracks``."""
    tracks = follow(faces, TrackRule())
    if said is not None:
        tracks = divided(faces, tracks, said.labels, said.whole)
    return VideoTracks(
        tracks,
        summarise(faces, tracks),
        in_one_frame(faces, tracks),
        stand_ins(faces, tracks),
    )


def track_singly(faces: VideoFaces) -> VideoTracks:
    """Make each face a track of its own: nothing is followed, so nothing can go wrong in it."""
    tracks = np.arange(len(faces.times_s))
    return VideoTracks(
        tracks,
        summarise(faces, tracks),
        in_one_frame(faces, tracks),
        stand_ins(faces, tracks),
    )


class Told(NamedTuple):
    """What people said, by row.

    Attributes:
        placed: Shape ``(n,)``; the person somebody put the row with, 0 for nobody.
        speakers: Rows that bring their cluster to that person.
        against: Shape ``(m, 2)``; pairs of rows that were told apart.
        aside: Shape ``(n,)``; rows that are nobody known.
        gone: Shape ``(n,)``; rows that take no part: those, and what was excluded.
    """

    placed: NDArray[np.int64]
    speakers: NDArray[np.int64]
    against: NDArray[np.int64]
    aside: NDArray[np.bool_]
    gone: NDArray[np.bool_]


def cluster(
    matrix: Path, eps: float, min_samples: int, told: Told | None = None
) -> NDArray[np.int64]:
    """DBSCAN over all embeddings (Ester et al., 1996), Euclidean distance.

    Args:
        matrix: A file of little-endian float32 rows of 128.
        eps: Neighbours are at most this far apart.
        min_samples: Neighbours, the point itself among them, that make a core point.
        told: What people said; clusters are parted and put together until that is so.

    Returns:
        Shape ``(rows,)``; the cluster of each face, -1 for noise.
    """
    if matrix.stat().st_size == 0:
        return np.empty(0, np.int64)
    from sklearn.cluster import DBSCAN

    vectors = np.memmap(matrix, "<f4", mode="r").reshape(-1, EMBEDDING_SIZE)
    inside = np.arange(len(vectors)) if told is None else np.flatnonzero(~told.gone)
    labels = np.full(len(vectors), -1, np.int64)
    if len(inside):
        labels[inside] = DBSCAN(eps=eps, min_samples=min_samples).fit_predict(vectors[inside])
    if told is None or not (told.placed.any() or len(told.against)):
        return labels
    claims = Claims.of(labels, told.placed, told.speakers)
    return told_groups(vectors, labels, claims, told.against, DensityRule(eps, min_samples))


class GroupRequest(NamedTuple):
    """What a census is asked: all tracks, what the last one remembers, and the rule.

    Attributes:
        folder: Where ``memory`` lies, and the new one is written.
        matrix: A file of little-endian float32 rows of 128; row ``i`` is one track.
        tracks: Arrays by row: ``spreads``, ``goodness``, ``faces``, ``gone``, ``placed``; and
            ``apart``, pairs of rows that are different people, and ``speakers``, rows.
        memory: Name of the file that the last census wrote; empty to begin anew.
        rule: As ``Grouping.updated`` takes it.
        reach: How near two groups must be to be reported as tight.
    """

    folder: Path
    matrix: Path
    tracks: dict[str, NDArray[Any]]
    memory: str
    rule: GroupingRule
    reach: float


class GroupAnswer(NamedTuple):
    """What a census found.

    Attributes:
        groups: Shape ``(rows,)``; the group of each track, -1 for none.
        tight: Pairs of groups that lie close.
        memory: Name of the file that the next census goes on from.
    """

    groups: NDArray[np.int64]
    tight: TightPairs
    memory: str


def group(request: GroupRequest) -> GroupAnswer:
    """Group tracks into people; see ``portraitd.grouping``. Costs what is new."""
    tracks = request.tracks
    rows = len(tracks["spreads"])
    vectors = (
        np.memmap(request.matrix, "<f4", mode="r", shape=(rows, EMBEDDING_SIZE))
        if rows
        else np.empty((0, EMBEDDING_SIZE), np.float32)
    )
    table = TrackTable(
        vectors, tracks["spreads"], tracks["placed"], tracks["apart"], tracks["speakers"]
    )
    before = remembered(request.folder, request.memory)
    if not before.can_go_on(table, tracks["gone"]):
        before = Grouping.empty()
    now = before.updated(table, tracks["goodness"], tracks["faces"], tracks["gone"], request.rule)
    return GroupAnswer(
        now.groups(tracks["faces"], request.rule),
        tight_pairs(now.assembly, table, request.reach, everywhere=True),
        remember(request.folder, now),
    )


def montage(jpegs: Sequence[bytes]) -> bytes:
    """One picture of up to 25 portraits, as JPEG."""
    from portraitd.people.montage import build_montage

    return build_montage(jpegs)


@lru_cache(maxsize=1)
def _encoder(settings: EncoderSettings) -> Encoder:
    """The models are loaded once per worker."""
    from portraitd.encoder.build import build_encoder

    return build_encoder(settings)
