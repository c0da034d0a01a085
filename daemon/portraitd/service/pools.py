"""The worker pools of the service, and the pool of each job."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import structlog

from portraitd.clustering import grouping_jobs
from portraitd.config import Settings
from portraitd.datasets.crop_jobs import crop_frames
from portraitd.datasets.harvest_jobs import search_frames, survey_person
from portraitd.datasets.planner import plan_dataset
from portraitd.datasets.writer import write_dataset
from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.people.montage import draw_montage
from portraitd.people.questions.question_picture import draw_question
from portraitd.people.sidecars.photo_tag_jobs import read_photo_tags
from portraitd.service.worker_loading import (
    load_to_assemble,
    load_to_compute,
    load_to_decode,
    load_to_hash,
    load_to_inspect,
    load_to_plan,
)
from portraitd.store.database import FILE_NAME
from portraitd.store.frame_cache import FrameCache
from portraitd.workers import sandbox
from portraitd.workers.pool import LocalExecutor, RoutedExecutor
from portraitd.workers.process import SandboxPolicy, WorkerLimits
from portraitd.workers.sandbox import FileAccess
from portraitd.workers.sandbox.self_test import try_forbidden

log = structlog.get_logger(stage="workers")

Job = Callable[..., Any]

MEDIA_JOBS: frozenset[Job] = frozenset(
    {
        media_jobs.warm_up,
        media_jobs.probe,
        media_jobs.encode,
        media_jobs.encode_picture,
        media_jobs.encode_drawn,
        media_jobs.read_frame_times,
        draw_montage,
        draw_question,
        read_photo_tags,
        crop_frames,
        search_frames,
    }
)
"""Jobs that decode untrusted content: dropped files, and frames and portraits cut from them. They
get files as descriptors, and return everything they produce as a value."""

HASHING_JOBS: frozenset[Job] = frozenset({media_jobs.hash_content, media_jobs.encoder_identity})
"""Jobs that read a file and decode nothing, and say which models there are."""

NUMBER_JOBS: frozenset[Job] = frozenset(
    {
        grouping_jobs.track,
        grouping_jobs.track_singly,
        grouping_jobs.cluster,
        grouping_jobs.group,
    }
)
"""Jobs that compute, and decode nothing. Those that group read a matrix and a snapshot and write
one, as files that they are passed."""

REEMBEDDING_JOBS: frozenset[Job] = frozenset({media_jobs.embed_portraits, media_jobs.embed_frames})
"""Jobs that read portraits and dropped files with the model that is changed over to."""

PLANNING_JOBS: frozenset[Job] = frozenset({plan_dataset})
"""Jobs that read the database."""

SURVEY_JOBS: frozenset[Job] = frozenset({survey_person})
"""Jobs that read the database, and decode portraits."""

SET_JOBS: frozenset[Job] = frozenset({write_dataset})
"""Jobs that read the database and the frame cache, and write the folder of a training set."""

ALL_JOBS = frozenset().union(
    MEDIA_JOBS,
    HASHING_JOBS,
    NUMBER_JOBS,
    REEMBEDDING_JOBS,
    PLANNING_JOBS,
    SURVEY_JOBS,
    SET_JOBS,
)

HASHING_WORKERS = 2
"""One may be busy for minutes with a large file. They are started when they are needed."""

NUMBER_WORKERS = 2
"""One may be busy for minutes with a grouping while another tracks the faces of a video."""


def make_workers(
    settings: Settings,
    encoder: EncoderSpec,
    loads: bool = True,
    target: EncoderSpec | None = None,
) -> Executor:
    """Create the pools of the service, each in a sandbox of its own. They start with their jobs.

    Decoding workers load their models first, which may build them in the state folder.
    Afterwards they have only the descriptors of their files, and their pipe.

    Args:
        settings: The active settings.
        encoder: Names the models to load.
        loads: Whether decoding workers load the models of ``encoder``.
        target: Names the model that stored faces are changed over to; None if they have it.
    """
    if settings.workers.sandbox == "required":
        sandbox.require_support()
    for reason in sandbox.missing_features():
        log.warning("sandbox_degraded", reason=reason)
    limits = worker_limits(settings)
    decoding = decoding_pool(settings, encoder, loads)
    hashing = LocalExecutor(HASHING_WORKERS, limits, hashing_policy(settings))
    computing = LocalExecutor(NUMBER_WORKERS, limits, computing_policy(settings))
    planning = LocalExecutor(1, limits, planning_policy(settings), reuses=False)
    surveying = LocalExecutor(1, limits, planning_policy(settings, load_to_assemble), reuses=False)
    assembling = LocalExecutor(1, limits, assembling_policy(settings), reuses=False)
    # Its processes start with its first job, and load the new model.
    reembedding = decoding_pool(settings, target or encoder)
    return RoutedExecutor(
        dict.fromkeys(MEDIA_JOBS, decoding)
        | dict.fromkeys(REEMBEDDING_JOBS, reembedding)
        | dict.fromkeys(HASHING_JOBS, hashing)
        | dict.fromkeys(NUMBER_JOBS, computing)
        | dict.fromkeys(PLANNING_JOBS, planning)
        | dict.fromkeys(SURVEY_JOBS, surveying)
        | dict.fromkeys(SET_JOBS, assembling)
    )


def decoding_pool(settings: Settings, encoder: EncoderSpec, loads: bool = True) -> LocalExecutor:
    """Create a pool of workers that read untrusted files, with the models of an encoder loaded.

    Args:
        settings: The active settings.
        encoder: Names the models.
        loads: Whether the workers load them.
    """
    policy = decoding_policy(
        encoder if loads else None, list_hidden_folders(settings), accepts_less(settings)
    )
    return LocalExecutor(settings.workers.processes, worker_limits(settings), policy)


def decoding_policy(
    encoder: EncoderSpec | None, hidden: tuple[Path, ...] = (), accepts_less: bool = False
) -> SandboxPolicy:
    """Return the sandbox of workers that read untrusted files.

    Args:
        encoder: Names the models that they load; None for none.
        hidden: Folders that they may not read, even if modules are sought there.
        accepts_less: Whether they run on a kernel without Landlock or filters.
    """
    writable = () if encoder is None else (encoder.models_dir,)
    access = FileAccess((), writable, hidden=hidden, accepts_less=accepts_less)
    return SandboxPolicy(access, (load_to_decode, (encoder,)))


def inspecting_policy(settings: Settings, file: Path) -> SandboxPolicy:
    """Return the sandbox of a worker that looks at a model which a user brings."""
    access = FileAccess(
        (file,),
        (),
        hidden=list_hidden_folders(settings),
        accepts_less=accepts_less(settings),
    )
    return SandboxPolicy(access, (load_to_inspect, ()))


def hashing_policy(settings: Settings) -> SandboxPolicy:
    """Return the sandbox of workers that hash files: they read the folder of the models only."""
    access = FileAccess(
        (settings.models_dir,),
        (),
        keeps_libraries=False,
        hidden=list_hidden_folders(settings),
        accepts_less=accepts_less(settings),
    )
    return SandboxPolicy(access, (load_to_hash, ()))


def computing_policy(settings: Settings) -> SandboxPolicy:
    """Return the sandbox of workers that compute: they have only files that they are passed."""
    access = FileAccess(
        (),
        (),
        saves_files=True,
        keeps_libraries=False,
        hidden=list_hidden_folders(settings),
        accepts_less=accepts_less(settings),
    )
    return SandboxPolicy(access, (load_to_compute, (settings.grouping.method,)))


def planning_policy(settings: Settings, load: Callable[[], None] = load_to_plan) -> SandboxPolicy:
    """Return the sandbox of workers that plan training sets: they read the database only.

    Another connection must be open meanwhile, as that of the service: without it, SQLite would
    have to create files beside the database.
    """
    access = FileAccess(
        _list_database_files(settings),
        (),
        locks_files=True,
        keeps_libraries=False,
        hidden=list_hidden_folders(settings),
        accepts_less=accepts_less(settings),
    )
    return SandboxPolicy(access, (load, ()))


def assembling_policy(settings: Settings) -> SandboxPolicy:
    """Return the sandbox of workers that write training sets: the database, and two folders.

    These are the set, which must exist when such a worker starts, and the frame cache.
    """
    access = FileAccess(
        _list_database_files(settings),
        (FrameCache(settings.state_dir).folder.parent, settings.dataset_dir),
        keeps_writing=True,
        keeps_libraries=False,
        hidden=list_hidden_folders(settings),
        accepts_less=accepts_less(settings),
    )
    return SandboxPolicy(access, (load_to_assemble, ()))


def _list_database_files(settings: Settings) -> tuple[Path, ...]:
    """Return the database and the files that SQLite has beside it while it is open."""
    return tuple(settings.state_dir / f"{FILE_NAME}{ending}" for ending in ("", "-wal", "-shm"))


def list_hidden_folders(settings: Settings) -> tuple[Path, ...]:
    """Return the home and its folders, which workers may not read because modules are there."""
    return (
        settings.home_dir,
        settings.inbox_dir,
        settings.people_dir,
        settings.state_dir,
        settings.dataset_dir,
    )


def accepts_less(settings: Settings) -> bool:
    """Return whether workers run where the kernel does not support their sandbox."""
    return settings.workers.sandbox == "reduced"


def worker_limits(settings: Settings) -> WorkerLimits:
    """Return what each worker may use."""
    workers = settings.workers
    return WorkerLimits(workers.nice, workers.memory_mb, workers.time_limit_s)


def run_self_test(settings: Settings, encoder: EncoderSpec) -> dict[str, bool]:
    """Try in a sandboxed worker what it must not be able to do.

    The file that it tries to read is the database, if there is one yet.

    Returns:
        For each action, whether it was refused.
    """
    database = settings.state_dir / FILE_NAME
    unreadable = database if database.exists() else settings.state_dir
    policy = decoding_policy(encoder, list_hidden_folders(settings), accepts_less(settings))
    executor = LocalExecutor(1, worker_limits(settings), policy)
    try:
        return executor.submit(try_forbidden, unreadable).result()
    finally:
        executor.shutdown(cancel_futures=True)
