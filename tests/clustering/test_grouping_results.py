"""What a worker says of tracks and groups is refused unless it is possible for the request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portraitd.clustering import grouping_jobs
from portraitd.clustering.grouping_jobs import (
    ClusteringRequest,
    GroupingConstraints,
    GroupingRequest,
    GroupingResult,
    VideoTracks,
)
from portraitd.clustering.grouping_results import CLUSTERS, GROUPS, TRACKS
from portraitd.clustering.merge_candidates import MergeCandidates
from portraitd.clustering.near_misses import NearMisses
from portraitd.faces.models.cards import DLIB
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.errors import WorkerDied
from portraitd.model.track import VideoFaces
from support.store import embedding

RULES = require_rules(DLIB)

FACES = VideoFaces(
    np.array([0.0, 0.0, 1.0]),
    np.array([[0, 0, 10, 10], [50, 0, 60, 10], [0, 0, 10, 10]], np.float64),
    np.stack([embedding(1), embedding(2), embedding(1)]),
    np.ones(3),
)

TRACKED = grouping_jobs.track(FACES, RULES)

GROUPED = GroupingResult(
    np.array([0, 0, -1]),
    np.array([False, False, True]),
    MergeCandidates(np.array([[0, 2]]), np.array([0.5]), np.array([0.75])),
    np.array([-1, -1, -1]),
)

REQUEST = GroupingRequest(
    Path("/state/tracks.f32"),
    128,
    {"variances": np.zeros(3)},
    None,
    Path("/state/grouping-1.npz"),
    RULES.grouping,
    RULES.suggestions,
)


def with_summary(**changes: Any) -> VideoTracks:
    return TRACKED._replace(summary=replace(TRACKED.summary, **changes))


def with_candidates(**changes: Any) -> GroupingResult:
    return GROUPED._replace(candidates=replace(GROUPED.candidates, **changes))


def test_tracks_arrive_as_they_are() -> None:
    """Two people in one frame, one of them in the next."""
    found = TRACKS.decode(TRACKS.encode(1, TRACKED), 1, (FACES, RULES), {})

    assert [[0, 1]] == found.cannot_link.tolist()
    for before, after in (
        (TRACKED.tracks, found.tracks),
        (TRACKED.ranks, found.ranks),
        (TRACKED.summary.embeddings, found.summary.embeddings),
        (TRACKED.summary.variances, found.summary.variances),
        (TRACKED.summary.best, found.summary.best),
    ):
        assert before.dtype == after.dtype
        assert np.array_equal(before, after)


def test_a_video_without_faces_has_no_tracks() -> None:
    """All arrays are empty."""
    none = VideoFaces(np.empty(0), np.empty((0, 4)), np.empty((0, 128), np.float32), np.empty(0))
    tracked = grouping_jobs.track_singly(none, RULES)

    assert 0 == len(TRACKS.decode(TRACKS.encode(1, tracked), 1, (none, RULES), {}).tracks)


@pytest.mark.parametrize(
    "tracks",
    [
        TRACKED._replace(tracks=np.array([0, 1])),
        TRACKED._replace(tracks=np.array([0, 1, 7])),
        TRACKED._replace(tracks=np.array([0, 1, -1])),
        TRACKED._replace(tracks=np.array([1, 1, 1])),
        TRACKED._replace(cannot_link=np.array([[0, 0]])),
        TRACKED._replace(cannot_link=np.array([[0, 5]])),
        TRACKED._replace(ranks=np.array([0, 0, 9])),
        with_summary(faces=np.array([1, 2])),
        with_summary(best=np.array([1, 0])),
        with_summary(best=np.array([0, 9])),
        with_summary(variances=np.array([0.0, np.nan])),
        with_summary(quality=np.array([np.inf, 1.0])),
        with_summary(embeddings=np.full((2, 128), np.nan)),
        with_summary(embeddings=np.zeros((2, 64))),
    ],
)
def test_tracks_that_no_video_has_are_refused(tracks: VideoTracks) -> None:
    """A track number is an index into what the service holds."""
    require_refused(lambda: TRACKS.decode(TRACKS.encode(1, tracks), 1, (FACES, RULES), {}))


def test_groups_arrive_as_they_are() -> None:
    """With their pairs."""
    found = GROUPS.decode(GROUPS.encode(1, GROUPED), 1, (REQUEST,), {})

    assert np.array_equal(GROUPED.groups, found.groups)
    assert np.array_equal(GROUPED.indistinct, found.indistinct)
    assert np.array_equal(GROUPED.candidates.groups, found.candidates.groups)
    assert [0.75] == found.candidates.probabilities.tolist()


@pytest.mark.parametrize(
    "grouped",
    [
        GROUPED._replace(groups=np.array([0, 0])),
        GROUPED._replace(groups=np.array([0, 0, 3])),
        GROUPED._replace(groups=np.array([0, 0, -2])),
        GROUPED._replace(indistinct=np.array([True])),
        with_candidates(groups=np.array([[0, 3]])),
        with_candidates(groups=np.array([[0, 1, 2]])),
        with_candidates(distances=np.array([np.nan])),
        with_candidates(probabilities=np.array([1.5])),
        with_candidates(probabilities=np.array([0.5, 0.5])),
    ],
)
def test_groups_that_no_tracks_have_are_refused(grouped: GroupingResult) -> None:
    """A group is named after a row."""
    require_refused(lambda: GROUPS.decode(GROUPS.encode(1, grouped), 1, (REQUEST,), {}))


MISSED = GROUPED._replace(
    near_misses=NearMisses(np.array([1, 2]), np.array([0, 0]), np.array([0.9, 0.5]))
)


def test_near_misses_arrive_as_they_are() -> None:
    """Tracks, people and probabilities."""
    found = GROUPS.decode(GROUPS.encode(1, MISSED), 1, (REQUEST,), {}).near_misses

    assert [1, 2] == found.rows.tolist()
    assert [0, 0] == found.people.tolist()
    assert [0.9, 0.5] == found.probabilities.tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": np.array([1, 1])},
        {"rows": np.array([1, 3])},
        {"people": np.array([0, -1])},
        {"probabilities": np.array([0.9])},
        {"probabilities": np.array([0.9, np.nan])},
    ],
)
def test_near_misses_that_no_tracks_have_are_refused(changes: dict[str, Any]) -> None:
    """A row may show one person, and both are rows."""
    wrong = MISSED._replace(near_misses=replace(MISSED.near_misses, **changes))

    require_refused(lambda: GROUPS.decode(GROUPS.encode(1, wrong), 1, (REQUEST,), {}))


@pytest.mark.parametrize("newcomers", [[-1, 1], [-1, 3, 3], [-2, 1, 1]])
def test_newcomers_that_no_tracks_have_are_refused(newcomers: list[int]) -> None:
    """Each row has one, and it is a row."""
    wrong = GROUPED._replace(newcomers=np.array(newcomers))

    require_refused(lambda: GROUPS.decode(GROUPS.encode(1, wrong), 1, (REQUEST,), {}))


def test_newcomers_arrive_as_they_are() -> None:
    """The lowest row of each group."""
    found = GROUPED._replace(newcomers=np.array([-1, 1, 1]))

    arrived = GROUPS.decode(GROUPS.encode(1, found), 1, (REQUEST,), {})
    assert [-1, 1, 1] == arrived.newcomers.tolist()


def test_clusters_have_a_label_for_each_row() -> None:
    """As far as the rows are known."""
    constraints = GroupingConstraints.empty(3)
    args = (ClusteringRequest(Path("/state/faces.f32"), 128, RULES.plain_dbscan, constraints),)

    labels = np.array([0, -1, 1])
    assert np.array_equal(labels, CLUSTERS.decode(CLUSTERS.encode(1, labels), 1, args, {}))
    for wrong in (np.array([0, 1]), np.array([0, -2, 1]), np.array([0, 0, 1 << 40])):
        require_refused(lambda wrong=wrong: CLUSTERS.decode(CLUSTERS.encode(1, wrong), 1, args, {}))


def require_refused(decode: Callable[[], object]) -> None:
    with pytest.raises(WorkerDied, match="invalid result from worker"):
        decode()
