"""Publish the people tree whenever it is out of date."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path

import structlog

from portraitd.config import ReviewSettings
from portraitd.faces.portrait_selection import pick_diverse
from portraitd.model.errors import PublishError, StoreError
from portraitd.model.person import PersonFolder
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.model.track import l2_normalised
from portraitd.model.wording import escape_unprintable
from portraitd.people.montage import (
    MONTAGE_COLUMNS,
    MONTAGE_ROWS,
    draw_montage,
    fill_from_corner,
)
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.store.publications import Publication
from portraitd.store.tree_stores import TreeStores

log = structlog.get_logger(stage="publisher")

RENDER_VERSION = "2"
"""Raised when portraits, annotations or montages are rendered differently."""

BACK_OFF_S = 15.0

FAULT_PAUSE_S = 60.0
"""How often folders that could not be written are tried again, if nothing else is due."""

FOLDERS = "folders"
"""Under this name ``status`` shows the folders that are at fault."""

_NAMED, _NAME_CHARACTERS = 5, 100


class Publisher(Stage):
    """Makes the people tree show the current grouping and the edits recorded since.

    Workers draw the montages. A publish starts by submitting those that are out of date, and
    ends when the last of them is in its folder.

    Args:
        stores: The portraits, the people, the edits, and what was published.
        executor: Draws montages.
        wake: Called, from any thread, when a montage is done.
        tree: The people tree.
        review: How many portraits are published.
        may_publish: Returns whether the tree was read in this tick and shows no edit that waits.
    """

    phase = "folders"
    updates_tree = True

    def __init__(
        self,
        stores: TreeStores,
        executor: Executor,
        wake: Callable[[], None],
        tree: PeopleTree,
        review: ReviewSettings,
        may_publish: Callable[[Now], bool] = lambda now: True,
    ) -> None:
        self._faces = stores.faces
        self._people = stores.people
        self._ledger = stores.ledger
        self._publications = stores.publications
        self._blocked_stages = stores.blocked_stages
        self._executor = executor
        self._wake = wake
        self._tree = tree
        self._is_created = False
        # What is wrong with the tree is reported when something is to be done there.
        with suppress(PublishError):
            self._create()
        self._review = review
        self._render_version = (
            f"{RENDER_VERSION}/{review.portraits_per_track}/{review.unsorted_portraits}"
        )
        self._montages: dict[int, Future[bytes]] = {}
        self._montages_for: Publication | None = None
        self._may_publish = may_publish
        self._back_off = BackOff(BACK_OFF_S)
        self._error = ""
        self._accepts_losses = False
        self._is_asked = False
        self._faulty: Mapping[str, str] = {}
        self._fault_pause = BackOff(FAULT_PAUSE_S)
        # What an earlier service reported is not known.
        self._reported: Reason | None = None

    @property
    def pending(self) -> bool:
        """Whether the tree is out of date."""
        return self._due() is not None

    @property
    def defers(self) -> bool:
        """Return whether the tree waits to be published."""
        return self.pending

    def tick(self, now: Now) -> None:
        """Submit montages, or publish when they are drawn.

        Raises:
            PublishError: The tree cannot be read or written, or the last attempt was too recent.
        """
        due = self._due_now(now) if self._may_publish(now) else None
        if due is None:
            self._report_faulty(now)
            return
        # A share that is not mounted is not asked at every tick.
        if not self._back_off.ready(now):
            raise PublishError(self._error)
        try:
            if not self._is_created:
                self._create()
            self._advance(due, now)
        except (PublishError, StoreError) as error:
            self._back_off.start(now)
            self._error = str(error)
            raise

    def accept(self) -> None:
        """Allow the next publish to remove nearly all folders."""
        self._accepts_losses = True
        self._back_off.reset()

    def repeat(self) -> None:
        """Publish again although nothing has changed in the store: something is to be put back."""
        self._is_asked = True

    def release(self) -> None:
        """Drop the submitted montages; the next publish submits them again."""
        self._montages.clear()
        self._montages_for = None

    def _create(self) -> None:
        # If a tree was published before, an empty folder is where a share should be mounted.
        self._tree.create(allow_new=not self._publications.last().grouping_run_id)
        self._is_created = True

    def _due(self) -> Publication | None:
        """Return what the tree should be made from; None if it is up to date."""
        desired, last = self._desired(), self._publications.last()
        # After a backup of the tree was put back, it shows something else than was published.
        is_shown = self._tree.shown in (None, (last.grouping_run_id, last.ledger_id))
        return None if last == desired and is_shown and not self._is_asked else desired

    def _due_now(self, now: Now) -> Publication | None:
        """Return the same, and from time to time what folders that were at fault still need."""
        is_retried = bool(self._faulty) and self._fault_pause.ready(now)
        return self._desired() if is_retried else self._due()

    def _desired(self) -> Publication | None:
        grouping_run = self._people.last_grouping_run()
        if grouping_run is None:
            return None
        return Publication(grouping_run.id, self._ledger.last_id(), self._render_version)

    def _advance(self, due: Publication, now: Now) -> None:
        if self._montages_for != due:
            self._submit_montages(due)
        if all(montage.done() for montage in self._montages.values()):
            self._publish(due, now)
            self.release()

    def _submit_montages(self, due: Publication) -> None:
        folders = self._publications.desired_tree(self._review).folders
        stale = set(self._tree.find_stale_montages(folders))
        self._montages = {
            folder.person_id: self._executor.submit(draw_montage, self._pick_portraits(folder))
            for folder in folders
            if folder.person_id in stale
        }
        for montage in self._montages.values():
            montage.add_done_callback(lambda _: self._wake())
        self._montages_for = due

    def _pick_portraits(self, folder: PersonFolder) -> list[bytes]:
        face_ids = [face.face_id for face in folder.faces]
        chosen = pick_diverse(
            l2_normalised(self._faces.embeddings_of(face_ids)),
            self._faces.portrait_rank(face_ids),
            MONTAGE_COLUMNS * MONTAGE_ROWS,
        )
        order = fill_from_corner(len(chosen))
        return [self._faces.portrait(face_ids[chosen[index]]) for index in order]

    def _publish(self, due: Publication, now: Now) -> None:
        # Queried again: a video may have been erased while the montages were drawn.
        desired = self._publications.desired_tree(self._review)
        withheld, absent = self._tree.withheld_faces, self._tree.withheld.people
        result = self._tree.publish(
            desired,
            self._faces.portrait,
            self._collect_montages(),
            accept_losses=self._accepts_losses,
            publication=(due.grouping_run_id, due.ledger_id),
        )
        self._accepts_losses = self._is_asked = False
        # Whether these were deleted, and where from, is decided later. Nothing was written into
        # the folders that are missing.
        before = self._publications.placements()
        placements = {
            face_id: place
            for face_id, place in desired.placements().items()
            if place not in absent or face_id in before
        }
        placements |= {face_id: before[face_id] for face_id in withheld if face_id in before}
        self._publications.record(due, placements, now.wall_s)
        self._faulty = result.faulty
        if self._faulty:
            self._fault_pause.start(now)
        self._report_faulty(now)
        log.info(
            "people_published",
            grouping_run=due.grouping_run_id,
            entry=due.ledger_id,
            folders=len(result.folders),
            written=result.written,
            removed=result.removed,
            unchanged=result.unchanged,
        )

    def _report_faulty(self, now: Now) -> None:
        """Name the folders that cannot be read or written; the others are up to date."""
        unreadable = dict.fromkeys(self._tree.unreadable, os.strerror(errno.EACCES))
        faulty = {**self._faulty, **unreadable}
        reason = describe_faulty(self._tree.root, faulty) if faulty else NO_REASON
        if reason == self._reported:
            return
        self._reported = reason
        if reason:
            if self._blocked_stages.record(FOLDERS, reason, now.wall_s):
                log.error("folders_unavailable", reason=reason.text, reason_code=reason.code)
        elif self._blocked_stages.clear(FOLDERS):
            log.info("folders_available")

    def _collect_montages(self) -> Mapping[int, bytes]:
        """Return the finished montages by person. Where a worker failed, the old one stays."""
        drawn = {}
        for person_id, montage in self._montages.items():
            error = montage.exception()
            if error is None:
                drawn[person_id] = montage.result()
            else:
                log.warning("montage_failed", person=person_id, reason=str(error))
        return drawn


def describe_faulty(root: Path, faulty: Mapping[str, str]) -> Reason:
    """Return the reason that names the folders that cannot be read or written."""
    named = [
        f"{escape_unprintable(location[:_NAME_CHARACTERS])} ({faulty[location]})"
        for location in sorted(faulty)[:_NAMED]
    ]
    if len(faulty) > _NAMED:
        named.append(f"and {len(faulty) - _NAMED} more")
    return Reason.of(
        ReasonCode.FOLDERS_UNAVAILABLE, count=len(faulty), root=root, folders=", ".join(named)
    )
