"""Reads what people did in the people tree, and puts it in force.

A file manager moves many files one after the other, so a edit counts only when two readings
some time apart agree on it. Nothing is decided while much more is gone than a person removes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from portraitd.config import ReviewSettings
from portraitd.model.edit import Edit, Hidden, Placement, SplitPerson
from portraitd.model.errors import MassDisappearance, PublishError
from portraitd.model.stage import Now, Stage
from portraitd.people.tree.diff import RecordedState
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.corrections.replay import LedgerEntry
from portraitd.store.faces import Faces
from portraitd.store.people import People
from portraitd.store.publications import Publications

log = structlog.get_logger(stage="review")

ROOM = "review"

LEAST_GAP_S = 1.0
"""Between two readings, however often it rings."""


class Reader(Protocol):
    """The people tree, as far as it is read here."""

    def create(self) -> None:
        """Mark the root as ours."""

    def read_edits(self, recorded: RecordedState, accept_losses: bool = False) -> Sequence[Edit]:
        """What people did.

        Raises:
            MassDisappearance: Too much is gone to believe it, unless that was accepted.
            PublishError: The tree cannot be read.
        """

    def adopt(self, location: str, person_id: int) -> None:
        """Make a folder that somebody made this person's."""


class Review(Stage):
    """What people did, from the tree into the ledger.

    Args:
        reader: The tree.
        verdicts: Puts edits in force.
        ledger: What was done before.
        showing: What the tree was left with.
        faces, people: Whose is what.
        blocked_stages: Where a disappearance is noted.
        settings: How often the tree is read, and how far apart two readings that agree must be.
        is_awaited: Returns whether a publication waits until the tree is read.
    """

    updates_tree = True

    def __init__(
        self,
        reader: Reader,
        recorder: EditRecorder,
        ledger: Ledger,
        publications: Publications,
        faces: Faces,
        people: People,
        troubles: BlockedStages,
        settings: ReviewSettings,
        is_awaited: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reader = reader
        self._verdicts = recorder
        self._ledger = ledger
        self._showing = publications
        self._faces = faces
        self._people = people
        self._troubles = troubles
        self._settings = settings
        self._seen: dict[Edit, float] = {}
        # They lie there until the tree is published, which nothing may keep from happening that
        # was done already. What was known then: after another decision they may say something new.
        self._in_force: dict[Edit, tuple[int, int]] = {}
        self._read_s = float("-inf")
        self._applied_s = float("-inf")
        self._is_awaited = is_awaited
        self._is_wanted = True
        self._trouble: PublishError | None = None
        self._accepts_losses = False

    @property
    def pending(self) -> bool:
        """Whether something was seen that does not count yet, or nothing was looked at yet."""
        return bool(self._seen) or self._read_s == float("-inf")

    def allows_publishing(self, now: Now) -> bool:
        """Return whether the tree was read in this tick and shows no edit that waits.

        What was moved would be put back beside it, and look like a copy from then on.
        """
        return self._applied_s == now.steady_s and not self._seen

    def wake(self) -> None:
        """Something happened in the tree: look at the next turn."""
        self._is_wanted = True

    def accept(self) -> None:
        """What is gone is meant to be gone, and the root is the right one: believe it once."""
        self._accepts_losses = True
        self._is_wanted = True

    def undo(self, row: int | None, now_s: float) -> LedgerEntry:
        """Take back a row of the ledger; the next publish moves things back.

        Raises:
            ConfigError: There is nothing to undo.
        """
        undone = self._verdicts.undo(row, now_s)
        self._seen.clear()
        log.info("undone", row=undone.id, kind=str(undone.kind))
        return undone

    def wait_s(self, steady_s: float) -> float:
        """Seconds until a reading is due, if nothing happens."""
        return self._read_s + self._gap_s() - steady_s

    def tick(self, now: Now) -> None:
        """Read the tree if that is due, and put in force what two readings agree on.

        Raises:
            MassDisappearance: Much is gone; nothing is decided until somebody accepts it.
            PublishError: The tree cannot be read.
        """
        now_s, steady_s = now.wall_s, now.steady_s
        self._is_wanted |= self._is_awaited()
        if self.wait_s(steady_s) > 0:
            if self._trouble is not None:
                raise self._trouble
            return
        self._is_wanted = False
        self._read_s = steady_s
        # A tree in which nothing was ever shown says nothing.
        edits = self._read(now_s) if self._showing.last().grouping_run_id else []
        known_at = self._known_at()
        waiting = [edit for edit in edits if self._in_force.get(edit) != known_at]
        settled = [
            edit
            for edit in waiting
            if steady_s - self._seen.get(edit, float("inf")) >= self._settings.settle_s
        ]
        self._seen = {
            edit: self._seen.get(edit, steady_s) for edit in waiting if edit not in settled
        }
        if settled:
            self._put_in_force(settled, now_s)
            self._in_force |= dict.fromkeys(settled, self._known_at())
        self._in_force = {edit: self._in_force[edit] for edit in edits if edit in self._in_force}
        if not self._seen:
            self._accepts_losses = False
        self._applied_s = steady_s

    def _known_at(self) -> tuple[int, int]:
        """The newest decision of a human, and the newest of a grouping."""
        grouping_run = self._people.last_grouping_run()
        return self._ledger.last_id(), grouping_run.id if grouping_run else 0

    def _gap_s(self) -> float:
        if self._is_wanted or self._seen:
            return min(LEAST_GAP_S, self._settings.scan_s)
        return self._settings.scan_s

    def _read(self, now_s: float) -> list[Edit]:
        try:
            if self._accepts_losses:
                self._reader.create()
            edits = self._reader.read_edits(self._known(), self._accepts_losses)
        except PublishError as error:
            self._seen.clear()
            self._trouble = error
            if isinstance(error, MassDisappearance) and self._troubles.record(
                ROOM, error.reason, now_s
            ):
                log.error("portraits_disappeared", reason=str(error), reason_code=error.reason.code)
            raise
        self._trouble = None
        if self._troubles.clear(ROOM):
            log.info("review_goes_on")
        return self._verdicts.drop_undone(edits, self._showing.last().ledger_id)

    def _put_in_force(self, edits: Sequence[Edit], now_s: float) -> None:
        for done in self._verdicts.record(edits, now_s):
            if isinstance(done.edit, SplitPerson) and done.person_id is not None:
                self._reader.adopt(done.edit.location, done.person_id)
            if done.entry_id:
                log.info(
                    "edit",
                    row=done.entry_id,
                    what=type(done.edit).__name__,
                    person=done.person_id or getattr(done.edit, "person_id", None),
                    portraits=len(getattr(done.edit, "face_ids", ())) or None,
                )

    def _known(self) -> RecordedState:
        held, shown = self._ledger.corrections(), self._showing.placements()
        ignored = [face for face, place in shown.items() if place == Placement.IGNORED]
        persons = self._faces.persons_of(ignored)
        person_of = {
            face: persons.get(face) if place == Placement.IGNORED else place or None
            for face, place in shown.items()
        }
        excluded = {f for f, fate in held.by_face.items() if fate.hidden is Hidden.EXCLUDED}
        for face in excluded:
            former = held.by_face[face].previous_person_id
            person_of.setdefault(face, held.current_person(former) if former else None)
        return RecordedState(
            person_of=person_of,
            excluded=excluded,
            ignored_faces={f for f, fate in held.by_face.items() if fate.hidden is Hidden.IGNORED},
            ignored_people=self._people.ignored(),
            names={person.id: person.name for person in self._people.present()},
            empty=self._people.empty(),
        )
