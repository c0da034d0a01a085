"""Edits and notices in words, in every language of the pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.model.edit import (
    AssignFaces,
    ExcludeFaces,
    IgnoreFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    RecallPerson,
    RejectPerson,
    SeparatePeople,
    SplitPerson,
)
from portraitd.model.reasons import NOTICES
from portraitd.people.pages.edit_words import describe_entries
from portraitd.people.pages.words import load_words
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.replay import EditKind
from portraitd.store.database import Database
from portraitd.store.publications import Publications
from support.store import Store, embedding


@pytest.fixture
def store(memory_path: Path) -> Store:
    """Two people, each with one track of two faces."""
    store = Store(Database.open(memory_path))
    store.see(*(embedding(seed) for seed in (1, 1, 2, 2)))
    store.track()
    store.group([0, 0, 1, 1])
    return store


@pytest.fixture
def recorder(store: Store) -> EditRecorder:
    return EditRecorder(store.database, store.ledger, Publications(store.database), True)


def said(store: Store) -> list[str]:
    entries = store.ledger.summaries()
    words = describe_entries(entries)
    return [str(words[entry.id]) for entry in entries]


def test_each_edit_is_said_in_words(store: Store, recorder: EditRecorder) -> None:
    """By the names of today, with portraits counted as the reviewer sees them."""
    for edit in (
        NamePerson(1, "Ann"),
        AssignFaces((3,), 1),
        AssignFaces((1,), None),
        SplitPerson((2,), "Eve", "Eve"),
        IgnoreFaces((4,)),
        ExcludeFaces((3,)),
        MergePeople(1, 3),
        IgnorePerson(3),
        RecallPerson(3),
        NamePerson(3, "Eva"),
    ):
        recorder.record([edit], 5.0)

    assert [
        "person-0001 was named Ann",
        "person-0001: 1 portrait moved in from person-0002",
        "person-0001: 1 portrait moved to _unsorted",
        "Eva: new person, 1 portrait from _unsorted",
        "person-0001: 1 portrait moved to _ignored",
        "person-0001: 1 portrait deleted",
        "Eva: merged with Ann",
        "Eva: moved to _ignored",
        "Eva: taken out of _ignored",
        "Eve was named Eva",
    ] == said(store)


def test_several_portraits_of_several_people(store: Store, recorder: EditRecorder) -> None:
    """In the plural, and without naming them all."""
    recorder.record([AssignFaces((3, 4), 1)], 5.0)
    recorder.record([SplitPerson((1, 2, 3, 4), "Eve", "Eve")], 6.0)
    recorder.record([ExcludeFaces((1, 2))], 6.0)

    assert [
        "person-0001: 2 portraits moved in from person-0002",
        "Eve: new person, 4 portraits from person-0001",
        "Eve: 2 portraits deleted",
    ] == said(store)


def test_a_no_is_said_of_one_portrait_and_of_several(store: Store, recorder: EditRecorder) -> None:
    """The verb agrees with the number."""
    recorder.record([RejectPerson((3,), 1), SeparatePeople(1, 2)], 5.0)
    recorder.record([RejectPerson((1, 2), 2)], 6.0)

    assert [
        "person-0001: 1 portrait of someone else",
        "person-0001 and person-0002 are two people",
        "person-0002: 2 portraits of someone else",
    ] == said(store)


def test_an_undo_says_what_it_undid(store: Store, recorder: EditRecorder) -> None:
    """An undo of an undo does it again; one of an entry that is not listed has its number."""
    recorder.record([NamePerson(1, "Ann")], 5.0)
    for number in (1, 2, 3):
        recorder.undo(number, 6.0)

    named = "person-0001 was named Ann"
    assert [named, f"Undone: {named}", f"Redone: {named}", f"Undone: {named}"] == said(store)
    assert ["Undone: number 3"] == [
        str(text) for text in describe_entries(store.ledger.summaries(1)).values()
    ]
    assert [True, False, True, False] == [one.is_undone for one in store.ledger.summaries()]


def test_an_undone_person_is_called_by_the_name_they_had(
    store: Store, recorder: EditRecorder
) -> None:
    """The entry gave it to them, and nothing else has it any more."""
    recorder.record([SplitPerson((2,), "Eve", "Eve")], 5.0)
    recorder.undo(1, 6.0)

    split = "Eve: new person, 1 portrait from person-0001"
    assert [split, f"Undone: {split}"] == said(store)


def test_an_entry_of_an_earlier_version_counts_faces(store: Store, recorder: EditRecorder) -> None:
    """It does not tell how many portraits were moved."""
    recorder.record([AssignFaces((3, 4), 1)], 5.0)
    (entry,) = store.ledger.summaries()

    (words,) = describe_entries([replace(entry, portraits=None)]).values()

    assert "person-0001: 2 faces moved in from person-0002" == str(words)


def test_every_kind_and_every_notice_has_words() -> None:
    """In each language, with the same values in it."""
    english = load_words()["en"]
    kinds = {f"edit_{kind.replace('-', '_')}" for kind in EditKind} - {"edit_name"}
    for key in {f"notice_{code}" for code in NOTICES} | kinds:
        texts = {
            name for name in english if name.removesuffix(".one").removesuffix(".other") == key
        }
        assert texts, key
        for words in load_words().values():
            for name in texts:
                assert fields(english[name]) == fields(words[name]), name


def fields(text: str) -> set[str]:
    return {part.partition("}")[0] for part in text.split("{")[1:]}
