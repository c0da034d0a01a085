"""The service: its rooms put together, and one turn of the loop."""

from __future__ import annotations

import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Self

import structlog

from portraitd.clustering.grouping_methods import make_method
from portraitd.clustering.grouping_stage import CensusTaker, Pace
from portraitd.clustering.tracking_stage import Tracker
from portraitd.config import Settings
from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.build import Place
from portraitd.datasets.dataset_stage import Curator
from portraitd.ingest.admission import Admission, inbox_pace
from portraitd.ingest.dispatcher import Dispatcher, encode_settings, slice_s
from portraitd.ingest.reprocessing import Rebuilding
from portraitd.model.errors import PublishError, StoreError
from portraitd.people.pages.gallery import Gallery
from portraitd.people.pages.status_page import Stage
from portraitd.people.pages.status_stage import Noticeboard
from portraitd.people.publisher import Publisher
from portraitd.people.review import Review, ReviewPace
from portraitd.people.tree.people_tree import Tree
from portraitd.service.control import Errands
from portraitd.service.control_files import Requests
from portraitd.service.erasure_stage import Forgetter, Places
from portraitd.service.executors import CrewNotes, Workplace
from portraitd.service.share_probe import Reach
from portraitd.service.wakeup import Doorbell
from portraitd.store import (
    Database,
    Faces,
    Files,
    Forgetting,
    Ledger,
    People,
    Showing,
    TrackStore,
    Troubles,
    Verdicts,
    Work,
)
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.frame_cache import Pool
from portraitd.store.publications import Limits
from portraitd.store.reprocess import Rebuild

log = structlog.get_logger(stage="service")

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
        workplace: Workplace | None = None,
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
            files, settings.inbox_dir, inbox_pace(settings), settings.inbox.after
        )
        self.dispatcher = Dispatcher(
            files,
            self.work,
            executor,
            places,
            ring,
            encode_settings(settings),
            slice_s(settings),
            settings.workers.attempts,
            self.admission.has_lost,
            Pool(settings.state_dir) if settings.dataset.frames == "keep" else None,
            workplace.slice_places if workplace else None,
            settings.priorities,
        )
        self._crew = CrewNotes(database, workplace.cluster if workplace else None)
        self.tracker = Tracker(tracks, executor, ring, settings.workers.attempts)
        ledger = Ledger(database)
        method = make_method(
            settings.grouping, faces, tracks, people, ledger, executor, settings.state_dir
        )
        self.census = CensusTaker(
            people, method, ring, Pace(settings.grouping.settle_s, settings.grouping.max_wait_s)
        )
        requests = Requests(settings.requests_dir)
        tree = Tree(settings.people_dir, store=database.name)
        showing = Showing(database)
        self.publisher = Publisher(
            faces,
            people,
            ledger,
            showing,
            executor,
            ring,
            tree,
            Limits(settings.review.portraits_per_track, settings.review.unsorted_portraits),
        )
        self.review = Review(
            tree,
            Verdicts(database, ledger, showing, settings.review.unit == "track"),
            ledger,
            showing,
            faces,
            people,
            Troubles(database),
            ReviewPace(settings.review.scan_s, settings.review.settle_s),
        )
        self.rebuilding = Rebuilding(
            Rebuild(database, files, tracks),
            files,
            slice_s(settings),
            encode_settings(settings).encoder.embedding_space,
        )
        self.gallery = Gallery(database, people, faces, settings.people_dir)
        self.noticeboard = Noticeboard(database, self.work, people, settings.people_dir, places)
        self.curator = Curator(
            DatasetStore(database, files),
            dataset_place(settings),
            dataset_rule(settings),
            executor,
            ring,
            settings.dataset.auto,
            settings.dataset.frames == "keep",
        )
        self.forgetter = Forgetter(
            Forgetting(database),
            Places.of(settings),
            settings.privacy.keep_days,
            self._is_held,
            self._let_go,
        )
        self.errands = Errands(
            requests, self.review, self.publisher, self.rebuilding, self.forgetter, self.curator
        )
        self._people_reach, self._inbox_reach = (
            Reach(settings.people_dir),
            Reach(settings.inbox_dir),
        )
        self._people_away = ""
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
        return self._trouble or next(filter(None, (room.trouble for room in rooms)), "")

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
            or self.review.pending
            or self.errands.pending
            or self.rebuilding.pending
            or self.gallery.pending
            or self.curator.pending
            or self._trouble
        )

    @property
    def stage(self) -> Stage:
        """What is being done, in a word."""
        if self.admission.pending or self.working:
            return "faces"
        if self.census.pending:
            return "grouping"
        return "folders" if self.publisher.pending or self.gallery.pending else "idle"

    def turn(self, now: Now, rung: bool = True) -> None:
        """Move everything that can move, by one step.

        Args:
            now: The time.
            rung: Whether something happened; if not, the inbox is looked at when it is due.
        """
        self._look_wanted |= rung
        self._people_away = self._people_reach.trouble()
        self.admission.hangs = self._inbox_reach.trouble()
        troubles = []
        # Where one cannot go on, the others can: what people do counts also without a census.
        steps = (
            self._work_on,
            self._group,
            self._answer,
            self._forget,
            self._show,
            self._collect,
            self._tell,
        )
        for step in steps:
            try:
                step(now)
            except (StoreError, PublishError) as error:
                troubles.append(str(error))
        if troubles:
            self._complain(troubles[0], now)
        else:
            self._recover()

    def next_turn_s(self, now: Now) -> float:
        """Seconds until a turn is worth it, if nothing rings."""
        soon = self._look_wanted or self.admission.pending or self.census.pending or self._trouble
        wait = self._looked_s + (LOOK_GAP_S if soon else self._scan_s) - now.steady_s
        return min(max(min(wait, self.review.wait_s(now.steady_s)), 0.05), 30.0)

    def park(self) -> None:
        """Give back what is out; the next start takes it up."""
        self.dispatcher.park()
        self.tracker.park()
        self.census.park()
        self.publisher.park()
        self.curator.park()

    def _work_on(self, now: Now) -> None:
        self._look(now)
        self.dispatcher.collect(now.wall_s)
        if not self.admission.away:
            self.dispatcher.fill(now.wall_s)
        self._crew.refresh(now.wall_s, now.steady_s)

    def _group(self, now: Now) -> None:
        self.tracker.refresh(now.wall_s)
        self.census.refresh(now.wall_s, self.working)

    def _answer(self, now: Now) -> None:
        self.errands.refresh(now.wall_s)

    def _forget(self, now: Now) -> None:
        self._require_people()
        self.forgetter.refresh(now.wall_s)

    def _look(self, now: Now) -> None:
        soon = self._look_wanted or self.admission.pending
        gap_s = min(LOOK_GAP_S if soon else self._scan_s, self._scan_s)
        if self._watches_inbox and now.steady_s - self._looked_s >= gap_s:
            # Before looking: what happens meanwhile rings again.
            self._look_wanted = False
            self._looked_s = now.steady_s
            if not self.admission.hangs:
                self.admission.refresh(now.wall_s, now.steady_s)

    def _show(self, now: Now) -> None:
        """Read what people did, and show what came of it; never over what was not read."""
        self._require_people()
        if self.publisher.pending or self.rebuilding.ready:
            self.review.wake()
        self.review.refresh(now.wall_s, now.steady_s)
        if self.review.allows_publishing(now.steady_s):
            if self.rebuilding.refresh(now.wall_s):
                self.census.park()
            self.publisher.refresh(now.wall_s)
            self.gallery.refresh(now.wall_s)

    def _collect(self, now: Now) -> None:
        self.curator.refresh(now.wall_s, self.working or self.census.pending)

    def _tell(self, now: Now) -> None:
        self._require_people()
        self.noticeboard.refresh(self.stage, now.wall_s)

    def _is_held(self) -> bool:
        """Whether a worker has faces and will write them down: groups, a set, kept frames."""
        return self.census.running or self.curator.busy or self.dispatcher.strays

    def _let_go(self) -> None:
        """Somebody was forgotten: what workers make of the faces of before is not wanted."""
        self.tracker.park()
        self.publisher.park()

    def _require_people(self) -> None:
        """Touch no tree on a share that hangs."""
        if self._people_away:
            raise PublishError(self._people_away)

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


def dataset_place(settings: Settings) -> Place:
    """Where training sets come from, and go to."""
    return Place(settings.state_dir, settings.inbox_dir, settings.dataset_dir)


def dataset_rule(settings: Settings) -> DatasetRule:
    """What decides what a training set holds."""
    chosen = settings.dataset
    return DatasetRule(
        chosen.formats,
        chosen.people,
        chosen.unknown,
        chosen.val_share,
        chosen.near_duplicate,
        chosen.apart_s,
        chosen.background_share,
    )
