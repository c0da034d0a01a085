"""The last edits as cards in ``people/_edits``: moving one into ``undo`` undoes it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from portraitd.model.edit import Edit, UndoEntry
from portraitd.model.errors import PublishError
from portraitd.model.reasons import ReasonCode
from portraitd.model.review_notice import ReviewNotice
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.people.pages.edit_words import describe_entries
from portraitd.people.pages.words import translate
from portraitd.people.tree.card_folder import Card, CardFolder
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.reserved_folders import EDITS_NAME
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.publications import Publications

log = structlog.get_logger(stage="edit_cards")

UNDO = "undo"
"""The folder inside ``_edits`` that undoes what is moved into it."""

RETRY_S = 15.0

_DESCRIBED = 60
"""How many entries are read, so that the undo of an earlier one can be described in words."""

_NAME_CHARACTERS = 80

_KEY = re.compile(r"entry:([0-9]{1,18})")


class EditCards(Stage):
    """Publishes the last edits as cards, and undoes those that reviewers moved into ``undo``.

    An undo is an edit with a card of its own, so it can be undone, too.

    Args:
        people_dir: The root of the tree.
        database: The ledger, and whether a tree was published.
        limit: How many cards there are at most; 0 for no folder of cards.
    """

    updates_tree = True

    def __init__(self, people_dir: Path, database: Database, limit: int) -> None:
        self._folder = CardFolder(people_dir, EDITS_NAME, (UNDO,), database.name)
        self._db = database
        self._ledger = Ledger(database)
        self._publications = Publications(database)
        self._limit = limit
        self._edits: dict[str, UndoEntry] = {}
        self._closed: set[str] = set()
        self._notices: list[ReviewNotice] = []
        self._in_place: frozenset[str] = frozenset()
        self._seen: tuple[object, ...] = ()
        self._texts: Mapping[str, tuple[str, bytes]] = {}
        self._changes = -1
        self._back_off = BackOff(RETRY_S)

    # --- For the review

    def take_notices(self) -> Sequence[ReviewNotice]:
        """Return notices about cards that were moved into ``undo`` without effect, each once."""
        notices, self._notices = self._notices, []
        return notices

    def read_edits(self, others: Sequence[Edit] = ()) -> list[UndoEntry]:
        """Return what is to be undone, the newest first; see ``review.AnsweredCards``."""
        reading = self._folder.read()
        asked = {key: _entry_of(key) for key in reading.answers}
        self._in_place = frozenset(reading.in_place)
        self._closed &= asked.keys()
        open_entries = {key: entry for key, entry in asked.items() if key not in self._closed}
        self._edits = {}
        if open_entries:
            undone, newest = self._ledger.corrections().undone, self._ledger.last_id()
            for key, entry in open_entries.items():
                if entry in undone or not 0 < entry <= newest:
                    location = f"{EDITS_NAME}/{UNDO}"
                    self._notices.append(
                        ReviewNotice.of(ReasonCode.EDIT_NOT_UNDONE, location, entry=entry)
                    )
                    self._closed.add(key)
                else:
                    self._edits[key] = UndoEntry(entry)
        return sorted(self._edits.values(), key=lambda one: -one.entry_id)

    def close(self, recorded: Collection[object]) -> None:
        """Have the cards removed whose undo is recorded."""
        self._closed |= {key for key, edit in self._edits.items() if edit in recorded}

    # --- As a stage

    @property
    def pending(self) -> bool:
        """Whether the folder does not show the last edits."""
        return self._seen != self._facts()

    def tick(self, now: Now) -> None:
        """Write the cards of new edits, and remove those that are undone or old.

        Raises:
            PublishError: The folder cannot be read or written.
        """
        is_current = self._changes == self._db.changes and not self.pending
        if is_current or not self._back_off.ready(now):
            return
        try:
            self._publish()
        except PublishError:
            self._back_off.start(now)
            raise

    def _facts(self) -> tuple[object, ...]:
        is_published = bool(self._publications.last().grouping_run_id)
        return is_published, self._ledger.last_id(), frozenset(self._closed), self._in_place

    def _publish(self) -> None:
        facts, changes = self._facts(), self._db.changes
        is_published = facts[0]
        texts = self._describe() if is_published and self._limit else {}
        # Most of what is written to the database concerns no card.
        if (facts, texts) != (self._seen, self._texts):
            if is_published:
                self._update_folder(texts)
            self._seen, self._texts = self._facts(), texts
        self._changes = changes

    def _update_folder(self, texts: Mapping[str, tuple[str, bytes]]) -> None:
        closed = frozenset(self._closed)
        if self._limit == 0:
            self._folder.remove(closed)
            return
        cards = [Card(key, name, digest(text)[:16]) for key, (name, text) in texts.items()]
        if self._folder.update(cards, lambda card: texts[card.key][1], closed):
            log.info("edit_cards_published", cards=len(cards))
        self._closed -= closed

    def _describe(self) -> dict[str, tuple[str, bytes]]:
        """Return name and content of each card by key, the newest entry first."""
        entries = self._ledger.summaries(max(_DESCRIBED, 2 * self._limit))
        words = describe_entries(entries)
        counting = [one for one in reversed(entries) if not one.is_undone]
        texts = {}
        for entry in counting[: self._limit]:
            said = str(words[entry.id])
            when = datetime.fromtimestamp(entry.at, UTC).astimezone()
            name = f"{entry.id:04d} {said.replace(': ', ', ')[:_NAME_CHARACTERS].rstrip()}.txt"
            help_text = translate("edit_card_help", folder=UNDO)
            text = f"{said}\n{when:%Y-%m-%d %H:%M}\n\n{help_text}\n"
            texts[f"entry:{entry.id}"] = name, text.encode("utf-8", "backslashreplace")
        return texts


def _entry_of(key: str) -> int:
    """Return the entry that a card stands for; 0 if it stands for none."""
    found = _KEY.fullmatch(key)
    return int(found[1]) if found else 0
