"""The room that gives videos their tracks: each once, and whatever happens to a worker."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from held import Held
from portraitd.clustering.tracking_stage import Tracker
from portraitd.model.errors import StoreError, WorkerDied
from portraitd.store import Database
from portraitd.workers.pool import InlineExecutor
from stores import ENCODER, Store, embedding, slice_faces


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


@pytest.fixture
def held() -> Held:
    return Held()


def tracker(store: Store, executor: Executor, ring: Callable[[], None] = lambda: None) -> Tracker:
    return Tracker(store.tracks, executor, ring, attempts=2)


def tracked(store: Store) -> list[int]:
    """The videos that have tracks."""
    rows = store.database.execute("select distinct video_id from tracks order by video_id")
    return [row[0] for row in rows]


def test_finished_videos_get_their_tracks(store: Store) -> None:
    """All of them at one turn, where the answers are there at once."""
    for seed in range(3):
        store.see(embedding(seed))
    room = tracker(store, InlineExecutor())
    assert room.pending

    room.refresh(10.0)

    assert [1, 2, 3] == tracked(store)
    assert [1, 2, 3] == store.tracks.rows().ids.tolist()
    assert not room.pending


def test_a_video_gets_its_tracks_once(store: Store) -> None:
    """Later turns make nothing anew."""
    store.see(embedding(1))
    room = tracker(store, InlineExecutor())
    room.refresh(10.0)

    with capture_logs() as logs:
        room.refresh(11.0)
        tracker(store, InlineExecutor()).refresh(12.0)

    assert [] == logs
    assert [1] == store.tracks.rows().ids.tolist()


def test_one_video_at_a_time(store: Store, held: Held) -> None:
    """The workers are there for the faces first; the next begins as soon as one is back."""
    store.see(embedding(1))
    store.see(embedding(2))
    room = tracker(store, held)
    for now_s in (10.0, 11.0, 12.0):
        room.refresh(now_s)
        assert 1 == len(held.jobs)
    held.answer()

    room.refresh(13.0)

    assert [1] == tracked(store)
    assert 1 == len(held.jobs)
    assert room.pending


def test_an_answer_rings(store: Store, held: Held) -> None:
    """So that it is not waited for until the next scan."""
    rings: list[str] = []
    store.see(embedding(1))
    room = tracker(store, held, lambda: rings.append("rung"))
    room.refresh(10.0)
    assert [] == rings

    held.answer()

    assert ["rung"] == rings


def test_a_video_that_is_still_looked_at_waits(store: Store, held: Held) -> None:
    """A track runs through all its slices."""
    store.video(slices=2)
    ticket = store.work.claim()
    assert ticket
    store.work.record(ticket, slice_faces(embedding(1)), ENCODER, 5.0)
    room = tracker(store, held)

    room.refresh(10.0)

    assert [] == held.jobs
    assert not room.pending


@pytest.mark.parametrize(
    "error", [WorkerDied("the worker ran out of memory"), ValueError("a mistake of ours")]
)
def test_a_job_that_dies_is_tried_again_after_a_minute(
    store: Store, held: Held, error: Exception
) -> None:
    """Not at every turn, and it ends nothing but itself."""
    store.see(embedding(1))
    room = tracker(store, held)
    room.refresh(10.0)
    held.fail(error)
    with capture_logs() as logs:
        room.refresh(11.0)
    assert [("tracking_failed", 1)] == [(line["event"], line["video"]) for line in logs]
    room.refresh(70.0)
    assert [] == held.jobs
    assert room.pending

    room.refresh(71.0)
    held.answer()
    room.refresh(72.0)

    assert [1] == tracked(store)
    assert not room.pending


def test_a_job_that_dies_holds_no_other_video_up(store: Store, held: Held) -> None:
    """They have their turn while it waits for its next one."""
    store.see(embedding(1))
    store.see(embedding(2))
    room = tracker(store, held)
    room.refresh(10.0)
    held.fail(WorkerDied("died"))

    room.refresh(11.0)
    held.answer()
    room.refresh(12.0)

    assert [2] == tracked(store)
    assert room.pending


def test_a_job_that_always_dies_leaves_each_face_a_track_of_its_own(
    store: Store, held: Held
) -> None:
    """So that its people are found all the same."""
    store.see(embedding(1), embedding(1))
    room = tracker(store, held)
    for now_s in (10.0, 100.0):
        room.refresh(now_s)
        held.fail(WorkerDied("died"))
        room.refresh(now_s + 1)

    room.refresh(200.0)
    held.answer()
    room.refresh(201.0)

    assert [1, 1] == store.tracks.rows().faces.tolist()
    assert not room.pending


def test_a_video_that_cannot_be_given_tracks_is_left_with_the_reason(
    store: Store, held: Held
) -> None:
    """Nothing waits for it any more, until the next start tries again."""
    store.see(embedding(1))
    room = tracker(store, held)
    for now_s in (10.0, 100.0, 200.0, 300.0):
        room.refresh(now_s)
        held.fail(WorkerDied("the worker ran out of memory"))
        room.refresh(now_s + 1)
    room.refresh(400.0)

    assert [] == held.jobs
    assert not room.pending
    (reason,) = store.database.execute("select reason from videos").fetchone()
    assert "ran out of memory" in reason
    assert tracker(store, held).pending


def test_after_a_clock_set_back_a_failed_job_does_not_wait_for_hours(
    store: Store, held: Held
) -> None:
    """A minute is a minute, whatever the clock says."""
    store.see(embedding(1))
    room = tracker(store, held)
    room.refresh(10_000.0)
    held.fail(WorkerDied("died"))
    room.refresh(10_001.0)

    room.refresh(6000.0)

    assert 1 == len(held.jobs)


def test_parked_work_is_done_again(store: Store, held: Held) -> None:
    """The daemon stopped; its late answer is nobody's, and the next start begins anew."""
    store.see(embedding(1))
    room = tracker(store, held)
    room.refresh(10.0)
    room.park()
    held.answer()
    assert [] == tracked(store)

    again = tracker(store, held)
    assert again.pending
    again.refresh(11.0)
    held.answer()
    again.refresh(12.0)

    assert [1] == tracked(store)
    assert [1] == store.tracks.rows().ids.tolist()


def test_a_video_that_was_forgotten_meanwhile_is_no_trouble(store: Store, held: Held) -> None:
    """Its answer is dropped, and the next video has its turn."""
    store.see(embedding(1))
    store.see(embedding(2))
    room = tracker(store, held)
    room.refresh(10.0)
    store.database.execute("delete from videos where id = 1")
    held.answer()

    room.refresh(11.0)
    held.answer()
    room.refresh(12.0)

    assert [2] == tracked(store)
    assert not room.pending


def test_a_video_with_more_faces_meanwhile_is_tracked_again(store: Store, held: Held) -> None:
    """It was retried while its tracks were made: those of all its faces count."""
    store.video(slices=2)
    first, second = store.work.claim(), store.work.claim()
    assert first
    assert second
    store.work.record(first, slice_faces(embedding(1)), ENCODER, 5.0)
    store.work.lose(second, "died", 1, 6.0)
    room = tracker(store, held)
    room.refresh(10.0)
    store.work.retry(11.0)
    ticket = store.work.claim()
    assert ticket
    store.work.record(ticket, slice_faces(embedding(1)), ENCODER, 12.0)
    held.answer()

    room.refresh(13.0)
    assert [] == tracked(store)
    held.answer()
    room.refresh(14.0)

    # Both at the same time of the video: two tracks.
    assert [1, 1] == store.tracks.rows().faces.tolist()
    assert not room.pending


def test_an_answer_is_not_lost_while_the_store_is_full(store: Store, held: Held) -> None:
    """The service says so and goes on; the answer is written when there is room."""
    store.see(*(embedding(seed) for seed in range(40)))
    room = tracker(store, held)
    room.refresh(10.0)
    held.answer()
    pages = store.database.execute("pragma page_count").fetchone()[0]
    store.database.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        room.refresh(11.0)
    assert [] == tracked(store)
    store.database.execute("pragma max_page_count = 1000000")

    room.refresh(12.0)

    assert [] == held.jobs
    assert [1] == tracked(store)
    assert 40 == len(store.tracks.rows().ids)
