"""An executor that answers when it is told to, as another process would."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class Held(Executor):
    """Keeps what it was handed; a test says when, and what, it answers."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs.append((future, lambda: fn(*args, **kwargs)))
        return future

    def answer(self) -> None:
        """Carry out what was handed in."""
        jobs, self.jobs = self.jobs, []
        for future, job in jobs:
            future.set_result(job())

    def fail(self, error: Exception) -> None:
        """End what was handed in with this error."""
        jobs, self.jobs = self.jobs, []
        for future, _ in jobs:
            future.set_exception(error)
