"""Read the edits that reviewers made in the tree, and record them in the ledger.

A file manager moves many files one after the other, so an edit is recorded only when two readings
some time apart agree on it. If more portraits are missing than a reviewer deletes by hand, a person
is asked whether they were deleted. Until they answer, deletions wait; other edits take effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from portraitd.config import ReviewSettings
from portraitd.model.edit import AnswerLosses, Edit, SplitPerson
from portraitd.model.errors import PublishError
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.review_notice import LASTING, ReviewNotice
from portraitd.model.stage import Now, Stage
from portraitd.people.recorded_state import read_recorded_state
from portraitd.people.tree.diff import NO_LOSSES, Losses, RecordedState
from portraitd.store.corrections.edit_recorder import EditRecorder
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

    @property
    def root(self) -> Path:
        """The root of the tree."""

    @property
    def losses(self) -> Losses:
        """What was missing when edits were last read."""

    @property
    def withheld(self) -> Losses:
        """What of it does not count as deleted before a person confirms it."""

    def read_edits(
        self,
        recorded: RecordedState,
        accept_losses: bool = False,
        *,
        awaits_answer: bool = False,
        restored: Losses = NO_LOSSES,
    ) -> Sequence[Edit]:
        """Return what reviewers did since the last publish; see ``PeopleTree.read_edits``.

        Raises:
            PublishError: The tree cannot be read.
        """

    def adopt(self, location: str, person_id: int) -> None:
        """Make a folder that a reviewer made this person's."""


class AnsweredCards(Protocol):
    """Cards that reviewers moved to say something."""

    def read_edits(self, others: Sequence[Edit] = ()) -> Sequence[Edit | AnswerLosses]:
        """Return what the cards say; ``others`` is what reviewers did elsewhere in the tree.

        Raises:
            PublishError: They cannot be read.
        """

    def take_notices(self) -> Sequence[ReviewNotice]:
        """Return what is to be said about cards, each once."""

    def close(self, recorded: Collection[object]) -> None:
        """Have the cards removed whose edits are recorded."""


class Review(Stage):
    """Brings edits from the tree into the ledger.

    Args:
        tree: The people tree.
        recorder: Records edits.
        stores: The edits recorded before, the current grouping, and what was last published.
        settings: How often the tree is read, and how far apart two readings that agree must be.
        is_awaited: Returns whether a publication waits until the tree is read.
        republish: Has the tree published again, to put back what is missing or misnamed.
        accept_removal: Allows the next publication to remove nearly all folders.
        cards: Folders of cards in the tree.
    """

    updates_tree = True

    def __init__(
        self,
        tree: ReviewedTree,
        recorder: EditRecorder,
        stores: TreeStores,
        settings: ReviewSettings,
        is_awaited: Callable[[], bool] = lambda: False,
        republish: Callable[[], None] = lambda: None,
        accept_removal: Callable[[], None] = lambda: None,
        cards: Sequence[AnsweredCards] = (),
    ) -> None:
        self._tree = tree
        self._recorder = recorder
        self._stores = stores
        self._ledger = stores.ledger
        self._publications = stores.publications
        self._people = stores.people
        self._blocked_stages = stores.blocked_stages
        self._notices = stores.notices
        self._settings = settings
        self._waiting: dict[Edit | AnswerLosses | ReviewNotice, float] = {}
        # A recorded edit is read again until the tree is published, and must not delay that. It is
        # kept with the latest decisions: after another one it may mean something new.
        self._recorded: dict[Edit | AnswerLosses, tuple[int, int]] = {}
        self._noted: set[ReviewNotice] = set()
        self._last_read_s = float("-inf")
        self._last_applied_s = float("-inf")
        self._is_awaited = is_awaited
        self._republish = republish
        self._accept_removal = accept_removal
        self._cards = tuple(cards)
        self._is_wanted = True
        self._error: PublishError | None = None
        self._accepts_losses = self._puts_back = False
        self._restored = NO_LOSSES
        self._blocked = NO_REASON

    @property
    def blocked(self) -> Reason:
        """Return that portraits are missing, and a person must say whether they were deleted."""
        return self._blocked

    @property
    def pending(self) -> bool:
        """Whether what was read waits for a second reading, or the tree is still to be read."""
        is_answered = self._accepts_losses or self._puts_back
        return bool(self._waiting) or is_answered or self._last_read_s == float("-inf")

    def allows_publishing(self, now: Now) -> bool:
        """Return whether the tree was read in this tick and shows no edit that waits.

        If an edit waited, a publish would write a moved portrait again in its old folder, and the
        moved one would count as a copy from then on.
        """
        return self._last_applied_s == now.steady_s and not self._waiting

    def has_read_everything(self, now: Now) -> bool:
        """Return whether the tree may be published, and nothing in it waits for an answer."""
        is_decided = not self._tree.withheld and not self._restored
        return self.allows_publishing(now) and is_decided

    def wake(self) -> None:
        """Read the tree at the next tick, because something changed in it."""
        self._is_wanted = True

    def accept(self) -> None:
        """Accept once that the missing portraits were deleted from the right root."""
        self._accepts_losses, self._puts_back = True, False
        self._restored = NO_LOSSES
        self._is_wanted = True

    def put_back(self) -> None:
        """Have the missing portraits written again that wait for an answer."""
        self._accepts_losses, self._puts_back = False, True
        self._is_wanted = True

    def undo(self, entry_id: int | None, now_s: float) -> None:
        """Undo a ledger entry, by default the last one; the next publish moves things back.

        Raises:
            ConfigError: There is nothing to undo.
        """
        undone = self._recorder.undo(entry_id, now_s)
        self._waiting.clear()
        log.info("undone", entry=undone.id, kind=str(undone.kind))

    def wait_s(self, steady_s: float) -> float:
        """Return the seconds until the next reading, if nothing happens before."""
        return self._last_read_s + self._gap_s() - steady_s

    def tick(self, now: Now) -> None:
        """Read the tree if that is due, and record the edits that two readings agree on.

        Raises:
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
        # What is still there is not said again when its notice has expired. Without room for all of
        # them, they would take each other's place at every reading.
        is_full = self._notices.is_full
        noted = {one for one in self._noted if is_full or one.code not in LASTING}
        new: list[Edit | AnswerLosses | ReviewNotice] = [
            *(edit for edit in edits if self._recorded.get(edit) != decisions),
            *(one for one in self._notices.find_new(notices) if one not in noted),
        ]
        # A refused name is put right each time, also if a notice about it is still recorded.
        refused = [one for one in notices if one.code is ReasonCode.NUMBER_OF_ANOTHER]
        new += [one for one in refused if one not in self._noted and one not in new]
        settled = [
            one
            for one in new
            if steady_s - self._waiting.get(one, float("inf")) >= self._settings.settle_s
        ]
        self._waiting = {one: self._waiting.get(one, steady_s) for one in new if one not in settled}
        self._apply([one for one in settled if not isinstance(one, ReviewNotice)], now_s)
        self._note([one for one in settled if isinstance(one, ReviewNotice)], notices, now_s)
        self._noted = {one for one in notices if one in settled or one in self._noted}
        self._recorded = {edit: self._recorded[edit] for edit in edits if edit in self._recorded}
        if not self._waiting:
            self._accepts_losses = False
        self._answer([one for one in settled if isinstance(one, AnswerLosses)])
        self._last_applied_s = steady_s
        self._has_failed = False

    def _apply(self, settled: Sequence[Edit | AnswerLosses], now_s: float) -> None:
        """Record edits, and have the cards removed that said them."""
        if not settled:
            return
        self._record([one for one in settled if not isinstance(one, AnswerLosses)], now_s)
        self._recorded |= dict.fromkeys(settled, self._latest_decisions())
        for cards in self._cards:
            cards.close(settled)

    def _answer(self, answers: Sequence[AnswerLosses]) -> None:
        """Carry out at the next reading what a card says about missing portraits."""
        for one in answers:
            log.info("losses_answered", are_deleted=one.are_deleted)
            if one.are_deleted:
                self.accept()
                self._accept_removal()
            else:
                self.put_back()

    def _latest_decisions(self) -> tuple[int, int]:
        """Return the ids of the newest ledger entry and the newest grouping run."""
        grouping_run = self._people.last_grouping_run()
        return self._ledger.last_id(), grouping_run.id if grouping_run else 0

    def _gap_s(self) -> float:
        if self._is_wanted or self._waiting:
            return min(MIN_GAP_S, self._settings.scan_s)
        return self._settings.scan_s

    def _read(self, now_s: float) -> list[Edit | AnswerLosses]:
        said: list[Edit | AnswerLosses] = []
        try:
            if self._accepts_losses:
                self._tree.create()
            recorded = read_recorded_state(self._stores)
            edits = self._read_tree(recorded)
            if self._puts_back:
                self._restored, self._puts_back = self._tree.withheld, False
                if self._restored:
                    edits = self._read_tree(recorded)
                    self._republish()
            for cards in self._cards:
                said += cards.read_edits(edits)
        except PublishError as error:
            self._waiting.clear()
            self._error = error
            raise
        self._error = None
        # What is back can be deleted again.
        self._restored = self._restored.only(self._tree.losses)
        self._ask_about_losses(now_s)
        answers = [one for one in said if isinstance(one, AnswerLosses)]
        edits = [*edits, *(one for one in said if not isinstance(one, AnswerLosses))]
        return [
            *self._recorder.drop_undone(edits, self._publications.last().ledger_id),
            *answers,
        ]

    def _read_tree(self, recorded: RecordedState) -> Sequence[Edit]:
        return self._tree.read_edits(
            recorded,
            self._accepts_losses,
            # Not the blocked stage: an earlier version blocked the review without asking.
            awaits_answer=self._notices.has(ReasonCode.PORTRAITS_DISAPPEARED),
            restored=self._restored,
        )

    def _ask_about_losses(self, now_s: float) -> None:
        """Say that portraits are missing until a person answered, or they are back."""
        withheld = self._tree.withheld
        if withheld:
            facts = {"missing": len(withheld.faces), "published": withheld.published}
            code = ReasonCode.PORTRAITS_DISAPPEARED
            self._blocked = Reason.of(code, root=self._tree.root, **facts)
            self._notices.record([ReviewNotice.of(code, "", **facts)], now_s)
            if self._blocked_stages.record(STAGE, self._blocked, now_s):
                log.error("portraits_disappeared", reason=self._blocked.text, reason_code=code)
        elif not self._restored:
            self._blocked = NO_REASON
            self._notices.clear(ReasonCode.PORTRAITS_DISAPPEARED, "")
            if self._blocked_stages.clear(STAGE):
                log.info("review_resumed")

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
        of_cards = [one for cards in self._cards for one in cards.take_notices()]
        for one in self._notices.record([*new, *of_cards], now_s):
            # Without the location: a folder's name is a person's.
            log.info("not_understood", reason_code=one.code)
        if any(one.code is ReasonCode.NUMBER_OF_ANOTHER for one in new):
            self._republish()
        self._notices.keep_only(current)
        self._notices.expire(now_s)
