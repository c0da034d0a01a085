"""Files and slices on their way through workers, and whatever may come back."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portraitd.config import Settings
from portraitd.ingest import media_jobs
from portraitd.ingest.dispatcher import MAX_INTERRUPTIONS, Dispatcher
from portraitd.model.errors import (
    FileChanged,
    ModelError,
    NotMedia,
    PortraitdError,
    StoreError,
    UnreadableVideo,
    VideoError,
    WorkerDied,
    WorkerNotStarted,
    WorkersUnavailable,
)
from portraitd.model.face import SliceFaces
from portraitd.model.media_file import FileState, Source, Stamp
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.store.database import Database
from portraitd.store.files import INBOX
from support.clock import at
from support.store import Store, embedding, slice_faces, video_facts


class Workers(Executor):
    """Takes jobs, and answers as the test says.

    Attributes:
        real_hash: What every file contains; empty for what its probe says.
    """

    def __init__(self) -> None:
        self.probes: list[Future[Any]] = []
        self.slices: list[Future[Any]] = []
        self.pieces: list[tuple[float, float]] = []
        self.checks: list[Future[Any]] = []
        self.hashes: list[Future[Any]] = []
        self.real_hash = ""
        self._probed: dict[Source, Future[Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if fn is media_jobs.probe:
            self.probes.append(future)
            self._probed[args[0]] = future
        elif fn is media_jobs.hash_content:
            self.hashes.append(future)
            said = self._probed[args[0]].result()
            future.set_result((self.real_hash or said.sha256, said.extends))
        elif fn is media_jobs.warm_up:
            self.checks.append(future)
        else:
            assert fn is media_jobs.encode
            self.slices.append(future)
            self.pieces.append((args[0].start_s, args[0].stop_s))
        return future


class AvailableInbox:
    """An inbox whose share is mounted."""

    is_unavailable = False

    def has_lost(self, path: Path) -> bool:
        return False


class Floor:
    """A dispatcher with two places, its workers and its store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.workers = Workers()
        self.rings = 0
        self.dispatcher = Dispatcher(
            store.files,
            store.slice_queue,
            self.workers,
            slots=2,
            wake=self._ring,
            settings=Settings(),
            inbox=AvailableInbox(),
        )

    def _ring(self) -> None:
        self.rings += 1

    def tick(self, now_s: float = 10.0) -> None:
        self.dispatcher.tick(at(now_s))

    def state(self, name: str = "clip.mp4") -> FileState:
        return self.store.files.below(INBOX)[Path(name)].state

    def reason(self, name: str = "clip.mp4") -> Reason:
        return self.store.files.below(INBOX)[Path(name)].reason


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


@pytest.fixture
def floor(store: Store) -> Floor:
    return Floor(store)


class FailsAfterAdmission(Database):
    """A database that fails once: at the first statement after a video was added."""

    _last = ""
    _is_added = False

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        if self._is_added and self._last == "commit":
            self._is_added = False
            raise StoreError("the disk is full")
        self._last = sql
        self._is_added |= "insert into videos" in sql
        return super().execute(sql, parameters)


def test_a_ready_file_is_probed_and_then_encoded(store: Store, floor: Floor) -> None:
    """As many slices are out as there are places; each answer rings."""
    store.file(state=FileState.READY)
    floor.tick()
    assert FileState.PROBING is floor.state()
    floor.workers.probes[0].set_result(video_facts(180.0))
    floor.tick()
    assert FileState.ENCODING is floor.state()
    assert [(0.0, 60.0), (60.0, 120.0)] == floor.workers.pieces
    floor.workers.slices[0].set_result(slice_faces(embedding(1)))
    floor.tick()
    assert (120.0, math.inf) == floor.workers.pieces[2]
    floor.workers.slices[1].set_result(slice_faces())
    floor.workers.slices[2].set_result(slice_faces(embedding(2), ended_s=180.0))
    floor.tick()

    assert FileState.DONE is floor.state()
    assert 2 == store.faces.count()
    assert 5 == floor.rings
    assert not floor.dispatcher.busy


def test_a_file_is_admitted_once_if_the_store_fails_afterwards(tmp_path: Path) -> None:
    """It does not become a duplicate of itself."""
    floor = Floor(Store(FailsAfterAdmission.open(tmp_path)))
    floor.store.file(state=FileState.READY)
    floor.tick()
    floor.workers.probes[0].set_result(video_facts(60.0))
    with pytest.raises(StoreError):
        floor.tick()
    floor.tick()

    assert (FileState.ENCODING, NO_REASON) == (floor.state(), floor.reason())
    assert 1 == len(floor.workers.pieces)


@pytest.mark.parametrize("kind", [ModelError, WorkerNotStarted])
def test_workers_that_cannot_start_fail_no_file(
    store: Store, floor: Floor, kind: type[PortraitdError]
) -> None:
    """The service is blocked until they can, and no attempt is counted."""
    store.video("film.mp4", slices=1)
    store.file("photo.jpg", FileState.READY)
    floor.tick()
    floor.workers.probes[0].set_exception(kind("/models/a.onnx cannot be read"))
    floor.workers.slices[0].set_exception(kind("/models/a.onnx cannot be read"))
    floor.tick()
    assert "" == floor.dispatcher.blocked.text
    for now_s in (20.0, 60.0, 100.0, 140.0):
        floor.workers.checks[-1].set_exception(kind("/models/a.onnx cannot be read"))
        floor.tick(now_s)
        assert "the workers cannot start: /models/a.onnx" in floor.dispatcher.blocked.text
        floor.tick(now_s + 29.0)
        assert floor.workers.checks[-1].done()
        floor.tick(now_s + 30.0)
    assert 5 == len(floor.workers.checks)
    assert (1, 1) == (len(floor.workers.probes), len(floor.workers.slices))

    floor.workers.checks[-1].set_result("encoder")
    floor.tick(200.0)

    assert "" == floor.dispatcher.blocked.text
    assert (2, 2) == (len(floor.workers.probes), len(floor.workers.slices))
    assert 1 == store.files.below(INBOX)[Path("photo.jpg")].attempts
    assert [1] == [row[0] for row in store.database.execute("select attempts from slices")]


def test_a_worker_that_only_says_that_it_cannot_counts_as_an_attempt(
    store: Store, floor: Floor
) -> None:
    """A file may have made it say so; it must not stop the service, or be read without end."""
    store.file(state=FileState.READY)
    floor.tick()
    while floor.state() is FileState.PROBING:
        floor.workers.probes[-1].set_exception(ModelError("no model"))
        floor.tick()
        assert "" == floor.dispatcher.blocked.text
        floor.workers.checks[-1].set_result("encoder")
        floor.tick()

    assert FileState.FAILED is floor.state()
    assert 3 == len(floor.workers.probes) == len(floor.workers.checks)


def test_files_are_probed_before_slices_are_encoded(store: Store, floor: Floor) -> None:
    """So that a short photo does not wait for a long film."""
    store.video("film.mp4", slices=9)
    floor.tick()
    store.file("photo.jpg", FileState.READY)
    floor.workers.slices[0].set_result(slice_faces())

    floor.tick()

    assert 1 == len(floor.workers.probes)
    assert 2 == len(floor.workers.slices)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (NotMedia(Reason.of(ReasonCode.TEXT_FILE)), FileState.FAILED),
        (UnreadableVideo("no frame"), FileState.FAILED),
        (FileChanged("written or replaced"), FileState.GONE),
    ],
)
def test_a_file_that_cannot_be_probed_says_why(
    store: Store, floor: Floor, error: VideoError, state: FileState
) -> None:
    """One that changed is looked at again when it has stood still."""
    store.file(state=FileState.READY)
    floor.tick()
    floor.workers.probes[0].set_exception(error)

    floor.tick()

    assert (state, error.reason) == (floor.state(), floor.reason())
    assert 1 == len(floor.workers.probes)


@pytest.mark.parametrize("error", [WorkerDied("ended by SIGSEGV"), RuntimeError("pool is broken")])
def test_a_file_whose_worker_dies_is_probed_three_times(
    store: Store, floor: Floor, error: Exception
) -> None:
    """Then it has failed, with the reason of the last time."""
    store.file(state=FileState.READY)
    for attempt in range(3):
        floor.tick()
        floor.workers.probes[attempt].set_exception(error)

    floor.tick()

    assert 3 == len(floor.workers.probes)
    assert FileState.FAILED is floor.state()
    assert str(error) in floor.reason().text
    code = error.reason.code if isinstance(error, WorkerDied) else ReasonCode.UNEXPECTED_ERROR
    assert code is floor.reason().code


def test_a_slice_whose_worker_dies_is_encoded_three_times(store: Store, floor: Floor) -> None:
    """Then the video has failed; another one has not."""
    store.video("bad.mp4")
    store.video("good.mp4")
    floor.tick()
    bad, good = floor.workers.slices
    good.set_result(slice_faces(embedding(1)))
    for _ in range(3):
        bad.set_exception(WorkerDied("ended by SIGSEGV"))
        floor.tick()
        bad = floor.workers.slices[-1]

    assert 4 == len(floor.workers.slices)
    assert FileState.FAILED is floor.state("bad.mp4")
    assert Reason(ReasonCode.WORKER_DIED, "ended by SIGSEGV") == floor.reason("bad.mp4")
    assert FileState.DONE is floor.state("good.mp4")
    assert 1 == store.faces.count()


def test_a_video_that_cannot_be_decoded_is_given_up_at_once(store: Store, floor: Floor) -> None:
    """It is at fault, not the worker."""
    store.video(slices=9)
    floor.tick()
    floor.workers.slices[0].set_exception(UnreadableVideo("no frame"))
    floor.workers.slices[1].set_exception(UnreadableVideo("no frame"))

    floor.tick()

    assert 2 == len(floor.workers.slices)
    assert FileState.FAILED is floor.state()
    assert Reason(ReasonCode.NO_FRAME_DECODED, "no frame") == floor.reason()


@pytest.mark.parametrize(
    "second",
    [
        FileChanged("written"),
        UnreadableVideo("no frame"),
        WorkerDied("died"),
        slice_faces(embedding(1)),
    ],
)
def test_a_video_that_changes_is_forgotten_whatever_else_comes(
    store: Store, floor: Floor, second: Any
) -> None:
    """Its other slices were out; their answers are about nothing."""
    store.video(slices=2)
    for _ in range(2):
        store.slice_queue.claim()
    store.database.execute("update slices set state = 'queued', attempts = 2")
    floor.tick()
    floor.workers.slices[0].set_exception(FileChanged("written"))
    if isinstance(second, Exception):
        floor.workers.slices[1].set_exception(second)
    else:
        floor.workers.slices[1].set_result(second)

    floor.tick()

    assert FileState.GONE is floor.state()
    assert Reason(ReasonCode.CHANGED_WHILE_READ, "written") == floor.reason()
    assert 0 == store.faces.count()
    assert {} == store.slice_queue.counts()
    assert not floor.dispatcher.busy


@pytest.mark.parametrize(
    "answer", [video_facts(), NotMedia("text"), FileChanged("written"), WorkerDied("died")]
)
def test_an_answer_about_a_file_that_was_replaced_meanwhile_does_not_count(
    store: Store, floor: Floor, answer: Any
) -> None:
    """It is about the old content; the new one has to stand still first."""
    file = store.file(state=FileState.READY)
    floor.tick()
    growing = Reason.of(ReasonCode.STILL_CHANGING)
    store.files.note(INBOX, file.path, Stamp(99, 99, 99), FileState.WAITING, 11.0, growing)
    if isinstance(answer, Exception):
        floor.workers.probes[0].set_exception(answer)
    else:
        floor.workers.probes[0].set_result(answer)

    floor.tick()

    assert (FileState.WAITING, growing) == (floor.state(), floor.reason())
    assert {} == store.slice_queue.counts()
    assert not floor.dispatcher.busy


def test_a_file_replaced_while_it_is_encoded_stops_no_other(store: Store, floor: Floor) -> None:
    """Its slices that wait are dropped with it."""
    file = store.video(slices=9)
    floor.tick()
    store.video("other.mp4")
    store.files.note(INBOX, file.path, Stamp(99, 99, 99), FileState.WAITING, 11.0)
    for future in floor.workers.slices[:2]:
        future.set_result(slice_faces(embedding(1)))

    floor.tick()
    floor.workers.slices[2].set_result(slice_faces(embedding(2)))
    floor.tick()

    assert 3 == len(floor.workers.slices)
    assert FileState.DONE is floor.state("other.mp4")
    assert FileState.WAITING is floor.state()
    assert 1 == store.faces.count()


def test_what_is_out_is_given_back_when_the_daemon_stops(store: Store, floor: Floor) -> None:
    """As if it had never been claimed."""
    store.video("film.mp4")
    store.file("photo.jpg", FileState.READY)
    floor.tick()

    floor.dispatcher.release()

    assert FileState.READY is floor.state("photo.jpg")
    claimed = store.slice_queue.claim()
    assert claimed
    assert 1 == claimed.attempts
    assert 0 == store.files.below(INBOX)[Path("photo.jpg")].attempts
    assert not floor.dispatcher.busy


def test_an_answer_is_kept_until_it_is_recorded(store: Store, floor: Floor, tmp_path: Path) -> None:
    """A disk that is full when it comes does not lose it."""
    store.video()
    floor.tick()
    pages = store.database.execute("pragma page_count").fetchone()[0]
    store.database.execute(f"pragma max_page_count = {pages}")
    floor.workers.slices[0].set_result(slice_faces(*(embedding(seed) for seed in range(100))))
    with pytest.raises(StoreError, match="full"):
        floor.tick()
    store.database.execute("pragma max_page_count = 1000000")

    floor.tick()

    assert FileState.DONE is floor.state()
    assert 100 == store.faces.count()
    assert 1 == len(floor.workers.slices)


# --- What a worker that was taken over may say.


def test_a_worker_cannot_pass_a_file_for_another(store: Store, floor: Floor) -> None:
    """Another worker hashes it, which decodes nothing: else it would be a duplicate of that one."""
    store.video("victim.mp4")
    floor.tick()
    floor.workers.slices[0].set_result(slice_faces())
    store.file(state=FileState.READY)
    floor.workers.real_hash = "f" * 64
    for attempt in range(3):
        floor.tick()
        floor.workers.probes[attempt].set_result(video_facts())

    floor.tick()

    assert FileState.FAILED is floor.state()
    assert ReasonCode.INVALID_RESULT is floor.reason().code
    assert FileState.DONE is floor.state("victim.mp4")


def note_real_file(store: Store, folder: Path) -> int:
    """Record a file that is there, and ready. Return its id."""
    clip = folder / "clip.mp4"
    clip.write_bytes(b"video")
    stamp = Stamp.of(clip.stat())
    return store.files.note(os.fsencode(folder), Path(clip.name), stamp, FileState.READY, 1.0)


def test_a_file_that_only_is_said_to_have_changed_is_read_three_times(
    store: Store, floor: Floor, tmp_path: Path
) -> None:
    """It would be found at each scan, and read again, for ever."""
    file_id = note_real_file(store, tmp_path)
    for attempt in range(3):
        floor.tick()
        floor.workers.probes[attempt].set_exception(FileChanged("written"))

    floor.tick()

    assert FileState.FAILED is store.files.get(file_id).state
    assert 3 == len(floor.workers.probes)


def test_a_slice_whose_file_only_is_said_to_have_changed_is_read_three_times(
    store: Store, floor: Floor, tmp_path: Path
) -> None:
    """The same, after it was admitted."""
    file_id = note_real_file(store, tmp_path)
    floor.tick()
    floor.workers.probes[0].set_result(video_facts(1.0))
    for attempt in range(3):
        floor.tick()
        floor.workers.slices[attempt].set_exception(FileChanged("written"))

    floor.tick()

    assert FileState.FAILED is store.files.get(file_id).state
    assert 3 == len(floor.workers.slices)


def test_a_result_that_cannot_be_recorded_fails_its_own_file(store: Store, floor: Floor) -> None:
    """The service would end at it, and at the next start again."""
    store.file(state=FileState.READY)
    store.video("good.mp4")
    impossible = replace(video_facts(), width_px=10**30)
    for attempt in range(3):
        floor.tick()
        floor.workers.probes[attempt].set_result(impossible)
    floor.tick()
    floor.workers.slices[0].set_result(SliceFaces([None], 1, 1, 1.0, 1.0))  # type: ignore[list-item]
    floor.tick()
    floor.workers.slices[1].set_result(slice_faces())
    floor.tick()

    assert FileState.FAILED is floor.state()
    assert ReasonCode.UNEXPECTED_ERROR is floor.reason().code
    assert FileState.DONE is floor.state("good.mp4")


@pytest.mark.parametrize("table", ["faces", "videos"])
def test_a_result_that_violates_a_constraint_fails_its_own_file(
    store: Store, floor: Floor, table: str
) -> None:
    """The database refuses the row, and nothing else is wrong with it: no other file waits."""
    store.video("good.mp4")
    if table == "videos":
        store.file("bad.mp4", state=FileState.READY)
    else:
        store.video("bad.mp4")
    store.database.execute(
        f"create trigger refuse after insert on {table} when new.id > 1 "
        "begin select raise(abort, 'no such row'); end"
    )
    floor.tick()
    floor.workers.slices[0].set_result(slice_faces(embedding(1)))
    for _ in range(8):
        for probe in floor.workers.probes:
            if not probe.done():
                probe.set_result(video_facts())
        for piece in floor.workers.slices[1:]:
            if not piece.done():
                piece.set_result(slice_faces(embedding(2)))
        floor.tick()

    attempts = floor.workers.probes if table == "videos" else floor.workers.slices[1:]
    assert 3 == len(attempts)
    assert FileState.FAILED is floor.state("bad.mp4")
    assert ReasonCode.INVALID_RESULT is floor.reason("bad.mp4").code
    assert FileState.DONE is floor.state("good.mp4")
    assert 1 == store.faces.count()


# --- Services that end while workers have jobs.


def restart(floor: Floor) -> None:
    """Start again after a service that was killed."""
    floor.store.files.reclaim()
    floor.store.slice_queue.reclaim()
    floor.workers = Workers()
    floor.dispatcher = Floor(floor.store).dispatcher
    floor.dispatcher._executor = floor.workers


def test_a_service_that_is_killed_counts_nothing_against_its_jobs(
    store: Store, floor: Floor
) -> None:
    """Ten times: then both are done with their first attempt."""
    store.video("film.mp4")
    store.file("photo.jpg", FileState.READY)
    for _ in range(10):
        floor.tick()
        restart(floor)
    assert 0 == store.files.below(INBOX)[Path("photo.jpg")].attempts
    for _ in range(6):
        floor.tick()
        for probe in floor.workers.probes:
            if not probe.done():
                probe.set_result(video_facts(1.0, sha256="e" * 64))
        for encode in floor.workers.slices:
            if not encode.done():
                encode.set_result(slice_faces())

    assert FileState.DONE is floor.state("film.mp4")
    assert FileState.DONE is floor.state("photo.jpg")
    assert {1} == {row["attempts"] for row in store.database.execute("select * from slices")}


@pytest.mark.parametrize("kind", ["file", "slice"])
def test_a_job_that_ends_the_service_is_found(store: Store, floor: Floor, kind: str) -> None:
    """It ends it at each start, at once; another that ran beside it is done: it runs alone."""
    store.video("other.mp4")
    bad = store.file("bad.mp4", FileState.READY) if kind == "file" else store.video("bad.mp4")
    for table in ("files", "slices"):
        store.database.execute(f"update {table} set interruptions = {MAX_INTERRUPTIONS - 5}")
    starts = 0
    while floor.state("bad.mp4") is not FileState.FAILED:
        assert starts <= MAX_INTERRUPTIONS
        floor.tick()
        ends = store.database.execute(
            """
            select exists (select 1 from slices where state = 'running' and video_id = ?2)
                or exists (select 1 from files where state = 'probing' and id = ?1)
            """,
            (bad.id, store.files.get(bad.id).video_id),
        ).fetchone()[0]
        if ends:
            starts += 1
            assert starts < 3 or 1 == len(floor.workers.slices + floor.workers.probes)
            restart(floor)
            continue
        for encode in floor.workers.slices:
            if not encode.done():
                encode.set_result(slice_faces())

    floor.tick()
    assert 5 == starts
    assert Reason.of(ReasonCode.INTERRUPTED, count=MAX_INTERRUPTIONS) == floor.reason("bad.mp4")
    assert FileState.DONE is floor.state("other.mp4")


def test_a_job_without_workers_is_not_claimed_for_ever(store: Store, floor: Floor) -> None:
    """What an executor says at once would otherwise be asked again at once, 11,000 times."""
    store.video()
    store.database.execute(f"update slices set interruptions = {MAX_INTERRUPTIONS - 5}")
    ticks = 0
    while floor.state() is not FileState.FAILED:
        assert ticks <= MAX_INTERRUPTIONS
        ticks += 1
        floor.tick()
        for encode in floor.workers.slices:
            if not encode.done():
                encode.set_exception(WorkersUnavailable("no worker"))

    assert 5 == len(floor.workers.slices)


def test_workers_that_are_killed_with_the_service_count_nothing(store: Store, floor: Floor) -> None:
    """As when a unit is stopped: its processes get the same signal."""
    store.video("film.mp4")
    store.file("photo.jpg", FileState.READY)
    floor.tick()
    floor.workers.probes[0].set_exception(WorkerDied("killed"))
    floor.workers.slices[0].set_exception(WorkerDied("killed"))

    floor.dispatcher.collect(at(10.0), is_stopping=True)

    assert not floor.dispatcher.busy
    assert FileState.READY is floor.state("photo.jpg")
    assert 0 == store.files.below(INBOX)[Path("photo.jpg")].attempts
    assert [0] == [row["attempts"] for row in store.database.execute("select * from slices")]
