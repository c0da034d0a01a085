"""The workers of a service, and which job runs in which."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import structlog

from portraitd.clustering import grouping_jobs
from portraitd.config import Settings
from portraitd.datasets.crop_jobs import crop_frames
from portraitd.datasets.planner import plan_dataset
from portraitd.datasets.writer import write_dataset
from portraitd.faces.interface import EncoderSettings
from portraitd.ingest import media_jobs
from portraitd.people import montage_job
from portraitd.workers import sandbox
from portraitd.workers.pool import LocalExecutor, RoutedExecutor
from portraitd.workers.process import SandboxPolicy, WorkerLimits
from portraitd.workers.sandbox import Confinement
from portraitd.workers.sandbox.trial import held

log = structlog.get_logger(stage="workers")

Job = Callable[..., Any]

MEDIA_JOBS: frozenset[Job] = frozenset(
    {
        media_jobs.warm_up,
        media_jobs.probe,
        media_jobs.encode,
        media_jobs.decode,
        montage_job.montage,
        crop_frames,
    }
)
"""They decode what others made: dropped files, frames and portraits cut from them. Files come by
descriptor, and everything they make goes back as a value."""

NUMBER_JOBS: frozenset[Job] = frozenset(
    {
        media_jobs.encoder_identity,
        grouping_jobs.track,
        grouping_jobs.track_singly,
        grouping_jobs.cluster,
        grouping_jobs.group,
    }
)
"""They compute. Those that group read and write files below the state."""

SET_JOBS: frozenset[Job] = frozenset({plan_dataset, write_dataset})
"""They read the store, and write the folder of a training set wherever it lies."""

NUMBER_PLACES = 2
"""One may be busy for minutes with a grouping while another follows the faces of a video."""


def make_workers(settings: Settings, encoder: EncoderSettings, loads: bool = True) -> Executor:
    """The pools of a service, each shut off from what it does not need. None starts unasked.

    Those that decode load their models first, which may build them; what is built lies below
    the state. Afterwards they have the files they are handed and their pipe, nothing else.

    Args:
        settings: What is in force.
        encoder: Whose models are loaded.
        loads: Whether faces are looked for at all.
    """
    for reason in sandbox.missing():
        log.warning("workers_less_confined", reason=reason)
    limits = worker_limits(settings)
    media = decoding_seclusion(encoder) if loads else SandboxPolicy(Confinement((), ()))
    decoding = LocalExecutor(settings.workers.processes, limits, media)
    computing = LocalExecutor(NUMBER_PLACES, limits, computing_seclusion(settings))
    assembling = LocalExecutor(1, limits, assembling_seclusion())
    return RoutedExecutor(
        dict.fromkeys(MEDIA_JOBS, decoding)
        | dict.fromkeys(NUMBER_JOBS, computing)
        | dict.fromkeys(SET_JOBS, assembling)
    )


def decoding_seclusion(encoder: EncoderSettings) -> SandboxPolicy:
    """Of workers that see foreign files."""
    return SandboxPolicy(Confinement((), (encoder.models_dir,)), (media_jobs.warm_up, (encoder,)))


def computing_seclusion(settings: Settings) -> SandboxPolicy:
    """Of workers that compute: below the state they read and write, elsewhere nothing."""
    return SandboxPolicy(Confinement((), (settings.state_dir,), keeps_writing=True))


def assembling_seclusion() -> SandboxPolicy:
    """Of workers that write training sets: files as the service, no network and no programs.

    The set's folder may be on any disk, and people remove it to have it made anew.
    """
    return SandboxPolicy(Confinement((), (Path("/"),), keeps_writing=True))


def worker_limits(settings: Settings) -> WorkerLimits:
    """What each worker may use."""
    workers = settings.workers
    return WorkerLimits(workers.nice, workers.memory_mb, workers.time_limit_s)


def self_test(settings: Settings, encoder: EncoderSettings) -> dict[str, bool]:
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
