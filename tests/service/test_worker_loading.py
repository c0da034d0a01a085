"""What a sealed worker needs is loaded before: afterwards it can read no library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from portraitd.clustering import grouping_jobs
from portraitd.clustering.grouping_jobs import (
    ClusteringRequest,
    GroupingConstraints,
    GroupingRequest,
)
from portraitd.clustering.grouping_snapshot import finish_snapshot, make_snapshot_path
from portraitd.model.track import VideoFaces
from portraitd.service.pools import computing_policy
from portraitd.workers import sandbox
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerLimits
from support import sandbox_jobs
from support.embedding_rules import DLIB_RULES
from support.home import Home

ANSWER_S = 240.0
LIMITS = WorkerLimits(nice=0, memory_mb=0, time_limit_s=120.0)
SIZE = 300

pytestmark = pytest.mark.skipif(
    bool(list(sandbox.missing_essentials())), reason="the kernel supports no sandbox"
)


@pytest.fixture(params=["people", "dbscan"])
def computing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalExecutor]:
    """A worker of the service that computes, for each method."""
    home = Home(tmp_path / "home", grouping={"method": request.param})
    policy = computing_policy(home.settings)
    assert policy.prepare
    policy = replace(policy, prepare=(sandbox_jobs.prepare_and_import_this, (policy.prepare,)))
    executor = LocalExecutor(1, LIMITS, policy)
    yield executor
    executor.shutdown(cancel_futures=True)


def make_vectors() -> NDArray[np.float32]:
    """Return tracks of twenty people, and some that are like no other."""
    random = np.random.default_rng(5)
    centres = random.normal(0.0, 0.12, (20, 128))
    vectors = centres[random.integers(0, 20, SIZE)] + random.normal(0.0, 0.02, (SIZE, 128))
    vectors[-20:] = random.normal(0.0, 0.12, (20, 128))
    return vectors.astype("<f4")


def make_constraints() -> GroupingConstraints:
    """Return some of each kind."""
    rows = np.arange(SIZE)
    return GroupingConstraints(
        np.where(rows % 50 == 0, rows // 50 + 1, 0),
        np.array([0, 50]),
        np.array([[1, 2], [3, 40], [7, 90]]),
        rows == 11,
        rows == 12,
    )


def make_request(folder: Path, last_snapshot: Path | None, rows: int) -> GroupingRequest:
    """Return a grouping of the first rows."""
    random, constraints = np.random.default_rng(6), make_constraints()
    pairs = constraints.cannot_link
    tracks = {
        "variances": random.uniform(0.0, 0.01, SIZE)[:rows],
        "quality": random.uniform(0.1, 1.0, SIZE)[:rows],
        "faces": random.integers(1, 9, SIZE)[:rows],
        "videos": np.arange(rows) // 9,
        "kept": np.arange(rows) % 60 == 0,
        "pinned": constraints.pinned[:rows],
        "seeds": constraints.seeds,
        "excluded": constraints.excluded[:rows],
        "cannot_link": pairs[(pairs < rows).all(axis=1)],
    }
    return GroupingRequest(
        folder / "tracks.f32",
        128,
        tracks,
        last_snapshot,
        make_snapshot_path(folder),
        DLIB_RULES.grouping,
        DLIB_RULES.suggestions,
    )


def test_a_worker_that_computes_loads_nothing_for_its_jobs(
    computing: LocalExecutor, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """It finds what this process finds, without a module that was not there when it was sealed."""
    vectors = make_vectors()
    vectors.tofile(tmp_path / "tracks.f32")
    faces = VideoFaces(
        np.arange(SIZE) // 2 * 0.5,
        np.tile([[0.0, 0.0, 90.0, 90.0], [200.0, 0.0, 290.0, 90.0]], (SIZE // 2, 1)),
        vectors,
        np.linspace(0.1, 1.0, SIZE),
    )
    before = computing.submit(sandbox_jobs.list_modules).result(ANSWER_S)

    tracked = computing.submit(grouping_jobs.track, faces, DLIB_RULES).result(ANSWER_S)
    assert grouping_jobs.track(faces, DLIB_RULES).tracks.tolist() == tracked.tracks.tolist()
    if "dbscan" in request.node.name:
        clustering = ClusteringRequest(
            tmp_path / "tracks.f32", 128, DLIB_RULES.plain_dbscan, make_constraints()
        )
        found = computing.submit(grouping_jobs.cluster, clustering).result(ANSWER_S)
        assert grouping_jobs.cluster(clustering).tolist() == found.tolist()
    else:
        snapshot = None
        for rows in (SIZE - 50, SIZE):
            grouping = make_request(tmp_path, snapshot, rows)
            grouped = computing.submit(grouping_jobs.group, grouping).result(ANSWER_S)
            assert finish_snapshot(grouping.new_snapshot)
            here = grouping_jobs.group(grouping._replace(new_snapshot=make_snapshot_path(tmp_path)))
            assert here.groups.tolist() == grouped.groups.tolist()
            assert 10 < len(set(grouped.groups.tolist()))
            snapshot = grouping.new_snapshot

    assert before == computing.submit(sandbox_jobs.list_modules).result(ANSWER_S)
