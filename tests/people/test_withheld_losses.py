"""Much disappears at once: deletions wait for an answer, and other edits take effect."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.model.edit import (
    AssignFaces,
    ExcludeFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    SplitPerson,
)
from portraitd.model.person import PersonFolder
from portraitd.people.tree.people_tree import PeopleTree
from support.tree import known, person, picture_of, publish, refuse
from support.tree_operations import delete, move, rename

EVERYONE = [person(n, *range(n * 10, n * 10 + 8)) for n in range(1, 9)]
"""Eight people with eight portraits each."""

KNOWN = known(*EVERYONE)


@pytest.fixture
def tree(root: Path) -> PeopleTree:
    fresh = PeopleTree(root, store="store-a")
    fresh.create()
    publish(fresh, EVERYONE, [], picture_of, {})
    return fresh


def lose(root: Path) -> None:
    """Delete two folders, and half of a third: twenty of 64 portraits."""
    delete("person-0001", "person-0002")(root)
    delete(*(f"person-0003/{number:06d}.jpg" for number in range(30, 34)))(root)


LOST = frozenset({*range(10, 18), *range(20, 28), *range(30, 34)})


def pictures(root: Path) -> set[int]:
    return {int(path.stem) for path in root.rglob("0*.jpg")}


def test_other_edits_are_read_and_shown(root: Path, tree: PeopleTree) -> None:
    """Names, moves and merges, also of a person who has lost portraits."""
    lose(root)
    rename("person-0004", "Dora")(root)
    move("person-0005/000050.jpg", to="person-0006")(root)
    move("person-0003", to="person-0008")(root)
    move("person-0007/000070.jpg", to="New")(root)

    assert [
        NamePerson(4, "Dora"),
        MergePeople(3, 8),
        AssignFaces((50,), 6),
        SplitPerson((70,), "New", "New"),
    ] == tree.read_edits(KNOWN)
    assert (LOST, {1, 2}) == (tree.withheld.faces, tree.withheld.people)

    tree.adopt("New", 9)
    merged = [
        *EVERYONE[:2],
        person(4, *range(40, 48), name="Dora"),
        person(5, *range(51, 58)),
        person(6, 50, *range(60, 68)),
        person(7, *range(71, 78)),
        person(8, *range(80, 88), *range(30, 38)),
        person(9, 70, name="New"),
    ]
    done = publish(tree, merged, [], picture_of, {})

    assert {4: "Dora", 9: "New"} == {n: done.folders[n] for n in (4, 9)}
    assert {1, 2, 3}.isdisjoint(done.folders)
    assert LOST.isdisjoint(pictures(root))
    assert all((root / f"person-0008/{face:06d}.jpg").exists() for face in range(34, 38))
    # What is missing keeps the place it had: the database knows that it was published there.
    after = known(*merged)
    placed = replace(after, person_of={**after.person_of, **dict.fromkeys(range(30, 34), 3)})
    assert [] == tree.read_edits(placed, awaits_answer=True)
    assert LOST == tree.withheld.faces
    publish(tree, merged, [], refuse, {})
    assert [ExcludeFaces((30, 31, 32, 33)), IgnorePerson(1), IgnorePerson(2)] == tree.read_edits(
        placed, accept_losses=True
    )


def test_what_was_regrouped_meanwhile_is_not_written_elsewhere(
    root: Path, tree: PeopleTree
) -> None:
    """And counts as deleted when that is confirmed, although its person is gone."""
    lose(root)
    tree.read_edits(KNOWN)
    regrouped = [person(7, *range(70, 78), *range(10, 18), 30), *EVERYONE[2:6], EVERYONE[7]]

    publish(tree, regrouped, [], refuse, {})

    assert LOST.isdisjoint(pictures(root))
    after = known(*regrouped)
    before = {face: KNOWN.person_of[face] for face in LOST}
    placed = replace(after, person_of={**after.person_of, **before})
    assert [] == tree.read_edits(placed, awaits_answer=True)
    assert LOST == tree.withheld.faces
    edits = tree.read_edits(placed, accept_losses=True)
    assert {*LOST} == {face for edit in edits for face in getattr(edit, "face_ids", ())}


def test_what_is_withheld_is_put_back(root: Path, tree: PeopleTree) -> None:
    """Folders and portraits; what is deleted later is an edit as ever."""
    lose(root)
    tree.read_edits(KNOWN)
    withheld = tree.withheld
    delete("person-0006/000060.jpg")(root)

    edits = tree.read_edits(KNOWN, awaits_answer=True, restored=withheld)

    assert [] == edits
    assert {60} == tree.withheld.faces
    publish(tree, EVERYONE, [], picture_of, {})
    assert LOST <= pictures(root)
    assert 60 not in pictures(root)
    assert [ExcludeFaces((60,))] == tree.read_edits(KNOWN)


def test_losses_wait_until_they_are_answered(root: Path, tree: PeopleTree) -> None:
    """New portraits do not settle the question; what came back by itself needs no answer."""
    lose(root)
    tree.read_edits(KNOWN)
    more: list[PersonFolder] = [*EVERYONE, person(9, *range(100, 160))]
    publish(tree, more, [], picture_of, {})

    assert [] == tree.read_edits(known(*more), awaits_answer=True)
    assert LOST == tree.withheld.faces
    restored = PeopleTree(root.parent / "copy", store="store-a")
    restored.create()
    publish(restored, EVERYONE[:3], [], picture_of, {})
    for number in (1, 2):
        shutil.copytree(root.parent / f"copy/person-000{number}", root / f"person-000{number}")

    tree.read_edits(known(*more), awaits_answer=True)
    assert set(range(30, 34)) == tree.withheld.faces


def test_what_was_deleted_before_can_be_brought_back(root: Path, tree: PeopleTree) -> None:
    """It was in no folder, so it is no copy, although the folder it was in is missing."""
    lose(root)
    earlier = replace(KNOWN, person_of={**KNOWN.person_of, 90: 1}, excluded={90})
    kept = PeopleTree(root.parent / "kept", store="store-a")
    kept.create()
    publish(kept, [person(1, 90)], [], picture_of, {})
    shutil.copy(root.parent / "kept/person-0001/000090.jpg", root / "person-0005/back.jpg")

    assert [AssignFaces((90,), 5)] == tree.read_edits(earlier)
    assert LOST == tree.withheld.faces


def test_a_person_merged_by_files_waits_with_the_losses(root: Path, tree: PeopleTree) -> None:
    """Their folder is missing, and what is elsewhere may be copies."""
    move(*(f"person-0004/{number:06d}.jpg" for number in range(40, 48)), to="person-0005")(root)
    delete("person-0004")(root)
    assert [MergePeople(4, 5)] == tree.read_edits(KNOWN)
    lose(root)

    assert [] == tree.read_edits(KNOWN)
    publish(tree, EVERYONE, [], refuse, {})
    assert [] == tree.read_edits(KNOWN, awaits_answer=True)
    assert set(range(40, 48)) <= pictures(root / "person-0005")

    edits = tree.read_edits(KNOWN, awaits_answer=True, restored=tree.withheld)
    assert [MergePeople(4, 5)] == edits
