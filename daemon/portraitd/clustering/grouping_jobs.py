"""Worker functions of tracking and grouping: arrays in, arrays out.

scikit-learn is imported inside: the service names these functions and never loads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.constraints import Claims
from portraitd.clustering.dbscan import DensityRule
from portraitd.clustering.grouping import Grouping, GroupingRule
from portraitd.clustering.grouping_snapshot import remember, remembered
from portraitd.clustering.merge_candidates import TightPairs, tight_pairs
from portraitd.clustering.seeds import told_groups
from portraitd.clustering.track_building import (
    TrackRule,
    divided,
    follow,
    in_one_frame,
    stand_ins,
    summarise,
)
from portraitd.model.face import EMBEDDING_SIZE
from portraitd.model.track import Tracks, VideoFaces

if TYPE_CHECKING:
    pass


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
    """Follow every face of a video; see ``portraitd.clustering.track_building``."""
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
    """Group tracks into people; see ``portraitd.clustering``. Costs what is new."""
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
