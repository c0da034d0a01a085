"""When faces are grouped again, and what becomes of the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.clustering import grouping_jobs
from portraitd.clustering.grouping_stage import is_due, longest_wait_s
from portraitd.clustering.tracking_stage import TrackingStage
from portraitd.config import GroupingSettings
from portraitd.store.database import Database
from portraitd.workers.pool import InlineExecutor
from support.clock import at
from support.embedding_rules import DLIB_RULES
from support.executors import HeldExecutor
from support.grouping import MethodName, make_stage, near, see
from support.store import ENCODER, Store, slice_faces


@pytest.mark.parametrize(
    ("newest_s", "oldest_s", "now_s", "working", "expected"),
    [
        # Nothing is left to encode: as soon as the faces have settled.
        (100.0, 100.0, 114.9, False, False),
        (100.0, 100.0, 115.0, False, True),
        (100.0, 0.0, 114.9, False, False),
        # More faces are being encoded: not before a face has waited too long.
        (100.0, 100.0, 115.0, True, False),
        (100.0, 100.0, 699.9, True, False),
        (100.0, 100.0, 700.0, True, True),
        (699.0, 100.0, 700.0, True, True),
        (699.0, 100.0, 700.0, False, True),
        # The clock was set back: faces from the future do not hold anything up.
        (100.0, 100.0, 99.9, False, True),
        (100.0, 100.0, -5000.0, False, True),
        (100.0, 100.0, 99.9, True, False),
    ],
)
def test_a_grouping_is_due_when_faces_have_settled_or_waited(
    newest_s: float, oldest_s: float, now_s: float, working: bool, expected: bool
) -> None:
    """The whole table."""
    assert expected == is_due(newest_s, oldest_s, now_s, working, settle_s=15.0, wait_s=600.0)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(-(10**6), 10**6))
def test_idle_faces_never_wait_longer_than_the_settling(
    newest_s: int, age_s: int, now_s: int
) -> None:
    """Whatever the clock does, it is due within the settling time of any reading."""
    oldest_s = newest_s - age_s
    # Adding and subtracting the same floats may lose the last digit.
    settled_s = max(now_s, newest_s) + 15.0 + 1e-6

    assert is_due(newest_s, oldest_s, settled_s, False, settle_s=15.0, wait_s=600.0)


@pytest.mark.parametrize(
    ("last_run_s", "max_wait_s", "expected_s"),
    [
        (0.0, 600.0, 60.0),
        (1.0, 600.0, 60.0),
        (6.0, 600.0, 300.0),
        (60.0, 600.0, 600.0),
        (0.0, 5.0, 5.0),
    ],
)
def test_a_grouping_that_takes_long_is_repeated_less_often(
    last_run_s: float, max_wait_s: float, expected_s: float
) -> None:
    """While faces are encoded, people appear after a minute, and encoding is not held up."""
    pace = GroupingSettings(max_wait_s=max_wait_s)

    assert expected_s == longest_wait_s(last_run_s, pace)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


@pytest.fixture(params=["people", "dbscan"])
def method(request: pytest.FixtureRequest) -> MethodName:
    """What is said of a grouping is true of both ways to group."""
    name: MethodName = request.param
    return name


def track_one(store: Store) -> None:
    """Give the oldest video without tracks its own."""
    video_id = store.tracks.untracked()
    assert video_id
    face_ids, faces = store.tracks.faces_of(video_id, DLIB_RULES.quality)
    found = grouping_jobs.track(faces, DLIB_RULES)
    store.tracks.record(video_id, face_ids, found.tracks, found.summary, found.cannot_link)


def test_a_grouping_makes_people_of_neighbours(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """Two near each other are one person; a single one is none."""
    see(store, near(1, 0), near(2, 0), near(1, 0.01), at_s=100.0)

    make_stage(store, tmp_path, method).tick(at(115.0))

    assert [1, 0, 1] == store.faces.persons().tolist()


def test_people_are_found_across_videos(store: Store, tmp_path: Path, method: MethodName) -> None:
    """A person may be seen in several of them."""
    see(store, near(1, 0), at_s=100.0)
    see(store, near(2, 0), near(3, 0), at_s=100.0)
    see(store, near(1, 0.01), near(2, 0.01), at_s=100.0)

    make_stage(store, tmp_path, method).tick(at(115.0))

    assert [1, 2, 0, 1, 2] == store.faces.persons().tolist()


def test_without_new_faces_there_is_no_grouping(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """Neither at first nor again."""
    stage = make_stage(store, tmp_path, method)
    stage.tick(at(1000.0))
    assert store.people.last_grouping_run() is None
    see(store, near(1, 0), near(1, 0.01), at_s=1000.0)
    stage.tick(at(1015.0))

    stage.tick(at(5000.0))

    last = store.people.last_grouping_run()
    assert last
    assert 1 == last.id
    assert not stage.pending


def test_faces_without_tracks_are_not_grouped_as_people(store: Store, tmp_path: Path) -> None:
    """They call for no grouping before they have some."""
    store.see(near(1, 0), near(1, 0.01), at_s=100.0)
    stage = make_stage(store, tmp_path, "people")
    stage.tick(at(115.0))
    assert store.people.last_grouping_run() is None
    assert not stage.pending
    store.track()
    assert stage.pending

    stage.tick(at(115.0))

    assert [1, 1] == store.faces.persons().tolist()


def test_fewer_faces_than_a_cluster_needs_are_no_person(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """All noise is a result too."""
    see(store, near(1, 0), near(2, 0), at_s=100.0)
    stage = make_stage(store, tmp_path, method)

    stage.tick(at(115.0))

    assert [0, 0] == store.faces.persons().tolist()
    assert not stage.pending


def test_the_last_face_may_be_erased(store: Store, tmp_path: Path, method: MethodName) -> None:
    """Then there are no people, and no endless grouping."""
    see(store, near(1, 0), near(1, 0.01), at_s=100.0)
    stage = make_stage(store, tmp_path, method)
    stage.tick(at(115.0))
    store.database.execute("delete from videos")

    stage.tick(at(116.0))

    last = store.people.last_grouping_run()
    assert last
    assert (2, 0, 0) == (last.id, last.faces, last.tracks)
    assert [] == store.people.present()
    assert not stage.pending


def test_tracks_of_old_videos_are_grouped_together(store: Store, tmp_path: Path) -> None:
    """As after a migration: they wait for each other, but no longer than a new face does."""
    for _ in range(4):
        store.see(near(1, 0), at_s=100.0)
    working = True
    stage = make_stage(store, tmp_path, "people", is_working=lambda: working)
    for now_s in (10_000.0, 10_020.0, 10_059.0):
        track_one(store)
        stage.tick(at(now_s))
        assert store.people.last_grouping_run() is None
    stage.tick(at(10_060.0))
    assert [1, 1, 1, 0] == store.faces.persons().tolist()
    track_one(store)
    stage.tick(at(10_061.0))
    assert [1, 1, 1, 0] == store.faces.persons().tolist()

    working = False
    stage.tick(at(10_062.0))

    assert [1, 1, 1, 1] == store.faces.persons().tolist()


def test_people_of_a_long_video_appear_while_it_is_processed(store: Store, tmp_path: Path) -> None:
    """Their ids and names stay when the rest of it is done."""
    store.video(slices=6)
    tracking = TrackingStage(
        store.tracks, ENCODER, DLIB_RULES, InlineExecutor(), lambda: None, attempts=2
    )
    is_working = True
    grouping = make_stage(store, tmp_path, "people", is_working=lambda: is_working)
    claimed = store.slice_queue.claim()
    shown = []
    for minute in range(6):
        following = store.slice_queue.claim()
        assert claimed
        seen = slice_faces(
            near(1, 0.01 * minute), near(2, 0.01 * minute), ended_s=60.0 * minute + 60
        )
        faces = [replace(face, t_s=face.t_s + 60.0 * minute) for face in seen.detections]
        store.slice_queue.record(claimed, replace(seen, detections=faces), ENCODER, 100.0 * minute)
        claimed, is_working = following, minute < 5
        for now_s in (100.0 * minute + 1, 100.0 * minute + 61):
            tracking.tick(at(now_s))
            grouping.tick(at(now_s))
        if minute == 1:
            store.database.execute("update people set name = 'Ann' where id = 1")
        shown.append(store.faces.persons().tolist())

    assert [[0, 0], [1, 2] * 2, [1, 2] * 2 + [0, 0], [1, 2] * 4] == shown[:4]
    assert [1, 2] * 6 == shown[5]
    assert ["Ann", None] == [person.name for person in store.people.present()]
    assert not tracking.pending
    assert not grouping.pending
    assert 12 == int(store.tracks.rows().faces.sum())


def test_a_grouping_leaves_nothing_of_deleted_tracks(store: Store, tmp_path: Path) -> None:
    """Their rows are erased as soon as no grouping needs them, and the next one goes on."""
    for shift in (0, 0.01, 0.02):
        see(store, near(1, shift), at_s=100.0)
    stage = make_stage(store, tmp_path, "people")
    stage.tick(at(115.0))
    store.database.execute("delete from videos where id = 2")
    stage.tick(at(116.0))
    rows = np.fromfile(tmp_path / "tracks.f32", "<f4").reshape(-1, 128)
    assert [True, False, True] == rows.any(axis=1).tolist()
    see(store, near(1, 0.03), at_s=200.0)

    stage.tick(at(215.0))

    assert [1, 1, 1] == store.faces.persons().tolist()


def test_the_matrix_of_faces_is_removed_afterwards(store: Store, tmp_path: Path) -> None:
    """Embeddings lie in one place only."""
    see(store, near(1, 0), near(1, 0.01), at_s=100.0)
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, "dbscan", held)
    stage.tick(at(115.0))
    assert 2 * 512 == (tmp_path / "faces.f32").stat().st_size
    held.answer()

    stage.tick(at(116.0))

    assert not (tmp_path / "faces.f32").exists()


def test_only_the_snapshot_of_the_current_grouping_is_kept(store: Store, tmp_path: Path) -> None:
    """Beside the matrix of tracks, which the next grouping goes on with."""
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, "people", held)
    for number in range(3):
        see(store, near(1, 0.01 * number), at_s=100.0 * number)
        stage.tick(at(100.0 * number + 15.0))
        held.answer()
        stage.tick(at(100.0 * number + 15.0))

    last = store.people.last_grouping_run()
    assert last
    assert [last.snapshot] == [path.name for path in tmp_path.glob("*grouping-*")]
    assert 3 * 512 == (tmp_path / "tracks.f32").stat().st_size


@pytest.mark.parametrize(
    ("method", "numbers"),
    [("dbscan", {"eps": 0.001}), ("people", {"eps": 0.001, "linkage": 0.001})],
)
def test_changed_settings_call_for_a_grouping(
    store: Store, tmp_path: Path, method: MethodName, numbers: dict[str, float]
) -> None:
    """What it depends on is written down with it."""
    see(store, near(1, 0), at_s=100.0)
    see(store, near(1, 0.01), at_s=100.0)
    make_stage(store, tmp_path, method).tick(at(115.0))
    assert [1, 1] == store.faces.persons().tolist()
    strict = make_stage(store, tmp_path, method, **numbers)
    assert strict.pending

    strict.tick(at(116.0))

    assert [0, 0] == store.faces.persons().tolist()
    assert not strict.pending


@pytest.mark.parametrize(("first", "second"), [("people", "dbscan"), ("dbscan", "people")])
def test_another_method_calls_for_a_grouping_and_keeps_people(
    store: Store, tmp_path: Path, first: MethodName, second: MethodName
) -> None:
    """Who was found in one way is the same person in the other."""
    see(store, near(1, 0), near(1, 0.01), near(2, 0), at_s=100.0)
    see(store, near(2, 0.01), at_s=100.0)
    make_stage(store, tmp_path, first).tick(at(115.0))
    before = store.faces.persons().tolist()
    other = make_stage(store, tmp_path, second)
    assert other.pending

    other.tick(at(116.0))

    last = store.people.last_grouping_run()
    assert last
    assert [1, 1, 2, 2] == before
    assert before == store.faces.persons().tolist()
    assert (2, 0) == (last.id, last.churn)
    assert not other.pending
