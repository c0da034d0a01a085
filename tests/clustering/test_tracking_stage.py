"""The room that gives videos their tracks: each once, and whatever happens to a worker."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portraitd.clustering.tracking_stage import TrackingStage
from portraitd.model.errors import StoreError, WorkerDied
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.stage import Now
from portraitd.store.database import Database
from portraitd.workers.pool import InlineExecutor
from support.clock import at
from support.embedding_rules import DLIB_RULES
from support.executors import HeldExecutor
from support.store import ENCODER, Store, embedding, slice_faces

DIED = Reason(ReasonCode.WORKER_DIED, "died")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


@pytest.fixture
def held() -> HeldExecutor:
    return HeldExecutor()


def tracker(
    store: Store, executor: Executor, wake: Callable[[], None] = lambda: None
) -> TrackingStage:
    return TrackingStage(store.tracks, ENCODER, DLIB_RULES, executor, wake, attempts=2)


def tracked(store: Store) -> list[int]:
    """The videos that have tracks."""
    rows = store.database.execute("select distinct video_id from tracks order by video_id")
    return [row[0] for row in rows]


def test_finished_videos_get_their_tracks(store: Store) -> None:
    """All of them at one turn, where the answers are there at once."""
    for seed in range(3):
        store.see(embedding(seed))
    stage = tracker(store, InlineExecutor())
    assert stage.pending

    stage.tick(at(10.0))

    assert [1, 2, 3] == tracked(store)
    assert [1, 2, 3] == store.tracks.rows().ids.tolist()
    assert not stage.pending


def test_a_video_gets_its_tracks_once(store: Store) -> None:
    """Later ticks build nothing again."""
    store.see(embedding(1))
    stage = tracker(store, InlineExecutor())
    stage.tick(at(10.0))

    with capture_logs() as logs:
        stage.tick(at(11.0))
        tracker(store, InlineExecutor()).tick(at(12.0))

    assert [] == logs
    assert [1] == store.tracks.rows().ids.tolist()


def test_one_video_at_a_time(store: Store, held: HeldExecutor) -> None:
    """The workers are there for the faces first; the next begins as soon as one is back."""
    store.see(embedding(1))
    store.see(embedding(2))
    stage = tracker(store, held)
    for now_s in (10.0, 11.0, 12.0):
        stage.tick(at(now_s))
        assert 1 == len(held.jobs)
    held.answer()

    stage.tick(at(13.0))

    assert [1] == tracked(store)
    assert 1 == len(held.jobs)
    assert stage.pending


def test_a_result_wakes_the_loop(store: Store, held: HeldExecutor) -> None:
    """So that it is not waited for until the next scan."""
    rings: list[str] = []
    store.see(embedding(1))
    stage = tracker(store, held, lambda: rings.append("rung"))
    stage.tick(at(10.0))
    assert [] == rings

    held.answer()

    assert ["rung"] == rings


def test_a_video_that_is_still_being_encoded_waits(store: Store, held: HeldExecutor) -> None:
    """A track runs through all its slices."""
    store.video(slices=2)
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(embedding(1)), ENCODER, 5.0)
    stage = tracker(store, held)

    stage.tick(at(10.0))

    assert [] == held.jobs
    assert not stage.pending


def long_video(store: Store, done: int) -> None:
    """A video of five minutes, some of them done and one with a worker."""
    store.video(slices=5)
    for minute in range(done):
        claimed = store.slice_queue.claim()
        assert claimed
        found = slice_faces(embedding(minute), ended_s=60.0 * minute + 60)
        store.slice_queue.record(claimed, found, ENCODER, 5.0)
    assert store.slice_queue.claim()


def test_a_long_video_gets_tracks_before_it_is_done(store: Store, held: HeldExecutor) -> None:
    """From two minutes on; it does not count as finished for that."""
    long_video(store, 1)
    stage = tracker(store, held)
    stage.tick(at(10.0))
    assert [] == held.jobs
    store.database.execute("delete from videos")
    long_video(store, 2)

    stage.tick(at(11.0))
    held.answer()
    stage.tick(at(12.0))

    assert 2 == len(store.tracks.rows().ids)
    assert not stage.pending
    assert [] == held.jobs


def test_a_long_video_whose_first_tracks_fail_waits_for_its_end(
    store: Store, held: HeldExecutor
) -> None:
    """The attempts of its end are not used up."""
    long_video(store, 3)
    stage = tracker(store, held)
    stage.tick(at(10.0))
    held.fail(WorkerDied("died"))
    with capture_logs() as logs:
        stage.tick(at(11.0))
    assert ["tracking_put_off"] == [line["event"] for line in logs]
    assert not stage.blocked

    stage.tick(at(200.0))

    assert [] == held.jobs


@pytest.mark.parametrize(
    "error", [WorkerDied("the worker ran out of memory"), ValueError("a mistake of ours")]
)
def test_a_failed_job_is_tried_again_after_a_minute(
    store: Store, held: HeldExecutor, error: Exception
) -> None:
    """Not at every turn, and it ends nothing but itself."""
    store.see(embedding(1))
    stage = tracker(store, held)
    stage.tick(at(10.0))
    held.fail(error)
    with capture_logs() as logs:
        stage.tick(at(11.0))
    assert [("tracking_failed", 1)] == [(line["event"], line["video"]) for line in logs]
    stage.tick(at(70.0))
    assert [] == held.jobs
    assert stage.pending

    stage.tick(at(71.0))
    held.answer()
    stage.tick(at(72.0))

    assert [1] == tracked(store)
    assert not stage.pending


def test_tracks_that_the_database_refuses_fail_their_own_video(store: Store) -> None:
    """It gets tracks at a later attempt, others at once."""
    for seed in range(2):
        store.see(embedding(seed))
    store.database.execute(
        "create trigger refuse before insert on tracks when new.video_id = 1 "
        "begin select raise(abort, 'no such row'); end"
    )
    stage = tracker(store, InlineExecutor())

    stage.tick(at(10.0))
    assert [2] == tracked(store)
    store.database.execute("drop trigger refuse")
    stage.tick(at(100.0))

    assert [1, 2] == tracked(store)
    assert not stage.blocked


def test_a_failed_job_delays_no_other_video(store: Store, held: HeldExecutor) -> None:
    """They have their turn while it waits for its next one."""
    store.see(embedding(1))
    store.see(embedding(2))
    stage = tracker(store, held)
    stage.tick(at(10.0))
    held.fail(WorkerDied("died"))

    stage.tick(at(11.0))
    held.answer()
    stage.tick(at(12.0))

    assert [2] == tracked(store)
    assert stage.pending


def test_a_job_that_always_fails_leaves_each_face_a_track_of_its_own(
    store: Store, held: HeldExecutor
) -> None:
    """So that its people are found all the same."""
    store.see(embedding(1), embedding(1))
    stage = tracker(store, held)
    for now_s in (10.0, 100.0):
        stage.tick(at(now_s))
        held.fail(WorkerDied("died"))
        stage.tick(at(now_s + 1))

    stage.tick(at(200.0))
    held.answer()
    stage.tick(at(201.0))

    assert [1, 1] == store.tracks.rows().faces.tolist()
    assert not stage.pending


def test_a_video_that_cannot_be_given_tracks_is_left_with_the_reason(
    store: Store, held: HeldExecutor
) -> None:
    """Nothing waits for it any more, until the next start tries again."""
    store.see(embedding(1))
    stage = tracker(store, held)
    for now_s in (10.0, 100.0, 200.0, 300.0):
        stage.tick(at(now_s))
        held.fail(WorkerDied("the worker ran out of memory"))
        stage.tick(at(now_s + 1))
    stage.tick(at(400.0))

    assert [] == held.jobs
    assert not stage.pending
    (reason,) = store.database.execute("select reason from videos").fetchone()
    assert "ran out of memory" in reason
    assert tracker(store, held).pending


def test_after_a_clock_set_back_a_failed_job_does_not_wait_for_hours(
    store: Store, held: HeldExecutor
) -> None:
    """A minute is a minute, whatever the clock says."""
    store.see(embedding(1))
    stage = tracker(store, held)
    stage.tick(at(10_000.0))
    held.fail(WorkerDied("died"))
    stage.tick(at(10_001.0))

    stage.tick(Now(6000.0, 10_061.0))

    assert 1 == len(held.jobs)


def test_released_work_is_done_again(store: Store, held: HeldExecutor) -> None:
    """The service stopped; the late result is ignored, and the next start repeats the job."""
    store.see(embedding(1))
    stage = tracker(store, held)
    stage.tick(at(10.0))
    stage.release()
    held.answer()
    assert [] == tracked(store)

    again = tracker(store, held)
    assert again.pending
    again.tick(at(11.0))
    held.answer()
    again.tick(at(12.0))

    assert [1] == tracked(store)
    assert [1] == store.tracks.rows().ids.tolist()


def test_a_video_that_was_erased_meanwhile_is_skipped(store: Store, held: HeldExecutor) -> None:
    """Its answer is dropped, and the next video has its turn."""
    store.see(embedding(1))
    store.see(embedding(2))
    stage = tracker(store, held)
    stage.tick(at(10.0))
    store.database.execute("delete from videos where id = 1")
    held.answer()

    stage.tick(at(11.0))
    held.answer()
    stage.tick(at(12.0))

    assert [2] == tracked(store)
    assert not stage.pending


def test_a_video_with_more_faces_meanwhile_is_tracked_again(
    store: Store, held: HeldExecutor
) -> None:
    """It was retried while its tracks were made: those of all its faces count."""
    store.video(slices=2)
    first, second = store.slice_queue.claim(), store.slice_queue.claim()
    assert first
    assert second
    store.slice_queue.record(first, slice_faces(embedding(1)), ENCODER, 5.0)
    store.slice_queue.lose(second, DIED, 1, 6.0)
    stage = tracker(store, held)
    stage.tick(at(10.0))
    store.slice_queue.retry(11.0)
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(embedding(1)), ENCODER, 12.0)
    held.answer()

    stage.tick(at(13.0))
    assert [] == tracked(store)
    held.answer()
    stage.tick(at(14.0))

    # Both at the same time of the video: two tracks.
    assert [1, 1] == store.tracks.rows().faces.tolist()
    assert not stage.pending


def test_a_result_is_not_lost_while_the_store_is_full(store: Store, held: HeldExecutor) -> None:
    """The service says so and goes on; the answer is written when there is room."""
    store.see(*(embedding(seed) for seed in range(40)))
    stage = tracker(store, held)
    stage.tick(at(10.0))
    held.answer()
    pages = store.database.execute("pragma page_count").fetchone()[0]
    store.database.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        stage.tick(at(11.0))
    assert [] == tracked(store)
    store.database.execute("pragma max_page_count = 1000000")

    stage.tick(at(12.0))

    assert [] == held.jobs
    assert [1] == tracked(store)
    assert 40 == len(store.tracks.rows().ids)
