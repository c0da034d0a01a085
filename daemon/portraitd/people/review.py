"""Read the edits that reviewers made in the tree, and record them in the ledger.

A file manager moves many files one after the other, so an edit is recorded only when two readings
some time apart agree on it. Nothing is recorded while more portraits are missing than a reviewer
deletes by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from portraitd.config import ReviewSettings
from portraitd.model.edit import Edit, Hidden, Placement, SplitPerson
from portraitd.model.errors import MassDisappearance, PublishError
from portraitd.model.review_notice import ReviewNotice
from portraitd.model.stage import Now, Stage
from portraitd.people.tree.diff import RecordedState
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.replay import LedgerEntry
from portraitd.store.tree_stores import TreeStores

log = structlog.get_logger(stage="review")

STAGE = "review"

MIN_GAP_S = 1.0
"""Shortest time between two readings, however often the stage is woken."""


class ReviewedTree(Protocol):
    """What the review needs of the people tree."""

    @property
    def notices(self) -> Sequence[ReviewNotice]:
        """What had no effect when edits were last read."""

    def create(self) -> None:
        """Write the marker of the root."""

    def read_edits(self, recorded: RecordedState, accept_losses: bool = False) -> Sequence[Edit]:
        """Return what reviewers did since the last publish.

        Raises:
            MassDisappearance: Too many portraits are missing, and that was not accepted.
            PublishError: The tree cannot be read.
        """

    def adopt(self, location: str, person_id: int) -> None:
        """Make a folder that a reviewer made this person's."""


class Review(Stage):
    """Brings edits from the tree into the ledger.

    Args:
        tree: The people tree.
        recorder: Records edits.
        stores: The edits recorded before, the current grouping, and what was last published.
        settings: How often the tree is read, and how far apart two readings that agree must be.
        is_awaited: Returns whether a publication waits until the tree is read.
    """

    updates_tree = True

    def __init__(
        self,
        tree: ReviewedTree,
        recorder: EditRecorder,
        stores: TreeStores,
        settings: ReviewSettings,
        is_awaited: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tree = tree
        self._recorder = recorder
        self._ledger = stores.ledger
        self._publications = stores.publications
        self._faces = stores.faces
        self._people = stores.people
        self._blocked_stages = stores.blocked_stages
        self._notices = stores.notices
        self._settings = settings
        self._waiting: dict[Edit | ReviewNotice, float] = {}
        # A recorded edit is read again until the tree is published, and must not delay that. It is
        # kept with the latest decisions: after another one it may mean something new.
        self._recorded: dict[Edit, tuple[int, int]] = {}
        self._last_read_s = float("-inf")
        self._last_applied_s = float("-inf")
        self._is_awaited = is_awaited
        self._is_wanted = True
        self._has_failed = False
        self._error: PublishError | None = None
        self._accepts_losses = False

    @property
    def pending(self) -> bool:
        """Whether an edit or a notice waits for a second reading, or the tree was not read yet."""
        return bool(self._waiting) or self._last_read_s == float("-inf")

    @property
    def defers(self) -> bool:
        """Return whether a reading that failed waits to be repeated."""
        return self._has_failed

    def allows_publishing(self, now: Now) -> bool:
        """Return whether the tree was read in this tick and shows no edit that waits.

        If an edit waited, a publish would write a moved portrait again in its old folder, and the
        moved one would count as a copy from then on.
        """
        return self._last_applied_s == now.steady_s and not self._waiting

    def wake(self) -> None:
        """Read the tree at the next tick, because something changed in it."""
        self._is_wanted = True

    def accept(self) -> None:
        """Accept once that the missing portraits were deleted from the right root."""
        self._accepts_losses = True
        self._is_wanted = True

    def undo(self, entry_id: int | None, now_s: float) -> LedgerEntry:
        """Undo a ledger entry, by default the last one; the next publish moves things back.

        Raises:
            ConfigError: There is nothing to undo.
        """
        undone = self._recorder.undo(entry_id, now_s)
        self._waiting.clear()
        log.info("undone", entry=undone.id, kind=str(undone.kind))
        return undone

    def wait_s(self, steady_s: float) -> float:
        """Return the seconds until the next reading, if nothing happens before."""
        return self._last_read_s + self._gap_s() - steady_s

    def tick(self, now: Now) -> None:
        """Read the tree if that is due, and record the edits that two readings agree on.

        Raises:
            MassDisappearance: Many portraits are missing; nothing is recorded until the operator
                accepts it or they are back.
            PublishError: The tree cannot be read.
        """
        now_s, steady_s = now.wall_s, now.steady_s
        self._is_wanted |= self._is_awaited()
        if self.wait_s(steady_s) > 0:
            if self._error is not None:
                raise self._error
            return
        self._is_wanted = False
        self._last_read_s = steady_s
        self._has_failed = True
        # A tree into which nothing was ever published contains no edits.
        is_published = bool(self._publications.last().grouping_run_id)
        edits = self._read(now_s) if is_published else []
        notices = list(self._tree.notices) if is_published else []
        decisions = self._latest_decisions()
        known = {(one.key, one.facts) for one in self._notices.newest()}
        new: list[Edit | ReviewNotice] = [
            *(edit for edit in edits if self._recorded.get(edit) != decisions),
            *(one for one in notices if (one.key, one.facts) not in known),
        ]
        settled = [
            one
            for one in new
            if steady_s - self._waiting.get(one, float("inf")) >= self._settings.settle_s
        ]
        self._waiting = {one: self._waiting.get(one, steady_s) for one in new if one not in settled}
        settled_edits = [one for one in settled if not isinstance(one, ReviewNotice)]
        if settled_edits:
            self._record(settled_edits, now_s)
            self._recorded |= dict.fromkeys(settled_edits, self._latest_decisions())
        self._note([one for one in settled if isinstance(one, ReviewNotice)], notices, now_s)
        self._recorded = {edit: self._recorded[edit] for edit in edits if edit in self._recorded}
        if not self._waiting:
            self._accepts_losses = False
        self._last_applied_s = steady_s
        self._has_failed = False

    def _latest_decisions(self) -> tuple[int, int]:
        """Return the ids of the newest ledger entry and the newest grouping run."""
        grouping_run = self._people.last_grouping_run()
        return self._ledger.last_id(), grouping_run.id if grouping_run else 0

    def _gap_s(self) -> float:
        if self._is_wanted or self._waiting:
            return min(MIN_GAP_S, self._settings.scan_s)
        return self._settings.scan_s

    def _read(self, now_s: float) -> list[Edit]:
        try:
            if self._accepts_losses:
                self._tree.create()
            edits = self._tree.read_edits(self._recorded_state(), self._accepts_losses)
        except PublishError as error:
            self._waiting.clear()
            self._error = error
            if isinstance(error, MassDisappearance) and self._blocked_stages.record(
                STAGE, error.reason, now_s
            ):
                log.error("portraits_disappeared", reason=str(error), reason_code=error.reason.code)
            raise
        self._error = None
        if self._blocked_stages.clear(STAGE):
            log.info("review_resumed")
        return self._recorder.drop_undone(edits, self._publications.last().ledger_id)

    def _record(self, edits: Sequence[Edit], now_s: float) -> None:
        for recorded in self._recorder.record(edits, now_s):
            if isinstance(recorded.edit, SplitPerson) and recorded.person_id is not None:
                self._tree.adopt(recorded.edit.location, recorded.person_id)
            if recorded.entry_id:
                log.info(
                    "edit",
                    entry=recorded.entry_id,
                    what=type(recorded.edit).__name__,
                    person=recorded.person_id or getattr(recorded.edit, "person_id", None),
                    portraits=len(getattr(recorded.edit, "face_ids", ())) or None,
                )

    def _note(
        self, new: Sequence[ReviewNotice], current: Sequence[ReviewNotice], now_s: float
    ) -> None:
        """Record new notices, and remove those that are not true any more."""
        for one in self._notices.record(new, now_s):
            log.info("not_understood", reason_code=one.code, location=one.location)
        self._notices.keep_only(current)
        self._notices.expire(now_s)

    def _recorded_state(self) -> RecordedState:
        corrections, placements = self._ledger.corrections(), self._publications.placements()
        ignored = [face for face, place in placements.items() if place == Placement.IGNORED]
        persons = self._faces.persons_of(ignored)
        person_of = {
            face: persons.get(face) if place == Placement.IGNORED else place or None
            for face, place in placements.items()
        }
        hidden = {face: correction.hidden for face, correction in corrections.by_face.items()}
        excluded = {face for face, why in hidden.items() if why is Hidden.EXCLUDED}
        for face in excluded:
            former = corrections.by_face[face].previous_person_id
            person_of.setdefault(face, corrections.current_person(former) if former else None)
        return RecordedState(
            person_of=person_of,
            excluded=excluded,
            ignored_faces={face for face, why in hidden.items() if why is Hidden.IGNORED},
            ignored_people=self._people.ignored(),
            names={person.id: person.name for person in self._people.present()},
            empty=self._people.empty(),
            last_entry=self._ledger.last_id(),
        )
