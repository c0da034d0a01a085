"""``portraitd run`` as a process: new settings on SIGHUP, and telling others how it is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from portraitd.config import Settings
from portraitd.model.errors import ConfigError, PortraitdError
from portraitd.model.stage import Now
from portraitd.service import daemon
from portraitd.service.health import Health, tell
from portraitd.service.metrics import MetricsFile
from portraitd.service.pipeline import Service
from portraitd.service.reloading import differences
from portraitd.service.status import status_of
from portraitd.service.wakeup import Doorbell, handled_by, stop_signals

log = structlog.get_logger(stage="service")

TELL_EVERY_S = 10.0


class Supervisor:
    """Stands beside a running service, and sees to what is not its work.

    Args:
        settings: What is in force.
        reload: Reads the settings again.
        asked: Whether a reload is asked; asking again takes the wish away.
    """

    def __init__(
        self, settings: Settings, reload: Callable[[], Settings], asked: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._reload = reload
        self._asked = asked
        self._metrics: MetricsFile | None = None
        self._told: str | None = None
        self._told_s = float("-inf")
        self._blocked_since: tuple[float, float] = (0.0, 0.0)
        self.begun = False
        self.new_settings: Settings | None = None

    def attend(self, service: Service, now: Now) -> bool:
        """After every turn. Returns whether the service is to end, to begin anew."""
        self.begun = True
        self._tell(service.blocked, now)
        if self._metrics is None:
            self._metrics = MetricsFile(
                self._settings,
                lambda: status_of(service.database, self._settings, time.time()),
            )
        blocked_s = now.steady_s - self._blocked_since[1] if service.blocked else 0.0
        self._metrics.refresh(now.steady_s, blocked_s)
        if self._asked():
            self._take_up_new()
        return self.new_settings is not None

    def leave(self) -> None:
        """The service has ended."""
        if self._metrics is not None:
            self._metrics.remove()

    def _tell(self, blocked: str, now: Now) -> None:
        """When it changes, and now and then: one that grows old tells of a service that hangs."""
        if blocked and not self._told:
            self._blocked_since = (now.wall_s, now.steady_s)
        if blocked != self._told or now.steady_s - self._told_s >= TELL_EVERY_S:
            since_s = self._blocked_since[0] if blocked else 0.0
            health = Health(os.getpid(), now.wall_s, blocked, since_s)
            tell(self._settings.state_dir, health)
            self._told, self._told_s = blocked, now.steady_s

    def _take_up_new(self) -> None:
        try:
            found = self._reload()
        except ConfigError as error:
            log.error("reload_refused", reason=str(error), kept="the settings that were in force")
            return
        changed = differences(self._settings, found)
        log.info("reloaded", changed=changed)
        if changed:
            self.new_settings = found


def run(settings: Settings, reload: Callable[[], Settings], until_idle: bool = False) -> None:
    """Run the service until a signal asks it to stop, or until there is nothing left to do.

    SIGHUP has the settings read again. Valid ones are put in force by ending the work that is
    out, as a stop does, and beginning anew in the same process; with others the old ones stay.

    Raises:
        AlreadyRunning: Another portraitd works on this home.
        StoreError: The database cannot be opened.
    """
    doorbell = Doorbell()
    before: Settings | None = None
    # Listening to the end: a stop may be asked while the work of before is ended.
    with stop_signals(doorbell) as stopping, _reload_signal(doorbell) as asked:
        while True:
            attendant = Supervisor(settings, reload, asked)
            try:
                daemon.run(settings, until_idle, attendant.attend, doorbell, stopping)
            except PortraitdError as error:
                if before is None or attendant.begun:
                    raise
                log.error("reload_refused", reason=str(error), kept="the settings before")
                settings, before = before, None
                continue
            finally:
                attendant.leave()
            if attendant.new_settings is None or stopping():
                return
            settings, before = attendant.new_settings, settings


@contextmanager
def _reload_signal(doorbell: Doorbell) -> Iterator[Callable[[], bool]]:
    """SIGHUP asks for a reload; it is taken up after the turn."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        doorbell.wake("reload")

    def asked() -> bool:
        wanted = bool(received)
        received.clear()
        return wanted

    with handled_by(note, signal.SIGHUP):
        yield asked
