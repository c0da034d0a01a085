"""When the people tree is out of date, and bringing it up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path

from portraitd import jobs, logs
from portraitd.errors import PublishError, StoreError
from portraitd.model import PersonFolder
from portraitd.people.choice import pick_different
from portraitd.people.tree import Tree
from portraitd.store import Faces, People

log = logs.get("people")

LOOK = "1"
"""Raised when portraits, annotations or montages come to look different."""

MONTAGE_TILES = 25

BACK_OFF_S = 15.0


class Publisher:
    """Makes the people tree show the census in force.

    Montages are pictures, so workers make them; a publish begins by ordering those that are
    stale and ends when the last of them is in its folder.

    Args:
        faces: The portraits.
        people: The census in force.
        executor: Where montages are made.
        ring: Called, from any thread, when one has come back.
        people_dir: The root of the tree.
    """

    def __init__(
        self,
        faces: Faces,
        people: People,
        executor: Executor,
        ring: Callable[[], None],
        people_dir: Path,
    ) -> None:
        self._faces = faces
        self._people = people
        self._executor = executor
        self._ring = ring
        self._people_dir = people_dir
        self._tree = Tree(people_dir)
        # Once there was a tree, an empty folder is the place where a share is missing.
        if people.last_publication() == (0, ""):
            self._tree.create()
        self._ordered: dict[int, Future[bytes]] = {}
        self._ordered_for = 0
        self._not_before_s = 0.0
        self._trouble = ""

    @property
    def pending(self) -> bool:
        """Whether the tree does not show the census in force."""
        return self._census_id() != 0 and not self._is_fresh(self._census_id())

    def refresh(self, now_s: float) -> None:
        """Order montages, or publish when they are there.

        Raises:
            PublishError: The tree cannot be read or written, or could not a moment ago.
        """
        census_id = self._census_id()
        if census_id == 0 or self._is_fresh(census_id):
            return
        # A share that is away is not asked at every turn; a clock set back does not matter.
        if 0 < self._not_before_s - now_s <= BACK_OFF_S:
            raise PublishError(self._trouble)
        try:
            self._advance(census_id, now_s)
        except (PublishError, StoreError) as error:
            self._not_before_s, self._trouble = now_s + BACK_OFF_S, str(error)
            raise

    def _advance(self, census_id: int, now_s: float) -> None:
        if self._ordered_for != census_id:
            self._order(census_id)
        if all(order.done() for order in self._ordered.values()):
            self._publish(census_id, now_s)
            self._ordered.clear()
            self._ordered_for = 0

    def park(self) -> None:
        """Forget what was ordered; the next start orders it again."""
        self._ordered.clear()
        self._ordered_for = 0

    def _census_id(self) -> int:
        census = self._people.last_census()
        return census.id if census else 0

    def _is_fresh(self, census_id: int) -> bool:
        return self._people.last_publication() == (census_id, LOOK)

    def _folders(self) -> list[PersonFolder]:
        return [
            PersonFolder(person.id, person.name, tuple(self._faces.published(person.id)))
            for person in self._people.present()
        ]

    def _order(self, census_id: int) -> None:
        folders = self._folders()
        stale = set(self._tree.stale_montages(folders))
        self._ordered = {
            folder.person_id: self._executor.submit(jobs.montage, self._best(folder))
            for folder in folders
            if folder.person_id in stale
        }
        for order in self._ordered.values():
            order.add_done_callback(lambda _: self._ring())
        self._ordered_for = census_id

    def _best(self, folder: PersonFolder) -> list[bytes]:
        face_ids = [face.face_id for face in folder.faces]
        chosen = pick_different(
            self._faces.embeddings_of(face_ids), self._faces.goodness(face_ids), MONTAGE_TILES
        )
        return [self._faces.portrait(face_ids[index]) for index in chosen]

    def _publish(self, census_id: int, now_s: float) -> None:
        published = self._tree.publish(
            self._folders(), self._faces.published(None), self._faces.portrait, self._montages()
        )
        self._people.note_publication(census_id, LOOK, now_s)
        log.info(
            "people_published",
            census=census_id,
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
