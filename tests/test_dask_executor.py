"""Which worker gets which job, and what it means when none answers; the network is a table here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import faulty
from clusters import terms
from portraitd import __version__, jobs, worker_side
from portraitd.crew import Presence, Roll
from portraitd.dask_executor import MOST_MOVES, DaskExecutor
from portraitd.errors import FileChanged, NotMedia, WorkerDied, WorkersAway
from portraitd.model import Box, MediaKind, Portrait, Slice, SliceFaces
from portraitd.received import Received
from portraitd.worker_side import Answer, Introduction, Order
from processes import wait_until
from samples import source_of
from stores import embedding, sighting, slice_faces

NAME = "dlib-resnet-v1 by dlib, hog"


class Table:
    """A network where the test says who is there and what each answers."""

    address = "tcp://table"
    dashboard = "http://table/status"

    def __init__(self, folder: Path) -> None:
        self.there: dict[str, int] | None = {}
        self.births: dict[str, str] = {}
        self.session = 0
        self.started: list[tuple[str, Order, Future[Any]]] = []
        self.forgotten: list[Future[Any]] = []
        self.introductions: dict[str, Introduction] = {}
        self.asked: dict[str, Future[Any]] = {}
        self.received = Received(folder / "received")
        self.calls: list[tuple[str, int]] = []

    def workers(self) -> Roll | None:
        if self.there is None:
            return None
        return Roll(
            self.session,
            {
                address: Presence(threads, self.births.get(address, ""))
                for address, threads in self.there.items()
            },
        )

    def ask(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        assert fn is worker_side.introduce
        self.asked[address] = Future()
        if said := self.introductions.get(address):
            self.asked[address].set_result(said)
        return self.asked[address]

    def start(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        assert fn is worker_side.carry_out
        future: Future[Any] = Future()
        self.started.append((address, args[0], future))
        return future

    def call(self, address: str, fn: Callable[..., Any], *args: Any) -> Any:
        assert fn is worker_side.take_chunk
        self.calls.append((address, len(args[3])))
        return self.received.take(*args)

    def forget(self, outer: Future[Any]) -> None:
        self.forgotten.append(outer)

    def close(self) -> None:
        self.there = None

    def on(self, address: str) -> list[Order]:
        """What a worker was given."""
        return [order for place, order, _ in self.started if place == address]


class Floor:
    """An executor at a table, and the time."""

    def __init__(self, folder: Path, **asked: Any) -> None:
        self.table = Table(folder)
        self.now_s = 0.0
        self.rings = 0
        self.executor = DaskExecutor(
            self.table,
            terms(identity=NAME, answer_limit_s=100.0, **asked),
            self._ring,
            lambda: self.now_s,
            look_s=0.0,
        )

    def _ring(self) -> None:
        self.rings += 1

    def meet(self, address: str, processes: int = 1, **said: Any) -> None:
        """A worker comes and says who it is."""
        usual = Introduction(f"host of {address}", __version__, NAME, True, "")
        self.table.introductions[address] = usual._replace(**said)
        self.table.there = (self.table.there or {}) | {address: processes}
        self.executor.look()

    def lose(self, address: str) -> None:
        assert self.table.there
        del self.table.there[address]
        self.executor.look()


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    found = Floor(tmp_path)
    yield found
    found.executor.shutdown(cancel_futures=True)


@pytest.fixture
def piece(nobody: Path) -> Slice:
    """A slice of a clip whose content is known by its hash."""
    sha256 = hashlib.sha256(nobody.read_bytes()).hexdigest()
    return Slice(source_of(nobody), MediaKind.VIDEO, 0.0, math.inf, sha256)


def test_a_worker_gets_no_job_before_it_has_said_who_it_is(floor: Floor) -> None:
    """What was asked for meanwhile is kept."""
    floor.table.there = {"a": 2}
    floor.executor.look()
    answer = floor.executor.submit(faulty.add, 1)
    assert ([], 0) == (floor.table.started, floor.executor.places)

    usual = Introduction("host", __version__, NAME, True, "")
    floor.table.asked["a"].set_result(usual)

    assert 1 == len(floor.table.on("a"))
    assert 3 == floor.executor.places
    floor.table.started[0][2].set_result(Answer(1))
    assert 1 == answer.result(0)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"version": "0.0.9"}, f"portraitd 0.0.9 there, {__version__} here; install the same"),
        ({"encoder": "other"}, f"another encoder: 'other' there, '{NAME}' here; add or remove"),
        ({"trouble": "yunet is not there"}, "yunet is not there"),
    ],
)
def test_a_worker_that_would_find_other_faces_is_refused(
    floor: Floor, said: dict[str, str], reason: str
) -> None:
    """With a line that says what to do; the others work."""
    floor.meet("other", **said)
    floor.meet("same")

    floor.executor.submit(faulty.add, 1)
    floor.executor.submit(faulty.add, 2)

    states = {member.address: (member.state, member.reason) for member in floor.executor.members()}
    assert "refused" == states["other"][0]
    assert states["other"][1].startswith(reason)
    assert ("accepted", "") == states["same"]
    assert ([], 2) == (floor.table.on("other"), len(floor.table.on("same")))


def test_a_worker_that_cannot_say_who_it_is_is_refused(floor: Floor) -> None:
    """Portraitd is not installed there, for instance."""
    floor.table.there = {"a": 1}
    floor.executor.look()

    floor.table.asked["a"].set_exception(ModuleNotFoundError("No module named 'portraitd'"))

    (member,) = floor.executor.members()
    assert ("refused", "No module named 'portraitd'") == (member.state, member.reason)


def test_no_worker_gets_more_than_it_has_places(floor: Floor) -> None:
    """One beyond those it works on; the rest waits here, and goes to whoever is free first."""
    floor.meet("a", 1)
    floor.meet("b", 3)
    answers = [floor.executor.submit(faulty.add, number) for number in range(10)]
    assert (2, 4, 6) == (
        len(floor.table.on("a")),
        len(floor.table.on("b")),
        floor.executor.places,
    )

    for _ in range(10):
        _, order, future = next(one for one in floor.table.started if not one[2].done())
        future.set_result(Answer(order.args[0]))

    assert list(range(10)) == [answer.result(0) for answer in answers]


def test_an_idle_process_comes_before_a_place_in_a_queue(floor: Floor) -> None:
    """Two jobs go to two workers."""
    floor.meet("a", 1)
    floor.meet("b", 1)

    for number in range(2):
        floor.executor.submit(faulty.add, number)

    assert (1, 1) == (len(floor.table.on("a")), len(floor.table.on("b")))


def test_what_a_lost_worker_had_goes_to_the_others(floor: Floor) -> None:
    """Whoever asked notices nothing; what the lost one still says does not count."""
    floor.meet("a", 1)
    answer = floor.executor.submit(faulty.add, 1)
    late = floor.table.started[0][2]
    floor.meet("b", 1)
    floor.lose("a")
    assert [late] == floor.table.forgotten
    late.set_result(Answer("from the lost one"))
    assert not answer.done()

    floor.table.started[1][2].set_result(Answer("from the other"))

    assert "b" == floor.table.started[1][0]
    assert "from the other" == answer.result(0)


def test_an_answer_that_comes_twice_counts_once(floor: Floor) -> None:
    """A worker that was cut off comes back with what another has answered already."""
    floor.meet("a", 1)
    answer = floor.executor.submit(faulty.add, 1)
    floor.meet("b", 1)
    floor.lose("a")
    floor.table.started[1][2].set_result(Answer("first"))
    floor.meet("a", 1)

    floor.table.started[0][2].set_result(Answer("second"))

    assert "first" == answer.result(0)
    assert 1 == sum(member.slices_done for member in floor.executor.members())


def test_a_job_that_takes_every_worker_with_it_is_given_up(floor: Floor) -> None:
    """It is the cause then; the message says so."""
    answer = floor.executor.submit(faulty.add, 1)
    for number in range(MOST_MOVES + 1):
        assert not answer.done()
        floor.meet(f"worker-{number}")
        floor.lose(f"worker-{number}")

    with pytest.raises(WorkerDied, match="6 workers were lost while they had it"):
        answer.result(0)


def test_a_scheduler_that_restarts_is_no_fault_of_a_job(floor: Floor) -> None:
    """However often; the job goes out again when it is back."""
    answer = floor.executor.submit(faulty.add, 1)
    for number in range(3 * MOST_MOVES):
        floor.table.there = {}
        floor.meet(f"worker-{number}")
        floor.table.there = None
        floor.executor.look()
        assert 0 == floor.executor.places
    assert not answer.done()

    floor.table.there = {}
    floor.meet("last")
    floor.table.started[-1][2].set_result(Answer("at last"))

    assert "at last" == answer.result(0)


def test_a_connection_that_breaks_and_comes_back_is_no_fault_of_a_job(floor: Floor) -> None:
    """However often; the worker is asked anew who it is, and gets the job again."""
    floor.meet("a")
    answer = floor.executor.submit(faulty.add, 1)
    for number in range(3 * MOST_MOVES):
        broken = floor.table.started[-1][2]
        broken.set_exception(WorkersAway("connection lost"))
        floor.table.session += 1
        floor.executor.look()
        assert number + 2 == len(floor.table.started)

    floor.table.started[-1][2].set_result(Answer("at last"))

    assert "at last" == answer.result(0)


def test_a_connection_that_was_made_anew_unseen_costs_time_alone(floor: Floor) -> None:
    """Dask lets go of all jobs then; they go out again, and a late answer does not count."""
    floor.meet("a")
    answer = floor.executor.submit(faulty.add, 1)

    floor.table.session += 1
    floor.executor.look()

    (_, _, before), (_, _, after) = floor.table.started
    assert [before] == floor.table.forgotten
    before.set_result(Answer("late"))
    assert not answer.done()
    after.set_result(Answer("again"))
    assert "again" == answer.result(0)


def test_a_worker_whose_introduction_was_lost_is_asked_again(floor: Floor) -> None:
    """The connection broke while it said who it is."""
    floor.table.there = {"a": 1}
    floor.executor.look()
    floor.table.asked["a"].set_exception(WorkersAway("connection lost"))

    floor.meet("a")

    assert ["accepted"] == [member.state for member in floor.executor.members()]


def test_a_worker_begun_anew_under_its_address_says_who_it_is(floor: Floor) -> None:
    """It may be of another version now, and has no file any more; what it had is given anew."""
    floor.meet("a")
    floor.executor.submit(faulty.add, 1)

    floor.table.births["a"] = "second"
    floor.meet("a", version="0.0.9")

    assert ["refused"] == [member.state for member in floor.executor.members()]
    assert 1 == len(floor.table.started)
    floor.table.births["a"] = "third"
    floor.meet("a")
    assert 2 == len(floor.table.started)


def test_a_lost_connection_decides_nothing(floor: Floor) -> None:
    """The next look tells who went; until then nobody who is in doubt gets a job."""
    floor.meet("a", 1)
    answer = floor.executor.submit(faulty.add, 1)

    floor.table.started[0][2].set_exception(WorkersAway("connection lost"))

    assert (1, 0) == (len(floor.table.started), floor.executor.places)
    floor.executor.look()
    assert 2 == len(floor.table.started)
    assert not answer.done()


def test_a_job_that_is_never_answered_is_given_up_in_time(floor: Floor) -> None:
    """Its worker gets nothing more until it speaks."""
    floor.meet("a", 1)
    answer = floor.executor.submit(faulty.add, 1)
    floor.now_s = 99.0
    floor.executor.look()
    assert not answer.done()
    del floor.table.introductions["a"]
    floor.now_s = 101.0
    floor.executor.look()

    with pytest.raises(WorkerDied, match="no answer from a within 100 s"):
        answer.result(0)
    floor.executor.submit(faulty.add, 2)
    assert (1, 0) == (len(floor.table.started), floor.executor.places)
    floor.table.asked["a"].set_result(Introduction("host", __version__, NAME, True, ""))
    assert (2, 2) == (len(floor.table.started), floor.executor.places)


def test_time_without_workers_is_no_time_waited(floor: Floor) -> None:
    """A weekend with all workers switched off fails nothing."""
    answer = floor.executor.submit(faulty.add, 1)
    for hour in range(48):
        floor.now_s = hour * 3600.0
        floor.executor.look()

    assert not answer.done()


def test_a_file_that_takes_long_is_no_silence(floor: Floor, piece: Slice) -> None:
    """Each piece that arrives says that the worker is there."""
    floor.meet("a", shares=False)
    takes = floor.table.call

    def slowly(address: str, fn: Callable[..., Any], *args: Any) -> Any:
        floor.now_s += 60.0
        floor.executor.look()
        return takes(address, fn, *args)

    floor.table.call = slowly  # type: ignore[method-assign]

    answer = floor.executor.submit(jobs.encode, piece)
    wait_until(lambda: floor.table.started, "it was started")
    floor.table.started[0][2].set_result(Answer(slice_faces()))

    assert 120.0 <= floor.now_s
    assert slice_faces().decoded == answer.result(5).decoded


def test_errors_of_a_job_arrive_as_they_are(floor: Floor) -> None:
    """By the name of their class; a name that is none of ours is a worker's mistake."""
    floor.meet("a", 9)
    ours, theirs, broken = (floor.executor.submit(faulty.add, number) for number in range(3))
    floor.table.started[0][2].set_result(Answer(error="NotMedia", message="text"))
    floor.table.started[1][2].set_result(Answer(error="SystemExit", message="odd"))
    floor.table.started[2][2].set_result("not an answer at all")

    assert (NotMedia, "text") == (type(ours.exception(0)), str(ours.exception(0)))
    assert (WorkerDied, "odd") == (type(theirs.exception(0)), str(theirs.exception(0)))
    assert isinstance(broken.exception(0), WorkerDied)


def nonsense() -> Iterator[tuple[str, object]]:
    """Answers that no slice can have, and a word of what is said about each."""
    good = sighting(embedding(1), 1.0)
    face, portrait = good.face, replace(good.portrait, jpeg=b"\xff\xd8\xff" + b"x" * 100)
    good = replace(good, portrait=portrait)

    def seen(**changed: Any) -> SliceFaces:
        return SliceFaces([replace(good, **changed)], 1, 1, 1.0, 1.0)

    yield "not faces", [good]
    yield "counts", SliceFaces([], -1, 1, 1.0, 1.0)
    yield "time it took", SliceFaces([], 1, 1, 1.0, math.nan)
    yield "it ended at", SliceFaces([], 1, 1, math.inf, 1.0)
    yield "a face at", seen(t_s=-5.0)
    yield "embedding", seen(face=replace(face, embedding=np.full(128, np.nan, np.float32)))
    yield "embedding", seen(face=replace(face, embedding=np.ones(64, np.float32)))
    yield "place", seen(face=replace(face, box=Box(9, 9, 1, 1)))
    yield "landmarks", seen(face=replace(face, landmarks=((1.0, math.inf),) * 5))
    yield "portrait", seen(portrait=Portrait(portrait.area, b"<svg>"))
    yield "frame to keep", SliceFaces([good], 1, 1, 1.0, 1.0, [(1.0, b"<svg>")])
    yield "a str among", SliceFaces(["face"], 1, 1, 1.0, 1.0)  # type: ignore[list-item]


@pytest.mark.parametrize(("word", "value"), list(nonsense()), ids=lambda value: str(value)[:12])
def test_an_answer_that_makes_no_sense_is_not_taken(
    floor: Floor, piece: Slice, word: str, value: object
) -> None:
    """A worker is another machine; what comes from it is looked at before it is believed."""
    floor.meet("a")
    answer = floor.executor.submit(jobs.encode, piece)
    wait_until(lambda: floor.table.started, "it was started")

    floor.table.started[0][2].set_result(Answer(value))

    with pytest.raises(WorkerDied, match=f"makes no sense: .*{word}"):
        answer.result(0)


def test_a_worker_that_sees_the_files_is_sent_none(floor: Floor, piece: Slice) -> None:
    """It reads them under the same path."""
    floor.meet("a", shares=True)

    floor.executor.submit(jobs.encode, piece)

    assert ("", piece) == (floor.table.started[0][1].sent, floor.table.started[0][1].args[0])
    assert [] == floor.table.calls


def test_a_file_is_sent_once_to_a_worker_that_does_not_see_it(floor: Floor, piece: Slice) -> None:
    """Whatever the number of its slices, and to no more workers than needed."""
    floor.meet("a", 4, shares=False)
    floor.meet("b", 4, shares=False)

    answers = [floor.executor.submit(jobs.encode, piece) for _ in range(4)]
    wait_until(lambda: len(floor.table.started) == 4, "all were started")

    size = piece.source.stamp.size
    assert {"a": size} == {
        address: sum(length for at, length in floor.table.calls if at == address)
        for address in {at for at, _ in floor.table.calls}
    }
    assert {piece.sha256} == {order.sent for _, order, _ in floor.table.started}
    assert piece.source.path.read_bytes() == floor.table.received.path(piece.sha256).read_bytes()
    for _, _, future in floor.table.started:
        future.set_result(Answer(slice_faces()))
    assert 4 == len([answer.result(5) for answer in answers])


def test_a_file_that_had_to_make_room_is_sent_again(floor: Floor, piece: Slice) -> None:
    """The job says that it is missing, and is given out anew."""
    floor.meet("a", shares=False)
    answer = floor.executor.submit(jobs.encode, piece)
    wait_until(lambda: floor.table.started, "it was started")

    floor.table.started[0][2].set_result(Answer(error="WorkerDied", missing=True))
    wait_until(lambda: len(floor.table.started) == 2, "it was started again")
    floor.table.started[1][2].set_result(Answer(slice_faces()))

    assert slice_faces().decoded == answer.result(5).decoded


def test_a_file_that_changes_is_not_sent(floor: Floor, piece: Slice, tmp_path: Path) -> None:
    """As when it is read here."""
    copy = tmp_path / "clip.mp4"
    copy.write_bytes(piece.source.path.read_bytes())
    changed = replace(piece, source=source_of(copy))
    copy.write_bytes(b"another")
    floor.meet("a", shares=False)

    answer = floor.executor.submit(jobs.encode, changed)

    with pytest.raises(FileChanged, match="while it was sent"):
        answer.result(10)


def test_a_file_larger_than_a_worker_may_keep_is_said(tmp_path: Path, piece: Slice) -> None:
    """With the setting to raise."""
    floor = Floor(tmp_path, cache_bytes=100)
    floor.meet("a", shares=False)

    answer = floor.executor.submit(jobs.encode, piece)

    with pytest.raises(WorkerDied, match=r"a: a file of .* workers\.cache_mb"):
        answer.result(10)
    floor.executor.shutdown(cancel_futures=True)


def test_what_is_left_when_the_service_stops_is_given_back(floor: Floor) -> None:
    """It was not attempted."""
    floor.meet("a")
    out, waiting = floor.executor.submit(faulty.add, 1), floor.executor.submit(faulty.add, 2)

    floor.executor.shutdown(cancel_futures=True)

    assert [WorkersAway] * 2 == [type(one.exception(0)) for one in (out, waiting)]
