"""Copies of portraits have no effect, and do not keep an original from being moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.model.edit import AssignFaces, ExcludeFaces
from portraitd.people.tree.diff import RecordedState
from portraitd.people.tree.people_tree import PeopleTree
from support.tree import (
    A1,
    A2,
    B4,
    BOB,
    CARL,
    KNOWN,
    PEOPLE,
    UNSORTED,
    known,
    person,
    picture_of,
    publish,
    refuse,
    three_people,
)
from support.tree_operations import copy, delete, move, rename


@pytest.fixture
def tree(root: Path) -> PeopleTree:
    """Three people and two unsorted faces, just published."""
    return three_people(root)


def test_a_copy_does_not_bring_back_an_excluded_face(tree: PeopleTree, root: Path) -> None:
    """A face that was excluded with its track stays excluded although a copy is there."""
    copy(A2, "Anna/copy.jpg")(root)
    publish(tree, PEOPLE, UNSORTED, refuse, {})
    delete(A1)(root)
    assert [ExcludeFaces((1,))] == tree.read_edits(KNOWN)
    publish(tree, [person(1, 3, name="Anna"), BOB, CARL], UNSORTED, picture_of, {})
    track = RecordedState(KNOWN.person_of, [1, 2], [], [], KNOWN.names)

    assert not (root / A2).exists()
    assert [] == tree.read_edits(track)
    assert (root / "Anna/copy.jpg").exists()


def test_an_original_moves_although_a_copy_stays(tree: PeopleTree, root: Path) -> None:
    """The copy was there before and had no effect; nor does it count when the original moves."""
    copy(A2, "Anna/copy.jpg")(root)
    assert [] == tree.read_edits(KNOWN)

    move(A2, to="person-0002")(root)

    assert [AssignFaces((2,), 2)] == tree.read_edits(KNOWN)
    assert [AssignFaces((2,), 2)] == tree.read_edits(KNOWN)


def test_copied_first_and_removed_later_is_moved(tree: PeopleTree, root: Path) -> None:
    """As file managers do between two shares."""
    copy(A2, "person-0002/000002.jpg")(root)
    assert [] == tree.read_edits(KNOWN)

    (root / A2).unlink()

    assert [AssignFaces((2,), 2)] == tree.read_edits(KNOWN)


def test_an_original_moves_to_where_a_copy_is(tree: PeopleTree, root: Path) -> None:
    """Copies that were there before do not change where it belongs."""
    for at in ("Anna", "person-0002", "person-0003"):
        copy(A2, f"{at}/copy.jpg")(root)
    assert [] == tree.read_edits(KNOWN)
    again = PeopleTree(root, store="store-a")

    move(A2, to="person-0003")(root)

    assert [AssignFaces((2,), 3)] == again.read_edits(KNOWN)
    publish(again, [person(1, 1, 3, name="Anna"), BOB, person(3, 2, 6)], UNSORTED, picture_of, {})
    assert [] == again.read_edits(known(person(1, 1, 3, name="Anna"), BOB, person(3, 2, 6)))


def test_a_copy_that_is_renamed_is_still_a_copy(tree: PeopleTree, root: Path) -> None:
    """Its face was excluded, and comes back only by a portrait that is put there later."""
    copy(A2, "Anna/copy.jpg")(root)
    publish(tree, PEOPLE, UNSORTED, refuse, {})
    delete(A1)(root)
    tree.read_edits(KNOWN)
    publish(tree, [person(1, 3, name="Anna"), BOB, CARL], UNSORTED, picture_of, {})
    track = RecordedState(KNOWN.person_of, [1, 2], [], [], KNOWN.names)

    rename("Anna/copy.jpg", "Anna/dad.jpg")(root)

    assert [] == tree.read_edits(track)


def test_a_copy_that_stood_for_the_original_is_one_again_when_it_is_excluded(
    tree: PeopleTree, root: Path
) -> None:
    """It was the portrait while its face belonged there, and was always a person's file."""
    copy(A2, "person-0002/copy.jpg")(root)
    assert [] == tree.read_edits(KNOWN)
    # From here on the original has another name in its mark than the copy.
    publish(tree, [person(1, 1, 2, 3, name="Anne"), BOB, CARL], UNSORTED, picture_of, {})
    together = [person(1, 1, 3, name="Anne"), person(2, 2, 4, 5), CARL]
    done = publish(tree, together, UNSORTED, picture_of, {})
    assert "person-0002/copy.jpg" == done.portraits[2]
    delete(B4)(root)
    assert [ExcludeFaces((4,))] == tree.read_edits(known(*together, unsorted=[8, 9]))

    publish(tree, [together[0], person(2, 5), CARL], UNSORTED, picture_of, {})

    recorded = replace(known(*together, unsorted=[8, 9]), excluded=[2, 4])
    assert [] == tree.read_edits(recorded)
    assert (root / "person-0002/copy.jpg").exists()
