"""What comes in the way of a grouping while it runs, and what is left of one that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.model.errors import StoreError, WorkerDied
from portraitd.model.stage import Now
from portraitd.store.database import Database
from support.clock import at
from support.executors import HeldExecutor
from support.grouping import MethodName, make_stage, near, see
from support.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


@pytest.fixture(params=["people", "dbscan"])
def method(request: pytest.FixtureRequest) -> MethodName:
    """What is said of a grouping is true of both ways to group."""
    name: MethodName = request.param
    return name


MATRIX: dict[MethodName, str] = {"people": "tracks.f32", "dbscan": "faces.f32"}


def test_faces_that_come_during_a_grouping_wait_for_the_next(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """It speaks of those it was given."""
    see(store, near(1, 0), near(1, 0.01), at_s=100.0)
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, method, held)
    stage.tick(at(115.0))
    see(store, near(1, 0.02), at_s=116.0)
    held.answer()

    stage.tick(at(117.0))

    assert [1, 1, 0] == store.faces.persons().tolist()
    assert stage.pending
    stage.tick(at(131.0))
    held.answer()
    stage.tick(at(132.0))
    assert [1, 1, 1] == store.faces.persons().tolist()
    assert not stage.pending


def test_faces_erased_during_a_grouping_stay_erased(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """The others get their people all the same, and the next grouping counts without them."""
    ids = [see(store, near(1, shift), at_s=100.0)[0] for shift in (0, 0.01, 0.02)]
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, method, held)
    stage.tick(at(115.0))
    store.database.execute("delete from videos where id = 1")
    held.answer()

    stage.tick(at(117.0))

    assert ids[1:] == store.faces.ids().tolist()
    assert [1, 1] == store.faces.persons().tolist()
    assert stage.pending
    stage.tick(at(118.0))
    held.answer()
    stage.tick(at(118.0))
    assert [1, 1] == store.faces.persons().tolist()
    assert not stage.pending


def test_a_bridge_that_is_erased_during_a_grouping_splits_people_in_the_next(
    store: Store, tmp_path: Path
) -> None:
    """Faces that were grouped through an erased face are grouped again."""
    # In steps of 0.45: neighbours are within eps, their neighbours are not.
    for shift in (0.0, 0.04, 0.08):
        see(store, near(1, shift), at_s=100.0)
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, "dbscan", held)
    stage.tick(at(115.0))
    store.database.execute("delete from videos where id = 2")
    held.answer()
    stage.tick(at(116.0))
    assert [1, 1] == store.faces.persons().tolist()

    stage.tick(at(117.0))
    held.answer()
    stage.tick(at(118.0))

    assert [0, 0] == store.faces.persons().tolist()


def test_one_grouping_at_a_time(store: Store, tmp_path: Path, method: MethodName) -> None:
    """However long it takes."""
    see(store, near(1, 0), at_s=100.0)
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, method, held)
    for now_s in (115.0, 116.0, 5000.0):
        stage.tick(at(now_s))

    assert 1 == len(held.jobs)
    assert stage.pending


def test_a_failed_grouping_leaves_people_as_they_are(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """It is tried again after a minute, not at every turn."""
    see(store, near(1, 0), near(1, 0.01), at_s=100.0)
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, method, held)
    stage.tick(at(115.0))
    held.fail(WorkerDied("the worker ran out of memory"))

    stage.tick(at(116.0))
    stage.tick(at(175.0))
    assert 0 == len(held.jobs)
    assert store.people.last_grouping_run() is None
    stage.tick(at(176.0))

    assert 1 == len(held.jobs)


def test_a_failed_grouping_leaves_no_matrix_of_faces(store: Store, tmp_path: Path) -> None:
    """Embeddings lie in one place only, also while it waits to be tried again."""
    see(store, near(1, 0), near(1, 0.01), at_s=100.0)
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, "dbscan", held)
    stage.tick(at(115.0))
    assert (tmp_path / "faces.f32").exists()
    held.fail(WorkerDied("the worker ran out of memory"))

    stage.tick(at(116.0))

    assert not (tmp_path / "faces.f32").exists()


def test_after_a_clock_set_back_a_failed_grouping_does_not_wait_for_hours(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """A minute is a minute, whatever the clock says."""
    see(store, near(1, 0), near(1, 0.01), at_s=10_000.0)
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, method, held)
    stage.tick(at(10_015.0))
    held.fail(WorkerDied("died"))
    stage.tick(at(10_016.0))

    stage.tick(Now(6000.0, 10_076.0))

    assert 1 == len(held.jobs)


def test_a_released_grouping_is_started_again(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """The service stopped; the late result is ignored."""
    see(store, near(1, 0), near(1, 0.01), at_s=100.0)
    held = HeldExecutor()
    stage = make_stage(store, tmp_path, method, held)
    stage.tick(at(115.0))

    stage.release()

    held.answer()
    assert store.people.last_grouping_run() is None
    assert stage.pending


def test_faces_of_two_encoders_are_not_compared(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """Their embeddings cannot be compared; the message says what grouping waits for."""
    see(store, near(1, 0), at_s=100.0)
    store.database.execute("update faces set encoder = 'another'")
    see(store, near(1, 0.01), at_s=100.0)

    with pytest.raises(StoreError, match=r"another, dlib.*changed over to dlib"):
        make_stage(store, tmp_path, method).tick(at(115.0))


def test_a_matrix_that_cannot_be_written_is_the_machines_fault(
    store: Store, tmp_path: Path, method: MethodName
) -> None:
    """A full disk blocks the grouping; it does not end the daemon."""
    see(store, near(1, 0), near(1, 0.01), at_s=100.0)
    (tmp_path / MATRIX[method]).mkdir()
    stage = make_stage(store, tmp_path, method)
    with pytest.raises(StoreError, match=MATRIX[method]):
        stage.tick(at(115.0))
    (tmp_path / MATRIX[method]).rmdir()

    stage.tick(at(116.0))

    assert [1, 1] == store.faces.persons().tolist()
