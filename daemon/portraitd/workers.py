"""The workers of a service: those that see foreign files, and the one that groups numbers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from portraitd import confinement, jobs, logs
from portraitd.config import Settings
from portraitd.confinement import Confinement
from portraitd.confinement.trial import held
from portraitd.encoder.interface import EncoderSettings
from portraitd.executors import LocalExecutor, RoutedExecutor, Seclusion, WorkerLimits

log = logs.get("workers")

GROUPING_JOBS: frozenset[Callable[..., Any]] = frozenset({jobs.group, jobs.cluster})
"""They read and write files below the state, and see no foreign byte."""


def make_workers(settings: Settings, encoder: EncoderSettings) -> Executor:
    """The pools of a service, each shut off from what it does not need.

    Those that decode load their models first, which may build them; what is built lies below
    the state. Afterwards they have the files they are handed and their pipe, nothing else.
    """
    for reason in confinement.missing():
        log.warning("workers_less_confined", reason=reason)
    limits = worker_limits(settings)
    decoding = LocalExecutor(settings.workers.processes, limits, decoding_seclusion(encoder))
    grouping = Confinement((), (settings.state_dir,), keeps_writing=True)
    return RoutedExecutor(decoding, LocalExecutor(1, limits, Seclusion(grouping)), GROUPING_JOBS)


def decoding_seclusion(encoder: EncoderSettings) -> Seclusion:
    """Of workers that see foreign files."""
    return Seclusion(Confinement((), (encoder.models_dir,)), (jobs.warm_up, (encoder,)))


def worker_limits(settings: Settings) -> WorkerLimits:
    """What each worker may use."""
    workers = settings.workers
    return WorkerLimits(workers.nice, workers.memory_mb, workers.time_limit_s)


def what_holds(settings: Settings, encoder: EncoderSettings) -> dict[str, bool]:
    """Try in a worker what it must not be able to do: for each thing, whether it was refused.

    The settings' own state is the file that it tries to read, if there is one yet.
    """
    database = settings.state_dir / "portraitd.sqlite3"
    unreadable = database if database.exists() else settings.state_dir
    executor = LocalExecutor(1, worker_limits(settings), decoding_seclusion(encoder))
    try:
        return executor.submit(held, unreadable).result()
    finally:
        executor.shutdown(cancel_futures=True)
