"""Telling the people who look at the share what is being done: STATUS.html."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from portraitd.model.stage import Now, Phase, Stage
from portraitd.people.pages import assets
from portraitd.people.pages.status_page import Notice, make_status_line_script, render_status_page
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.owned_files import ROOT, OwnedFiles
from portraitd.store.database import Database
from portraitd.store.people import People
from portraitd.store.queue_stats import QueueStats
from portraitd.store.remote_workers import RemoteWorkers
from portraitd.store.slices import SliceQueue

GAP_S = 4.0
"""Between two writings while work goes on; a browser looks every five seconds."""

MOST_LISTED = 50


class StatusPageStage(Stage):
    """Keeps STATUS.html and the line on the page of all people true.

    Args:
        database: What is being worked on, what waits, what failed.
        work: How much footage is done.
        people: When they were last grouped.
        people_dir: The root of the tree.
        processes: How many workers there are here, for the time left.
        phase_now: Returns what the service is doing.
    """

    def __init__(
        self,
        database: Database,
        slice_queue: SliceQueue,
        people: People,
        people_dir: Path,
        processes: int,
        phase_now: Callable[[], Phase],
    ) -> None:
        self._standing = QueueStats(database)
        self._crew = RemoteWorkers(database)
        self._work = slice_queue
        self._people = people
        self._processes = processes
        self._phase_now = phase_now
        self._owned_files = OwnedFiles(people_dir, "status")
        self._shown: Notice | None = None
        self._shown_s = 0.0

    def tick(self, now: Now) -> None:
        """Write what changed.

        Raises:
            PublishError: The tree cannot be written.
        """
        self.write(self._phase_now(), now.wall_s)

    def write(self, stage: Phase, now_s: float) -> None:
        """Write what changed, at most every few seconds; at once when work begins or ends.

        Raises:
            PublishError: The tree cannot be written.
        """
        turned = self._shown is None or self._shown.stage != stage
        # A clock set back must not silence it.
        if not turned and 0 <= now_s - self._shown_s < GAP_S:
            return
        notice = self._read(stage)
        self._shown_s = now_s
        if notice != self._shown:
            self._write(notice, now_s)
            self._shown = notice

    def _read(self, stage: Phase) -> Notice:
        footage = self._work.progress()
        grouping_run = self._people.last_grouping_run()
        waiting, waiting_count = self._standing.waiting(MOST_LISTED)
        failed, failed_count = self._standing.failed(MOST_LISTED)
        return Notice(
            stage=stage,
            running=tuple(self._standing.running(MOST_LISTED)),
            waiting=tuple(waiting),
            waiting_count=waiting_count,
            failed=tuple(failed),
            failed_count=failed_count,
            done_s=footage.footage_done_s,
            open_s=footage.footage_open_s,
            eta_s=footage.eta_s(self._crew.at_once(self._processes)),
            census_at=grouping_run.finished_at if grouping_run else None,
        )

    def _write(self, notice: Notice, now_s: float) -> None:
        files = {
            ROOT: {"STATUS.html": render_status_page(notice, now_s)},
            "gallery/data": {"status.js": make_status_line_script(notice, now_s)},
        }
        # Not the time alone: a new start that finds everything as it was says nothing new.
        identity = digest(repr((assets.render_version(), notice)).encode())[:16]
        for location, contents in files.items():
            wanted = dict.fromkeys(contents, identity)
            self._owned_files.put(location, wanted, contents.__getitem__)
