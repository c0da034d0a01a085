"""Which slice is next: urgent first, fair between videos, the newest never last."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from portraitd.model.media_file import FileState
from portraitd.store.database import Database
from portraitd.store.slices import ClaimedSlice
from support.store import ENCODER, Store, slice_faces, video_facts


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


def add(store: Store, name: str, slices: int, priority: int = 0) -> int:
    """A video that waits. Returns its id."""
    facts = video_facts(60.0 * slices, f"sha of {name}")
    file = store.file(name)
    assert FileState.ENCODING is store.slice_queue.admit(file, facts, 60.0, 2.0, priority)
    return int(store.files.get(file.id).video_id or 0)


def claim(store: Store, count: int) -> list[ClaimedSlice]:
    tickets = [store.slice_queue.claim() for _ in range(count)]
    return [claimed for claimed in tickets if claimed]


def test_two_long_films_share_the_workers(store: Store) -> None:
    """The second does not wait for the end of the first; within one, time goes on."""
    first, second = add(store, "a.mp4", 9), add(store, "b.mp4", 9)

    tickets = claim(store, 8)

    assert {first: 4, second: 4} == {
        video: [claimed.video_id for claimed in tickets].count(video) for video in (first, second)
    }
    for video in (first, second):
        starts = [claimed.slice.start_s for claimed in tickets if claimed.video_id == video]
        assert [0.0, 60.0, 120.0, 180.0] == starts


def test_the_newest_drop_does_not_wait_behind_a_backlog(store: Store) -> None:
    """Of a hundred films it gets every second place that becomes free."""
    for number in range(100):
        add(store, f"{number}.mp4", 30)
    claim(store, 4)
    newest = add(store, "just-now.mp4", 3)

    following = [claimed.video_id for claimed in claim(store, 6)]

    assert 3 == following.count(newest)


def test_a_backlog_is_not_starved_by_new_drops(store: Store) -> None:
    """Something new comes with every slice; the old film comes to its end all the same."""
    old = add(store, "old.mp4", 5)
    done = 0
    for number in range(12):
        add(store, f"{number}.mp4", 5)
        for claimed in claim(store, 1):
            done += claimed.video_id == old
            store.slice_queue.record(claimed, slice_faces(), ENCODER, 3.0)

    assert done >= 5


def test_urgent_slices_go_first(store: Store) -> None:
    """Whatever is older or has waited longer."""
    ordinary = add(store, "ordinary.mp4", 3)
    urgent = add(store, "urgent.mp4", 3, priority=10)
    idle = add(store, "idle.mp4", 2, priority=-5)

    order = [claimed.video_id for claimed in claim(store, 9)]

    assert [urgent] * 3 + [ordinary] * 3 + [idle] * 2 == order


def test_a_slice_names_the_content_it_is_from(store: Store) -> None:
    """So that a worker that does not see the file can be sent it."""
    add(store, "a.mp4", 1)

    (claimed,) = claim(store, 1)

    assert "sha of a.mp4" == claimed.slice.sha256
    assert math.inf == claimed.slice.stop_s


def test_a_claim_costs_the_same_however_much_waits(store: Store) -> None:
    """A hundred thousand slices: a few steps in an index, milliseconds of CPU time at most."""
    for number in range(100):
        add(store, f"{number}.mp4", 1000)

    began_s = time.thread_time()
    tickets = claim(store, 50)
    each_s = (time.thread_time() - began_s) / 50

    assert 50 == len(tickets)
    assert 0.02 > each_s
