"""When the people tree is out of date, and bringing it up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future

import structlog

from portraitd.config import ReviewSettings
from portraitd.faces.portrait_selection import pick_diverse
from portraitd.model.errors import PublishError, StoreError
from portraitd.model.person import PersonFolder
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.people import montage_job
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.faces import Faces
from portraitd.store.people import People
from portraitd.store.publications import Publication, Publications

log = structlog.get_logger(stage="publisher")

RENDER_VERSION = "2"
"""Raised when portraits, annotations or montages come to look different."""

MONTAGE_TILES = 25

BACK_OFF_S = 15.0


class Publisher(Stage):
    """Makes the people tree show the grouping in force, and what people said since.

    Montages are pictures, so workers make them; a publish begins by ordering those that are
    stale and ends when the last of them is in its folder.

    Args:
        faces: The portraits.
        people: The grouping in force.
        ledger: What people did.
        showing: What is to be shown, and what is.
        executor: Where montages are made.
        ring: Called, from any thread, when one has come back.
        tree: The people tree.
        review: How many portraits are published.
        may_publish: Returns whether the tree was read in this tick and shows no edit that waits.
    """

    phase = "folders"
    updates_tree = True

    def __init__(
        self,
        faces: Faces,
        people: People,
        ledger: Ledger,
        publications: Publications,
        executor: Executor,
        wake: Callable[[], None],
        tree: PeopleTree,
        review: ReviewSettings,
        may_publish: Callable[[Now], bool] = lambda now: True,
    ) -> None:
        self._faces = faces
        self._people = people
        self._ledger = ledger
        self._showing = publications
        self._executor = executor
        self._ring = wake
        self._tree = tree
        # Once there was a tree, an empty folder is the place where a share is missing.
        self._tree.create(allow_new=not publications.last().grouping_run_id)
        self._review = review
        self._look = f"{RENDER_VERSION}/{review.portraits_per_track}/{review.unsorted_portraits}"
        self._ordered: dict[int, Future[bytes]] = {}
        self._ordered_for: Publication | None = None
        self._may_publish = may_publish
        self._back_off = BackOff(BACK_OFF_S)
        self._trouble = ""
        self._accepts_losses = False

    @property
    def pending(self) -> bool:
        """Whether the tree does not show what it should."""
        return self._due() is not None

    def tick(self, now: Now) -> None:
        """Order montages, or publish when they are there.

        Raises:
            PublishError: The tree cannot be read or written, or could not a moment ago.
        """
        due = self._due() if self._may_publish(now) else None
        if due is None:
            return
        # A share that is not mounted is not asked at every tick.
        if not self._back_off.ready(now):
            raise PublishError(self._trouble)
        try:
            self._advance(due, now.wall_s)
        except (PublishError, StoreError) as error:
            self._back_off.start(now)
            self._trouble = str(error)
            raise

    def accept(self) -> None:
        """Nearly everything may go from the tree, once."""
        self._accepts_losses = True
        self._back_off.reset()

    def release(self) -> None:
        """Forget what was ordered; the next start orders it again."""
        self._ordered.clear()
        self._ordered_for = None

    def _due(self) -> Publication | None:
        """What the tree should be made from, if it is not."""
        grouping_run = self._people.last_grouping_run()
        if grouping_run is None:
            return None
        wanted = Publication(grouping_run.id, self._ledger.last_id(), self._look)
        return wanted if self._showing.last() != wanted else None

    def _advance(self, due: Publication, now_s: float) -> None:
        if self._ordered_for != due:
            self._order(due)
        if all(order.done() for order in self._ordered.values()):
            self._publish(due, now_s)
            self.release()

    def _order(self, due: Publication) -> None:
        folders = self._showing.desired_tree(self._review).folders
        stale = set(self._tree.stale_montages(folders))
        self._ordered = {
            folder.person_id: self._executor.submit(montage_job.montage, self._best(folder))
            for folder in folders
            if folder.person_id in stale
        }
        for order in self._ordered.values():
            order.add_done_callback(lambda _: self._ring())
        self._ordered_for = due

    def _best(self, folder: PersonFolder) -> list[bytes]:
        face_ids = [face.face_id for face in folder.faces]
        chosen = pick_diverse(
            self._faces.embeddings_of(face_ids), self._faces.portrait_rank(face_ids), MONTAGE_TILES
        )
        return [self._faces.portrait(face_ids[index]) for index in chosen]

    def _publish(self, due: Publication, now_s: float) -> None:
        # Asked again: a video may have been forgotten while the montages were made.
        wanted = self._showing.desired_tree(self._review)
        published = self._tree.publish(
            wanted.folders,
            wanted.unsorted,
            self._faces.portrait,
            self._montages(),
            ignored=wanted.ignored,
            ignored_faces=wanted.ignored_faces,
            accept_losses=self._accepts_losses,
        )
        self._accepts_losses = False
        self._showing.record(due, wanted.placements(), now_s)
        log.info(
            "people_published",
            grouping_run=due.grouping_run_id,
            row=due.ledger_id,
            folders=len(published.folders),
            written=published.written,
            removed=published.removed,
            unchanged=published.unchanged,
        )

    def _montages(self) -> Mapping[int, bytes]:
        """Those that were made. A worker that died over one leaves the old montage in place."""
        made = {}
        for person_id, order in self._ordered.items():
            error = order.exception()
            if error is None:
                made[person_id] = order.result()
            else:
                log.warning("montage_failed", person=person_id, reason=str(error))
        return made
