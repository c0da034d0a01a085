"""Executors: what all of them guarantee, and what a bad job costs in real processes."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from multiprocessing import spawn
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from portraitd.model import errors
from portraitd.model.errors import PortraitdError, WorkerDied, WorkerNotStarted
from portraitd.model.reasons import ReasonCode
from portraitd.service.remote.remote_executor import DaskExecutor
from portraitd.workers.pool import InlineExecutor, LocalExecutor
from portraitd.workers.process import WorkerLimits, WorkerProcess, WorkerSetup
from support import bad_jobs
from support.dask_cluster import TestCluster, accepted
from support.processes import children, is_alive, wait_until

ANSWER_S = 60.0
TIME_LIMIT_S = 3.0

ALL_ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, PortraitdError)
]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalExecutor]:
    """Two workers, with a time limit of three seconds."""
    executor = LocalExecutor(2, WorkerLimits(nice=3, memory_mb=4000, time_limit_s=TIME_LIMIT_S))
    yield executor
    executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskExecutor]:
    """A scheduler and a worker with two processes, with a time limit of three seconds."""
    with TestCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.add_worker(processes=2)
        executor = cluster.connect()
        wait_until(lambda: accepted(executor), "the worker was accepted")
        yield executor
        executor.shutdown(cancel_futures=True)


DASK = pytest.param("dask", marks=pytest.mark.slow)


@pytest.fixture(params=["inline", "local", DASK])
def executor(request: pytest.FixtureRequest) -> Executor:
    """Each executor."""
    if request.param == "inline":
        return InlineExecutor()
    found: Executor = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["local", DASK])
def processes(request: pytest.FixtureRequest) -> Executor:
    """Each executor whose jobs run in other processes."""
    found: Executor = request.getfixturevalue(request.param)
    return found


# --- What all executors promise.


def test_a_job_returns_its_value(executor: Executor) -> None:
    """The future holds what the function returns."""
    assert 5 == executor.submit(bad_jobs.add, 2, b=3).result(ANSWER_S)


def test_callbacks_are_called(executor: Executor) -> None:
    """Also those that are added when the result is there already."""
    results: list[int] = []
    future = executor.submit(bad_jobs.add, 2)
    future.result(ANSWER_S)

    future.add_done_callback(lambda done: results.append(done.result()))

    assert [2] == results


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_our_errors_arrive_as_they_are(executor: Executor, kind: type[PortraitdError]) -> None:
    """The class decides what happens to a file; the message is for the person who dropped it."""
    error = executor.submit(bad_jobs.fail, kind.__name__, "what to do").exception(ANSWER_S)

    assert type(error) is kind
    assert "what to do" == str(error)


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_our_errors_carry_one_message(kind: type[PortraitdError]) -> None:
    """An error with more arguments cannot be unpickled on the other side."""
    error = pickle.loads(pickle.dumps(kind("what to do")))

    assert kind is type(error)
    assert ("what to do",) == error.args


def test_an_unexpected_error_is_named(executor: Executor) -> None:
    """A bug fails the job, with the class and message of the error."""
    error = executor.submit(bad_jobs.fail, "ZeroDivisionError", "by us").exception(ANSWER_S)

    assert isinstance(error, WorkerDied)
    assert "unexpected ZeroDivisionError: by us" == str(error)


def test_an_error_that_cannot_be_sent_is_named(executor: Executor) -> None:
    """Libraries raise anything; the next job must not be affected."""
    error = executor.submit(bad_jobs.fail_awkwardly).exception(ANSWER_S)

    assert "unexpected Awkward: clip.mp4: odd" == str(error)
    assert 5 == executor.submit(bad_jobs.add, 2, 3).result(ANSWER_S)


# --- What a bad job costs: itself.


@pytest.mark.parametrize(
    ("job", "arguments", "code", "text"),
    [
        (bad_jobs.segfault, (), ReasonCode.WORKER_KILLED, "the worker was killed by SIGSEGV"),
        (bad_jobs.be_killed, (), ReasonCode.WORKER_KILLED, "the worker was killed by SIGKILL"),
        (
            bad_jobs.leave,
            (3,),
            ReasonCode.WORKER_EXITED,
            r"exited without a result \(exit code 3\)",
        ),
        (
            bad_jobs.answer_awkwardly,
            (),
            ReasonCode.INVALID_RESULT,
            "invalid result from worker: it cannot be sent: ",
        ),
        (bad_jobs.eat_memory, (), ReasonCode.OUT_OF_MEMORY, "the worker ran out of memory"),
        (
            bad_jobs.leave,
            (0,),
            ReasonCode.WORKER_EXITED,
            r"exited without a result \(exit code 0\)",
        ),
        (bad_jobs.hang, (), ReasonCode.TIMEOUT, "took longer than 3 s and was killed"),
        (bad_jobs.spin, (), ReasonCode.TIMEOUT, "took longer than 3 s and was killed"),
        pytest.param(
            bad_jobs.stop, (), ReasonCode.TIMEOUT, "took longer than 3 s", marks=pytest.mark.slow
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_job_fails_alone(
    tmp_path: Path,
    processes: Executor,
    job: Callable[..., object],
    arguments: tuple[int, ...],
    code: ReasonCode,
    text: str,
) -> None:
    """It reports how its worker ended; a job in the other worker and queued jobs continue."""
    news = tmp_path / "news"
    bad = processes.submit(job, *arguments)
    # Runs beside the bad job, and longer than a bad job that fails quickly.
    beside = processes.submit(bad_jobs.wait_for, news)
    waiting = [processes.submit(bad_jobs.add, number) for number in range(3)]
    if code is ReasonCode.TIMEOUT:
        bad_jobs.tell(news, "go on")

    with pytest.raises(WorkerDied, match=text) as raised:
        bad.result(ANSWER_S)

    assert code is raised.value.reason.code

    bad_jobs.tell(news, "go on")
    assert "go on" == beside.result(ANSWER_S)
    assert [0, 1, 2] == [future.result(ANSWER_S) for future in waiting]


def test_a_worker_killed_from_outside_fails_its_job(tmp_path: Path, processes: Executor) -> None:
    """As the kernel does when memory runs out."""
    pid_file = tmp_path / "pid"
    hanging = processes.submit(bad_jobs.tell_and_hang, pid_file)
    wait_until(pid_file.exists, "the job began")

    os.kill(int(pid_file.read_text()), signal.SIGKILL)

    assert "the worker was killed by SIGKILL" == str(hanging.exception(ANSWER_S))


def test_killing_idle_workers_fails_no_job() -> None:
    """As when the machine runs out of memory: the next job gets a new worker."""
    before = children(os.getpid())
    executor = LocalExecutor(2, WorkerLimits(nice=0, memory_mb=0, time_limit_s=20))
    assert 25 == executor.submit(bad_jobs.add, 20, 5).result(ANSWER_S)
    workers = [pid for pid in children(os.getpid()) - before if not is_tracker(pid)]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, workers)), "they have ended")

    assert 36 == executor.submit(bad_jobs.add, 30, 6).result(ANSWER_S)
    executor.shutdown()


def test_a_worker_that_seems_to_have_ended_is_killed(tmp_path: Path) -> None:
    """One that was taken over can look like that, and would be waited for without end."""
    executor = LocalExecutor(1, WorkerLimits(nice=0, memory_mb=0, time_limit_s=20))
    news = tmp_path / "news"
    pid = executor.submit(bad_jobs.seem_ended_after, news).result(ANSWER_S)
    (worker,) = executor._workers.values()
    bad_jobs.tell(news, "go on")
    wait_until(lambda: not worker.is_idle, "it seems to have ended")
    assert is_alive(pid)

    assert 5 == executor.submit(bad_jobs.add, 2, 3).result(ANSWER_S)
    assert not is_alive(pid)
    executor.shutdown()


def test_a_worker_is_started_only_for_a_job_that_finds_no_idle_one(tmp_path: Path) -> None:
    """Loading libraries and models takes a second, and many homes never need all workers."""
    before = children(os.getpid())
    executor = LocalExecutor(2, WorkerLimits(nice=0, memory_mb=0, time_limit_s=20))

    def count() -> int:
        return sum(not is_tracker(pid) for pid in children(os.getpid()) - before)

    for number in range(3):
        assert number == executor.submit(bad_jobs.add, number).result(ANSWER_S)
        # The worker is idle a moment after the result is there.
        wait_until(lambda: executor._idle._value == 1, "it waits for a job")
    assert 1 == count()

    told = [tmp_path / name for name in ("first", "second")]
    for path in told:
        executor.submit(bad_jobs.tell_and_hang, path)
    wait_until(lambda: all(path.exists() for path in told), "both jobs run")
    assert 2 == count()
    executor.shutdown(cancel_futures=True)


def test_a_worker_that_is_not_reused_ends_with_its_job() -> None:
    """Its sandbox is of the folders that were there when the job began."""
    executor = LocalExecutor(1, WorkerLimits(nice=0, memory_mb=0, time_limit_s=20), reuses=False)

    first, second = (executor.submit(bad_jobs.pid).result(ANSWER_S) for _ in range(2))

    assert first != second
    assert not is_alive(first)
    wait_until(lambda: not is_alive(second), "no worker is left")
    executor.shutdown()


def test_a_worker_that_is_ready_early_is_not_replaced() -> None:
    """Its message that it is ready may arrive before the first job."""
    worker = WorkerProcess(WorkerSetup(WorkerLimits(nice=0, memory_mb=0, time_limit_s=20)))
    assert wait([worker._pipe], ANSWER_S)

    assert worker.is_idle
    first, second = (worker.run_job(bad_jobs.pid, (), {}) for _ in range(2))
    assert first == second
    assert worker.is_idle
    worker.stop()
    assert not worker.is_idle
    assert not is_alive(first)


def test_workers_killed_at_any_moment_fail_only_their_jobs() -> None:
    """Also while they start, take a job or send a result: every job ends, the pool continues."""
    chance = random.Random(1)
    before = children(os.getpid())
    executor = LocalExecutor(2, WorkerLimits(nice=0, memory_mb=0, time_limit_s=20))

    def kill_one(_: object = None) -> None:
        workers = [pid for pid in children(os.getpid()) - before if not is_tracker(pid)]
        with suppress(ProcessLookupError, IndexError):
            os.kill(chance.choice(workers), signal.SIGKILL)

    for _ in range(25):
        futures = [executor.submit(bad_jobs.add, number) for number in range(chance.randrange(5))]
        if futures and chance.random() < 0.5:
            chance.choice(futures).add_done_callback(kill_one)
        else:
            kill_one()
        for number, future in enumerate(futures):
            if error := future.exception(ANSWER_S):
                assert "the worker was killed by SIGKILL" == str(error)
            else:
                assert number == future.result()
    # The last kill may come a moment after the result that triggered it.
    wait_until(
        lambda: executor.submit(bad_jobs.add, 1).exception(ANSWER_S) is None, "the pool continues"
    )
    executor.shutdown()


def is_tracker(pid: int) -> bool:
    """Return whether it is Python's own helper process."""
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def test_a_worker_is_limited(processes: Executor) -> None:
    """It is nice, has a memory limit, dumps no core, and ignores Ctrl-C."""
    found = processes.submit(bad_jobs.limits).result(ANSWER_S)

    assert {
        "nice": os.nice(0) + 3,
        "core": [0, 0],
        "memory": 4000 << 20,
        "threads": "1",
        "interrupt": True,
    } == found


def test_a_worker_is_spawned(processes: Executor) -> None:
    """A fork would copy locks that other threads hold."""
    bad_jobs.seen.append("here")

    assert [] == processes.submit(bad_jobs.what_was_seen).result(ANSWER_S)


def test_shutting_down_waits_for_the_jobs() -> None:
    """With ``cancel_futures`` it ends the workers at once."""
    limits = WorkerLimits(nice=0, memory_mb=0, time_limit_s=60.0)
    patient = LocalExecutor(1, limits)
    answers = [patient.submit(bad_jobs.add, number) for number in range(5)]
    patient.shutdown()
    assert [0, 1, 2, 3, 4] == [answer.result(0) for answer in answers]

    before = children(os.getpid())
    hasty = LocalExecutor(1, limits)
    hasty.submit(bad_jobs.add, 1).result(ANSWER_S)
    hasty.submit(bad_jobs.hang)
    began_s = time.monotonic()
    hasty.shutdown(cancel_futures=True)

    assert 15.0 > time.monotonic() - began_s
    assert not [pid for pid in children(os.getpid()) - before if is_alive(pid)]


PARENT = """
import multiprocessing, pathlib, sys, time
from support import bad_jobs
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerSetup, WorkerLimits, WorkerProcess

if __name__ == "__main__":
    told = pathlib.Path(sys.argv[2])
    executor = LocalExecutor(2, WorkerLimits(nice=0, memory_mb=0, time_limit_s=600.0))
    for number in range(2):
        if sys.argv[1] == "idle":
            executor.submit(bad_jobs.add, number).result()
        else:
            executor.submit(bad_jobs.tell_and_hang, told / str(number))
    while sys.argv[1] == "busy" and len(list(told.iterdir())) < 2:
        time.sleep(0.01)
    print("ready", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@pytest.mark.parametrize("workers", ["busy", "idle", "just started"])
def test_workers_die_with_the_daemon(tmp_path: Path, workers: str) -> None:
    """``kill -9`` leaves no worker that would run beside those of a new daemon."""
    script, told = tmp_path / "parent.py", tmp_path / "told"
    script.write_text(PARENT)
    told.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, script, workers, told, "600"], stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout
        assert b"ready\n" == parent.stdout.readline()
        family = children(parent.pid)
        assert len(family) >= 2

        parent.kill()

        wait_until(lambda: not any(map(is_alive, family)), f"{family} have ended")


def test_a_program_ends_whose_workers_are_busy(tmp_path: Path) -> None:
    """Also one that does not shut down its executor, as after an unexpected error."""
    script, told = tmp_path / "parent.py", tmp_path / "told"
    script.write_text(PARENT)
    told.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    subprocess.run(
        [sys.executable, script, "busy", told, "0"], env=environment, timeout=60, check=True
    )

    assert 2 == len(list(told.iterdir()))
    assert not any(is_alive(int(path.read_text())) for path in told.iterdir())


ENDING = """
import atexit, multiprocessing.util, pathlib, sys, time

def let_threads_react():
    while executor._idle._value < 2:
        time.sleep(0.01)

# Handlers run in reverse order: after the one of our modules, before that of multiprocessing.
atexit.register(let_threads_react)

from support import bad_jobs
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerLimits

if __name__ == "__main__":
    told = pathlib.Path(sys.argv[1])
    executor = LocalExecutor(2, WorkerLimits(nice=0, memory_mb=0, time_limit_s=600.0))
    for number in range(2):
        executor.submit(bad_jobs.tell_and_hang, told / str(number))
    while len(list(told.iterdir())) < 2:
        time.sleep(0.01)
"""


def test_a_program_that_ends_starts_no_workers(tmp_path: Path) -> None:
    """The threads of its pool are still there, and would replace the workers that it kills."""
    script, told = tmp_path / "parent.py", tmp_path / "told"
    script.write_text(ENDING)
    told.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    subprocess.run([sys.executable, script, told], env=environment, timeout=60, check=True)

    assert not any(is_alive(int(path.read_text())) for path in told.iterdir())


def test_an_interpreter_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    """As one in root's home, for a service of another user; no job is at fault."""
    python = tmp_path / "python"
    python.write_text("")
    before = spawn.get_executable()
    try:
        multiprocessing.set_executable(str(python))
        executor = LocalExecutor(1, WorkerLimits(0, 0, 60.0))
        error = executor.submit(bad_jobs.add, 1).exception(60.0)
        executor.shutdown()
    finally:
        multiprocessing.set_executable(os.fsdecode(before or ""))

    assert isinstance(error, WorkerNotStarted)
    assert ReasonCode.WORKER_NOT_STARTED is error.reason.code
    assert f"{python} cannot be run by user {os.geteuid()}" in str(error)
