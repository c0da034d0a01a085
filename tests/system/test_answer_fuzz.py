"""Whatever a worker answers, its job fails or says what it can say; the service goes on."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.model.errors import WorkerDied
from portraitd.model.reasons import ReasonCode
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerLimits
from support import answer_fuzzing, bad_jobs
from support.fuzz_runs import parametrize_runs

ANSWER_S = 60.0

LIMITS = WorkerLimits(nice=0, memory_mb=0, time_limit_s=20.0)


@parametrize_runs(40, many=10_000, timeout_s=3600)
def test_a_service_survives_any_answer(tmp_path: Path, count: int, seed: int) -> None:
    """Each file is done or failed with a reason, and those that follow are done."""
    outcome = answer_fuzzing.run(tmp_path, count, seed)

    assert [] == outcome.unexplained
    assert count == outcome.answers.total()
    assert outcome.answers["refused"] > count / 2
    assert outcome.states["done"] >= 1
    assert {"probe", "hash_content", "encode"} <= outcome.jobs.keys()


# --- Real processes.


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalExecutor]:
    """One worker at a time."""
    executor = LocalExecutor(1, LIMITS)
    yield executor
    executor.shutdown(cancel_futures=True)


ANSWERS = [
    b"",
    b"\x93\xa5value\x00\x07",
    random.Random(1).randbytes(200),
    answer_fuzzing.PROGRAMS[0],
]


@pytest.mark.parametrize("data", ANSWERS, ids=["empty", "other job", "random", "program"])
def test_a_worker_that_writes_anything_fails_its_job(worker: LocalExecutor, data: bytes) -> None:
    """Another worker takes the next one."""
    error = worker.submit(bad_jobs.send, [data]).exception(ANSWER_S)

    assert isinstance(error, WorkerDied)
    assert ReasonCode.INVALID_RESULT is error.reason.code
    assert 3 == worker.submit(bad_jobs.add, 1, 2).result(ANSWER_S)


@pytest.mark.parametrize("header", [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff" + b"\x7f" * 8])
def test_a_worker_that_announces_too_much_fails_its_job(
    worker: LocalExecutor, header: bytes
) -> None:
    """Two and more gigabytes: none of it is waited for."""
    error = worker.submit(bad_jobs.send_bare, header).exception(ANSWER_S)

    assert isinstance(error, WorkerDied)
    assert 3 == worker.submit(bad_jobs.add, 1, 2).result(ANSWER_S)


def test_a_late_message_answers_no_other_job(worker: LocalExecutor) -> None:
    """It comes after the answer, when another job has the worker: that one is done all the same."""
    late = worker.submit(bad_jobs.answer_twice, "first", "second")

    following = [worker.submit(bad_jobs.add, number) for number in range(3)]

    assert "first" == late.result(ANSWER_S)
    assert [0, 1, 2] == [job.result(ANSWER_S) for job in following]


def test_workers_leave_signals_to_the_service() -> None:
    """A unit that is stopped, or a terminal that closes, signals every process of it."""
    # Not the shared one, which is replaced when a late message of an earlier test arrives.
    with LocalExecutor(1, LIMITS) as worker:
        pid = worker.submit(bad_jobs.pid).result(ANSWER_S)
        for name in ("-TERM", "-HUP", "-INT"):
            subprocess.run(["kill", name, str(pid)], check=True)

        assert pid == worker.submit(bad_jobs.pid).result(ANSWER_S)
