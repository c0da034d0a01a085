"""The agent of a remote worker: a job that is submitted twice runs once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from portraitd.faces.interface import EncoderSpec
from portraitd.model.errors import NotMedia
from portraitd.service.remote import agent
from portraitd.service.remote.agent import (
    FOLDER_VARIABLE,
    MAX_FINISHED,
    RemoteJob,
    run_remote_job,
)
from portraitd.workers.job_results import schema_of
from portraitd.workers.process import WorkerLimits
from support import bad_jobs
from support.processes import wait_until
from support.sealing import needs_sandbox

LIMITS = WorkerLimits(nice=0, memory_mb=0, time_limit_s=30.0)


@pytest.fixture(scope="module", autouse=True)
def processes() -> Iterator[None]:
    """End the processes, which are started once, with the tests."""
    yield
    agent.shut_down()


def remote_job(name: str, fn: Any, *args: Any) -> RemoteJob:
    return RemoteJob(7, name, fn, args, {}, 2, LIMITS)


def run(job: RemoteJob) -> Any:
    """Run a job, and return what the service reads in the answer."""
    return schema_of(job.fn).decode(run_remote_job(job), job.number, job.args, job.kwargs)


def test_a_job_that_is_submitted_twice_runs_once(tmp_path: Path) -> None:
    """The connection broke before the result arrived; a job with another name runs again."""
    job = remote_job("one", bad_jobs.count, tmp_path / "runs")

    assert [1, 1] == [run(job), run(job)]
    assert 2 == run(job._replace(name="two"))


def test_a_job_that_is_submitted_again_while_it_runs_waits(tmp_path: Path) -> None:
    """Both get the same result."""
    news = tmp_path / "news"
    job = remote_job("waiting", bad_jobs.wait_for, news)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(run, job), threads.submit(run, job)
        wait_until(lambda: first.running() and second.running(), "both wait")
        bad_jobs.tell(news, "go on")

        assert ["go on"] * 2 == [first.result(), second.result()]


def test_an_error_is_a_result_too() -> None:
    """A second submission raises the same."""
    job = remote_job("bad", bad_jobs.fail, "NotMedia", "text")

    for _ in range(2):
        with pytest.raises(NotMedia, match="text"):
            run(job)


def test_only_the_last_results_are_kept(tmp_path: Path) -> None:
    """A worker that runs for months keeps a few."""
    job = remote_job("old", bad_jobs.count, tmp_path / "runs")
    run_remote_job(job)

    for number in range(MAX_FINISHED + 1):
        run_remote_job(remote_job(f"new {number}", bad_jobs.add, number))

    assert 2 == run(job)


@needs_sandbox
def test_a_worker_that_encodes_is_sandboxed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the machine of the service."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    encoder = EncoderSpec(tmp_path / "elsewhere", kind="dlib", detector="hog", upsample=0)
    job = remote_job("closed", bad_jobs.starts)._replace(encoder=encoder)

    found = run(job)

    assert found
    assert dict.fromkeys(found, "PermissionError") == found
