"""Heartbeat, metrics and reloads of a running service: ``portraitd run`` as a process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import structlog

from portraitd.config import Settings
from portraitd.model.errors import ConfigError, PortraitdError, StillBlocked
from portraitd.model.reasons import Reason
from portraitd.model.stage import Now
from portraitd.service import daemon
from portraitd.service.active_settings import differences
from portraitd.service.embedder_choice import identify_models
from portraitd.service.health import HealthRecorder
from portraitd.service.metrics import MetricsFile
from portraitd.service.pipeline import Service
from portraitd.service.wakeup import Doorbell, handled_by, stop_signals

log = structlog.get_logger(stage="service")

MODELS_EVERY_S = 5.0


class Supervisor:
    """Writes the heartbeat and the metrics of a service, and reloads its settings.

    Args:
        settings: The settings that the service runs with.
        reload: Reads the settings again.
        reload_requested: Returns whether a reload was requested since the last call.

    Attributes:
        started: Whether the service has finished a tick.
        new_settings: Valid settings that differ, after a reload.
        must_restart: Whether the service must restart for another model.
    """

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings],
        reload_requested: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._reload = reload
        self._reload_requested = reload_requested
        self._metrics: MetricsFile | None = None
        self._health = HealthRecorder(settings.state_dir)
        self._models = identify_models(settings)
        self._models_read_s = float("-inf")
        self._draining_since_s: float | None = None
        self.must_restart = False
        self.started = False
        self.new_settings: Settings | None = None

    def after_tick(self, service: Service, now: Now) -> bool:
        """Report on a service after each tick. Return whether it must end to restart."""
        self.started = True
        self._health.record(service.blocked, now)
        if self._metrics is None:
            self._metrics = MetricsFile(self._settings, service.snapshots.read)
        self._metrics.write(now, self._health.blocked_s(now))
        if self._reload_requested():
            self._read_settings()
        if service.reembedding.finished or self._have_models_changed(now):
            self.must_restart = True
        return (self.must_restart or self.new_settings is not None) and self._is_drained(
            service, now
        )

    def give_up(self, reason: Reason) -> None:
        """Record for ``status`` why the service ends although there is work."""
        self._health.end(reason, Now.read())

    def stop(self) -> None:
        """Remove the metrics of a service that has ended."""
        if self._metrics is not None:
            self._metrics.remove()

    def _is_drained(self, service: Service, now: Now) -> bool:
        """Have no new job begun; return whether those that run have ended, or take too long."""
        service.dispatcher.pause()
        if self._draining_since_s is None:
            self._draining_since_s = now.steady_s
            if service.dispatcher.busy:
                log.info("restart_waits", reason="running jobs are finished first")
        waited_s = now.steady_s - self._draining_since_s
        return not service.dispatcher.busy or waited_s >= self._settings.workers.time_limit_s

    def _have_models_changed(self, now: Now) -> bool:
        """Return whether a model was added or removed, or another one was chosen."""
        if now.steady_s - self._models_read_s < MODELS_EVERY_S:
            return False
        self._models_read_s = now.steady_s
        try:
            found = identify_models(self._settings)
        except ConfigError:
            # Half of a change; the next look sees the rest.
            return False
        if found == self._models:
            return False
        log.info("models_changed", before=self._models, after=found)
        return True

    def _read_settings(self) -> None:
        try:
            found = self._reload()
        except ConfigError as error:
            log.error("reload_failed", reason=str(error), active_settings="unchanged")
            return
        for folder in _missing_folders(self._settings, found):
            log.error(
                "reload_failed",
                reason=f"{folder}: folder not found; `portraitd init` creates it",
                active_settings="unchanged",
            )
            return
        changed = differences(self._settings, found)
        log.info("reloaded", changed=changed)
        if changed:
            self.new_settings = found


def _missing_folders(before: Settings, after: Settings) -> list[Path]:
    """Return the folders that new settings name and that are not there.

    Those of the active settings may be on a share that is not mounted.
    """
    known = {before.inbox_dir, before.people_dir}
    return [
        one for one in (after.inbox_dir, after.people_dir) if one not in known and not one.is_dir()
    ]


def run(settings: Settings, reload: Callable[[], Settings], until_idle: bool = False) -> None:
    """Run the service until a signal stops it, or until there is nothing left to do.

    SIGHUP reloads the settings. If they are valid and differ, the service releases its jobs, as
    for a stop, and restarts with them in the same process; otherwise the old ones stay active.

    Raises:
        AlreadyRunning: Another portraitd works on this home.
        StoreError: The database cannot be opened.
    """
    doorbell = Doorbell()
    previous: Settings | None = None
    # One handler for all restarts: a stop signal may arrive while a service ends to restart.
    with stop_signals(doorbell) as stopping, _reload_signal(doorbell) as reload_requested:
        while True:
            supervisor: Supervisor | None = None
            try:
                supervisor = Supervisor(settings, reload, reload_requested)
                daemon.run(settings, until_idle, supervisor.after_tick, doorbell, stopping)
            except PortraitdError as error:
                if supervisor and isinstance(error, StillBlocked):
                    supervisor.give_up(error.reason)
                if previous is None or (supervisor and supervisor.started):
                    raise
                log.error("reload_failed", reason=str(error), active_settings="previous")
                settings, previous = previous, None
                continue
            finally:
                if supervisor:
                    supervisor.stop()
            if stopping():
                return
            if supervisor.new_settings is not None:
                settings, previous = supervisor.new_settings, settings
            elif not supervisor.must_restart:
                return


@contextmanager
def _reload_signal(doorbell: Doorbell) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGHUP arrived since its last call."""
    received: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        received.append(number)
        doorbell.wake("reload")

    def reload_requested() -> bool:
        requested = bool(received)
        received.clear()
        return requested

    with handled_by(record, signal.SIGHUP):
        yield reload_requested
