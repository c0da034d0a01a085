"""Which worker gets which job, and what it means when none answers; the network is a table here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd import __version__
from portraitd.model.errors import WorkerDied, WorkersUnavailable
from portraitd.service.remote.agent import Handshake, JobResult
from portraitd.service.remote.remote_executor import MOST_MOVES
from support import bad_jobs
from support.fake_network import NAME, Floor


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    found = Floor(tmp_path)
    yield found
    found.executor.shutdown(cancel_futures=True)


def test_a_worker_gets_no_job_before_it_has_said_who_it_is(floor: Floor) -> None:
    """What was asked for meanwhile is kept."""
    floor.table.there = {"a": 2}
    floor.executor.look()
    answer = floor.executor.submit(bad_jobs.add, 1)
    assert ([], 0) == (floor.table.started, floor.executor.places)

    usual = Handshake("host", __version__, NAME, True, "")
    floor.table.asked["a"].set_result(usual)

    assert 1 == len(floor.table.on("a"))
    assert 3 == floor.executor.places
    floor.table.started[0][2].set_result(JobResult(1))
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

    floor.executor.submit(bad_jobs.add, 1)
    floor.executor.submit(bad_jobs.add, 2)

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
    answers = [floor.executor.submit(bad_jobs.add, number) for number in range(10)]
    assert (2, 4, 6) == (
        len(floor.table.on("a")),
        len(floor.table.on("b")),
        floor.executor.places,
    )

    for _ in range(10):
        _, order, future = next(one for one in floor.table.started if not one[2].done())
        future.set_result(JobResult(order.args[0]))

    assert list(range(10)) == [answer.result(0) for answer in answers]


def test_an_idle_process_comes_before_a_place_in_a_queue(floor: Floor) -> None:
    """Two jobs go to two workers."""
    floor.meet("a", 1)
    floor.meet("b", 1)

    for number in range(2):
        floor.executor.submit(bad_jobs.add, number)

    assert (1, 1) == (len(floor.table.on("a")), len(floor.table.on("b")))


def test_what_a_lost_worker_had_goes_to_the_others(floor: Floor) -> None:
    """Whoever asked notices nothing; what the lost one still says does not count."""
    floor.meet("a", 1)
    answer = floor.executor.submit(bad_jobs.add, 1)
    late = floor.table.started[0][2]
    floor.meet("b", 1)
    floor.lose("a")
    assert [late] == floor.table.forgotten
    late.set_result(JobResult("from the lost one"))
    assert not answer.done()

    floor.table.started[1][2].set_result(JobResult("from the other"))

    assert "b" == floor.table.started[1][0]
    assert "from the other" == answer.result(0)


def test_an_answer_that_comes_twice_counts_once(floor: Floor) -> None:
    """A worker that was cut off comes back with what another has answered already."""
    floor.meet("a", 1)
    answer = floor.executor.submit(bad_jobs.add, 1)
    floor.meet("b", 1)
    floor.lose("a")
    floor.table.started[1][2].set_result(JobResult("first"))
    floor.meet("a", 1)

    floor.table.started[0][2].set_result(JobResult("second"))

    assert "first" == answer.result(0)
    assert 1 == sum(member.slices_done for member in floor.executor.members())


def test_a_job_that_takes_every_worker_with_it_is_given_up(floor: Floor) -> None:
    """It is the cause then; the message says so."""
    answer = floor.executor.submit(bad_jobs.add, 1)
    for number in range(MOST_MOVES + 1):
        assert not answer.done()
        floor.meet(f"worker-{number}")
        floor.lose(f"worker-{number}")

    with pytest.raises(WorkerDied, match="6 workers were lost while they had it"):
        answer.result(0)


def test_a_scheduler_that_restarts_is_no_fault_of_a_job(floor: Floor) -> None:
    """However often; the job goes out again when it is back."""
    answer = floor.executor.submit(bad_jobs.add, 1)
    for number in range(3 * MOST_MOVES):
        floor.table.there = {}
        floor.meet(f"worker-{number}")
        floor.table.there = None
        floor.executor.look()
        assert 0 == floor.executor.places
    assert not answer.done()

    floor.table.there = {}
    floor.meet("last")
    floor.table.started[-1][2].set_result(JobResult("at last"))

    assert "at last" == answer.result(0)


def test_a_connection_that_breaks_and_comes_back_is_no_fault_of_a_job(floor: Floor) -> None:
    """However often; the worker is asked anew who it is, and gets the job again."""
    floor.meet("a")
    answer = floor.executor.submit(bad_jobs.add, 1)
    for number in range(3 * MOST_MOVES):
        broken = floor.table.started[-1][2]
        broken.set_exception(WorkersUnavailable("connection lost"))
        floor.table.session += 1
        floor.executor.look()
        assert number + 2 == len(floor.table.started)

    floor.table.started[-1][2].set_result(JobResult("at last"))

    assert "at last" == answer.result(0)


def test_a_connection_that_was_made_anew_unseen_costs_time_alone(floor: Floor) -> None:
    """Dask lets go of all jobs then; they go out again, and a late answer does not count."""
    floor.meet("a")
    answer = floor.executor.submit(bad_jobs.add, 1)

    floor.table.session += 1
    floor.executor.look()

    (_, _, before), (_, _, after) = floor.table.started
    assert [before] == floor.table.forgotten
    before.set_result(JobResult("late"))
    assert not answer.done()
    after.set_result(JobResult("again"))
    assert "again" == answer.result(0)


def test_a_worker_whose_introduction_was_lost_is_asked_again(floor: Floor) -> None:
    """The connection broke while it said who it is."""
    floor.table.there = {"a": 1}
    floor.executor.look()
    floor.table.asked["a"].set_exception(WorkersUnavailable("connection lost"))

    floor.meet("a")

    assert ["accepted"] == [member.state for member in floor.executor.members()]


def test_a_worker_begun_anew_under_its_address_says_who_it_is(floor: Floor) -> None:
    """It may be of another version now, and has no file any more; what it had is given anew."""
    floor.meet("a")
    floor.executor.submit(bad_jobs.add, 1)

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
    answer = floor.executor.submit(bad_jobs.add, 1)

    floor.table.started[0][2].set_exception(WorkersUnavailable("connection lost"))

    assert (1, 0) == (len(floor.table.started), floor.executor.places)
    floor.executor.look()
    assert 2 == len(floor.table.started)
    assert not answer.done()


def test_a_job_that_is_never_answered_is_given_up_in_time(floor: Floor) -> None:
    """Its worker gets nothing more until it speaks."""
    floor.meet("a", 1)
    answer = floor.executor.submit(bad_jobs.add, 1)
    floor.now_s = 99.0
    floor.executor.look()
    assert not answer.done()
    del floor.table.introductions["a"]
    floor.now_s = 101.0
    floor.executor.look()

    with pytest.raises(WorkerDied, match="no answer from a within 100 s"):
        answer.result(0)
    floor.executor.submit(bad_jobs.add, 2)
    assert (1, 0) == (len(floor.table.started), floor.executor.places)
    floor.table.asked["a"].set_result(Handshake("host", __version__, NAME, True, ""))
    assert (2, 2) == (len(floor.table.started), floor.executor.places)


def test_time_without_workers_is_no_time_waited(floor: Floor) -> None:
    """A weekend with all workers switched off fails nothing."""
    answer = floor.executor.submit(bad_jobs.add, 1)
    for hour in range(48):
        floor.now_s = hour * 3600.0
        floor.executor.look()

    assert not answer.done()


def test_what_is_left_when_the_service_stops_is_given_back(floor: Floor) -> None:
    """It was not attempted."""
    floor.meet("a")
    out, waiting = floor.executor.submit(bad_jobs.add, 1), floor.executor.submit(bad_jobs.add, 2)

    floor.executor.shutdown(cancel_futures=True)

    assert [WorkersUnavailable] * 2 == [type(one.exception(0)) for one in (out, waiting)]
