"""Edits and notices in words, for the pages and for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portraitd.model.review_notice import ReviewNotice
from portraitd.people.names import folder_name
from portraitd.people.pages.words import PageText
from portraitd.people.tree.folder_state import UNSORTED_NAME
from portraitd.store.corrections.ledger import EntrySummary, Ledger
from portraitd.store.corrections.replay import EditKind

MAX_EDITS = 10
"""Edits on the pages and in `status --json`; `portraitd ledger` lists all."""

_MOVES = frozenset({EditKind.PLACE, EditKind.SPLIT, EditKind.EXCLUDE, EditKind.IGNORE_FACES})
"""Edits of portraits, whose words say where these were."""


def describe_entries(entries: Sequence[EntrySummary]) -> dict[int, PageText]:
    """Return each entry in words, by its number.

    Args:
        entries: Oldest first. An undo whose entry is not among them is described by its number.
    """
    described: dict[int, PageText] = {}
    for entry in entries:
        described[entry.id] = _describe(entry, described)
    return described


def describe_last_edits(entries: Sequence[EntrySummary]) -> list[tuple[EntrySummary, PageText]]:
    """Return the last edits, the newest first, each with its words."""
    words = describe_entries(entries)
    return [(entry, words[entry.id]) for entry in reversed(entries[-MAX_EDITS:])]


def describe_last_undo(ledger: Ledger) -> str:
    """Return in words what the newest entry undid, for a command."""
    entries = ledger.summaries()
    newest = entries[-1]
    return f"{describe_entries(entries)[newest.id]} (entry {newest.undoes})"


def describe_notice(notice: ReviewNotice) -> PageText:
    """Return a notice in words."""
    return PageText(f"notice_{notice.code}", notice.values)


def _describe(entry: EntrySummary, earlier: Mapping[int, PageText]) -> PageText:
    kind = EditKind(entry.kind)
    if kind is EditKind.UNDO:
        return _describe_undo(entry, earlier)
    # Where that was undone, the person has no name any more: by the one that the entry gave them.
    person = _called(entry.person_id, entry.person_name or entry.name)
    before = _called(entry.person_id, entry.name_before)
    if kind is EditKind.NAME:
        if entry.name is None:
            return PageText("edit_unname", {"before": before, "person": _called(entry.person_id)})
        return PageText("edit_name", {"before": before, "name": entry.name})
    key = f"edit_{kind.replace('-', '_')}"
    if kind in _MOVES:
        return _describe_move(key, entry, person)
    if kind in (EditKind.DRAW, EditKind.REDRAW):
        return _describe_drawing(key, entry, person)
    values: dict[str, str | int | PageText] = {
        # Who was merged is called after the person they became.
        "person": before if kind is EditKind.MERGE else person,
        "into": _called(entry.into_id, entry.into_name),
        "count": _count(entry),
    }
    return PageText(key, values)


def _describe_move(key: str, entry: EntrySummary, person: str) -> PageText:
    values: dict[str, str | int | PageText] = {"count": _count(entry)}
    if key == "edit_place" and entry.person_id is None:
        key = "edit_unsort"
    elif entry.person_id is not None:
        values["person"] = person
    if entry.former_people != 1:
        return PageText(f"{key}_many", values)
    values["former"] = (
        _called(entry.former_id, entry.former_name) if entry.former_id else UNSORTED_NAME
    )
    return PageText(key, values)


def _describe_drawing(key: str, entry: EntrySummary, person: str) -> PageText:
    values: dict[str, str | int | PageText] = {"count": _count(entry)}
    if entry.person_id is not None:
        return PageText(key, values | {"person": person})
    if entry.former_people == 1 and entry.former_id:
        return PageText(key, values | {"person": _called(entry.former_id, entry.former_name)})
    return PageText(f"{key}_any", values)


def _count(entry: EntrySummary) -> PageText:
    if entry.portraits is None:
        return PageText("faces", {"n": entry.faces})
    return PageText("portraits", {"n": entry.portraits})


def _describe_undo(entry: EntrySummary, earlier: Mapping[int, PageText]) -> PageText:
    undone = earlier.get(entry.undoes or 0)
    if undone is None:
        return PageText("edit_undo_entry", {"entry": entry.undoes or 0})
    if undone.key == "edit_undo":
        return PageText("edit_redo", undone.values)
    if undone.key == "edit_redo":
        return PageText("edit_undo", undone.values)
    return PageText("edit_undo", {"edit": undone})


def _called(person_id: int | None, name: str | None = None) -> str:
    return folder_name(person_id or 0, name)
