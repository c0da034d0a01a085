"""Assigning jobs to remote workers, and handling lost ones, on a fake network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd import __version__
from portraitd.model.errors import WorkerDied, WorkersUnavailable
from portraitd.model.reasons import ReasonCode
from portraitd.service.remote.agent import Handshake
from portraitd.service.remote.remote_executor import MAX_DISPATCHES, MAX_MOVES
from support import bad_jobs
from support.fake_network import NAME, RemoteFixture


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[RemoteFixture]:
    found = RemoteFixture(tmp_path)
    yield found
    found.executor.shutdown(cancel_futures=True)


def test_a_worker_gets_no_job_before_its_handshake(remote: RemoteFixture) -> None:
    """Jobs that are submitted meanwhile are queued."""
    remote.network.connected = {"a": 2}
    remote.executor.poll()
    answer = remote.executor.submit(bad_jobs.add, 1)
    assert ([], 0) == (remote.network.submitted, remote.executor.slots)

    usual = Handshake("host", __version__, NAME, True, "")
    remote.network.greet("a", usual)

    assert 1 == len(remote.network.jobs_of("a"))
    assert 3 == remote.executor.slots
    remote.network.answer(1, at=0)
    assert 1 == answer.result(0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"version": "0.0.9"},
            f"the worker runs portraitd 0.0.9, the service {__version__}; install the same version",
        ),
        (
            {"encoder": "other"},
            f"different encoder: 'other' on the worker, '{NAME}' here; add or remove",
        ),
        ({"problem": "yunet is not there"}, "yunet is not there"),
    ],
)
def test_a_worker_that_would_find_other_faces_is_refused(
    remote: RemoteFixture, changed: dict[str, str], reason: str
) -> None:
    """With a message that says what to do; the other workers get the jobs."""
    remote.connect("other", **changed)
    remote.connect("same")

    remote.executor.submit(bad_jobs.add, 1)
    remote.executor.submit(bad_jobs.add, 2)

    states = {worker.address: (worker.state, worker.reason) for worker in remote.executor.workers()}
    assert "refused" == states["other"][0]
    assert states["other"][1].startswith(reason)
    assert ("accepted", "") == states["same"]
    assert ([], 2) == (remote.network.jobs_of("other"), len(remote.network.jobs_of("same")))


def test_a_worker_whose_handshake_fails_is_refused(remote: RemoteFixture) -> None:
    """For instance because portraitd is not installed there."""
    remote.network.connected = {"a": 1}
    remote.executor.poll()

    remote.network.pending_handshakes["a"].set_exception(
        ModuleNotFoundError("No module named 'portraitd'")
    )

    (worker,) = remote.executor.workers()
    assert ("refused", "No module named 'portraitd'") == (worker.state, worker.reason)
    assert ReasonCode.WORKER_UNUSABLE == worker.reason_code


def test_no_worker_gets_more_jobs_than_slots(remote: RemoteFixture) -> None:
    """One more than it runs at once; the others are queued for the first free slot."""
    remote.connect("a", 1)
    remote.connect("b", 3)
    answers = [remote.executor.submit(bad_jobs.add, number) for number in range(10)]
    assert (2, 4, 6) == (
        len(remote.network.jobs_of("a")),
        len(remote.network.jobs_of("b")),
        remote.executor.slots,
    )

    for _ in range(10):
        at = next(at for at, one in enumerate(remote.network.submitted) if not one[2].done())
        remote.network.answer(remote.network.submitted[at][1].args[0], at)

    assert list(range(10)) == [answer.result(0) for answer in answers]


def test_an_idle_process_is_preferred_to_a_queue_slot(remote: RemoteFixture) -> None:
    """Two jobs go to two workers."""
    remote.connect("a", 1)
    remote.connect("b", 1)

    for number in range(2):
        remote.executor.submit(bad_jobs.add, number)

    assert (1, 1) == (len(remote.network.jobs_of("a")), len(remote.network.jobs_of("b")))


def test_jobs_of_a_lost_worker_are_reassigned(remote: RemoteFixture) -> None:
    """The caller does not notice; a late result of the lost worker is dropped."""
    remote.connect("a", 1)
    answer = remote.executor.submit(bad_jobs.add, 1)
    late = remote.network.submitted[0][2]
    remote.connect("b", 1)
    remote.disconnect("a")
    assert [late] == remote.network.cancelled
    remote.network.answer("from the lost worker", at=0)
    assert not answer.done()

    remote.network.answer("from the other worker", at=1)

    assert "b" == remote.network.submitted[1][0]
    assert "from the other worker" == answer.result(0)


def test_a_result_that_arrives_twice_counts_once(remote: RemoteFixture) -> None:
    """A disconnected worker returns with a result that another one has sent already."""
    remote.connect("a", 1)
    answer = remote.executor.submit(bad_jobs.add, 1)
    remote.connect("b", 1)
    remote.disconnect("a")
    remote.network.answer("first", at=1)
    remote.connect("a", 1)

    remote.network.answer("second", at=0)

    assert "first" == answer.result(0)
    assert 1 == sum(worker.slices_done for worker in remote.executor.workers())


def test_a_job_that_loses_every_worker_fails(remote: RemoteFixture) -> None:
    """It counts as the cause; the message says so."""
    answer = remote.executor.submit(bad_jobs.add, 1)
    for number in range(MAX_MOVES + 1):
        assert not answer.done()
        remote.connect(f"worker-{number}")
        remote.disconnect(f"worker-{number}")

    with pytest.raises(
        WorkerDied,
        match="6 workers were lost while they ran the job, the last: worker-5 disconnected",
    ):
        answer.result(0)


def test_a_restarted_scheduler_does_not_count_against_a_job(remote: RemoteFixture) -> None:
    """However often; the job is assigned again after the restart."""
    answer = remote.executor.submit(bad_jobs.add, 1)
    for number in range(3 * MAX_MOVES):
        remote.network.connected = {}
        remote.connect(f"worker-{number}")
        remote.network.connected = None
        remote.executor.poll()
        assert 0 == remote.executor.slots
    assert not answer.done()

    remote.network.connected = {}
    remote.connect("last")
    remote.network.answer("at last", at=-1)

    assert "at last" == answer.result(0)


def test_a_broken_connection_does_not_count_against_a_job(
    remote: RemoteFixture,
) -> None:
    """However often; after another handshake the worker gets the job again."""
    remote.connect("a")
    answer = remote.executor.submit(bad_jobs.add, 1)
    for number in range(3 * MAX_MOVES):
        broken = remote.network.submitted[-1][2]
        broken.set_exception(WorkersUnavailable("connection lost"))
        remote.network.session += 1
        remote.executor.poll()
        assert number + 2 == len(remote.network.submitted)

    remote.network.answer("at last", at=-1)

    assert "at last" == answer.result(0)


def test_a_connection_that_was_restored_unnoticed_only_costs_time(remote: RemoteFixture) -> None:
    """Dask drops all jobs then; they are submitted again, and a late result is dropped."""
    remote.connect("a")
    answer = remote.executor.submit(bad_jobs.add, 1)

    remote.network.session += 1
    remote.executor.poll()

    before = remote.network.submitted[0][2]
    assert [before] == remote.network.cancelled
    remote.network.answer("late", at=0)
    assert not answer.done()
    remote.network.answer("again", at=1)
    assert "again" == answer.result(0)


def test_a_lost_handshake_is_repeated(remote: RemoteFixture) -> None:
    """The connection broke during the handshake."""
    remote.network.connected = {"a": 1}
    remote.executor.poll()
    remote.network.pending_handshakes["a"].set_exception(WorkersUnavailable("connection lost"))

    remote.connect("a")

    assert ["accepted"] == [worker.state for worker in remote.executor.workers()]


def test_a_worker_restarted_under_its_address_repeats_the_handshake(remote: RemoteFixture) -> None:
    """It may have another version, and has lost its files; its jobs are assigned again."""
    remote.connect("a")
    remote.executor.submit(bad_jobs.add, 1)

    remote.network.instances["a"] = "second"
    remote.connect("a", version="0.0.9")

    assert ["refused"] == [worker.state for worker in remote.executor.workers()]
    assert 1 == len(remote.network.submitted)
    remote.network.instances["a"] = "third"
    remote.connect("a")
    assert 2 == len(remote.network.submitted)


def test_a_lost_connection_alone_reassigns_no_job(remote: RemoteFixture) -> None:
    """The next poll shows what was lost; until then the worker gets no job."""
    remote.connect("a", 1)
    answer = remote.executor.submit(bad_jobs.add, 1)

    remote.network.submitted[0][2].set_exception(WorkersUnavailable("connection lost"))

    assert (1, 0) == (len(remote.network.submitted), remote.executor.slots)
    remote.executor.poll()
    assert 2 == len(remote.network.submitted)
    assert not answer.done()


def test_a_job_that_is_never_answered_times_out(remote: RemoteFixture) -> None:
    """Its worker gets no more jobs until its next handshake."""
    remote.connect("a", 1)
    answer = remote.executor.submit(bad_jobs.add, 1)
    remote.now_s = 99.0
    remote.executor.poll()
    assert not answer.done()
    del remote.network.handshakes["a"]
    remote.now_s = 101.0
    remote.executor.poll()

    with pytest.raises(WorkerDied, match="no answer from a within 100 s"):
        answer.result(0)
    remote.executor.submit(bad_jobs.add, 2)
    assert (1, 0) == (len(remote.network.submitted), remote.executor.slots)
    remote.network.greet("a", Handshake("host", __version__, NAME, True, ""))
    assert (2, 2) == (len(remote.network.submitted), remote.executor.slots)


def test_time_without_workers_does_not_count(remote: RemoteFixture) -> None:
    """A weekend with all workers switched off fails no job."""
    answer = remote.executor.submit(bad_jobs.add, 1)
    for hour in range(48):
        remote.now_s = hour * 3600.0
        remote.executor.poll()

    assert not answer.done()


def test_unfinished_jobs_are_returned_when_the_service_stops(remote: RemoteFixture) -> None:
    """They do not count as attempts."""
    remote.connect("a")
    assigned, queued = (
        remote.executor.submit(bad_jobs.add, 1),
        remote.executor.submit(bad_jobs.add, 2),
    )

    remote.executor.shutdown(cancel_futures=True)

    assert [WorkersUnavailable] * 2 == [type(one.exception(0)) for one in (assigned, queued)]


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"\x00", "text", ("host", "1", "x", True, ""), ["not", "a", "handshake"]],
)
def test_what_is_no_handshake_is_refused(remote: RemoteFixture, answer: object) -> None:
    """The worker gets no job; the service goes on."""
    remote.network.connected = {"a": 1}
    remote.executor.poll()

    remote.network.pending_handshakes["a"].set_result(answer)

    (worker,) = remote.executor.workers()
    assert "refused" == worker.state
    assert worker.reason


def test_a_job_is_not_given_out_for_ever(remote: RemoteFixture) -> None:
    """Whatever the network does: here the connection breaks each time."""
    remote.connect("a")
    answer = remote.executor.submit(bad_jobs.add, 1)
    for _ in range(MAX_DISPATCHES):
        if answer.done():
            break
        remote.network.session += 1
        remote.executor.poll()

    error = answer.exception(0)
    assert isinstance(error, WorkerDied)
    assert ReasonCode.WORKERS_LOST is error.reason.code
