"""Videos and their slices: cut, claimed, recorded, lost and tried again."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from portraitd.model.media_file import FileState, MediaFacts, MediaKind, VideoState
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.store.database import Database
from portraitd.store.slices import ClaimedSlice, cut
from support.store import ENCODER, Store, embedding, endless, photo_facts, slice_faces, video_facts

HOUR_S = 3600.0

DIED = Reason(ReasonCode.WORKER_DIED, "died")
NO_FRAME = Reason(ReasonCode.NO_FRAME_DECODED, "no frame could be decoded")
CHANGED = Reason.of(ReasonCode.CHANGED_WHILE_READ)
REMOVED = Reason.of(ReasonCode.REMOVED)


def died(attempt: int) -> Reason:
    return Reason(ReasonCode.WORKER_DIED, f"died {attempt}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


def claim(store: Store) -> ClaimedSlice:
    claimed = store.slice_queue.claim()
    assert claimed
    return claimed


def jobs(store: Store) -> list[tuple[str, int]]:
    """State and attempts of each slice."""
    rows = store.database.execute("select state, attempts from slices order by id")
    return [(row["state"], row["attempts"]) for row in rows]


# --- Cutting.


@given(
    duration_s=st.one_of(st.floats(0, 1e7), st.just(math.inf)),
    slice_s=st.floats(1, HOUR_S),
)
def test_slices_are_a_partition_of_time(duration_s: float, slice_s: float) -> None:
    """From 0 to infinity, without a gap and without an overlap."""
    assume(not math.isfinite(duration_s) or duration_s / slice_s < 10_000)
    slices = cut(video_facts(duration_s), slice_s)

    assert 0.0 == slices[0][0]
    assert math.inf == slices[-1][1]
    assert all(earlier[1] == later[0] for earlier, later in pairwise(slices))
    assert all(start_s < stop_s for start_s, stop_s in slices)


@given(duration_s=st.floats(1, 1e5), slice_s=st.floats(1, HOUR_S))
def test_slices_are_about_as_long_as_asked_for(duration_s: float, slice_s: float) -> None:
    """Equal stretches; none is longer than one and a half of what was asked for."""
    assume(duration_s / slice_s < 10_000)
    starts = [start_s for start_s, _ in cut(video_facts(duration_s), slice_s)]
    lengths = [b - a for a, b in pairwise([*starts, duration_s])]

    assert max(lengths) <= 1.5 * slice_s * 1.0001
    assert max(lengths) - min(lengths) < 1e-6 * duration_s


@pytest.mark.parametrize("facts", [photo_facts(), endless(), video_facts(29.0)])
def test_what_is_short_or_endless_is_one_slice(facts: MediaFacts) -> None:
    """A photo, a video whose end is not known, and less than a slice."""
    assert [(0.0, math.inf)] == cut(facts, 60.0)


def test_a_small_file_that_claims_a_month_has_few_slices() -> None:
    """43,200 of a minute each before; they still cover all of it."""
    month = video_facts(30 * 24 * 3600.0)

    small, large = cut(month, 60.0, 52_000_000), cut(month, 60.0, 2_000_000_000)

    assert (100, 2000) == (len(small), len(large))
    assert (0.0, math.inf) == (small[0][0], small[-1][1])
    assert 43_200 == len(cut(month, 60.0, 100_000_000_000))


# --- Admitting.


def test_a_new_content_is_queued_in_slices(store: Store) -> None:
    """One row each, and the file is on its way."""
    file = store.file()

    state = store.slice_queue.admit(file, video_facts(150.0), 60.0, 2.0)

    assert FileState.ENCODING is state
    assert FileState.ENCODING is store.files.get(file.id).state
    assert [("queued", 0)] * 2 == jobs(store)
    assert {"queued": 1} == store.slice_queue.counts()


def test_a_known_content_is_a_duplicate(store: Store) -> None:
    """The reason names the first; nothing is queued again."""
    first = store.video(sha256="same")
    second = store.file("copy.mp4")

    state = store.slice_queue.admit(second, video_facts(sha256="same"), 60.0, 3.0)

    known = store.files.get(second.id)
    assert FileState.DUPLICATE is state
    assert ("same content as clip.mp4", first.video_id) == (known.reason.text, known.video_id)
    assert ReasonCode.DUPLICATE_OF is known.reason.code
    assert 1 == len(jobs(store))


def test_a_known_content_that_failed_fails_again(store: Store) -> None:
    """With the reason of the first time, and it is retried with it."""
    store.video(sha256="same")
    store.slice_queue.reject(claim(store), NO_FRAME, 3.0)
    second = store.file("copy.mp4")

    store.slice_queue.admit(second, video_facts(sha256="same"), 60.0, 4.0)

    known = store.files.get(second.id)
    assert FileState.FAILED is known.state
    assert "same content as clip.mp4, which failed: no frame could be decoded" == known.reason.text
    assert ReasonCode.DUPLICATE_OF_FAILED is known.reason.code
    store.slice_queue.retry(5.0)
    assert FileState.ENCODING is store.files.get(second.id).state


# --- Claiming.


def test_a_claim_counts_the_attempt_before_the_work(store: Store) -> None:
    """Whatever happens then, it was tried."""
    file = store.video(slices=2)

    claimed = claim(store)

    assert [("running", 1), ("queued", 0)] == jobs(store)
    assert 1 == claimed.attempts
    assert (0.0, 60.0) == (claimed.slice.start_s, claimed.slice.stop_s)
    assert MediaKind.VIDEO is claimed.slice.kind
    assert (Path("/inbox/clip.mp4"), file.stamp) == (
        claimed.slice.source.path,
        claimed.slice.source.stamp,
    )


def test_slices_are_claimed_in_order_and_once(store: Store) -> None:
    """Then there is none left."""
    store.video(slices=3)

    tickets = [store.slice_queue.claim() for _ in range(4)]

    assert [0.0, 60.0, 120.0, None] == [claimed and claimed.slice.start_s for claimed in tickets]
    assert [60.0, 120.0, math.inf, None] == [
        claimed and claimed.slice.stop_s for claimed in tickets
    ]


def test_a_released_slice_was_not_attempted(store: Store) -> None:
    """The daemon stopped while it ran."""
    store.video()

    store.slice_queue.release(claim(store))

    assert [("queued", 0)] == jobs(store)


def test_a_restart_queues_what_was_running(store: Store) -> None:
    """The attempt is not counted: the service may have been killed for any reason."""
    store.video(slices=2)
    claim(store)

    count = store.slice_queue.reclaim()

    assert 1 == count
    assert [("queued", 0), ("queued", 0)] == jobs(store)
    found = claim(store)
    assert (0.0, 1) == (found.slice.start_s, found.interruptions)


# --- Recording.


def test_recording_a_slice_stores_its_faces(store: Store) -> None:
    """Faces, portraits and the slice's state at once."""
    store.video(slices=2)

    outcome = store.slice_queue.record(
        claim(store), slice_faces(embedding(1), embedding(2)), ENCODER, 4.0
    )

    assert outcome is None
    assert [("done", 1), ("queued", 0)] == jobs(store)
    assert 2 == store.faces.count()
    assert [ENCODER] == store.faces.spaces()


def test_the_last_slice_finishes_the_video_and_its_file(store: Store) -> None:
    """The outcome adds up what all slices gave."""
    file = store.video(slices=2)
    first, last = claim(store), claim(store)
    store.slice_queue.record(last, slice_faces(embedding(1), ended_s=120.0), ENCODER, 4.0)

    outcome = store.slice_queue.record(first, slice_faces(embedding(2)), ENCODER, 5.0)

    assert outcome
    assert (VideoState.DONE, NO_REASON, 2, 5.0) == (
        outcome.state,
        outcome.reason,
        outcome.faces,
        outcome.seconds,
    )
    assert FileState.DONE is store.files.get(file.id).state
    assert not store.slice_queue.any_open()


def test_an_answer_that_comes_twice_counts_once(store: Store) -> None:
    """Also after a restart in which the slice was done again."""
    store.video(slices=2)
    claimed = claim(store)
    store.slice_queue.record(claimed, slice_faces(embedding(1)), ENCODER, 4.0)

    again = store.slice_queue.record(claimed, slice_faces(embedding(1)), ENCODER, 5.0)

    assert again is None
    assert 1 == store.faces.count()


def test_a_record_that_fails_leaves_no_face(store: Store) -> None:
    """Half a slice is no slice: it can be recorded again."""
    store.video()
    claimed = claim(store)
    broken = slice_faces(embedding(1), embedding(2))
    object.__setattr__(broken.detections[1].face, "score", "not a number")

    with pytest.raises(Exception, match="cannot"):
        store.slice_queue.record(claimed, broken, ENCODER, 4.0)

    assert 0 == store.faces.count()
    assert [("running", 1)] == jobs(store)


def test_a_video_that_ends_early_is_done_with_a_note(store: Store) -> None:
    """A truncated file gives what it has."""
    file = store.video()

    outcome = store.slice_queue.record(claim(store), slice_faces(ended_s=20.0), ENCODER, 4.0)

    assert outcome
    assert VideoState.DONE is outcome.state
    assert Reason.of(ReasonCode.PARTLY_DECODED, decoded_s=20.0, duration_s=60.0) == outcome.reason
    assert "only 20.0 s of 60.0 s could be decoded" == outcome.reason.text
    assert outcome.reason == store.files.get(file.id).reason


# --- Losing.


def test_a_lost_slice_is_tried_again(store: Store) -> None:
    """A worker may die for reasons of its own."""
    store.video()

    outcome = store.slice_queue.lose(claim(store), DIED, 3, 4.0)

    assert outcome is None
    assert [("queued", 1)] == jobs(store)


def test_after_so_many_attempts_the_video_fails(store: Store) -> None:
    """With the reason of the last time."""
    file = store.video()
    for attempt in (1, 2):
        assert store.slice_queue.lose(claim(store), died(attempt), 3, 4.0) is None

    outcome = store.slice_queue.lose(claim(store), died(3), 3, 5.0)

    assert outcome
    assert (VideoState.FAILED, died(3)) == (outcome.state, outcome.reason)
    assert FileState.FAILED is store.files.get(file.id).state
    assert died(3) == store.files.get(file.id).reason
    assert [("failed", 3)] == jobs(store)


def test_one_lost_slice_does_not_stop_the_others(store: Store) -> None:
    """The faces of the good ones are kept; the video is closed when all have ended."""
    store.video(slices=2)
    bad, good = claim(store), claim(store)
    assert store.slice_queue.lose(bad, DIED, 1, 4.0) is None

    outcome = store.slice_queue.record(good, slice_faces(embedding(1)), ENCODER, 5.0)

    assert outcome
    assert (VideoState.FAILED, DIED, 1) == (outcome.state, outcome.reason, outcome.faces)


def test_a_content_at_fault_is_not_tried_again(store: Store) -> None:
    """Neither this slice nor the ones that wait; what is running may end."""
    store.video(slices=3)
    first, second = claim(store), claim(store)

    assert store.slice_queue.reject(first, NO_FRAME, 4.0) is None
    outcome = store.slice_queue.record(second, slice_faces(), ENCODER, 5.0)

    assert outcome
    assert (VideoState.FAILED, NO_FRAME) == (outcome.state, outcome.reason)
    assert store.slice_queue.claim() is None


def test_retry_queues_the_failed_slices_only(store: Store) -> None:
    """What was found already is kept, and attempts begin anew."""
    file = store.video(slices=2)
    bad, good = claim(store), claim(store)
    store.slice_queue.record(good, slice_faces(embedding(1)), ENCODER, 4.0)
    store.slice_queue.lose(bad, DIED, 1, 4.0)

    count = store.slice_queue.retry(5.0)

    assert 1 == count
    assert [("queued", 0), ("done", 1)] == jobs(store)
    assert FileState.ENCODING is store.files.get(file.id).state
    assert NO_REASON == store.files.get(file.id).reason
    outcome = store.slice_queue.record(claim(store), slice_faces(embedding(2)), ENCODER, 6.0)
    assert outcome
    assert (VideoState.DONE, 2) == (outcome.state, outcome.faces)


# --- Forgetting.


def test_a_changed_file_forgets_the_video(store: Store) -> None:
    """What was found in it came from a content nobody has any more."""
    file = store.video(slices=2)
    first, second = claim(store), claim(store)
    store.slice_queue.record(first, slice_faces(embedding(1)), ENCODER, 4.0)

    store.slice_queue.discard_changed(second, FileState.GONE, CHANGED, 5.0)

    assert 0 == store.faces.count()
    assert [] == jobs(store)
    assert (FileState.GONE, CHANGED) == (
        store.files.get(file.id).state,
        store.files.get(file.id).reason,
    )


def test_another_name_of_a_changed_file_is_looked_into(store: Store) -> None:
    """The duplicate is the original now."""
    store.video(sha256="same")
    copy = store.file("copy.mp4")
    store.slice_queue.admit(copy, video_facts(sha256="same"), 60.0, 3.0)

    store.slice_queue.discard_changed(claim(store), FileState.GONE, REMOVED, 5.0)

    assert FileState.READY is store.files.get(copy.id).state


@pytest.mark.parametrize("way", ["record", "lose", "reject", "release", "forget"])
def test_late_answers_about_a_forgotten_video_do_nothing(store: Store, way: str) -> None:
    """Its other slices were still out; whatever they come to, nobody waits for it."""
    store.video(slices=2)
    first, late = claim(store), claim(store)
    store.slice_queue.discard_changed(first, FileState.GONE, REMOVED, 5.0)
    answers = {
        "record": lambda: store.slice_queue.record(late, slice_faces(embedding(1)), ENCODER, 6.0),
        "lose": lambda: store.slice_queue.lose(late, DIED, 1, 6.0),
        "reject": lambda: store.slice_queue.reject(late, NO_FRAME, 6.0),
        "release": lambda: store.slice_queue.release(late),
        "forget": lambda: store.slice_queue.discard_changed(late, FileState.GONE, REMOVED, 6.0),
    }

    assert answers[way]() is None

    assert 0 == store.faces.count()
    assert {} == store.slice_queue.counts()


@pytest.mark.parametrize("way", ["record", "lose", "reject", "release"])
def test_late_answers_never_hit_another_video(store: Store, way: str) -> None:
    """The number of a forgotten slice is not given to another one."""
    store.video(slices=2)
    first, late = claim(store), claim(store)
    store.slice_queue.discard_changed(first, FileState.GONE, REMOVED, 5.0)
    store.video("other.mp4", slices=2)
    claim(store), claim(store)
    answers = {
        "record": lambda: store.slice_queue.record(late, slice_faces(embedding(1)), ENCODER, 6.0),
        "lose": lambda: store.slice_queue.lose(late, DIED, 1, 6.0),
        "reject": lambda: store.slice_queue.reject(late, NO_FRAME, 6.0),
        "release": lambda: store.slice_queue.release(late),
    }

    assert answers[way]() is None

    assert [("running", 1), ("running", 1)] == jobs(store)
    assert 0 == store.faces.count()


# --- Looking.


def test_progress_adds_up_footage(store: Store) -> None:
    """Done, still to do, and what it took; an endless video counts as a minute."""
    store.video(slices=2)
    store.slice_queue.record(claim(store), slice_faces(), ENCODER, 4.0)
    endless_file = store.file("endless.mp4")
    store.slice_queue.admit(endless_file, endless(), 60.0, 4.0)

    progress = store.slice_queue.progress()

    assert (60.0, 120.0, 2.5) == (
        progress.footage_done_s,
        progress.footage_open_s,
        progress.work_s,
    )
