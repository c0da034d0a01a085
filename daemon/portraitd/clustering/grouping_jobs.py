"""Worker functions of tracking and grouping: arrays in, arrays out.

scikit-learn is imported inside: the service names these functions and never loads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.dbscan import DbscanRule
from portraitd.clustering.grouping import GroupingRule, GroupingState
from portraitd.clustering.grouping_snapshot import load_snapshot, save_snapshot
from portraitd.clustering.merge_candidates import MergeCandidates, find_merge_candidates
from portraitd.clustering.must_link_groups import apply_constraints
from portraitd.clustering.seeding import Seeding
from portraitd.clustering.track_building import (
    TrackRule,
    build_tracks,
    find_cannot_links,
    rank_representatives,
    split_tracks,
    summarise_tracks,
)
from portraitd.model.face import EMBEDDING_SIZE
from portraitd.model.track import TrackSummaries, VideoFaces

if TYPE_CHECKING:
    pass


class VideoTracks(NamedTuple):
    """The tracks of a video: of each face, what each is like, and which are two people."""

    tracks: NDArray[np.int64]
    summary: TrackSummaries
    cannot_link: NDArray[np.int64]
    ranks: NDArray[np.int64]


class TrackConstraints(NamedTuple):
    """What people said about the faces of a video; see ``tracks.divided``."""

    labels: NDArray[np.int64]
    whole: NDArray[np.bool_]


def track(faces: VideoFaces, said: TrackConstraints | None = None) -> VideoTracks:
    """Follow every face of a video; see ``portraitd.clustering.track_building``."""
    tracks = build_tracks(faces, TrackRule())
    if said is not None:
        tracks = split_tracks(faces, tracks, said.labels, said.whole)
    return VideoTracks(
        tracks,
        summarise_tracks(faces, tracks),
        find_cannot_links(faces, tracks),
        rank_representatives(faces, tracks),
    )


def track_singly(faces: VideoFaces) -> VideoTracks:
    """Make each face a track of its own: nothing is followed, so nothing can go wrong in it."""
    tracks = np.arange(len(faces.times_s))
    return VideoTracks(
        tracks,
        summarise_tracks(faces, tracks),
        find_cannot_links(faces, tracks),
        rank_representatives(faces, tracks),
    )


class GroupingConstraints(NamedTuple):
    """What people said, by row.

    Attributes:
        pinned: Shape ``(n,)``; the person somebody put the row with, 0 for nobody.
        seeds: Rows that bring their cluster to that person.
        against: Shape ``(m, 2)``; pairs of rows that were told apart.
        aside: Shape ``(n,)``; rows that are nobody known.
        gone: Shape ``(n,)``; rows that take no part: those, and what was excluded.
    """

    pinned: NDArray[np.int64]
    seeds: NDArray[np.int64]
    against: NDArray[np.int64]
    aside: NDArray[np.bool_]
    gone: NDArray[np.bool_]


def cluster(
    matrix: Path, eps: float, min_samples: int, told: GroupingConstraints | None = None
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
    if told is None or not (told.pinned.any() or len(told.against)):
        return labels
    claims = Seeding.of(labels, told.pinned, told.seeds)
    return apply_constraints(vectors, labels, claims, told.against, DbscanRule(eps, min_samples))


class GroupingRequest(NamedTuple):
    """What a grouping is asked: all tracks, what the last one remembers, and the rule.

    Attributes:
        folder: Where ``memory`` lies, and the new one is written.
        matrix: A file of little-endian float32 rows of 128; row ``i`` is one track.
        tracks: Arrays by row: ``variances``, ``quality``, ``faces``, ``gone``, ``pinned``; and
            ``apart``, pairs of rows that are different people, and ``seeds``, rows.
        memory: Name of the file that the last grouping wrote; empty to begin anew.
        rule: As ``Grouping.updated`` takes it.
        reach: How near two groups must be to be reported as tight.
    """

    folder: Path
    matrix: Path
    tracks: dict[str, NDArray[Any]]
    snapshot: str
    rule: GroupingRule
    reach: float


class GroupingResult(NamedTuple):
    """What a grouping found.

    Attributes:
        groups: Shape ``(rows,)``; the group of each track, -1 for none.
        tight: Pairs of groups that lie close.
        memory: Name of the file that the next grouping goes on from.
    """

    groups: NDArray[np.int64]
    candidates: MergeCandidates
    snapshot: str


def group(request: GroupingRequest) -> GroupingResult:
    """Group tracks into people; see ``portraitd.clustering``. Costs what is new."""
    tracks = request.tracks
    rows = len(tracks["variances"])
    vectors = (
        np.memmap(request.matrix, "<f4", mode="r", shape=(rows, EMBEDDING_SIZE))
        if rows
        else np.empty((0, EMBEDDING_SIZE), np.float32)
    )
    table = TrackTable(
        vectors, tracks["variances"], tracks["pinned"], tracks["cannot_link"], tracks["seeds"]
    )
    before = load_snapshot(request.folder, request.snapshot)
    if not before.can_go_on(table, tracks["gone"]):
        before = GroupingState.empty()
    now = before.updated(table, tracks["quality"], tracks["faces"], tracks["gone"], request.rule)
    return GroupingResult(
        now.groups(tracks["faces"], request.rule),
        find_merge_candidates(now.assembly, table, request.reach, everywhere=True),
        save_snapshot(request.folder, now),
    )
