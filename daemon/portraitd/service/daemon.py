"""Start, run and stop the service: until a signal stops it, or until named files are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from portraitd import __version__
from portraitd.config import Settings
from portraitd.faces.models.model_registry import wanted_detector
from portraitd.ingest.dispatcher import encode_options
from portraitd.ingest.watcher import Watch
from portraitd.model.errors import ModelError, PublishError, StillBlocked, StoreError, TreeInUse
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import Now, Phase
from portraitd.people.tree.lease import STALE_S
from portraitd.service.active_settings import write_active
from portraitd.service.embedder_choice import choose_encoder
from portraitd.service.executors import open_executors
from portraitd.service.health import HealthRecorder
from portraitd.service.home import find_own_folders, open_home
from portraitd.service.people_lease import take
from portraitd.service.pipeline import Service
from portraitd.service.share_probe import require_share
from portraitd.service.systemd import Notifier
from portraitd.service.wakeup import Button, Doorbell, stop_signals
from portraitd.store.database import SQLITE_VERSION, Database, StoreLock

log = structlog.get_logger(stage="service")

PHASE_TEXTS: dict[Phase, str] = {
    "faces": "Finding faces",
    "grouping": "Grouping faces",
    "folders": "Updating people/",
    "idle": "Idle: waiting for files",
    "stopped": "Stopped",
}

GRACE_S = 15.0
"""How long a stop waits for running jobs."""

GIVE_UP_S = 60.0
"""How long a command that is to end by itself waits while nothing can be done. What failed is tried
every 15 s."""

GIVE_UP_LATER_S = STALE_S + 2 * GIVE_UP_S
"""The same for what is tried every minute, a limited number of times, or ends by itself."""

_PASSES_LATER = frozenset(
    {
        ReasonCode.TREE_IN_USE,
        ReasonCode.TRACKING_PAUSED,
        ReasonCode.GROUPING_FAILED,
        ReasonCode.REEMBEDDING_PAUSED,
    }
)


@contextmanager
def open_service(
    settings: Settings,
    doorbell: Doorbell,
    is_reprocessing: bool = False,
    *,
    is_permanent: bool = False,
) -> Iterator[Service]:
    """Open a service that holds the lock of its home and has its workers.

    When the block ends, running jobs get ``GRACE_S`` to finish; the rest is released.

    Args:
        settings: The active settings.
        doorbell: Wakes it.
        is_reprocessing: Whether all files will be read again.
        is_permanent: Whether readers of the pages expect it to run all the time.

    Raises:
        AlreadyRunning: Another portraitd works on this home.
        TreeInUse: Another portraitd, with another home, works on this people tree.
        StoreError: The database cannot be used, or a share does not answer.
    """
    for folder in (settings.people_dir, settings.inbox_dir):
        require_share(folder)
    open_home(settings)
    with ExitStack() as stack:
        stack.enter_context(StoreLock(settings.state_dir))
        database = stack.enter_context(Database.open(settings.state_dir))
        asked = settings
        settings, target = choose_encoder(settings, database, is_reprocessing)
        encoder = encode_options(settings).encoder
        change = target.embedder if target and target.embedder != encoder.embedder else ""
        detector = wanted_detector(encoder.detector, encoder.kind, encoder.models_dir)
        write_active(asked, detector, encoder.embedder, change)
        executors = stack.enter_context(
            open_executors(settings, encoder, lambda: doorbell.wake("job"), target)
        )
        service = Service(settings, database, executors, doorbell, target)
        take(service.people_lease)
        if service.people_lease.is_locked_out:
            raise TreeInUse(service.people_lease.blocked)
        try:
            yield service
        finally:
            _stop(service, doorbell, is_permanent)


def _stop(service: Service, doorbell: Doorbell, is_permanent: bool) -> None:
    deadline_s = time.monotonic() + GRACE_S
    while service.dispatcher.busy and (left_s := deadline_s - time.monotonic()) > 0:
        doorbell.wait(min(left_s, 1.0))
        try:
            service.dispatcher.collect(Now.read(), is_stopping=True)
        except StoreError as error:
            log.error("blocked", reason=error.reason.text, reason_code=error.reason.code)
            break
    try:
        is_finished = not is_permanent and service.idle
        service.release()
        if not service.people_lease.blocked:
            service.status_page.write("idle" if is_finished else "stopped", Now.read())
            service.people_lease.give_up()
    except (StoreError, PublishError) as error:
        # Its jobs are still marked as running; the next start queues them again.
        log.error("blocked", reason=error.reason.text, reason_code=error.reason.code)


def run(
    settings: Settings,
    until_idle: bool = False,
    after_tick: Callable[[Service, Now], bool] = lambda service, now: False,
    doorbell: Doorbell | None = None,
    stopping: Callable[[], bool] | None = None,
) -> None:
    """Run the service until a signal stops it, or until there is nothing left to do.

    Args:
        settings: The settings to run with.
        until_idle: Whether to end when there is nothing left to do.
        after_tick: Called after every tick; returns whether to end for a restart.
        doorbell: Wakes the service.
        stopping: Returns whether a stop was requested; by default handlers for SIGTERM and
            SIGINT are installed.

    Raises:
        AlreadyRunning: Another portraitd works on this home.
        StoreError: The database cannot be opened.
        StillBlocked: It is to end when there is nothing left to do, and a stage stays blocked.
    """
    doorbell, notifier = doorbell or Doorbell(), Notifier()
    with ExitStack() as stack:
        stopping = stopping or stack.enter_context(stop_signals(doorbell))
        notifier.starting()
        service = stack.enter_context(open_service(settings, doorbell, is_permanent=not until_idle))
        watch = Watch([settings.inbox_dir, settings.requests_dir], doorbell, settings.inbox.watch)
        people_watch = Watch(
            [settings.people_dir], Button(doorbell, service.review.wake), settings.inbox.watch
        )
        watch.start()
        people_watch.start()
        try:
            log.info(
                "service_started",
                version=__version__,
                home=str(settings.home_dir),
                workers=settings.workers.processes,
                watching="events and scan" if watch.event_roots and watch.alive() else "scan",
                sqlite=SQLITE_VERSION,
            )
            notifier.ready()
            woken, give_up_timer = True, GiveUpTimer()
            while not stopping():
                now = Now.read()
                service.tick(now, woken)
                notifier.alive(now.steady_s)
                notifier.status(describe_status(service))
                if after_tick(service, now):
                    notifier.reloading(now.steady_s)
                    break
                if until_idle:
                    if service.idle:
                        break
                    give_up_timer.check(service, now)
                watch.ensure()
                people_watch.ensure()
                timeout_s = service.next_tick_s(now)
                if notifier.interval_s:
                    timeout_s = min(timeout_s, notifier.interval_s)
                woken = doorbell.wait(timeout_s)
        finally:
            watch.stop()
            people_watch.stop()
            if not notifier.is_reloading:
                notifier.stopping()
            log.info("service_stopping")


def describe_status(service: Service) -> str:
    """Return in one line what the service is doing, as `systemctl status` shows it."""
    try:
        blocked, phase = service.blocked.text, service.phase
    except StoreError as error:
        blocked, phase = str(error), "idle"
    return f"Blocked: {blocked}" if blocked else PHASE_TEXTS[phase]


def process(
    settings: Settings,
    paths: list[Path],
    watch_progress: Callable[[Service, Now], None],
    rebuild: bool = False,
    harvest: str = "",
) -> list[int]:
    """Process files and folders now, and return when the people tree is up to date.

    Args:
        settings: The settings to run with.
        paths: Files and folders; without any, all faces are regrouped from scratch.
        watch_progress: Called after every tick.
        rebuild: Reprocess every video instead.
        harvest: Name or number of a person to look for more faces of instead.

    Returns:
        The ids of the named files.

    Raises:
        AlreadyRunning: Another portraitd works on this home.
        ConfigError: A named path is in a folder that portraitd writes itself, or the workers
            cannot load their models.
        StoreError: The database cannot be opened.
        StillBlocked: A stage stays blocked.
    """
    own_folders = {path: find_own_folders(settings, path.absolute()) for path in paths}
    doorbell = Doorbell()
    without_delay = settings.model_copy(
        update={"grouping": settings.grouping.model_copy(update={"settle_s": 0.0})}
    )
    named: list[int] | None = None
    health = HealthRecorder(settings.state_dir)

    def report(service: Service, now: Now) -> None:
        health.record(service.blocked, now)
        watch_progress(service, now)

    with stop_signals(doorbell) as stopping, _recorded_at_the_end(health):
        while not stopping():
            with open_service(without_delay, doorbell, rebuild) as service:
                service.admission.leave_inbox()
                if named is None:
                    if rebuild:
                        service.reprocessing.begin(time.time())
                    elif harvest:
                        service.harvest.begin(harvest, time.time())
                    elif not paths:
                        service.grouping.force()
                    named = service.admission.register(paths, time.time(), own_folders.__getitem__)
                if _tick_until_idle(service, doorbell, stopping, report):
                    return named
        raise KeyboardInterrupt


def _tick_until_idle(
    service: Service,
    doorbell: Doorbell,
    stopping: Callable[[], bool],
    watch_progress: Callable[[Service, Now], None],
) -> bool:
    """Return True when nothing is left to do, False when the service must be opened again."""
    give_up_timer = GiveUpTimer()
    while not stopping():
        now = Now.read()
        service.tick(now)
        watch_progress(service, now)
        if service.reembedding.finished:
            return False
        if service.dispatcher.blocked:
            raise ModelError(service.dispatcher.blocked)
        if service.idle:
            return True
        give_up_timer.check(service, now)
        doorbell.wait(1.0)
    return False


class GiveUpTimer:
    """How long a command waits while a stage is blocked and nothing else can be done."""

    def __init__(self) -> None:
        self._stuck_since_s: float | None = None

    def check(self, service: Service, now: Now) -> None:
        """Go on waiting.

        Raises:
            StillBlocked: It has waited for long enough.
        """
        if not service.is_stuck:
            self._stuck_since_s = None
            return
        if self._stuck_since_s is None:
            self._stuck_since_s = now.steady_s
        blocked = service.blocked
        limit_s = GIVE_UP_LATER_S if blocked.code in _PASSES_LATER else GIVE_UP_S
        if now.steady_s - self._stuck_since_s >= limit_s:
            raise StillBlocked(
                Reason(
                    blocked.code,
                    f"gave up after {limit_s:.0f} s: {blocked.text}. What was found is kept; "
                    "remove the cause, and run the command again",
                )
            )


@contextmanager
def _recorded_at_the_end(health: HealthRecorder) -> Iterator[None]:
    """Let ``status`` tell, after this process, why it gave up, or that it did not."""
    try:
        yield
    except StillBlocked as error:
        health.end(error.reason, Now.read())
        raise
    health.end(NO_REASON, Now.read())
