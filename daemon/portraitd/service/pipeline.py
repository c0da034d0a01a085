"""The service: its stages put together, and one tick of the loop."""

from __future__ import annotations

from functools import partial

import structlog

from portraitd.clustering.grouping_methods import make_method
from portraitd.clustering.grouping_stage import GroupingStage
from portraitd.clustering.track_building import summarise_tracks
from portraitd.clustering.tracking_stage import TrackingStage
from portraitd.config import Settings
from portraitd.datasets.build import DatasetPaths
from portraitd.datasets.dataset_stage import DatasetStage
from portraitd.datasets.harvest_stage import HarvestStage
from portraitd.faces.interface import EncoderSpec
from portraitd.faces.models.model_registry import find_embedder, require_rules
from portraitd.ingest.admission import Admission
from portraitd.ingest.dispatcher import Dispatcher, encode_options, slice_s
from portraitd.ingest.drawn_face_stage import DrawnFaceStage
from portraitd.ingest.mounts import is_on_share
from portraitd.ingest.picture_hashes import PictureHashStage
from portraitd.ingest.reembedding_stage import ReembeddingStage
from portraitd.ingest.reprocessing import ReprocessingStage
from portraitd.model.errors import PublishError, StoreError
from portraitd.model.reasons import NO_REASON, Reason
from portraitd.model.stage import Now, Phase, Stage
from portraitd.people.feedback.edit_cards import EditCards
from portraitd.people.feedback.loss_question import LossQuestion
from portraitd.people.pages.gallery import Gallery
from portraitd.people.pages.status_stage import StatusPageStage
from portraitd.people.publisher import Publisher
from portraitd.people.questions.question_stage import QuestionStage
from portraitd.people.references.asked_picture_stage import AskedPictureStage
from portraitd.people.references.reference_stage import ReferenceStage
from portraitd.people.references.region_name_stage import RegionNameStage
from portraitd.people.review import Review
from portraitd.people.sidecars.sidecar_files import SidecarFiles
from portraitd.people.sidecars.sidecar_stage import SidecarStage
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service.control import ControlStage
from portraitd.service.control_files import ControlFiles
from portraitd.service.erasure_stage import ErasureStage
from portraitd.service.event_stage import EventLog, EventStage
from portraitd.service.executors import Executors, RemoteWorkerRecorder
from portraitd.service.people_lease import make_people_lease
from portraitd.service.share_probe import ShareGuard, ShareProbe
from portraitd.service.wakeup import Doorbell
from portraitd.store.announcements import Announcements
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.imported_edits import record_imported, unpack_edits
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.drawn_faces import DrawnFaces
from portraitd.store.erasure.derived_files import EVENTS_NAME
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.faces import Faces
from portraitd.store.files import Files
from portraitd.store.harvests import HarvestStore
from portraitd.store.people import People
from portraitd.store.publications import Publications
from portraitd.store.recordings import Recordings
from portraitd.store.reembedding import Reembedding
from portraitd.store.reference_faces import ReferenceFaces
from portraitd.store.region_readings import RegionReadings
from portraitd.store.reprocess import ReprocessQueue
from portraitd.store.review_notices import ReviewNotices
from portraitd.store.sidecars import Sidecars
from portraitd.store.slices import SliceQueue
from portraitd.store.snapshot import SnapshotReader
from portraitd.store.tracks import TrackStore
from portraitd.store.tree_stores import TreeStores

log = structlog.get_logger(stage="service")

REPEAT_S = 60.0


class Service:
    """Everything that moves a dropped file to a person's folder.

    Use ``open_service`` to make one. Its stages are ticked in the order of ``stages``.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        executors: Executors,
        doorbell: Doorbell,
        target: EncoderSpec | None = None,
    ) -> None:
        executor = executors.executor
        self.files = files = Files(database, settings.inbox_dir)
        self.faces = faces = Faces(database)
        self.people = people = People(database)
        tracks = TrackStore(database)

        def wake() -> None:
            doorbell.wake("job")

        self.database = database
        self.slice_queue = SliceQueue(database, files, settings.privacy.dropped_again == "refuse")
        self.inbox_share = ShareProbe(settings.inbox_dir)
        self.people_share = ShareProbe(settings.people_dir)
        self.people_lease = make_people_lease(
            settings, database.name, lambda: self.people_share.blocked
        )
        self.admission = Admission(
            files,
            settings.inbox_dir,
            settings.inbox,
            lambda: self.inbox_share.blocked,
        )
        self.dispatcher = Dispatcher(
            files,
            self.slice_queue,
            executor,
            executors.slots,
            wake,
            settings,
            self.admission,
            executors.slice_slots,
        )
        self.picture_hashes = PictureHashStage(
            Recordings(database, files),
            files,
            executor,
            wake,
            lambda: self.working or self.admission.is_unavailable,
        )
        encoder = encode_options(settings).encoder
        card = find_embedder(encoder.embedder, settings.models_dir)
        self.tracking = TrackingStage(
            tracks,
            encoder.embedding_space,
            require_rules(card),
            executor,
            wake,
            settings.workers.attempts,
        )
        ledger = Ledger(database)
        self.grouping = GroupingStage(
            people,
            make_method(
                settings.grouping, card, faces, tracks, people, ledger, executor, settings.state_dir
            ),
            wake,
            settings.grouping,
            lambda: self.working,
        )
        tree = PeopleTree(settings.people_dir, store=database.name)
        tree_stores = TreeStores(
            faces,
            people,
            ledger,
            Publications(database),
            BlockedStages(database),
            ReviewNotices(database),
        )
        recorder = EditRecorder(
            database, ledger, tree_stores.publications, settings.review.unit == "track"
        )
        self.questions = QuestionStage(
            settings.people_dir,
            database,
            tree_stores,
            executor,
            wake,
            settings.review,
            LossQuestion(lambda: tree.withheld),
        )
        self.edit_cards = EditCards(settings.people_dir, database, settings.review.edit_cards)
        self.review = Review(
            tree,
            recorder,
            tree_stores,
            settings.review,
            lambda: (
                self.publisher.pending
                or self.reprocessing.ready
                or self.references.pending
                or self.asked_pictures.pending
                or self.region_names.has_names
            ),
            self._publish_again,
            self._accept_removal,
            [self.questions.answers, self.edit_cards],
        )
        self.references = ReferenceStage(
            tree,
            settings.people_dir,
            files,
            ReferenceFaces(database),
            recorder,
            tree_stores.notices,
            settings.inbox,
            settings.review,
            self.review.has_read_everything,
            lambda: is_on_share(settings.people_dir),
        )
        self.region_names = RegionNameStage(
            settings.inbox.read_names,
            RegionReadings(database),
            files,
            SidecarFiles(settings.inbox_dir),
            recorder,
            tree_stores.notices,
            executor,
            wake,
            self.review.has_read_everything,
            lambda: self.admission.lacks_inbox,
        )
        self.asked_pictures = AskedPictureStage(
            settings.people_dir,
            database,
            encode_options(settings),
            executor,
            wake,
            settings.inbox.quiet_s,
            self.review.has_read_everything,
        )
        self.reprocessing = ReprocessingStage(
            ReprocessQueue(database, files, tracks),
            files,
            slice_s(settings),
            encoder.embedding_space,
            self.review.has_read_everything,
            self.grouping.release,
        )
        new_encoder = target or encoder
        new_rules = require_rules(find_embedder(new_encoder.embedder, settings.models_dir))
        self.reembedding = ReembeddingStage(
            Reembedding(database, new_encoder.embedding_space),
            files,
            new_encoder,
            executor,
            executors.slots,
            new_rules.quality,
            partial(summarise_tracks, vector_length=new_rules.vector_length),
            lambda: self.reprocessing.pending,
            self.review.has_read_everything,
            wake,
            settings.workers.attempts,
        )
        self.drawn_faces = DrawnFaceStage(
            DrawnFaces(database),
            files,
            encode_options(settings),
            executor,
            lambda: self.reprocessing.pending or self.reembedding.pending,
            wake,
            settings.workers.attempts,
        )
        self.publisher = Publisher(
            tree_stores,
            executor,
            wake,
            tree,
            settings.review,
            self.review.allows_publishing,
        )
        self.gallery = Gallery(
            database,
            people,
            faces,
            settings.people_dir,
            self._may_write_gallery,
            lambda: self.working,
            settings.pages,
        )
        self.sidecars = SidecarStage(
            Sidecars(database),
            files,
            tree_stores.notices,
            SidecarFiles(settings.inbox_dir),
            settings.review.sidecars,
            executor,
            wake,
            lambda: self.working,
            lambda: self.admission.lacks_inbox,
        )
        self.dataset = DatasetStage(
            DatasetStore(database, files),
            DatasetPaths.of(settings),
            settings.dataset,
            executor,
            wake,
            lambda: self.working or self.grouping.pending or self.harvest.pending,
            lambda: tree.consents,
        )
        self.harvest = HarvestStage(
            HarvestStore(database),
            DatasetStore(database, files),
            files,
            DatasetPaths.of(settings),
            lambda: self.dataset.rule,
            settings.dataset.harvest_fps,
            encode_options(settings),
            require_rules(card),
            executor,
            lambda: (
                self.working
                or self.grouping.pending
                or self.reprocessing.pending
                or self.reembedding.pending
            ),
            self._publish_again,
            wake,
            settings.workers.attempts,
        )
        self.erasure = ErasureStage(
            Eraser(database),
            settings,
            self._holds_faces,
            self._discard_jobs,
            BlockedStages(database),
        )
        control = ControlStage(
            ControlFiles(settings.requests_dir),
            self.review,
            ledger,
            self.publisher,
            self.reprocessing,
            self.erasure,
            self.dataset,
            self.harvest,
            lambda text, now_s: record_imported(
                database, ledger, unpack_edits(text), settings.review.unit, now_s
            ),
            self._retry_failed,
            files.dismiss,
        )
        self.snapshots = SnapshotReader(database, settings)
        self.status_page = StatusPageStage(
            settings.people_dir,
            self.snapshots.read,
            lambda: self.phase,
            lambda: self.blocked,
            lambda: [*self.questions.describe_questions().values()],
            has_edit_cards=settings.review.edit_cards > 0,
        )
        self.events = EventStage(
            Announcements(database),
            people,
            EventLog(settings.state_dir / EVENTS_NAME),
            lambda: self.blocked,
            lambda: {
                key: (str(text), path)
                for key, (text, path) in self.questions.describe_questions().items()
            },
            self.questions.is_over,
            tree_stores.blocked_stages,
        )
        self.stages: tuple[Stage, ...] = (
            self.inbox_share,
            self.people_share,
            self.people_lease,
            self.admission,
            self.dispatcher,
            RemoteWorkerRecorder(database, executors.cluster),
            self.tracking,
            self.grouping,
            control,
            self._guarded(self.erasure),
            # What was done in the tree is read before anything is written to it.
            self._guarded(self.review),
            self._guarded(self.references),
            self.region_names,
            self._guarded(self.asked_pictures),
            self.reprocessing,
            self.reembedding,
            self.drawn_faces,
            self.publisher,
            self._guarded(self.questions),
            self._guarded(self.edit_cards),
            self.gallery,
            self.sidecars,
            self.harvest,
            self.dataset,
            self._guarded(self.status_page),
            self.picture_hashes,
            # Last: it tells what the others did in this tick.
            self.events,
        )
        self._errors: dict[Stage, Reason] = {}
        self._logged = NO_REASON
        self._logged_s = float("-inf")
        self._reclaim_jobs()

    @property
    def working(self) -> bool:
        """Return whether the faces of a file are still being looked for or tracked."""
        return self.dispatcher.pending or self.tracking.pending

    @property
    def blocked(self) -> Reason:
        """Return why a stage cannot go on; ``NO_REASON`` if none is blocked."""
        return self._first_error or next(
            filter(None, (stage.blocked for stage in self.stages)), NO_REASON
        )

    @property
    def idle(self) -> bool:
        """Return whether there is nothing left to do until a file is dropped."""
        return not self._errors and not any(stage.pending for stage in self.stages)

    @property
    def is_stuck(self) -> bool:
        """Return whether a stage is blocked, and no worker computes anything."""
        is_computing = (
            self.dispatcher.is_computing or self.grouping.is_computing or self.dataset.busy
        )
        return bool(self.blocked) and not is_computing

    @property
    def phase(self) -> Phase:
        """Return what the service is doing: the phase of its first stage that has work."""
        phases = (stage.phase for stage in self.stages if stage.phase != "idle" and stage.pending)
        return next(phases, "idle")

    @property
    def updates_tree(self) -> bool:
        """Return whether the people tree will change without any new file."""
        return any(stage.updates_tree and stage.pending for stage in self.stages)

    def tick(self, now: Now, woken: bool = True) -> None:
        """Move everything that can move, by one step.

        Args:
            now: The time.
            woken: Whether something happened; otherwise the inbox is scanned when it is due.
        """
        if woken:
            self.admission.wake()
        for stage in self.stages:
            # The other stages can go on: edits take effect also while no grouping is possible.
            self._tick(stage, now)
        if self._errors:
            self._log_blocked(self._first_error, now)
        elif self._logged:
            log.info("recovered", reason=self._logged.text, reason_code=self._logged.code)
            self._logged = NO_REASON

    def next_tick_s(self, now: Now) -> float:
        """Return the seconds until the next tick is due, if nothing wakes the service."""
        soon = bool(self._errors) or self.grouping.pending
        waits_s = self.admission.wait_s(now.steady_s, soon), self.review.wait_s(now.steady_s)
        return min(max(min(waits_s), 0.05), 30.0)

    def release(self) -> None:
        """Give back the jobs that are out; the next start does them again."""
        for stage in self.stages:
            stage.release()

    @property
    def _first_error(self) -> Reason:
        """The error of the first stage that has one; ``NO_REASON`` if none has."""
        return next(
            (self._errors[stage] for stage in self.stages if stage in self._errors), NO_REASON
        )

    def _tick(self, stage: Stage, now: Now) -> None:
        """Tick a stage. Its error lasts until it has done what failed, or has nothing to do."""
        try:
            stage.tick(now)
            if stage in self._errors and not stage.defers:
                del self._errors[stage]
        except (StoreError, PublishError) as error:
            self._errors[stage] = error.reason

    def _guarded(self, stage: Stage) -> Stage:
        """Return a stage that leaves the tree alone while it is not ours, or not there."""
        return ShareGuard(stage, self.people_share, self.people_lease)

    def _may_write_gallery(self, now: Now) -> bool:
        # After the folders that its pages link to.
        return self.review.allows_publishing(now) and not self.publisher.pending

    def _publish_again(self) -> None:
        self.publisher.repeat()

    def _accept_removal(self) -> None:
        self.publisher.accept()

    def _retry_failed(self, now_s: float) -> int:
        """Queue the files that failed again. Return how many."""
        return self.slice_queue.retry(now_s) + self.files.retry(now_s)

    def _reclaim_jobs(self) -> None:
        """Queue the jobs again that were out when the last service ended."""
        self.files.reclaim()
        reclaimed = self.slice_queue.reclaim()
        log.info("store_opened", faces=self.faces.count(), slices_reclaimed=reclaimed)

    def _holds_faces(self) -> bool:
        """Return whether a job that is out will write faces down: groups, a set, kept frames."""
        return self.grouping.running or self.dataset.busy or self.dispatcher.late_jobs

    def _discard_jobs(self) -> None:
        """Discard what workers compute from faces that have been erased."""
        self.tracking.release()
        self.harvest.release()
        self.drawn_faces.release()
        self.publisher.release()
        self.questions.release()
        self.region_names.release()
        self.sidecars.release()

    def _log_blocked(self, reason: Reason, now: Now) -> None:
        """Log an error when it is new, and once a minute while it lasts."""
        if reason != self._logged or now.steady_s - self._logged_s >= REPEAT_S:
            log.error("blocked", reason=reason.text, reason_code=reason.code)
            self._logged_s = now.steady_s
        self._logged = reason
