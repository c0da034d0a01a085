"""When faces are grouped again, and what becomes of the result."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.census import CensusTaker, Pace, is_due
from portraitd.config import GroupingSettings
from portraitd.errors import StoreError, WorkerDied
from portraitd.executors import InlineExecutor
from portraitd.store import Database
from stores import Store, embedding

PACE = Pace(settle_s=15.0, max_wait_s=600.0)


@pytest.mark.parametrize(
    ("newest_s", "oldest_s", "now_s", "working", "expected"),
    [
        # Nothing is left to encode: as soon as the faces have settled.
        (100.0, 100.0, 114.9, False, False),
        (100.0, 100.0, 115.0, False, True),
        (100.0, 0.0, 114.9, False, False),
        # There is more to come: not before somebody has waited too long.
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
def test_a_census_is_due_when_faces_have_settled_or_waited(
    newest_s: float, oldest_s: float, now_s: float, working: bool, expected: bool
) -> None:
    """The whole table."""
    assert expected == is_due(newest_s, oldest_s, now_s, working, PACE)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(-(10**6), 10**6))
def test_idle_faces_never_wait_longer_than_the_settling(
    newest_s: int, age_s: int, now_s: int
) -> None:
    """Whatever the clock does, it is due within the settling time of any reading."""
    oldest_s = newest_s - age_s

    assert is_due(newest_s, oldest_s, max(now_s, newest_s) + 15.0, False, PACE)


class Held(Executor):
    """Answers when it is told to, as another process would."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs.append((future, lambda: fn(*args, **kwargs)))
        return future

    def answer(self) -> None:
        """Carry out what was handed in."""
        for future, job in self.jobs:
            future.set_result(job())
        self.jobs.clear()

    def fail(self, error: Exception) -> None:
        for future, _ in self.jobs:
            future.set_exception(error)
        self.jobs.clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


def taker(
    store: Store,
    tmp_path: Path,
    executor: Executor | None = None,
    settings: GroupingSettings | None = None,
) -> CensusTaker:
    return CensusTaker(
        store.faces,
        store.people,
        executor or InlineExecutor(),
        lambda: None,
        tmp_path,
        settings or GroupingSettings(min_samples=2),
        PACE,
    )


def near(seed: int, shift: float) -> NDArray[np.float32]:
    """A vector, moved by a hair."""
    return (embedding(seed) + np.float32(shift)).astype(np.float32)


def test_a_census_makes_people_of_neighbours(store: Store, tmp_path: Path) -> None:
    """Two near each other are one person; one alone is nobody."""
    store.see(near(1, 0), near(2, 0), near(1, 0.01), at_s=100.0)

    taker(store, tmp_path).refresh(115.0, working=False)

    assert [1, 0, 1] == store.faces.persons().tolist()


def test_without_new_faces_there_is_no_census(store: Store, tmp_path: Path) -> None:
    """Neither at first nor again."""
    census = taker(store, tmp_path)
    census.refresh(1000.0, working=False)
    assert store.people.last_census() is None
    store.see(near(1, 0), near(1, 0.01), at_s=1000.0)
    census.refresh(1015.0, working=False)

    census.refresh(5000.0, working=False)

    last = store.people.last_census()
    assert last
    assert 1 == last.id
    assert not census.pending


def test_fewer_faces_than_a_cluster_needs_are_nobody(store: Store, tmp_path: Path) -> None:
    """All noise is a result too."""
    store.see(near(1, 0), near(2, 0), at_s=100.0)
    census = taker(store, tmp_path)

    census.refresh(115.0, working=False)

    assert [0, 0] == store.faces.persons().tolist()
    assert not census.pending


def test_the_last_face_may_be_forgotten(store: Store, tmp_path: Path) -> None:
    """Then there are no people, and no endless census."""
    store.see(near(1, 0), near(1, 0.01), at_s=100.0)
    census = taker(store, tmp_path)
    census.refresh(115.0, working=False)
    store.database.execute("delete from faces")

    census.refresh(116.0, working=False)

    assert [] == store.people.present()
    assert not census.pending


def test_faces_that_come_during_a_census_wait_for_the_next(store: Store, tmp_path: Path) -> None:
    """It speaks of those it was given."""
    store.see(near(1, 0), near(1, 0.01), at_s=100.0)
    held = Held()
    census = taker(store, tmp_path, held)
    census.refresh(115.0, working=False)
    store.see(near(1, 0.02), at_s=116.0)
    held.answer()

    census.refresh(117.0, working=False)

    assert [1, 1, 0] == store.faces.persons().tolist()
    assert census.pending
    census.refresh(131.0, working=False)
    held.answer()
    census.refresh(132.0, working=False)
    assert [1, 1, 1] == store.faces.persons().tolist()


def test_faces_forgotten_during_a_census_stay_forgotten(store: Store, tmp_path: Path) -> None:
    """The others get their people all the same."""
    ids = store.see(near(1, 0), near(1, 0.01), near(1, 0.02), at_s=100.0)
    held = Held()
    census = taker(store, tmp_path, held)
    census.refresh(115.0, working=False)
    store.database.execute("delete from faces where id = ?", (ids[0],))
    held.answer()

    census.refresh(117.0, working=False)

    assert ids[1:] == store.faces.ids().tolist()
    assert [1, 1] == store.faces.persons().tolist()


def test_one_census_at_a_time(store: Store, tmp_path: Path) -> None:
    """However long it takes."""
    store.see(near(1, 0), at_s=100.0)
    held = Held()
    census = taker(store, tmp_path, held)
    for now_s in (115.0, 116.0, 5000.0):
        census.refresh(now_s, working=False)

    assert 1 == len(held.jobs)
    assert census.pending


def test_a_census_that_dies_leaves_people_as_they_are(store: Store, tmp_path: Path) -> None:
    """It is tried again after a minute, not at every turn."""
    store.see(near(1, 0), near(1, 0.01), at_s=100.0)
    held = Held()
    census = taker(store, tmp_path, held)
    census.refresh(115.0, working=False)
    held.fail(WorkerDied("the worker ran out of memory"))

    census.refresh(116.0, working=False)
    census.refresh(175.0, working=False)
    assert 0 == len(held.jobs)
    assert store.people.last_census() is None
    census.refresh(176.0, working=False)

    assert 1 == len(held.jobs)


def test_after_a_clock_set_back_a_failed_census_does_not_wait_for_hours(
    store: Store, tmp_path: Path
) -> None:
    """A minute is a minute, whatever the clock says."""
    store.see(near(1, 0), near(1, 0.01), at_s=10_000.0)
    held = Held()
    census = taker(store, tmp_path, held)
    census.refresh(10_015.0, working=False)
    held.fail(WorkerDied("died"))
    census.refresh(10_016.0, working=False)

    census.refresh(6000.0, working=False)

    assert 1 == len(held.jobs)


def test_a_parked_census_is_begun_again(store: Store, tmp_path: Path) -> None:
    """The daemon stopped; its late answer is nobody's."""
    store.see(near(1, 0), near(1, 0.01), at_s=100.0)
    held = Held()
    census = taker(store, tmp_path, held)
    census.refresh(115.0, working=False)

    census.park()

    held.answer()
    assert store.people.last_census() is None
    assert census.pending


def test_faces_of_two_encoders_are_not_compared(store: Store, tmp_path: Path) -> None:
    """Distances between two spaces mean nothing; the operator is told what to do."""
    store.see(near(1, 0), at_s=100.0)
    store.database.execute("update faces set encoder = 'another'")
    store.see(near(1, 0.01), at_s=100.0)

    with pytest.raises(StoreError, match=r"another, dlib.*into a new home"):
        taker(store, tmp_path).refresh(115.0, working=False)


def test_a_matrix_that_cannot_be_written_is_the_machines_fault(
    store: Store, tmp_path: Path
) -> None:
    """A full disk blocks the census; it does not end the daemon."""
    store.see(near(1, 0), near(1, 0.01), at_s=100.0)
    (tmp_path / "census.f32").mkdir()
    census = taker(store, tmp_path)
    with pytest.raises(StoreError, match="census"):
        census.refresh(115.0, working=False)
    (tmp_path / "census.f32").rmdir()

    census.refresh(116.0, working=False)

    assert [1, 1] == store.faces.persons().tolist()


def test_the_matrix_is_removed_afterwards(store: Store, tmp_path: Path) -> None:
    """Embeddings lie in one place only."""
    store.see(near(1, 0), near(1, 0.01), at_s=100.0)
    held = Held()
    census = taker(store, tmp_path, held)
    census.refresh(115.0, working=False)
    assert 2 * 512 == (tmp_path / "census.f32").stat().st_size
    held.answer()

    census.refresh(116.0, working=False)

    assert not (tmp_path / "census.f32").exists()


def test_other_numbers_call_for_a_census(store: Store, tmp_path: Path) -> None:
    """What it depends on is written down with it."""
    store.see(near(1, 0), near(1, 0.01), at_s=100.0)
    taker(store, tmp_path).refresh(115.0, working=False)
    assert [1, 1] == store.faces.persons().tolist()
    strict = taker(store, tmp_path, settings=GroupingSettings(eps=0.001, min_samples=2))
    assert strict.pending

    strict.refresh(116.0, working=False)

    assert [0, 0] == store.faces.persons().tolist()
    assert not strict.pending
