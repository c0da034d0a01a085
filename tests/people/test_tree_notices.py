"""What reviewers do in the tree that has no effect, and is said to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.model.edit import NamePerson
from portraitd.model.reasons import ReasonCode
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.people.tree.scan import MAX_DEPTH
from support.tree import (
    A1,
    A2,
    B4,
    KNOWN,
    PEOPLE,
    UNSORTED,
    face,
    known,
    person,
    picture_of,
    publish,
    three_people,
)
from support.tree_operations import Do, all_of, copy, delete, move, rename

Said = list[tuple[ReasonCode, str]]


@pytest.fixture
def tree(root: Path) -> PeopleTree:
    return three_people(root)


def said(tree: PeopleTree) -> Said:
    return [one.key for one in tree.notices]


DEEP = "/".join("abcdef")

CASES: dict[str, tuple[Do, Said]] = {
    "a name without letters": (rename("Anna", "-- --"), [(ReasonCode.NAME_UNUSABLE, "-- --")]),
    "a folder in _unsorted": (
        move("Anna", to="_unsorted"),
        [(ReasonCode.FOLDER_IN_UNSORTED, "_unsorted/Anna")],
    ),
    "a folder among the questions": (
        move("Anna", to="_questions/yes"),
        [(ReasonCode.FOLDER_MISPLACED, "_questions/yes/Anna")],
    ),
    "a folder called like one for pictures": (
        rename("Anna", "_who"),
        [(ReasonCode.FOLDER_MISPLACED, "_who")],
    ),
    "a number as the name of a new person": (
        move("_unsorted/000008.jpg", to="person-0099"),
        [(ReasonCode.NUMBER_AS_NAME, "person-0099")],
    ),
    "a copy in a folder with a number": (
        all_of(lambda root: (root / "person-0099").mkdir(), copy(A1, "person-0099/000001.jpg")),
        [],
    ),
    "a copy of a folder": (copy("Anna", "Anna 2"), [(ReasonCode.FOLDER_COPIED, "Anna 2")]),
    "copies inside a copy": (
        all_of(move("person-0002", to="Family"), copy("Family", "Family/two"), copy(A1, A1 + ".x")),
        [(ReasonCode.FOLDER_COPIED, "Family/two/person-0002")],
    ),
    "_unsorted under another name": (
        rename("_unsorted", "Strangers"),
        [(ReasonCode.OWN_FOLDER_MOVED, "Strangers")],
    ),
    "a copied portrait": (
        copy(A1, "person-0002/000001.jpg"),
        [(ReasonCode.PORTRAITS_COPIED, "person-0002")],
    ),
    "a copy in its own folder": (copy(A1, "Anna/copy.jpg"), []),
    "a copy in a folder of one's own": (
        all_of(move(A2, to="Album"), copy(A1, "Album/mine.jpg")),
        [],
    ),
    "a folder at the deepest place": (
        lambda root: (root / DEEP / "g").mkdir(parents=True),
        [(ReasonCode.FOLDER_TOO_DEEP, DEEP)],
    ),
    "files of one's own": (
        lambda root: [
            (root / "Anna" / name).write_bytes(b"mine") for name in ("a.txt", "b.jpg", "Thumbs.db")
        ],
        [],
    ),
    "an ordinary review": (
        all_of(
            rename("person-0002", "Bob"),
            move(A1, to="Bob"),
            move("_unsorted/000008.jpg", to="New"),
            delete(A2),
            move("person-0003", to="_ignored"),
        ),
        [],
    ),
}


@pytest.mark.parametrize(("do", "expected"), CASES.values(), ids=CASES)
def test_what_has_no_effect_is_said(root: Path, tree: PeopleTree, do: Do, expected: Said) -> None:
    """Edits need no notice, nor do reviewers' own files and folders."""
    assert MAX_DEPTH == len(DEEP.split("/"))
    do(root)

    tree.read_edits(KNOWN)

    assert expected == said(tree)


def test_a_copy_is_mentioned_when_it_is_new(root: Path, tree: PeopleTree) -> None:
    """At every reading, so that two of them agree, but not after a restart."""
    copy(A1, "person-0002/000001.jpg")(root)
    for _ in range(2):
        tree.read_edits(KNOWN)
        assert [{"location": "person-0002", "n": 1}] == [one.values for one in tree.notices]
    publish(tree, PEOPLE, UNSORTED, picture_of, {})
    tree.read_edits(KNOWN)
    assert [(ReasonCode.PORTRAITS_COPIED, "person-0002")] == said(tree)

    again = PeopleTree(root, store="store-a")
    again.read_edits(KNOWN)
    assert [] == said(again)


def test_a_portrait_that_is_not_shown_has_no_effect(root: Path, tree: PeopleTree) -> None:
    """As one that was kept, of a face that was erased meanwhile."""
    kept = (root / B4).read_bytes()
    without = [PEOPLE[0], PEOPLE[2]]
    publish(tree, without, UNSORTED, picture_of, {})
    (root / "Anna/seen.jpg").write_bytes(kept)

    assert [] == tree.read_edits(known(*without, unsorted=[8, 9]))

    assert [(ReasonCode.PORTRAITS_NOT_SHOWN, "Anna")] == said(tree)
    publish(tree, without, [*UNSORTED, face(10)], picture_of, {})
    tree.read_edits(known(*without, unsorted=[8, 9, 10]))
    assert [] == said(tree)


def test_what_is_remedied_is_not_said_any_more(root: Path, tree: PeopleTree) -> None:
    """Each reading says what is true then, whatever was published between."""
    rename("Anna", "--")(root)
    tree.read_edits(KNOWN)
    publish(tree, PEOPLE, UNSORTED, picture_of, {})
    tree.read_edits(KNOWN)
    assert [(ReasonCode.NAME_UNUSABLE, "--")] == said(tree)

    rename("--", "Anne")(root)

    tree.read_edits(KNOWN)
    assert [] == said(tree)


def test_another_persons_number_is_refused(root: Path, tree: PeopleTree) -> None:
    """Whether that person has a folder of this name or not; the folder gets its name back."""
    done = []
    for number, old, name in ((1, "Anna", "person-0077"), (2, "person-0002", "Person-3")):
        rename(old, name)(root)
        assert [] == tree.read_edits(KNOWN)
        assert [((ReasonCode.NUMBER_OF_ANOTHER, old), {"location": old, "name": name})] == [
            (one.key, one.values) for one in tree.notices
        ]
        done.append(publish(tree, PEOPLE, UNSORTED, picture_of, {}).folders[number])

    assert ["Anna", "person-0002"] == done
    tree.read_edits(KNOWN)
    assert [] == said(tree)


def test_folders_in_a_refused_one_come_back_with_it(root: Path, tree: PeopleTree) -> None:
    """They are found in their place again, by the publish that gives the name back."""
    move("person-0003", to="Family")(root)
    move("Family", to="person-0002")(root)
    people = [*PEOPLE[:2], person(3, 6, 7)]
    tree.read_edits(KNOWN)
    publish(tree, PEOPLE, UNSORTED, picture_of, {})
    rename("person-0002", "person-0055")(root)
    tree.read_edits(KNOWN)

    done = publish(tree, people, UNSORTED, picture_of, {})

    assert {} == done.faulty
    assert ("person-0002", "person-0002/Family/person-0003") == (done.folders[2], done.folders[3])
    assert (root / "person-0002/Family/person-0003/000007.jpg").exists()
    assert [] == tree.read_edits(known(*people, unsorted=[8, 9]))


@pytest.mark.parametrize("name", ["person-0001", "Person-1"])
def test_ones_own_number_takes_the_name_back(root: Path, tree: PeopleTree, name: str) -> None:
    """In whatever way the number is written; the folder is called as any without a name."""
    rename("Anna", name)(root)

    assert [NamePerson(1, None)] == tree.read_edits(KNOWN)

    people = [person(1, 1, 2, 3), *PEOPLE[1:]]
    assert "person-0001" == publish(tree, people, UNSORTED, picture_of, {}).folders[1]
    assert [] == tree.read_edits(known(*people, unsorted=[8, 9]))
    assert [] == said(tree)
    rename("person-0001", "Anna")(root)
    assert [NamePerson(1, "Anna")] == tree.read_edits(known(*people, unsorted=[8, 9]))
