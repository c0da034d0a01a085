"""Worker functions of tracking and grouping: arrays in, arrays out.

scikit-learn is imported inside the functions, so that the service can name them without loading
it.
"""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.grouping import GroupingState
from portraitd.clustering.grouping_snapshot import (
    load_snapshot,
    read_state,
    save_snapshot,
    write_state,
)
from portraitd.clustering.merge_candidates import (
    MergeCandidates,
    find_best_quality,
    find_merge_candidates,
    find_near_pairs,
)
from portraitd.clustering.must_link_groups import apply_constraints
from portraitd.clustering.near_misses import NO_NEAR_MISSES, NearMisses, find_near_misses
from portraitd.clustering.newcomers import find_newcomers
from portraitd.clustering.seeding import Seeding
from portraitd.clustering.small_people import find_small_people
from portraitd.clustering.track_building import (
    build_tracks,
    find_cannot_links,
    rank_representatives,
    split_tracks,
    summarise_tracks,
)
from portraitd.faces.models.cards import DLIB
from portraitd.faces.models.model_registry import require_rules
from portraitd.media.fs import unfinished_path
from portraitd.model.grouping_rules import (
    DbscanRule,
    EmbeddingRules,
    GroupingRule,
    SuggestionRule,
)
from portraitd.model.track import TrackSummaries, VideoFaces
from portraitd.workers.file_broker import JobFile, open_to_read
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


class ClusteringRequest(NamedTuple):
    """The input of plain DBSCAN.

    Attributes:
        matrix: A file of little-endian float32 rows.
        embedding_size: How many numbers a row has.
        rule: When a point is a core.
        constraints: User edits; clusters are split and joined until they hold.
    """

    matrix: Path
    embedding_size: int
    rule: DbscanRule
    constraints: GroupingConstraints | None = None

    @property
    def files(self) -> list[JobFile]:
        """The file that the worker has to read."""
        return [JobFile(self.matrix)]


@returns("portraitd.clustering.grouping_results:CLUSTERS")
def cluster(request: ClusteringRequest) -> NDArray[np.int64]:
    """Run DBSCAN over all embeddings (Ester et al., 1996), with Euclidean distance.

    Returns:
        Shape ``(rows,)``; the cluster of each face, -1 for noise.
    """
    vectors = _map_rows(request.matrix, request.embedding_size)
    if not len(vectors):
        return np.empty(0, np.int64)
    return _cluster_rows(vectors, request.rule, request.constraints)


def _cluster_rows(
    vectors: NDArray[np.float32], rule: DbscanRule, constraints: GroupingConstraints | None
) -> NDArray[np.int64]:
    from sklearn.cluster import DBSCAN

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
        matrix: A file of little-endian float32 rows; row ``i`` is one track.
        embedding_size: How many numbers a row has.
        tracks: Arrays by row: ``variances``, ``quality``, ``faces``, ``videos``, ``excluded``,
            ``pinned``, and ``kept``, whether a user named or locked the person the row has now; and
            ``cannot_link``, pairs of rows, and ``seeds``, rows.
        last_snapshot: The file that the last grouping wrote; None to group from scratch.
        new_snapshot: The path of the file that this one writes, see ``save_snapshot``.
        rule: As for ``GroupingState.update``.
        suggestions: Which pairs of people are reported as merge candidates.
    """

    matrix: Path
    embedding_size: int
    tracks: dict[str, NDArray[Any]]
    last_snapshot: Path | None
    new_snapshot: Path
    rule: GroupingRule
    suggestions: SuggestionRule

    @property
    def files(self) -> list[JobFile]:
        """The files that the worker has to read, and the one that it writes."""
        last = [JobFile(self.last_snapshot)] if self.last_snapshot else []
        new = JobFile(unfinished_path(self.new_snapshot), is_created=True)
        return [JobFile(self.matrix), *last, new]


class GroupingResult(NamedTuple):
    """The result of a grouping.

    Attributes:
        groups: Shape ``(rows,)``; the group of each track, -1 for none.
        candidates: Pairs of groups that may be one person.
        newcomers: Shape ``(rows,)``; of tracks without a group that probably show one new person,
            the lowest row of them, else -1.
        near_misses: Tracks without a group, and the group each may belong to.
    """

    groups: NDArray[np.int64]
    indistinct: NDArray[np.bool_]
    candidates: MergeCandidates
    newcomers: NDArray[np.int64]
    near_misses: NearMisses = NO_NEAR_MISSES


@returns("portraitd.clustering.grouping_results:GROUPS")
def group(request: GroupingRequest) -> GroupingResult:
    """Group tracks into people; see ``portraitd.clustering``. Continues from a snapshot."""
    vectors = _map_rows(request.matrix, request.embedding_size, len(request.tracks["variances"]))
    state = load_snapshot(request.last_snapshot, request.embedding_size)
    result, state = _group_rows(vectors, state, request)
    save_snapshot(request.new_snapshot, state)
    return result


def _group_rows(
    vectors: NDArray[np.float32], state: GroupingState, request: GroupingRequest
) -> tuple[GroupingResult, GroupingState]:
    """Continue a grouping; return the result, and the state that the next one continues from."""
    tracks = request.tracks
    table = TrackTable(
        vectors, tracks["variances"], tracks["pinned"], tracks["cannot_link"], tracks["seeds"]
    )
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
    small = find_small_people(
        state.agglomeration, table, request.suggestions.near_miss, best_quality, tracks["kept"]
    )
    not_asked = tracks["excluded"] | apart.indistinct
    near_misses = find_near_misses(
        apart.groups,
        not_asked,
        state.agglomeration,
        table,
        tracks["quality"],
        request.suggestions.near_miss,
    )
    newcomers = find_newcomers(apart.groups, not_asked, table, tracks["quality"], request.rule)
    result = GroupingResult(
        apart.groups, apart.indistinct, candidates.joined_with(small), newcomers, near_misses
    )
    return result, replace(state, near_pairs=near_pairs)


def _map_rows(matrix: Path, width: int, rows: int | None = None) -> NDArray[np.float32]:
    """Return the rows of a file of little-endian float32: the first ones, or all."""
    with open(open_to_read(matrix), "rb") as file:
        if rows is None:
            rows = os.fstat(file.fileno()).st_size // (4 * width)
        if not rows:
            # Nothing cannot be mapped.
            return np.empty((0, width), np.float32)
        return np.memmap(file, "<f4", mode="r", shape=(rows, width))


def warm_up(method: str) -> None:
    """Run every step on a few made-up faces.

    Libraries load parts of themselves when they are first used, and a sealed worker cannot.

    Args:
        method: ``grouping.method``: plain DBSCAN needs a library that takes a second to load.
    """
    rules = require_rules(DLIB)
    random = np.random.default_rng(0)
    width = DLIB.embedding_size
    centres = random.normal(0.0, rules.vector_length / width**0.5, (4, width))
    vectors = (centres[np.arange(24) % 4] + random.normal(0.0, 0.01, (24, width))).astype("<f4")
    times_s = np.repeat(np.arange(12.0), 2)
    corners = np.column_stack([np.arange(24) % 2 * 200.0, np.zeros(24)])
    faces = VideoFaces(times_s, np.hstack([corners, corners + 100.0]), vectors, np.ones(24))
    track(faces, rules, TrackConstraints(np.arange(24) % 3, np.arange(24) % 2 > 0))
    constraints = GroupingConstraints(
        np.where(np.arange(24) < 2, 1, 0),
        np.array([0]),
        np.array([[0, 5], [4, 8]]),
        np.arange(24) == 22,
        np.arange(24) == 23,
    )
    if method == "dbscan":
        _cluster_rows(vectors, rules.plain_dbscan, constraints)
        return
    state = GroupingState.empty(width)
    for rows in (16, 24):
        request = GroupingRequest(
            Path(),
            width,
            {
                "variances": np.zeros(rows),
                "quality": np.linspace(0.1, 1.0, rows),
                "faces": np.full(rows, 4),
                "videos": np.arange(rows) // 6,
                "kept": np.zeros(rows, np.bool_),
                "pinned": constraints.pinned[:rows],
                "seeds": constraints.seeds,
                "excluded": constraints.excluded[:rows],
                "cannot_link": constraints.cannot_link,
            },
            None,
            Path(),
            rules.grouping,
            rules.suggestions,
        )
        _, state = _group_rows(vectors[:rows], state, request)
        with io.BytesIO() as file:
            write_state(file, state)
            file.seek(0)
            state = read_state(file, width)
