"""Edits in the tree are detected: every row of the table, on a real disk."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.model.edit import (
    AssignFaces,
    Edit,
    ExcludeFaces,
    IgnoreFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    RecallPerson,
    SplitPerson,
)
from portraitd.model.errors import ForeignTree, PublishError
from portraitd.people.tree.diff import RecordedState
from portraitd.people.tree.people_tree import PeopleTree
from support.tree import (
    A1,
    A2,
    A3,
    ANNA,
    B4,
    B5,
    BOB,
    CARL,
    KNOWN,
    PEOPLE,
    UNSORTED,
    face,
    known,
    person,
    picture_of,
    publish,
    refuse,
    snapshot,
    three_people,
    visible,
)
from support.tree_operations import Do, all_of, copy, delete, move, rename


@pytest.fixture
def tree(root: Path) -> PeopleTree:
    """Three people and two unsorted faces, just published."""
    return three_people(root)


TABLE: dict[str, tuple[Do, list[Edit]]] = {
    "nothing": (lambda root: None, []),
    "a name": (rename("person-0002", "Mum"), [NamePerson(2, "Mum")]),
    "another name": (rename("Anna", "Anne"), [NamePerson(1, "Anne")]),
    "a name in another form": (rename("person-0002", "Mu\u0308ller"), [NamePerson(2, "Müller")]),
    "a name no file system likes": (rename("person-0002", "a:b?"), [NamePerson(2, "a-b-")]),
    "a name that is none": (rename("person-0002", "___"), []),
    "a name that hides": (rename("person-0002", ".x"), [IgnorePerson(2)]),
    "a name like a number of ours": (rename("Anna", "Anna (2)"), []),
    "the same name in another case": (rename("person-0002", "ANNA"), [MergePeople(2, 1)]),
    "the second of a name": (rename("person-0002", "Anna (2)"), [NamePerson(2, "Anna (2)")]),
    "names exchanged": (
        all_of(
            rename("Anna", "x"), rename("person-0002", "Anna"), rename("x", "person-0002")
        ),
        [NamePerson(2, "Anna")],
    ),
    "two given one name": (
        all_of(rename("person-0002", "Zoe"), rename("person-0003", "ZOE")),
        [NamePerson(2, "Zoe"), MergePeople(3, 2)],
    ),
    "a folder into another": (move("person-0002", to="Anna"), [MergePeople(2, 1)]),
    "two folders, one in the other": (
        all_of(move("person-0003", to="person-0002"), move("person-0002", to="Anna")),
        [MergePeople(3, 2), MergePeople(2, 1)],
    ),
    "a folder into an ordinary folder": (move("person-0002", to="Family"), []),
    "all files into another folder, and the folder deleted": (
        all_of(move(B4, B5, to="Anna"), delete("person-0002")),
        [MergePeople(2, 1)],
    ),
    "all files into another folder, the manifest over the other one": (
        all_of(
            move(B4, B5, "person-0002/000004.txt", "person-0002/.person.json", to="Anna"),
            delete("person-0002"),
        ),
        [MergePeople(2, 1)],
    ),
    "all files, and the manifest, into another folder": (
        move(B4, B5, "person-0002/.person.json", to="Anna"),
        [MergePeople(2, 1)],
    ),
    "some files moved and the folder deleted": (
        all_of(move(B4, to="Anna"), delete("person-0002")),
        [AssignFaces((4,), 1), IgnorePerson(2)],
    ),
    "a portrait to another person": (move(A1, A3, to="person-0002"), [AssignFaces((1, 3), 2)]),
    "a portrait renamed on the way": (rename(A1, "person-0002/dad.jpeg"), [AssignFaces((1,), 2)]),
    "an unsorted portrait to a person": (
        move("_unsorted/000008.jpg", to="Anna"), [AssignFaces((8,), 1)],
    ),
    "a portrait to _unsorted": (move(A1, to="_unsorted"), [AssignFaces((1,), None)]),
    "a portrait out of every folder": (rename(A1, "000001.jpg"), [AssignFaces((1,), None)]),
    "portraits into a new folder": (
        move(A1, "_unsorted/000009.jpg", to="Dora"), [SplitPerson((1, 9), "Dora", "Dora")],
    ),
    "portraits into a new folder in a folder": (
        move(A1, to="Anna/Dora"), [SplitPerson((1,), "Dora", "Anna/Dora")],
    ),
    "a portrait deleted": (delete(A1), [ExcludeFaces((1,))]),
    "an unsorted portrait deleted": (delete("_unsorted/000008.jpg"), [ExcludeFaces((8,))]),
    "a portrait renamed": (rename(A1, "Anna/best.jpg"), []),
    "a portrait into a folder that is hidden": (move(A1, to=".trash"), [ExcludeFaces((1,))]),
    "a portrait ignored": (move(A1, to="_ignored"), [IgnoreFaces((1,))]),
    "a portrait ignored, in a folder": (move(A1, to="_ignored/bad"), [IgnoreFaces((1,))]),
    "a person ignored": (move("person-0002", to="_ignored"), [IgnorePerson(2)]),
    "a person named and ignored": (
        rename("person-0002", "_ignored/Postman"), [NamePerson(2, "Postman"), IgnorePerson(2)],
    ),
    "a person deleted": (delete("person-0002"), [IgnorePerson(2)]),
    "a portrait copied": (copy(A1, "person-0002/000001.jpg"), []),
    "a portrait copied into a new folder": (
        all_of(move(to="Best"), copy(A1, "Best/000001.jpg")), [],
    ),
    "a folder copied": (copy("Anna", "Anna - Copy"), []),
    "a folder copied into another": (copy("person-0003", "Anna/person-0003"), []),
    "a folder copied and a portrait deleted": (
        all_of(copy("Anna", "Backup"), delete(A1)), [ExcludeFaces((1,))],
    ),
    "a folder copied and the first deleted": (
        all_of(copy("person-0002", "Mum"), delete("person-0002")), [NamePerson(2, "Mum")],
    ),
    "other files deleted": (
        delete("Anna/montage.jpg", "Anna/000001.txt", "Anna/.person.json", "README.txt"), [],
    ),
    "_unsorted deleted": (delete("_unsorted"), []),
    "a portrait moved and its folder renamed": (
        all_of(move(A1, to="person-0002"), rename("Anna", "Anne")),
        [NamePerson(1, "Anne"), AssignFaces((1,), 2)],
    ),
    "a portrait moved out of a folder that is then deleted": (
        all_of(move("person-0003/000006.jpg", to="Dora"), delete("person-0003")),
        [SplitPerson((6,), "Dora", "Dora"), IgnorePerson(3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("do", "expected"), TABLE.values(), ids=list(TABLE))
def test_an_edit_is_detected(tree: PeopleTree, root: Path, do: Do, expected: list[Edit]) -> None:
    """Again and again, by this process and by the next."""
    do(root)

    assert expected == tree.read_edits(KNOWN)
    assert expected == tree.read_edits(KNOWN)
    assert expected == PeopleTree(root, store="store-a").read_edits(KNOWN)


@pytest.mark.parametrize(("do", "expected"), TABLE.values(), ids=list(TABLE))
def test_what_was_not_read_is_not_covered_up(
    tree: PeopleTree, root: Path, do: Do, expected: list[Edit]
) -> None:
    """A publish before an edit is read leaves the edit as it is."""
    do(root)

    publish(tree, PEOPLE, UNSORTED, picture_of, {})

    assert expected == tree.read_edits(KNOWN)


def ignored(tree: PeopleTree, root: Path) -> RecordedState:
    """Bob and one face of Anna are ignored; another face is excluded."""
    move("person-0002", to="_ignored")(root)
    move(A1, to="_ignored")(root)
    delete(A2)(root)
    assert [IgnorePerson(2), IgnoreFaces((1,)), ExcludeFaces((2,))] == tree.read_edits(KNOWN)
    anna = person(1, 3, name="Anna")
    publish(tree, [anna, CARL], UNSORTED, picture_of, {}, ignored=[BOB], ignored_faces=[face(1)])
    recorded = RecordedState(KNOWN.person_of, [2], [1], [2], KNOWN.names)
    assert [] == tree.read_edits(recorded)
    return recorded


def test_ignored_people_are_published_into_ignored(tree: PeopleTree, root: Path) -> None:
    """In the place people moved them to, and no file is written again."""
    ignored(tree, root)
    anna = person(1, 3, name="Anna")

    done = publish(tree, [anna, CARL], UNSORTED, refuse, {}, ignored=[BOB], ignored_faces=[face(1)])

    assert (0, 0) == (done.written, done.removed)
    assert "_ignored/person-0002" == done.folders[2]
    assert [
        "000001.jpg", "person-0002", "person-0002/000004.jpg", "person-0002/000004.txt",
        "person-0002/000005.jpg", "person-0002/000005.txt",
    ] == visible(root / "_ignored")  # fmt: skip


def test_moving_back_undoes_an_edit(tree: PeopleTree, root: Path) -> None:
    """Out of ``_ignored``, or from a copy that was kept elsewhere."""
    shutil.copy(root / A2, root.parent / "kept.jpg")
    recorded = ignored(tree, root)
    move("_ignored/person-0002", to="")(root)
    move("_ignored/000001.jpg", to="Anna")(root)
    shutil.copy(root.parent / "kept.jpg", root / "Anna/kept.jpg")

    assert [RecallPerson(2), AssignFaces((1, 2), 1)] == tree.read_edits(recorded)

    done = publish(tree, PEOPLE, UNSORTED, picture_of, {})
    assert {1: "Anna", 2: "person-0002", 3: "person-0003"} == done.folders
    assert [] == tree.read_edits(KNOWN)
    assert "Anna/kept.jpg" == done.portraits[2]


def test_what_the_store_undoes_is_undone_in_the_tree(tree: PeopleTree, root: Path) -> None:
    """The old state of the tree does not count as a new edit."""
    ignored(tree, root)

    assert [] == tree.read_edits(KNOWN)
    done = publish(tree, PEOPLE, UNSORTED, picture_of, {})

    assert {1: "Anna", 2: "person-0002", 3: "person-0003"} == done.folders
    assert "Anna/000001.jpg" == done.portraits[1]
    assert [] == tree.read_edits(KNOWN)


def test_a_folder_kept_for_a_foreign_file_keeps_its_person(tree: PeopleTree, root: Path) -> None:
    """A portrait that is put into it is that person again."""
    (root / "person-0003/notes.txt").write_text("mine")
    without = known(ANNA, BOB, unsorted=[6, 8, 9])
    publish(tree, [ANNA, BOB], [face(6), *UNSORTED], picture_of, {})
    assert ["notes.txt"] == visible(root / "person-0003")

    move(A2, to="person-0003")(root)

    assert [AssignFaces((2,), 3)] == tree.read_edits(replace(without, empty={3}))


@pytest.mark.parametrize("goal", ["Zoe", "_ignored/Zoe"])
def test_a_kept_folder_that_was_named_keeps_its_person(
    tree: PeopleTree, root: Path, goal: str
) -> None:
    """If the person comes back, they get no second folder of that name."""
    (root / "person-0003/notes.txt").write_text("mine")
    publish(tree, [ANNA, BOB, person(3)], [face(6), *UNSORTED], picture_of, {})
    rename("person-0003", goal)(root)
    without = replace(known(ANNA, BOB, unsorted=[6, 8, 9]), empty={3})
    assert NamePerson(3, "Zoe") in tree.read_edits(without)

    for zoe in (person(3, name="Zoe"), person(3, 6, name="Zoe")):
        in_sight, aside = ([], [zoe]) if "/" in goal else ([zoe], [])
        done = publish(tree, [ANNA, BOB, *in_sight], UNSORTED, picture_of, {}, ignored=aside)

    assert goal == done.folders[3]
    assert {"000006.jpg", "000006.txt", "notes.txt"} == set(visible(root / goal))


def test_a_mass_disappearance_is_not_an_edit(root: Path) -> None:
    """The share counts as not mounted until the operator accepts the losses."""
    everyone = [person(n, *range(n * 10, n * 10 + 8)) for n in range(1, 9)]
    tree = PeopleTree(root)
    tree.create()
    publish(tree, everyone, [], picture_of, {})
    delete(*(f"person-000{n}" for n in (1, 2)))(root)
    assert [IgnorePerson(1), IgnorePerson(2)] == tree.read_edits(known(*everyone))
    assert not tree.withheld
    delete("person-0003")(root)

    assert [] == tree.read_edits(known(*everyone))
    withheld = tree.withheld
    assert (24, {1, 2, 3}, 64) == (len(withheld.faces), withheld.people, withheld.published)
    publish(tree, everyone, [], refuse, {})
    again = PeopleTree(root)
    assert [] == again.read_edits(known(*everyone))
    assert withheld == again.withheld

    expected = [IgnorePerson(n) for n in (1, 2, 3)]
    assert expected == tree.read_edits(known(*everyone), accept_losses=True)
    assert not tree.withheld


def test_a_copy_of_what_is_missing_is_no_edit(root: Path) -> None:
    """While it is not known whether the originals were deleted."""
    everyone = [person(n, *range(n * 10, n * 10 + 8)) for n in range(1, 9)]
    tree = PeopleTree(root, store="store-a")
    tree.create()
    publish(tree, everyone, [], picture_of, {})
    copy("person-0001/000010.jpg", "person-0007/copy.jpg")(root)
    for number in (1, 2, 3, 4):
        (root / f"person-000{number}").rename(root.parent / f"person-000{number}")
    before = snapshot(root)

    assert [] == tree.read_edits(known(*everyone))
    assert 31 == len(tree.withheld.faces)
    publish(tree, everyone, [], refuse, {})

    assert before == snapshot(root)
    for number in (1, 2, 3, 4):
        (root.parent / f"person-000{number}").rename(root / f"person-000{number}")
    assert [] == tree.read_edits(known(*everyone))
    assert not tree.losses


def test_an_empty_folder_in_place_of_the_share_is_not_read(tree: PeopleTree, root: Path) -> None:
    """It has no marker."""
    shutil.rmtree(root)
    root.mkdir()

    with pytest.raises(PublishError, match="the share may not be mounted"):
        tree.read_edits(KNOWN)


def test_the_tree_is_not_emptied(tree: PeopleTree, root: Path) -> None:
    """A store without people does not remove the folders of all of them."""
    everyone = [person(n, *range(n * 10, n * 10 + 8)) for n in range(1, 9)]
    publish(tree, everyone, [], picture_of, {})

    with pytest.raises(PublishError, match="nearly all people would be removed"):
        publish(tree, [everyone[0]], [], picture_of, {})

    assert {1: "person-0001"} == publish(
        tree, everyone[:1], [], picture_of, {}, accept_losses=True
    ).folders


def test_the_tree_of_another_store_is_refused(tree: PeopleTree, root: Path) -> None:
    """Its numbers belong to other people."""
    other = PeopleTree(root, store="store-b")

    for ask in (other.create, lambda: other.read_edits(KNOWN), other.locate_portraits):
        with pytest.raises(ForeignTree, match="belongs to another portraitd database"):
            ask()
    assert (root / A1).exists()


def test_a_portrait_of_another_store_is_a_foreign_file(
    tree: PeopleTree, root: Path, tmp_path: Path
) -> None:
    """Its number belongs to another face there."""
    elsewhere = PeopleTree(tmp_path / "elsewhere", store="store-b")
    elsewhere.create()
    publish(elsewhere, [person(1, 1, 77)], [], picture_of, {})
    delete(A1)(root)
    shutil.copy(tmp_path / "elsewhere/person-0001/000001.jpg", root / "person-0002/000001.jpg")

    assert [ExcludeFaces((1,))] == tree.read_edits(KNOWN)
