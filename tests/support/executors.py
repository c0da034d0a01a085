"""Executors for tests: one that answers when told to, and one that runs no job twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from portraitd.clustering import grouping_jobs
from portraitd.ingest import media_jobs
from portraitd.workers.pool import InlineExecutor


class HeldExecutor(Executor):
    """Keeps submitted jobs; the test says when they finish, and how."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs.append((future, lambda: fn(*args, **kwargs)))
        return future

    def answer(self) -> None:
        """Run the submitted jobs."""
        jobs, self.jobs = self.jobs, []
        for future, job in jobs:
            future.set_result(job())

    def fail(self, error: Exception) -> None:
        """Fail the submitted jobs with this error."""
        jobs, self.jobs = self.jobs, []
        for future, _ in jobs:
            future.set_exception(error)


class CachingExecutor(InlineExecutor):
    """Encodes and clusters the same content once, also for another home; runs other jobs inline.

    These jobs are pure, so the result is the same, only faster.
    """

    def __init__(self) -> None:
        self._results: dict[object, Future[Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        key: object = None
        if fn is media_jobs.encode:
            piece = args[0]
            key = (piece.source.path.read_bytes(), piece.start_s, piece.stop_s)
        if fn is grouping_jobs.cluster:
            key = (args[0].read_bytes(), *args[1:3], *(part.tobytes() for part in args[3]))
        if key is None:
            return super().submit(fn, *args, **kwargs)
        if key not in self._results:
            self._results[key] = super().submit(fn, *args, **kwargs)
        return self._results[key]
