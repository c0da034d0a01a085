"""Where jobs run by the settings: processes of this machine, or a cluster beside them."""

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
from portraitd.faces.interface import EncoderSettings
from portraitd.ingest import media_jobs
from portraitd.model.media_file import Source, Stamp
from portraitd.model.stage import Now, Stage
from portraitd.service.pools import (
    MEDIA_JOBS,
    NUMBER_JOBS,
    SET_JOBS,
    Job,
    make_workers,
    worker_limits,
)
from portraitd.store.database import Database
from portraitd.store.remote_workers import ClusterState, RemoteWorkers
from portraitd.workers.pool import RoutedExecutor

if TYPE_CHECKING:
    from portraitd.service.remote.remote_executor import DaskExecutor

NOTE_GAP_S = 2.0

FAR_JOBS: frozenset[Job] = frozenset({media_jobs.encode})
"""What workers on other machines are asked for; all others read and write what lies here."""

NEAR_JOBS: frozenset[Job] = (MEDIA_JOBS | NUMBER_JOBS | SET_JOBS) - FAR_JOBS


@dataclass(frozen=True, slots=True)
class Executors:
    """Where jobs run.

    Attributes:
        executor: Takes every job.
        places: How many jobs of this machine may be out at once.
        cluster: The executor of other machines; None if there is none.
    """

    executor: Executor
    places: int
    cluster: DaskExecutor | None = None

    @property
    def slice_places(self) -> Callable[[], int] | None:
        """How many slices may be out on other machines; None: slices take places here."""
        cluster = self.cluster
        return None if cluster is None else lambda: cluster.places


@contextmanager
def open_workplace(
    settings: Settings, encoder: EncoderSettings, wake: Callable[[], None]
) -> Iterator[Executors]:
    """Begin the workers of this machine, and connect to those of others.

    Raises:
        ConfigError: The cluster is set up wrongly, or its package is not installed.
    """
    workers = settings.workers
    if workers.kind == "local":
        local = make_workers(settings, encoder)
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
    # Nothing is encoded here: no worker needs the models.
    near = make_workers(settings, encoder, loads=False)
    try:
        identity = near.submit(media_jobs.encoder_identity, encoder).result()
        with _proof(settings.inbox_dir) as proof:
            terms = Requirements(
                limits=limits,
                encoder=encoder,
                identity=identity,
                proof=proof,
                ahead=workers.ahead,
                cache_bytes=workers.cache_mb * 10**6,
                answer_limit_s=2 * workers.time_limit_s + 60.0,
            )
            far = DaskExecutor(network, terms, wake)
            routed = RoutedExecutor(dict.fromkeys(NEAR_JOBS, near) | dict.fromkeys(FAR_JOBS, far))
            try:
                yield Executors(routed, workers.processes, far)
            finally:
                far.shutdown(cancel_futures=True)
    finally:
        near.shutdown(wait=True, cancel_futures=True)


class RemoteWorkerRecorder(Stage):
    """Keeps what ``status`` shows of other machines up to date, every two seconds.

    Args:
        database: The store.
        cluster: The executor of other machines; None forgets what was noted.
    """

    def __init__(self, database: Database, cluster: DaskExecutor | None) -> None:
        self._crew = RemoteWorkers(database)
        self._cluster = cluster
        self._noted_s = float("-inf")
        self._crew.clear()

    def tick(self, now: Now) -> None:
        """Record the workers if that is due."""
        cluster = self._cluster
        if cluster is None or now.steady_s - self._noted_s < NOTE_GAP_S:
            return
        self._noted_s = now.steady_s
        state = ClusterState(cluster.address, cluster.dashboard, cluster.reached, now.wall_s)
        self._crew.record(state, cluster.members())


@contextmanager
def _proof(folder: Path) -> Iterator[Any]:
    """A hidden file in the inbox, by which a worker can show that it sees the same folder."""
    from portraitd.service.remote.agent import SharedFolderCheck

    path = folder / f".portraitd-{secrets.token_hex(8)}"
    content = secrets.token_bytes(64)
    try:
        path.write_bytes(content)
        facts = path.stat()
    except OSError:
        # Where nothing can be laid down, every file is sent.
        yield None
        return
    try:
        stamp = Stamp.of(facts)
        yield SharedFolderCheck(Source(path, stamp), hashlib.sha256(content).hexdigest())
    finally:
        with suppress(OSError):
            path.unlink()
