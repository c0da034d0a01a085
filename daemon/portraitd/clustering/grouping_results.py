"""What the jobs of ``grouping_jobs`` may return: arrays whose shapes follow from the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.merge_candidates import MergeCandidates
from portraitd.clustering.near_misses import NearMisses
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.track import TrackSummaries, VideoFaces
from portraitd.workers.result_codec import (
    Array,
    Record,
    ResultSchema,
    pack_array,
    require_within,
    unpack_array,
)

if TYPE_CHECKING:
    from portraitd.clustering.grouping_jobs import (
        ClusteringRequest,
        GroupingRequest,
        GroupingResult,
        TrackConstraints,
        VideoTracks,
    )

LARGEST = 1e12

MAX_BYTES = 1 << 30


# --- Tracks.


class TracksData(Record):
    """A ``VideoTracks``."""

    tracks: Array
    embeddings: Array
    variances: Array
    faces: Array
    quality: Array
    best: Array
    cannot_link: Array
    ranks: Array


def _pack_tracks(found: VideoTracks) -> TracksData:
    summary = found.summary
    return TracksData(
        pack_array(found.tracks, "<i8"),
        pack_array(summary.embeddings, "<f4"),
        pack_array(summary.variances, "<f8"),
        pack_array(summary.faces, "<i8"),
        pack_array(summary.quality, "<f8"),
        pack_array(summary.best, "<i8"),
        pack_array(found.cannot_link, "<i8"),
        pack_array(found.ranks, "<i8"),
    )


def _unpack_tracks(
    found: TracksData,
    faces: VideoFaces,
    rules: EmbeddingRules,
    constraints: TrackConstraints | None = None,
) -> VideoTracks:
    from portraitd.clustering.grouping_jobs import VideoTracks

    size, width = faces.embeddings.shape
    tracks = unpack_array(found.tracks, "<i8", size)
    require_within(tracks, 0, size - 1, "a track")
    counts = np.bincount(tracks)
    number = len(counts)
    sizes = unpack_array(found.faces, "<i8", number)
    if not np.array_equal(sizes, counts):
        raise ValueError("a track with another number of faces than it has")
    best = unpack_array(found.best, "<i8", number)
    require_within(best, 0, size - 1, "a face")
    if not np.array_equal(tracks[best], np.arange(number)):
        raise ValueError("the best face of a track is not in it")
    summary = TrackSummaries(
        embeddings=unpack_array(found.embeddings, "<f4", number, width),
        variances=unpack_array(found.variances, "<f8", number),
        faces=sizes,
        quality=unpack_array(found.quality, "<f8", number),
        best=best,
    )
    require_within(summary.embeddings, -1e6, 1e6, "a mean")
    require_within(summary.variances, -1e-6, LARGEST, "a variance")
    require_within(summary.quality, -LARGEST, LARGEST, "a quality")
    pairs = unpack_array(found.cannot_link, "<i8", None, 2)
    require_within(pairs, 0, number - 1, "a track")
    if not (pairs[:, 0] < pairs[:, 1]).all():
        raise ValueError("a track that is apart from itself")
    ranks = unpack_array(found.ranks, "<i8", size)
    require_within(ranks, -1, size, "a rank")
    return VideoTracks(tracks, summary, pairs, ranks)


TRACKS = ResultSchema(TracksData, _pack_tracks, _unpack_tracks, max_bytes=MAX_BYTES)


# --- Groups.


def _pack_clusters(labels: NDArray[np.int64]) -> Array:
    return pack_array(labels, "<i8")


def _unpack_clusters(found: Array, request: ClusteringRequest) -> NDArray[np.int64]:
    rows = None if request.constraints is None else len(request.constraints.pinned)
    labels = unpack_array(found, "<i8", rows)
    require_within(labels, -1, max(4 * len(labels), 1), "a cluster")
    return labels


CLUSTERS = ResultSchema(Array, _pack_clusters, _unpack_clusters, max_bytes=MAX_BYTES)


class GroupsData(Record):
    """A ``GroupingResult``."""

    groups: Array
    indistinct: Array
    candidates: Array
    distances: Array
    probabilities: Array
    newcomers: Array
    misses: Array
    miss_probabilities: Array


def _pack_groups(found: GroupingResult) -> GroupsData:
    candidates = found.candidates
    return GroupsData(
        pack_array(found.groups, "<i8"),
        pack_array(found.indistinct, "|b1"),
        pack_array(candidates.groups, "<i8"),
        pack_array(candidates.distances, "<f8"),
        pack_array(candidates.probabilities, "<f8"),
        pack_array(found.newcomers, "<i8"),
        pack_array(np.stack([found.near_misses.rows, found.near_misses.people], axis=1), "<i8"),
        pack_array(found.near_misses.probabilities, "<f8"),
    )


def _unpack_groups(found: GroupsData, request: GroupingRequest) -> GroupingResult:
    from portraitd.clustering.grouping_jobs import GroupingResult

    rows = len(request.tracks["variances"])
    groups = unpack_array(found.groups, "<i8", rows)
    require_within(groups, -1, rows - 1, "a group")
    pairs = unpack_array(found.candidates, "<i8", None, 2)
    require_within(pairs, 0, rows - 1, "a group")
    if len(pairs) > rows:
        raise ValueError("more pairs of groups than rows")
    candidates = MergeCandidates(
        pairs,
        unpack_array(found.distances, "<f8", len(pairs)),
        unpack_array(found.probabilities, "<f8", len(pairs)),
    )
    require_within(candidates.distances, 0, LARGEST, "a distance")
    require_within(candidates.probabilities, 0, 1, "a probability")
    newcomers = unpack_array(found.newcomers, "<i8", rows)
    require_within(newcomers, -1, rows - 1, "a row")
    misses = unpack_array(found.misses, "<i8", None, 2)
    require_within(misses, 0, rows - 1, "a row")
    if len(np.unique(misses[:, 0])) < len(misses):
        raise ValueError("a track that may show two people")
    near_misses = NearMisses(
        misses[:, 0],
        misses[:, 1],
        unpack_array(found.miss_probabilities, "<f8", len(misses)),
    )
    require_within(near_misses.probabilities, 0, 1, "a probability")
    indistinct = unpack_array(found.indistinct, "|b1", rows)
    return GroupingResult(groups, indistinct, candidates, newcomers, near_misses)


GROUPS = ResultSchema(GroupsData, _pack_groups, _unpack_groups, max_bytes=MAX_BYTES)
