"""Remote workers, as the service last saw them: written for the status command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from portraitd.store.database import Database


@dataclass(frozen=True, slots=True)
class RemoteWorker:
    """A remote worker.

    Attributes:
        address: Where it listens.
        host: Name of its machine.
        state: ``connecting``, ``accepted``, ``refused`` or ``lost``; see ``registry.WorkerState``.
        reason: Why it was refused, or gets no jobs; ``reason_code`` is its code.
        processes: How many slices it processes at once.
        slices_out: Slices it was given and has not finished.
        slices_done: Slices it has finished.
        footage_s: Seconds of footage in those.
        work_s: Seconds its processes took for them.
        receives_files: Whether files are sent to it; otherwise it reads them under the same path.
    """

    address: str
    host: str
    state: str
    reason: str
    processes: int
    slices_out: int
    slices_done: int
    footage_s: float
    work_s: float
    receives_files: bool
    reason_code: str = ""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The Dask scheduler of the remote workers.

    Attributes:
        address: Of the scheduler.
        dashboard: URL of its web page; empty if there is none.
        reached: Whether it answers.
        seen_at: Wall clock time of this state.
    """

    address: str
    dashboard: str
    reached: bool
    seen_at: float


class RemoteWorkers:
    """Keeps the last known state of the scheduler and its workers."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record(self, cluster: ClusterState, members: Sequence[RemoteWorker]) -> None:
        """Replace the last known state."""
        with self._db.transaction():
            self.clear()
            self._db.execute("insert into cluster values (1, ?, ?, ?, ?)", astuple(cluster))
            self._db.executemany(
                "insert into remote_workers values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(astuple, members),
            )

    def clear(self) -> None:
        """Delete the last known state: the service uses no cluster, or has stopped."""
        self._db.execute("delete from cluster")
        self._db.execute("delete from remote_workers")

    def cluster(self) -> ClusterState | None:
        """Return the scheduler, if one is used."""
        row = self._db.execute("select * from cluster").fetchone()
        if row is None:
            return None
        return ClusterState(row["address"], row["dashboard"], bool(row["reached"]), row["seen_at"])

    def parallel_slices(self, local: int) -> int:
        """Return how many slices are processed at once: by remote workers, or else ``local``."""
        row = self._db.execute(
            """
            select exists (select 1 from cluster),
                coalesce((select sum(processes) from remote_workers where state = 'accepted'), 0)
            """
        ).fetchone()
        return int(row[1]) if row[0] else local

    def members(self) -> list[RemoteWorker]:
        """Return the workers, by address."""
        rows = self._db.execute("select * from remote_workers order by address")
        return [
            RemoteWorker(
                row["address"],
                row["host"],
                row["state"],
                row["reason"],
                row["processes"],
                row["slices_out"],
                row["slices_done"],
                row["footage_s"],
                row["work_s"],
                bool(row["receives_files"]),
                row["reason_code"],
            )
            for row in rows
        ]
