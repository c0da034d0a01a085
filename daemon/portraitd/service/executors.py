"""The executors that the settings ask for: processes of this machine, and remote workers."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portraitd.config import Settings
from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.model.media_file import Source, Stamp
from portraitd.model.stage import Now, Stage
from portraitd.service.pools import ALL_JOBS, Job, make_workers, worker_limits
from portraitd.store.database import Database
from portraitd.store.remote_workers import ClusterState, RemoteWorkers
from portraitd.workers.pool import RoutedExecutor

if TYPE_CHECKING:
    from portraitd.service.remote.remote_executor import DaskExecutor

RECORD_EVERY_S = 2.0

REMOTE_JOBS: frozenset[Job] = frozenset({media_jobs.encode})
"""Jobs for workers on other machines; all others read and write files of this machine."""

LOCAL_JOBS: frozenset[Job] = ALL_JOBS - REMOTE_JOBS


@dataclass(frozen=True, slots=True)
class Executors:
    """Where jobs run.

    Attributes:
        executor: Accepts every job.
        slots: Number of jobs that may run on this machine at once.
        cluster: The executor of remote workers; None if there is none.
    """

    executor: Executor
    slots: int
    cluster: DaskExecutor | None = None

    @property
    def slice_slots(self) -> Callable[[], int] | None:
        """Number of slices that remote workers may have at once; None: slices use slots here."""
        cluster = self.cluster
        return None if cluster is None else lambda: cluster.slots


@contextmanager
def open_executors(
    settings: Settings,
    encoder: EncoderSpec,
    wake: Callable[[], None],
    target: EncoderSpec | None = None,
) -> Iterator[Executors]:
    """Create the pools of this machine, and connect to remote workers if the settings say so.

    Args:
        settings: The active settings.
        encoder: Names the models that new faces get.
        wake: Called, from any thread, when something happened.
        target: Names the model that stored faces are changed over to; None if they have it.

    Raises:
        ConfigError: The cluster is configured wrongly, or Dask is not installed.
    """
    workers = settings.workers
    if workers.kind == "local":
        local = make_workers(settings, encoder, target=target)
        try:
            yield Executors(local, workers.processes)
        finally:
            local.shutdown(wait=True, cancel_futures=True)
        return
    from portraitd.service.remote.dask_client import Cluster
    from portraitd.service.remote.registry import Requirements
    from portraitd.service.remote.remote_executor import DaskExecutor

    network = Cluster(workers.cluster)
    limits = worker_limits(settings)
    # Slices are not encoded here: no local worker needs the models.
    local = make_workers(settings, encoder, loads=False, target=target)
    try:
        identity = local.submit(media_jobs.encoder_identity, encoder).result()
        with _write_folder_check(settings.inbox_dir) as folder_check:
            requirements = Requirements(
                limits=limits,
                encoder=encoder,
                identity=identity,
                folder_check=folder_check,
                ahead=workers.ahead,
                cache_bytes=workers.cache_mb * 10**6,
                answer_limit_s=2 * workers.time_limit_s + 60.0,
            )
            remote = DaskExecutor(network, requirements, wake)
            routed = RoutedExecutor(
                dict.fromkeys(LOCAL_JOBS, local) | dict.fromkeys(REMOTE_JOBS, remote)
            )
            try:
                yield Executors(routed, workers.processes, remote)
            finally:
                remote.shutdown(cancel_futures=True)
    finally:
        local.shutdown(wait=True, cancel_futures=True)


class RemoteWorkerRecorder(Stage):
    """Records what ``status`` shows of remote workers, every two seconds.

    Args:
        database: The store.
        cluster: The executor of remote workers; None to remove what was recorded.
    """

    def __init__(self, database: Database, cluster: DaskExecutor | None) -> None:
        self._remote_workers = RemoteWorkers(database)
        self._cluster = cluster
        self._recorded_s = float("-inf")
        self._remote_workers.clear()

    def tick(self, now: Now) -> None:
        """Record the workers if that is due."""
        cluster = self._cluster
        if cluster is None or now.steady_s - self._recorded_s < RECORD_EVERY_S:
            return
        state = ClusterState(cluster.address, cluster.dashboard, cluster.is_connected, now.wall_s)
        self._remote_workers.record(state, cluster.workers())
        self._recorded_s = now.steady_s


@contextmanager
def _write_folder_check(folder: Path) -> Iterator[Any]:
    """Write a hidden file to the inbox; a worker that can read it sees the same folder."""
    from portraitd.service.remote.agent import SharedFolderCheck

    path = folder / f".portraitd-{secrets.token_hex(8)}"
    content = secrets.token_bytes(64)
    try:
        path.write_bytes(content)
        facts = path.stat()
    except OSError:
        # Without the file, every video is sent.
        yield None
        return
    try:
        stamp = Stamp.of(facts)
        yield SharedFolderCheck(Source(path, stamp), hashlib.sha256(content).hexdigest())
    finally:
        with suppress(OSError):
            path.unlink()
