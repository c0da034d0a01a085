"""Cards of the last edits: which there are, and what is undone by them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from portraitd.model.edit import NamePerson, UndoEntry
from portraitd.model.errors import PublishError
from portraitd.people.feedback.edit_cards import EditCards
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.database import Database
from portraitd.store.erasure.redaction import Redaction
from portraitd.store.publications import Publication, Publications
from support.clock import at
from support.store import Store, embedding


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two people, whose tree was published."""
    store = Store(Database.open(tmp_path))
    store.see(embedding(1), embedding(2))
    store.track()
    store.group([0, 1])
    PeopleTree(tmp_path / "people", store=store.database.name).create()
    Publications(store.database).record(Publication(1, 0, "look"), {1: 1, 2: 2}, 1.0)
    return store


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return tmp_path / "people"


def name(store: Store, *names: str) -> None:
    recorder = EditRecorder(store.database, store.ledger, Publications(store.database), True)
    for one in names:
        recorder.record([NamePerson(1, one)], 5.0)


def listed(people: Path) -> list[str]:
    return sorted(path.name for path in (people / "_edits").glob("*.txt"))


def test_the_newest_edits_have_cards(store: Store, people: Path) -> None:
    """Numbered as in the ledger; older cards go when new ones come."""
    cards = EditCards(people, store.database, 2)
    name(store, "Ann", "Anne")
    cards.tick(at(1.0))
    first = listed(people)
    name(store, "Anna")
    assert cards.pending
    cards.tick(at(2.0))

    assert ["0001 person-0001 was named Ann.txt", "0002 Ann was named Anne.txt"] == first
    assert ["0002 Ann was named Anne.txt", "0003 Anne was named Anna.txt"] == listed(people)
    assert not cards.pending


def test_an_undone_edit_has_no_card(store: Store, people: Path) -> None:
    """Its undo has one, until that is undone in turn."""
    cards = EditCards(people, store.database, 20)
    name(store, "Ann")
    recorder = EditRecorder(store.database, store.ledger, Publications(store.database), True)
    cards.tick(at(1.0))
    for card, expected in (
        ("0001 person-0001 was named Ann.txt", UndoEntry(1)),
        ("0002 Undone, person-0001 was named Ann.txt", UndoEntry(2)),
    ):
        assert [card] == listed(people)
        (people / "_edits" / card).rename(people / "_edits/undo" / card)
        assert [expected] == cards.read_edits() == cards.read_edits()
        recorder.record([expected], 6.0)
        cards.close([expected])
        assert [] == cards.read_edits()
        cards.tick(at(2.0))

    assert [
        "0001 person-0001 was named Ann.txt",
        "0003 Redone, person-0001 was named Ann.txt",
    ] == listed(people)
    assert [] == list((people / "_edits/undo").iterdir())
    assert [] == list(cards.take_notices())


def test_no_folder_is_made_where_it_is_not_wanted(store: Store, people: Path) -> None:
    """One that is there is removed."""
    name(store, "Ann")
    EditCards(people, store.database, 20).tick(at(1.0))
    assert listed(people)

    EditCards(people, store.database, 0).tick(at(2.0))

    assert not (people / "_edits").exists()


def test_the_name_of_an_erased_person_leaves_the_cards(store: Store, people: Path) -> None:
    """Although no entry is added by that."""
    cards = EditCards(people, store.database, 20)
    name(store, "Ann")
    cards.tick(at(1.0))
    with store.database.transaction():
        Redaction(store.database).erase_people([1])
    cards.tick(at(2.0))

    assert [] == [path for path in (people / "_edits").rglob("*") if b"Ann" in read(path)]


def test_a_write_that_concerns_no_card_opens_no_folder(store: Store, people: Path) -> None:
    """While videos are processed, such writes are many, and the tree may be on a share."""
    cards = EditCards(people, store.database, 20)
    name(store, "Ann")
    cards.tick(at(1.0))
    shutil.rmtree(people)

    store.database.execute("update faces set sharpness = 0.5")
    cards.tick(at(2.0))
    name(store, "Anna")
    with pytest.raises(PublishError):
        cards.tick(at(3.0))


def read(path: Path) -> bytes:
    return path.name.encode() + (path.read_bytes() if path.is_file() else b"")
