"""Worker functions of tracking and grouping: arrays in, arrays out.

scikit-learn is imported inside the functions, so that the service can name them without loading
it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.grouping import GroupingState
from portraitd.clustering.grouping_snapshot import load_snapshot, save_snapshot
from portraitd.clustering.merge_candidates import (
    MergeCandidates,
    find_best_quality,
    find_merge_candidates,
    find_near_pairs,
)
from portraitd.clustering.must_link_groups import apply_constraints
from portraitd.clustering.near_misses import NO_NEAR_MISSES, NearMisses, find_near_misses
from portraitd.clustering.seeding import Seeding
from portraitd.clustering.track_building import (
    build_tracks,
    find_cannot_links,
    rank_representatives,
    split_tracks,
    summarise_tracks,
)
from portraitd.model.grouping_rules import (
    DbscanRule,
    EmbeddingRules,
    GroupingRule,
    SuggestionRule,
)
from portraitd.model.track import TrackSummaries, VideoFaces
from portraitd.workers.job_results import returns


class VideoTracks(NamedTuple):
    """The tracks of a video.

    Attributes:
        tracks: Shape ``(n,)``; the track of each face.
        summary: What grouping needs of each track.
        cannot_link: Shape ``(k, 2)``; tracks seen in one frame.
        ranks: Shape ``(n,)``; from ``rank_representatives``.
    """

    tracks: NDArray[np.int64]
    summary: TrackSummaries
    cannot_link: NDArray[np.int64]
    ranks: NDArray[np.int64]


class TrackConstraints(NamedTuple):
    """User edits of the faces of a video, as ``split_tracks`` takes them.

    Attributes:
        labels: Shape ``(n,)``; a number for each distinct correction, 0 for none.
        whole: Shape ``(n,)``; whether the correction is of the face's whole track.
    """

    labels: NDArray[np.int64]
    whole: NDArray[np.bool_]


@returns("portraitd.clustering.grouping_results:TRACKS")
def track(
    faces: VideoFaces, rules: EmbeddingRules, constraints: TrackConstraints | None = None
) -> VideoTracks:
    """Build the tracks of a video; see ``portraitd.clustering.track_building``."""
    tracks = build_tracks(faces, rules)
    if constraints is not None:
        tracks = split_tracks(faces, tracks, constraints.labels, constraints.whole)
    return describe_tracks(faces, tracks, rules)


@returns("portraitd.clustering.grouping_results:TRACKS")
def track_singly(faces: VideoFaces, rules: EmbeddingRules) -> VideoTracks:
    """Make each face a track of its own, as a fallback if tracking fails."""
    return describe_tracks(faces, np.arange(len(faces.times_s)), rules)


def describe_tracks(
    faces: VideoFaces, tracks: NDArray[np.int64], rules: EmbeddingRules
) -> VideoTracks:
    """Return what grouping needs of the tracks of a video.

    Args:
        faces: Of one video.
        tracks: Shape ``(n,)``; the track of each face, from 0.
        rules: Of the model that made the embeddings.
    """
    return VideoTracks(
        tracks,
        summarise_tracks(faces, tracks, rules.vector_length),
        find_cannot_links(faces, tracks),
        rank_representatives(faces, tracks, rules),
    )


class GroupingConstraints(NamedTuple):
    """The constraints of user edits, by row.

    Attributes:
        pinned: Shape ``(n,)``; the person a user assigned the row to, 0 for none.
        seeds: Pinned rows that bring their whole cluster to that person.
        cannot_link: Shape ``(m, 2)``; pairs of rows that a user separated.
        unsorted: Shape ``(n,)``; rows that a user took away from all people.
        excluded: Shape ``(n,)``; rows that are not grouped: the unsorted, and those that a user
            excluded.
    """

    pinned: NDArray[np.int64]
    seeds: NDArray[np.int64]
    cannot_link: NDArray[np.int64]
    unsorted: NDArray[np.bool_]
    excluded: NDArray[np.bool_]

    @classmethod
    def empty(cls, size: int) -> Self:
        """Return no constraints on ``size`` rows."""
        return cls(
            np.zeros(size, np.int64),
            np.empty(0, np.int64),
            np.empty((0, 2), np.int64),
            np.zeros(size, np.bool_),
            np.zeros(size, np.bool_),
        )


@returns("portraitd.clustering.grouping_results:CLUSTERS")
def cluster(
    matrix: Path,
    embedding_size: int,
    rule: DbscanRule,
    constraints: GroupingConstraints | None = None,
) -> NDArray[np.int64]:
    """Run DBSCAN over all embeddings (Ester et al., 1996), with Euclidean distance.

    Args:
        matrix: A file of little-endian float32 rows.
        embedding_size: How many numbers a row has.
        rule: When a point is a core.
        constraints: User edits; clusters are split and joined until they hold.

    Returns:
        Shape ``(rows,)``; the cluster of each face, -1 for noise.
    """
    if matrix.stat().st_size == 0:
        return np.empty(0, np.int64)
    from sklearn.cluster import DBSCAN

    vectors = np.memmap(matrix, "<f4", mode="r").reshape(-1, embedding_size)
    included = (
        np.arange(len(vectors)) if constraints is None else np.flatnonzero(~constraints.excluded)
    )
    labels = np.full(len(vectors), -1, np.int64)
    if len(included):
        labels[included] = DBSCAN(eps=rule.eps, min_samples=rule.min_samples).fit_predict(
            vectors[included]
        )
    if constraints is None or not (constraints.pinned.any() or len(constraints.cannot_link)):
        return labels
    seeding = Seeding.of(labels, constraints.pinned, constraints.seeds)
    return apply_constraints(vectors, labels, seeding, constraints.cannot_link, rule)


class GroupingRequest(NamedTuple):
    """The input of a grouping: all tracks, the snapshot of the last grouping, and the rule.

    Attributes:
        folder: The folder of the snapshots, the old and the new.
        matrix: A file of little-endian float32 rows; row ``i`` is one track.
        embedding_size: How many numbers a row has.
        tracks: Arrays by row: ``variances``, ``quality``, ``faces``, ``videos``, ``excluded``,
            ``pinned``, and ``kept``, whether a user named or locked the person the row has now; and
            ``cannot_link``, pairs of rows, and ``seeds``, rows.
        snapshot: Name of the file that the last grouping wrote; empty to group from scratch.
        rule: As for ``GroupingState.update``.
        suggestions: Which pairs of people are reported as merge candidates.
    """

    folder: Path
    matrix: Path
    embedding_size: int
    tracks: dict[str, NDArray[Any]]
    snapshot: str
    rule: GroupingRule
    suggestions: SuggestionRule


class GroupingResult(NamedTuple):
    """The result of a grouping.

    Attributes:
        groups: Shape ``(rows,)``; the group of each track, -1 for none.
        candidates: Pairs of groups that may be one person.
        snapshot: Name of the file that the next grouping continues from.
        near_misses: Tracks without a group, and the group each may belong to.
    """

    groups: NDArray[np.int64]
    indistinct: NDArray[np.bool_]
    candidates: MergeCandidates
    snapshot: str
    near_misses: NearMisses = NO_NEAR_MISSES


@returns("portraitd.clustering.grouping_results:GROUPS")
def group(request: GroupingRequest) -> GroupingResult:
    """Group tracks into people; see ``portraitd.clustering``. Continues from a snapshot."""
    tracks = request.tracks
    rows = len(tracks["variances"])
    vectors = (
        np.memmap(request.matrix, "<f4", mode="r", shape=(rows, request.embedding_size))
        if rows
        else np.empty((0, request.embedding_size), np.float32)
    )
    table = TrackTable(
        vectors, tracks["variances"], tracks["pinned"], tracks["cannot_link"], tracks["seeds"]
    )
    state = load_snapshot(request.folder, request.snapshot, request.embedding_size)
    if not state.can_continue(table, tracks["excluded"]):
        state = GroupingState.empty(request.embedding_size)
    state = state.update(
        table, tracks["quality"], tracks["faces"], tracks["excluded"], request.rule
    )
    people = state.join_in_recordings(
        state.select_people(tracks["faces"], request.rule),
        table,
        tracks["faces"],
        tracks["videos"],
        tracks["excluded"] | tracks["kept"],
        request.rule,
    )
    apart = state.keep_apart(people, table, tracks["faces"], tracks["kept"], request.rule)
    # People who cannot be told apart are all alike: their pairs say nothing.
    best_quality = find_best_quality(np.where(apart.indistinct, -1, people), tracks["quality"])
    near_pairs = find_near_pairs(
        state.near_pairs,
        state.agglomeration,
        request.suggestions,
        request.rule.agglomeration.max_distance,
        best_quality,
    )
    candidates = find_merge_candidates(
        near_pairs, state.agglomeration, table, request.suggestions, best_quality, tracks["kept"]
    )
    near_misses = find_near_misses(
        apart.groups,
        tracks["excluded"] | apart.indistinct,
        state.agglomeration,
        table,
        tracks["quality"],
        request.suggestions.near_miss,
    )
    state = replace(state, near_pairs=near_pairs)
    snapshot = save_snapshot(request.folder, state)
    return GroupingResult(apart.groups, apart.indistinct, candidates, snapshot, near_misses)
