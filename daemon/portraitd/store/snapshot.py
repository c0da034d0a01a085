"""How things stand, for the status command, STATUS.html, the metrics and the progress bar."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from portraitd.config import Settings
from portraitd.faces.models.model_registry import missing_recommended
from portraitd.model.reasons import Reason
from portraitd.model.review_notice import ReviewNotice
from portraitd.model.stage import Now
from portraitd.model.suggestion import Suggestion
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.corrections.ledger import EntrySummary, Ledger
from portraitd.store.database import Database
from portraitd.store.embedding_space import name_stored_embedder
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.faces import Faces
from portraitd.store.files import Files, display_path, reason_of
from portraitd.store.people import GroupingRun, People
from portraitd.store.publications import Publications
from portraitd.store.remote_workers import ClusterState, RemoteWorker, RemoteWorkers
from portraitd.store.reprocess import count_reprocessed
from portraitd.store.review_notices import ReviewNotices
from portraitd.store.slices import Progress, SliceQueue

MAX_ENTRIES = 50
"""Entries of the ledger in a snapshot."""

MAX_LISTED = 50
"""Files of one kind in a snapshot that is read again and again; the counts are of all."""

ALL = -1


class FileEntry(NamedTuple):
    """A file, and why it waits or failed; the reason is empty if it is only queued."""

    path: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How a home stands at one moment.

    Attributes:
        files: Number of files by state.
        videos: Number of videos and photos by state.
        searched: Number of videos, and of photos, in which faces were looked for.
        faces: Number of faces stored.
        people: Number of people who have a face.
        footage: Seconds of footage that are done and that are left.
        eta_s: Seconds until all workers are done; 0 if no work is left, None if unknown.
        running: Files that are being processed, with the share that is done, 0 to 1.
        waiting: The first files that wait, the oldest first.
        waiting_count: How many files wait.
        failed: The first files that failed, the newest first.
        failed_count: How many files failed.
        oldest_open_s: Age of the oldest file that is not finished; 0 if there is none.
        grouping: The last grouping run.
        suggestions: Pairs of people who may be one person, the most likely first.
        blocked_stages: Why a stage is blocked until a person acts, by stage.
        reprocessing: How many videos are reprocessed, and how many are to be.
        publication_pending: Whether the people tree does not show the last grouping run and all
            edits.
        erasure_pending: Whether an erasure is not finished.
        cluster: The scheduler of the remote workers; None if there is none.
        workers: The remote workers.
        confused_embedder: Name of the model that cannot tell some of the people apart; empty if
            there are none.
        missing_models: The recommended models that the settings would use if they were there.
        edits: The newest entries of the ledger, oldest first.
        notices: What reviewers did that was not understood, the newest first.
        known_people: Names of the people whom a reviewer's picture shows, and no recording yet.
    """

    files: dict[str, int]
    videos: dict[str, int]
    faces: int
    people: int
    footage: Progress
    eta_s: float | None
    running: tuple[tuple[str, float], ...]
    waiting: tuple[FileEntry, ...]
    waiting_count: int
    failed: tuple[FileEntry, ...]
    failed_count: int
    oldest_open_s: float
    grouping: GroupingRun | None
    suggestions: list[Suggestion]
    blocked_stages: dict[str, Reason]
    reprocessing: tuple[int, int]
    publication_pending: bool
    erasure_pending: bool
    cluster: ClusterState | None
    workers: list[RemoteWorker]
    confused_embedder: str
    missing_models: tuple[str, ...]
    edits: tuple[EntrySummary, ...] = ()
    notices: tuple[ReviewNotice, ...] = ()
    known_people: tuple[str, ...] = ()
    searched: tuple[int, int] = (0, 0)


class SnapshotReader:
    """Reads snapshots; all that ask in one tick get the same one.

    Args:
        database: An open store.
        settings: Of the home.
        limit: How many files of each kind to list.
    """

    def __init__(self, database: Database, settings: Settings, limit: int = MAX_LISTED) -> None:
        self._db = database
        self._processes = settings.workers.processes
        self._encoder, self._models_dir = settings.encoder, settings.models_dir
        self._limit = limit
        self._files = Files(database, settings.inbox_dir)
        self._slice_queue = SliceQueue(database, self._files)
        self._faces, self._people = Faces(database), People(database)
        self._ledger, self._publications = Ledger(database), Publications(database)
        self._blocked_stages, self._eraser = BlockedStages(database), Eraser(database)
        self._remote_workers = RemoteWorkers(database)
        self._notices = ReviewNotices(database)
        self._last: tuple[Now, Snapshot] | None = None

    def read(self, now: Now) -> Snapshot:
        """Return how things stand.

        Raises:
            StoreError: The database cannot be read.
        """
        if self._last is None or self._last[0] != now:
            self._last = now, self._read(now.wall_s)
        return self._last[1]

    def _read(self, now_s: float) -> Snapshot:
        footage = self._slice_queue.progress()
        grouping, published = self._people.last_grouping_run(), self._publications.last()
        current = (grouping.id if grouping else 0, self._ledger.last_id())
        oldest_s = self._files.oldest_open_s()
        waiting, waiting_count = self._waiting()
        failed, failed_count = self._failed()
        return Snapshot(
            files=self._files.counts(),
            videos=self._slice_queue.counts(),
            searched=self._slice_queue.count_done(),
            faces=self._faces.count(),
            people=self._people.count(),
            known_people=tuple(one.name or f"person {one.id}" for one in self._people.known_only()),
            footage=footage,
            eta_s=footage.eta_s(self._remote_workers.parallel_slices(self._processes)),
            running=self._running(),
            waiting=waiting,
            waiting_count=waiting_count,
            failed=failed,
            failed_count=failed_count,
            oldest_open_s=max(0.0, now_s - oldest_s) if oldest_s else 0.0,
            grouping=grouping,
            suggestions=self._people.suggestions(),
            blocked_stages=self._blocked_stages.all(),
            reprocessing=count_reprocessed(self._db),
            publication_pending=grouping is not None and published[:2] != current,
            erasure_pending=self._eraser.pending,
            cluster=self._remote_workers.cluster(),
            workers=self._remote_workers.members(),
            confused_embedder=(
                name_stored_embedder(self._db) if grouping and grouping.indistinct_faces else ""
            ),
            missing_models=self._missing_models(),
            edits=tuple(self._ledger.summaries(MAX_ENTRIES)),
            notices=self._notices.newest(),
        )

    def _missing_models(self) -> tuple[str, ...]:
        encoder = self._encoder
        return tuple(
            missing_recommended(encoder.kind, encoder.detector, encoder.embedder, self._models_dir)
        )

    def _running(self) -> tuple[tuple[str, float], ...]:
        rows = self._db.execute(
            """
            select path, avg(slices.state in ('done', 'failed')) as share
            from slices join files on files.video_id = slices.video_id
            where files.state = 'encoding' and not files.is_reference and exists
                (select 1 from slices as started
                 where started.video_id = slices.video_id and started.state <> 'queued')
            group by files.id order by files.id limit ?
            """,
            (self._limit,),
        )
        return tuple((_name(row["path"]), row["share"]) for row in rows)

    def _waiting(self) -> tuple[tuple[FileEntry, ...], int]:
        condition = """
            state in ('waiting', 'ready', 'probing') or state = 'encoding' and not exists
                (select 1 from slices
                 where slices.video_id = files.video_id and slices.state <> 'queued')
            """
        return self._entries(condition, "id")

    def _failed(self) -> tuple[tuple[FileEntry, ...], int]:
        return self._entries("state = 'failed'", "changed_at desc, id desc")

    def _entries(self, condition: str, order: str) -> tuple[tuple[FileEntry, ...], int]:
        # Conditions and orders are the ones above; nothing from outside becomes SQL.
        condition = f"not is_reference and ({condition})"
        total = self._db.execute(f"select count(*) from files where {condition}").fetchone()[0]  # noqa: S608
        rows = self._db.execute(
            f"""
            select path, reason, reason_code from files where {condition}
            order by {order} limit ?
            """,  # noqa: S608
            (self._limit,),
        )
        return tuple(FileEntry(_name(row["path"]), reason_of(row)) for row in rows), total


def _name(path: bytes) -> str:
    return display_path(Path(os.fsdecode(path)))
