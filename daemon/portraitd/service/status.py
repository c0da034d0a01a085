"""How things stand in a home, read beside a running service: its store, and its heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from portraitd.config import Settings
from portraitd.model.stage import Now
from portraitd.service.health import Health, read_heartbeat
from portraitd.store.database import Database
from portraitd.store.snapshot import ALL, Snapshot, SnapshotReader


@dataclass(frozen=True, slots=True)
class Status:
    """How a home stands.

    Attributes:
        snapshot: What the store says.
        service: The last heartbeat of the running service; its process is 0 if none runs.
        home: The home folder.
        config: The settings file that was read; None if there was none.
    """

    snapshot: Snapshot
    service: Health
    home: Path
    config: Path | None

    @property
    def healthy(self) -> bool:
        """Return whether no stage is blocked."""
        return not self.service.blocked and not self.snapshot.blocked_stages


def read_status(settings: Settings) -> Status:
    """Read the store and the heartbeat.

    Raises:
        StoreError: Nothing has been processed in this home yet.
    """
    with Database.open_to_read(settings.state_dir) as database:
        snapshot = SnapshotReader(database, settings, ALL).read(Now.read())
    health = read_heartbeat(settings.state_dir)
    return Status(snapshot, health, settings.home_dir, settings.config_file)
