"""Executors for tests: one that answers when told to, and one that runs no job twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ClassVar

from portraitd.clustering import grouping_jobs
from portraitd.datasets.harvest_jobs import search_frames
from portraitd.ingest import media_jobs
from portraitd.model.media_file import Source, Stamp
from portraitd.workers.pool import InlineExecutor
from support.built_networks import with_built_networks


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
    """Runs a pure job once for each content, also for other homes; runs other jobs inline.

    Probing, encoding and clustering depend on nothing but the content and the settings, so the
    result is the same, only faster. A file that is not the admitted one is read by the job itself,
    and a job that fails runs again.
    """

    _results: ClassVar[dict[object, Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        args = _share_networks(fn, args)
        key = None if kwargs else _key_of(fn, args)
        if key in self._results:
            known: Future[Any] = Future()
            known.set_result(self._results[key])
            return known
        future = super().submit(fn, *args, **kwargs)
        if key is not None and future.exception() is None:
            self._results[key] = future.result()
        return future


def _share_networks(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments with a folder of networks that do not depend on the home."""
    if fn is media_jobs.encode:
        piece, options = args
        return piece, options._replace(encoder=with_built_networks(options.encoder))
    if fn is search_frames:
        piece, options, request = args
        networks = with_built_networks(options.encoder)
        return piece, options._replace(encoder=networks), request
    if fn in (media_jobs.warm_up, media_jobs.embed_portraits, media_jobs.embed_frames):
        *others, encoder = args
        return *others, with_built_networks(encoder)
    return args


def _key_of(fn: Callable[..., Any], args: tuple[Any, ...]) -> object:
    """Return what the result of a job depends on; None for a job that always runs."""
    if fn is media_jobs.probe:
        source, *partial_copies = args
        content = _admitted_content(source)
        return content and (fn, content, *partial_copies)
    if fn is media_jobs.encode:
        piece, options = args
        content = _admitted_content(piece.source)
        stretch = (piece.kind, piece.start_s, piece.stop_s, piece.also_s)
        return content and (fn, content, *stretch, options)
    if fn is media_jobs.embed_portraits and with_built_networks(args[1]) == args[1]:
        portraits, encoder = args
        return (fn, *portraits, encoder)
    if fn is grouping_jobs.cluster:
        (request,) = args
        parts = tuple(part.tobytes() for part in request.constraints)
        return (fn, _digest(request.matrix.read_bytes()), *request[1:-1], parts)
    return None


def _admitted_content(source: Source) -> str | None:
    """Return the hash of a file; None if it is no longer the one that was admitted."""
    try:
        is_same = Stamp.of(source.path.lstat()) == source.stamp
        return _digest(source.path.read_bytes()) if is_same else None
    except OSError:
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
