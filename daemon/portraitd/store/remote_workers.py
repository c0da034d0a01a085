"""Workers on other machines, as the running service last saw them: written for ``status``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from portraitd.store.database import Database


@dataclass(frozen=True, slots=True)
class RemoteWorker:
    """A worker.

    Attributes:
        address: Where it listens.
        host: The machine's own name.
        state: ``asked`` (who it is), ``accepted``, or ``refused``.
        reason: Why it was refused.
        processes: How many slices it works on at once.
        slices_out: Slices it was given and has not answered.
        slices_done: Slices it has answered.
        footage_s: Seconds of footage in those.
        work_s: Seconds its processes took for them.
        receives_files: Whether files are sent to it; else it reads them under the same path.
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


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The scheduler that the workers belong to.

    Attributes:
        address: Of the scheduler.
        dashboard: Its page for people; empty if there is none.
        reached: Whether it answers.
        seen_at: Wall clock of this note.
    """

    address: str
    dashboard: str
    reached: bool
    seen_at: float


class RemoteWorkers:
    """The last note about the workers; it replaces the one before."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def note(self, cluster: ClusterState, members: Sequence[RemoteWorker]) -> None:
        """Write down how things stand."""
        with self._db.transaction():
            self.clear()
            self._db.execute("insert into cluster values (1, ?, ?, ?, ?)", astuple(cluster))
            self._db.executemany(
                "insert into remote_workers values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(astuple, members),
            )

    def clear(self) -> None:
        """Forget the note: the service uses no cluster, or has ended."""
        self._db.execute("delete from cluster")
        self._db.execute("delete from remote_workers")

    def cluster(self) -> ClusterState | None:
        """The scheduler, if one is used."""
        row = self._db.execute("select * from cluster").fetchone()
        if row is None:
            return None
        return ClusterState(row["address"], row["dashboard"], bool(row["reached"]), row["seen_at"])

    def at_once(self, here: int) -> int:
        """How many slices are worked on at once: on other machines, or ``here`` without them."""
        row = self._db.execute(
            """
            select exists (select 1 from cluster),
                coalesce((select sum(processes) from remote_workers where state = 'accepted'), 0)
            """
        ).fetchone()
        return int(row[1]) if row[0] else here

    def members(self) -> list[RemoteWorker]:
        """The workers, by address."""
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
            )
            for row in rows
        ]
