"""The service: its rooms put together, one turn of the loop, and how it starts and ends."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from portraitd import __version__, logs
from portraitd.admission import Admission
from portraitd.census import CensusTaker, Pace
from portraitd.census_methods import make_method
from portraitd.config import Settings
from portraitd.dispatch import Dispatcher
from portraitd.encoder.interface import EncoderSettings
from portraitd.errors import PublishError, StoreError
from portraitd.executors import LocalExecutor, WorkerLimits
from portraitd.forgetter import Forgetter, Places
from portraitd.home import make_home
from portraitd.jobs import EncodeSettings
from portraitd.publisher import Publisher
from portraitd.reach import Reach
from portraitd.store import Database, Faces, Files, Forgetting, People, StoreLock, TrackStore, Work
from portraitd.systemd import Notifier
from portraitd.tracking import Tracker
from portraitd.watch import Doorbell, Watch

log = logs.get("service")

GRACE_S = 15.0
"""How long a stop waits for running slices."""

SAY_AGAIN_S = 60.0

LOOK_GAP_S = 1.0
"""Events ring often while a file is copied; looking once a second is enough."""


@dataclass(frozen=True, slots=True)
class Now:
    """The time of a turn: the wall clock for the records, a steady one for waiting."""

    wall_s: float
    steady_s: float

    @classmethod
    def read(cls) -> Self:
        return cls(time.time(), time.monotonic())


class Service:
    """Everything that moves a dropped file to a person's folder.

    Use ``open_service`` to make one.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        executor: Executor,
        places: int,
        doorbell: Doorbell,
    ) -> None:
        files = Files(database, settings.inbox_dir)
        faces = Faces(database)
        people = People(database)
        tracks = TrackStore(database)

        def ring() -> None:
            doorbell.ring("job")

        self.database = database
        self.files = files
        self.work = Work(database, files, settings.privacy.dropped_again == "refuse")
        self.faces = faces
        self.people = people
        self.admission = Admission(
            files, settings.inbox_dir, settings.inbox.quiet_s, settings.inbox.after
        )
        self.dispatcher = Dispatcher(
            files,
            self.work,
            executor,
            places,
            ring,
            encode_settings(settings),
            # Among keyframes alone OpenCV cannot seek: such a video is one slice.
            math.inf if settings.sampling.mode == "keyframes" else settings.workers.slice_s,
            settings.workers.attempts,
        )
        self.tracker = Tracker(tracks, executor, ring)
        method = make_method(settings.grouping, faces, tracks, people, executor, settings.state_dir)
        self.census = CensusTaker(
            people, method, ring, Pace(settings.grouping.settle_s, settings.grouping.max_wait_s)
        )
        self.publisher = Publisher(faces, people, executor, ring, settings.people_dir)
        self.forgetter = Forgetter(
            Forgetting(database), Places.of(settings), settings.privacy.keep_days
        )
        self._people_reach, self._inbox_reach = (
            Reach(settings.people_dir),
            Reach(settings.inbox_dir),
        )
        self._inbox_away = ""
        self._scan_s = settings.inbox.scan_s
        self._looked_s = float("-inf")
        self._look_wanted = True
        self._watches_inbox = True
        self._trouble = ""
        self._said_s = float("-inf")
        # What a crash left half-done is queued again: rows are enough to go on.
        files.reclaim()
        reclaimed = self.work.reclaim()
        log.info("store_opened", faces=faces.count(), slices_reclaimed=reclaimed)

    def leave_inbox(self) -> None:
        """Look at nothing but what is registered, for ``portraitd process``."""
        self._watches_inbox = False

    @property
    def working(self) -> bool:
        """Whether a file is on its way to faces."""
        return self.dispatcher.busy or self.files.any_open() or self.tracker.pending

    @property
    def trouble(self) -> str:
        """What stands in the way of something just now; empty if nothing does."""
        rooms = (self.admission, self.census, self.tracker)
        return (
            self._trouble or self._inbox_away or next(filter(None, (r.trouble for r in rooms)), "")
        )

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to do until something is dropped."""
        looked = not self._watches_inbox or self._looked_s > float("-inf")
        return looked and not (
            self.admission.pending
            or self.working
            or self.census.pending
            or self.publisher.pending
            or self.forgetter.pending
            or self._trouble
        )

    def turn(self, now: Now, rung: bool = True) -> None:
        """Move everything that can move, by one step.

        Args:
            now: The time.
            rung: Whether something happened; if not, the inbox is looked at when it is due.
        """
        self._look_wanted |= rung
        try:
            self._look(now)
            self.dispatcher.collect(now.wall_s)
            self.dispatcher.fill(now.wall_s)
            self.tracker.refresh(now.wall_s)
            self.census.refresh(now.wall_s, self.working)
            if away := self._people_reach.trouble():
                raise PublishError(away)
            self.forgetter.refresh(now.wall_s, self.census.running)
            self.publisher.refresh(now.wall_s)
        except (StoreError, PublishError) as error:
            self._complain(str(error), now)
        else:
            self._recover()

    def next_turn_s(self, now: Now) -> float:
        """Seconds until a turn is worth it, if nothing rings."""
        soon = self._look_wanted or self.admission.pending or self.census.pending or self._trouble
        wait = self._looked_s + (LOOK_GAP_S if soon else self._scan_s) - now.steady_s
        return min(max(wait, 0.05), 30.0)

    def park(self) -> None:
        """Give back what is out; the next start takes it up."""
        self.dispatcher.park()
        self.tracker.park()
        self.census.park()
        self.publisher.park()

    def _look(self, now: Now) -> None:
        soon = self._look_wanted or self.admission.pending
        gap_s = min(LOOK_GAP_S if soon else self._scan_s, self._scan_s)
        if self._watches_inbox and now.steady_s - self._looked_s >= gap_s:
            # Before looking: what happens meanwhile rings again.
            self._look_wanted = False
            self._looked_s = now.steady_s
            self._inbox_away = self._inbox_reach.trouble()
            if not self._inbox_away:
                self.admission.refresh(now.wall_s, now.steady_s)

    def _complain(self, trouble: str, now: Now) -> None:
        """Say it when it is new, and once a minute while it lasts."""
        if trouble != self._trouble or now.steady_s - self._said_s >= SAY_AGAIN_S:
            log.error("blocked", reason=trouble)
            self._said_s = now.steady_s
        self._trouble = trouble

    def _recover(self) -> None:
        if self._trouble:
            log.info("recovered", reason=self._trouble)
        self._trouble = ""


def encode_settings(settings: Settings) -> EncodeSettings:
    """What decides which faces are found, for a worker."""
    return EncodeSettings(
        settings.sampling.fps,
        settings.sampling.mode == "keyframes",
        settings.sampling.reuse_unchanged,
        EncoderSettings(
            models_dir=settings.models_dir,
            kind=settings.encoder.kind,
            detector=settings.encoder.detector,
            max_width=settings.detection.max_width,
            max_height=settings.detection.max_height,
            upsample=settings.detection.upsample,
            mirror=settings.encoder.mirror,
            min_face_px=settings.encoder.min_face_px,
            runtime=settings.encoder.runtime,
        ),
        settings.people.portrait_width,
    )


@contextmanager
def open_service(settings: Settings, doorbell: Doorbell) -> Iterator[Service]:
    """A service that holds the home's lock and a pool of workers.

    On the way out running slices get ``GRACE_S`` to finish; the rest is given back.

    Raises:
        AlreadyRunning: Another portraitd works on this home.
        StoreError: The database cannot be used, or a share does not answer.
    """
    for folder in (settings.people_dir, settings.inbox_dir):
        if away := Reach(folder).trouble():
            raise StoreError(away)
    make_home(settings)
    with ExitStack() as stack:
        stack.enter_context(StoreLock(settings.state_dir))
        database = Database.open(settings.state_dir)
        stack.callback(database.close)
        limits = WorkerLimits(
            settings.workers.nice, settings.workers.memory_mb, settings.workers.time_limit_s
        )
        places = settings.workers.processes
        executor = LocalExecutor(places, limits)
        service = Service(settings, database, executor, places, doorbell)
        try:
            yield service
        finally:
            _wind_down(service, executor, doorbell)


def _wind_down(service: Service, executor: LocalExecutor, doorbell: Doorbell) -> None:
    deadline_s = time.monotonic() + GRACE_S
    while service.dispatcher.busy and (left_s := deadline_s - time.monotonic()) > 0:
        doorbell.wait(min(left_s, 1.0))
        try:
            service.dispatcher.collect(time.time())
        except StoreError as error:
            log.error("blocked", reason=str(error))
            break
    try:
        service.park()
    except StoreError as error:
        # Its rows say running; the next start queues them again.
        log.error("blocked", reason=str(error))
    executor.shutdown(wait=True, cancel_futures=True)


def run(
    settings: Settings,
    until_idle: bool = False,
    attend: Callable[[Service, Now], bool] = lambda service, now: False,
    doorbell: Doorbell | None = None,
) -> None:
    """Run the service until a signal asks it to stop, or until there is nothing left to do.

    Args:
        settings: What is in force.
        until_idle: Whether to end when there is nothing left to do.
        attend: Called after every turn; says whether to end so as to begin anew.
        doorbell: Rung by whatever calls for a turn.

    Raises:
        AlreadyRunning: Another portraitd works on this home.
        StoreError: The database cannot be opened.
    """
    doorbell, notifier = doorbell or Doorbell(), Notifier()
    with _stop_signals(doorbell) as stopping, open_service(settings, doorbell) as service:
        watch = Watch([settings.inbox_dir], doorbell, settings.inbox.watch)
        watch.start()
        try:
            log.info(
                "service_started",
                version=__version__,
                home=str(settings.home_dir),
                workers=settings.workers.processes,
                watching="events and scan" if watch.event_roots else "scan",
                sqlite=sqlite3.sqlite_version,
            )
            notifier.ready()
            rung = True
            while not stopping():
                now = Now.read()
                service.turn(now, rung)
                notifier.alive(now.steady_s)
                if attend(service, now):
                    notifier.reloading(now.steady_s)
                    break
                if until_idle and service.idle:
                    break
                watch.ensure()
                timeout_s = service.next_turn_s(now)
                if notifier.period_s:
                    timeout_s = min(timeout_s, notifier.period_s)
                rung = doorbell.wait(timeout_s)
        finally:
            watch.stop()
            if not notifier.is_reloading:
                notifier.stopping()
            log.info("service_stopping")


def process(
    settings: Settings, paths: list[Path], watch_progress: Callable[[Service], None]
) -> list[int]:
    """Process files and folders now, and return when the people tree is fresh.

    Args:
        settings: What is in force.
        paths: Files and folders; none at all regroups everything from the beginning.
        watch_progress: Called after every turn.

    Returns:
        The ids of the files that were named.

    Raises:
        AlreadyRunning: Another portraitd works on this home.
        StoreError: The database cannot be opened.
    """
    doorbell = Doorbell()
    now_settings = settings.model_copy(
        update={"grouping": settings.grouping.model_copy(update={"settle_s": 0.0})}
    )
    with _stop_signals(doorbell) as stopping, open_service(now_settings, doorbell) as service:
        service.leave_inbox()
        if not paths:
            service.census.force()
        named = service.admission.register(paths, time.time())
        while not stopping():
            service.turn(Now.read())
            watch_progress(service)
            if service.idle:
                return named
            doorbell.wait(1.0)
        raise KeyboardInterrupt


@contextmanager
def _stop_signals(doorbell: Doorbell) -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT end the loop after its turn; a second one ends the process."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        doorbell.ring("stop")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
