"""The service: its rooms put together, and one turn of the loop."""

from __future__ import annotations

import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Self

import structlog

from portraitd.clustering.grouping_methods import make_method
from portraitd.clustering.grouping_stage import GroupingStage, Pace
from portraitd.clustering.tracking_stage import TrackingStage
from portraitd.config import Settings
from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.build import DatasetPaths
from portraitd.datasets.dataset_stage import DatasetStage
from portraitd.ingest.admission import Admission, inbox_pace
from portraitd.ingest.dispatcher import Dispatcher, encode_settings, slice_s
from portraitd.ingest.reprocessing import ReprocessingStage
from portraitd.model.errors import PublishError, StoreError
from portraitd.people.pages.gallery import Gallery
from portraitd.people.pages.status_page import Stage
from portraitd.people.pages.status_stage import StatusPageStage
from portraitd.people.publisher import Publisher
from portraitd.people.review import Review, ReviewPace
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service.control import ControlStage
from portraitd.service.control_files import ControlFiles
from portraitd.service.erasure_stage import ErasureStage, Places
from portraitd.service.executors import Executors, RemoteWorkerRecorder
from portraitd.service.share_probe import ShareProbe
from portraitd.service.wakeup import Doorbell
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.faces import Faces
from portraitd.store.files import Files
from portraitd.store.frame_cache import FrameCache
from portraitd.store.people import People
from portraitd.store.publications import Limits, Publications
from portraitd.store.reprocess import ReprocessQueue
from portraitd.store.slices import SliceQueue
from portraitd.store.tracks import TrackStore

log = structlog.get_logger(stage="service")

REPEAT_S = 60.0

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
        executors: Executors | None = None,
    ) -> None:
        files = Files(database, settings.inbox_dir)
        faces = Faces(database)
        people = People(database)
        tracks = TrackStore(database)

        def wake() -> None:
            doorbell.wake("job")

        self.database = database
        self.files = files
        self.slice_queue = SliceQueue(database, files, settings.privacy.dropped_again == "refuse")
        self.faces = faces
        self.people = people
        self.admission = Admission(
            files, settings.inbox_dir, inbox_pace(settings), settings.inbox.after
        )
        self.dispatcher = Dispatcher(
            files,
            self.slice_queue,
            executor,
            places,
            wake,
            encode_settings(settings),
            slice_s(settings),
            settings.workers.attempts,
            self.admission.has_lost,
            FrameCache(settings.state_dir) if settings.dataset.frames == "keep" else None,
            executors.slice_places if executors else None,
            settings.priorities,
        )
        self._crew = RemoteWorkerRecorder(database, executors.cluster if executors else None)
        self.tracker = TrackingStage(tracks, executor, wake, settings.workers.attempts)
        ledger = Ledger(database)
        method = make_method(
            settings.grouping, faces, tracks, people, ledger, executor, settings.state_dir
        )
        self.grouping_run = GroupingStage(
            people, method, wake, Pace(settings.grouping.settle_s, settings.grouping.max_wait_s)
        )
        requests = ControlFiles(settings.requests_dir)
        tree = PeopleTree(settings.people_dir, store=database.name)
        publications = Publications(database)
        self.publisher = Publisher(
            faces,
            people,
            ledger,
            publications,
            executor,
            wake,
            tree,
            Limits(settings.review.portraits_per_track, settings.review.unsorted_portraits),
        )
        self.review = Review(
            tree,
            EditRecorder(database, ledger, publications, settings.review.unit == "track"),
            ledger,
            publications,
            faces,
            people,
            BlockedStages(database),
            ReviewPace(settings.review.scan_s, settings.review.settle_s),
        )
        self.reprocessing = ReprocessingStage(
            ReprocessQueue(database, files, tracks),
            files,
            slice_s(settings),
            encode_settings(settings).encoder.embedding_space,
        )
        self.gallery = Gallery(database, people, faces, settings.people_dir)
        self.status_page = StatusPageStage(
            database, self.slice_queue, people, settings.people_dir, places
        )
        self.dataset_stage = DatasetStage(
            DatasetStore(database, files),
            dataset_paths(settings),
            dataset_rule(settings),
            executor,
            wake,
            settings.dataset.auto,
            settings.dataset.frames == "keep",
        )
        self.forgetter = ErasureStage(
            Eraser(database),
            Places.of(settings),
            settings.privacy.keep_days,
            self._is_held,
            self._let_go,
        )
        self.control = ControlStage(
            requests,
            self.review,
            self.publisher,
            self.reprocessing,
            self.forgetter,
            self.dataset_stage,
        )
        self._people_reach, self._inbox_reach = (
            ShareProbe(settings.people_dir),
            ShareProbe(settings.inbox_dir),
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
        reclaimed = self.slice_queue.reclaim()
        log.info("store_opened", faces=faces.count(), slices_reclaimed=reclaimed)

    def leave_inbox(self) -> None:
        """Look at nothing but what is registered, for ``portraitd process``."""
        self._watches_inbox = False

    @property
    def working(self) -> bool:
        """Whether a file is on its way to faces."""
        return self.dispatcher.busy or self.files.any_open() or self.tracker.pending

    @property
    def blocked(self) -> str:
        """What stands in the way of something just now; empty if nothing does."""
        stages = (self.admission, self.grouping_run, self.tracker)
        return self._trouble or next(filter(None, (stage.blocked for stage in stages)), "")

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to do until something is dropped."""
        looked = not self._watches_inbox or self._looked_s > float("-inf")
        return looked and not (
            self.admission.pending
            or self.working
            or self.grouping_run.pending
            or self.publisher.pending
            or self.forgetter.pending
            or self.review.pending
            or self.control.pending
            or self.reprocessing.pending
            or self.gallery.pending
            or self.dataset_stage.pending
            or self._trouble
        )

    @property
    def stage(self) -> Stage:
        """What is being done, in a word."""
        if self.admission.pending or self.working:
            return "faces"
        if self.grouping_run.pending:
            return "grouping"
        return "folders" if self.publisher.pending or self.gallery.pending else "idle"

    def turn(self, now: Now, rung: bool = True) -> None:
        """Move everything that can move, by one step.

        Args:
            now: The time.
            rung: Whether something happened; if not, the inbox is looked at when it is due.
        """
        self._look_wanted |= rung
        self._people_away = self._people_reach.blocked()
        self.admission.hangs = self._inbox_reach.blocked()
        troubles = []
        # Where one cannot go on, the others can: what people do counts also without a grouping.
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
        soon = (
            self._look_wanted
            or self.admission.pending
            or self.grouping_run.pending
            or self._trouble
        )
        wait = self._looked_s + (LOOK_GAP_S if soon else self._scan_s) - now.steady_s
        return min(max(min(wait, self.review.wait_s(now.steady_s)), 0.05), 30.0)

    def release(self) -> None:
        """Give back what is out; the next start takes it up."""
        self.dispatcher.release()
        self.tracker.release()
        self.grouping_run.release()
        self.publisher.release()
        self.dataset_stage.release()

    def _work_on(self, now: Now) -> None:
        self._look(now)
        self.dispatcher.collect(now.wall_s)
        if not self.admission.away:
            self.dispatcher.fill(now.wall_s)
        self._crew.refresh(now.wall_s, now.steady_s)

    def _group(self, now: Now) -> None:
        self.tracker.refresh(now.wall_s)
        self.grouping_run.refresh(now.wall_s, self.working)

    def _answer(self, now: Now) -> None:
        self.control.refresh(now.wall_s)

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
        if self.publisher.pending or self.reprocessing.ready:
            self.review.wake()
        self.review.refresh(now.wall_s, now.steady_s)
        if self.review.allows_publishing(now.steady_s):
            if self.reprocessing.refresh(now.wall_s):
                self.grouping_run.release()
            self.publisher.refresh(now.wall_s)
            self.gallery.refresh(now.wall_s)

    def _collect(self, now: Now) -> None:
        self.dataset_stage.refresh(now.wall_s, self.working or self.grouping_run.pending)

    def _tell(self, now: Now) -> None:
        self._require_people()
        self.status_page.refresh(self.stage, now.wall_s)

    def _is_held(self) -> bool:
        """Whether a worker has faces and will write them down: groups, a set, kept frames."""
        return self.grouping_run.running or self.dataset_stage.busy or self.dispatcher.late_jobs

    def _let_go(self) -> None:
        """Somebody was forgotten: what workers make of the faces of before is not wanted."""
        self.tracker.release()
        self.publisher.release()

    def _require_people(self) -> None:
        """Touch no tree on a share that hangs."""
        if self._people_away:
            raise PublishError(self._people_away)

    def _complain(self, blocked: str, now: Now) -> None:
        """Say it when it is new, and once a minute while it lasts."""
        if blocked != self._trouble or now.steady_s - self._said_s >= REPEAT_S:
            log.error("blocked", reason=blocked)
            self._said_s = now.steady_s
        self._trouble = blocked

    def _recover(self) -> None:
        if self._trouble:
            log.info("recovered", reason=self._trouble)
        self._trouble = ""


def dataset_paths(settings: Settings) -> DatasetPaths:
    """Where training sets come from, and go to."""
    return DatasetPaths(settings.state_dir, settings.inbox_dir, settings.dataset_dir)


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
