"""Erasing faces in the tree: one folder that cannot be erased stops it in no other one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portraitd.people.tree.asked_pictures import AskedPictures
from portraitd.people.tree.card_folder import Card, CardFolder
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.people.tree.reserved_folders import QUESTIONS_NAME, WHO_NAME
from portraitd.people.tree.tree_erasure import ErasureTarget, erase_portraits
from support.permissions import permissions_count
from support.tree import known, person, picture_of, publish, visible

FACES = ErasureTarget({1, 3}, set(), lambda mark: False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "people"
    tree = PeopleTree(root, store="a")
    tree.create()
    publish(tree, [person(1, 1, 2), person(2, 3, 4)], [], picture_of, {1: b"m", 2: b"m"})
    return root


@pytest.mark.parametrize("mode", [0, 0o400, 0o500])
def test_an_unavailable_folder_stops_erasure_in_no_other_one(root: Path, mode: int) -> None:
    """It is named, and erased when that is possible."""
    (root / "person-0001").chmod(mode)

    with permissions_count():
        erased = erase_portraits(root, FACES)

    assert {"person-0001": "Permission denied"} == erased.unavailable
    assert not (root / "person-0002/000003.jpg").exists()
    (root / "person-0001").chmod(0o700)
    assert {} == erase_portraits(root, FACES).unavailable
    assert ["000002.jpg", "000002.txt"] == visible(root / "person-0001")
    people = known(person(1, 2), person(2, 4))
    assert [] == PeopleTree(root, store="a").read_edits(people)


def test_questions_are_erased_with_their_pictures(root: Path) -> None:
    """Also one that was answered just now; the service asks again. What others put there stays."""
    cards = CardFolder(root, QUESTIONS_NAME, ("yes", "no"), "a")
    questions = [Card("same:1,2", "one.jpg"), Card("same:2,3", "two.jpg")]
    cards.update(questions, lambda card: picture_of(len(card.name)))
    (cards.path / "two.jpg").rename(cards.path / "yes/mine.jpg")
    (cards.path / "no/photo.jpg").write_bytes(picture_of(99))
    os.mkfifo(cards.path / "no/pipe.jpg")

    erased = erase_portraits(root, FACES)

    assert {} == erased.unavailable
    assert ["no", "no/photo.jpg", "no/pipe.jpg", "yes"] == visible(cards.path)
    assert 0 == len(cards.list_cards())


def test_an_answer_that_cannot_be_erased_is_named(root: Path) -> None:
    """It may name an erased person."""
    answer = root / WHO_NAME / "who.jpg.txt"
    AskedPictures(root).publish({answer.name: "1"}, {answer.name: b"Ann"})
    answer.parent.chmod(0o500)

    with permissions_count():
        erased = erase_portraits(root, FACES)

    assert {WHO_NAME: "Permission denied"} == erased.unavailable
    answer.parent.chmod(0o700)
    assert {} == erase_portraits(root, FACES).unavailable
    assert not answer.exists()


def test_a_picture_that_cannot_be_read_is_named(root: Path) -> None:
    """It may show an erased face."""
    (root / "person-0002/copy.jpg").write_bytes(picture_of(3))
    (root / "person-0002/copy.jpg").chmod(0)

    with permissions_count():
        erased = erase_portraits(root, FACES)

    assert {"person-0002/copy.jpg": "Permission denied"} == erased.unavailable


def test_nothing_is_erased_through_a_link(root: Path, tmp_path: Path) -> None:
    """Nor is a pipe opened."""
    outside = tmp_path / "outside"
    (root / "person-0001").rename(outside)
    (root / "person-0001").symlink_to(outside)
    (root / "Zoe").symlink_to(outside)
    os.mkfifo(root / "person-0002/000009.jpg")
    before = visible(outside)

    erased = erase_portraits(root, FACES)

    assert {} == erased.unavailable
    assert before == visible(outside)
    assert not (root / "person-0002/000003.jpg").exists()
