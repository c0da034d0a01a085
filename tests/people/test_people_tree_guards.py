"""What keeps the tree intact: interruptions, power cuts, unreadable folders, late edits."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.model.edit import AssignFaces, ExcludeFaces, IgnorePerson, NamePerson, SplitPerson
from portraitd.people.tree.diff import detect_edits
from portraitd.people.tree.folder_fs import WrittenFile
from portraitd.people.tree.folder_state import FolderState
from portraitd.people.tree.manifest import FolderManifest, ManifestEntry
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.people.tree.tree_snapshot import TreeSnapshot
from support.crash import CutShortError, cut_short
from support.permissions import permissions_count
from support.tree import face, known, person, picture_of, publish, refuse, visible


@pytest.fixture
def tree(root: Path) -> PeopleTree:
    fresh = PeopleTree(root, store="store-a")
    fresh.create()
    return fresh


def files_in(root: Path) -> list[str]:
    """Return all visible files; an interruption may leave an empty folder."""
    return [name for name in visible(root) if (root / name).is_file()]


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_an_interrupted_publish_is_not_an_edit(tmp_path: Path, step: int) -> None:
    """Wherever a publish is interrupted, no edit is detected, and the next one completes it."""
    before = [person(1, 1, 2, 3), person(2, 4, 5), person(3, 6), person(5, 11)]
    after = [person(1, 1, 4, name="Anna"), person(4, 9, 10)]
    recorded = known(*after, person(2, 5), unsorted=[2, 8], excluded=[6], ignored_people=[2])

    def to_end(tree: PeopleTree) -> None:
        publish(tree, after, [face(2), face(8)], picture_of, {4: b"m"}, ignored=[person(2, 5)])

    made = tmp_path / "made"
    PeopleTree(made, store="a").create()
    publish(PeopleTree(made, store="a"), before, [face(8)], picture_of, {1: b"m", 3: b"m"})
    whole = tmp_path / "whole"
    shutil.copytree(made, whole)
    to_end(PeopleTree(whole, store="a"))

    cuts = 0
    while True:
        root = tmp_path / f"cut {cuts}"
        shutil.copytree(made, root)
        # A copy has other inodes: let the tree record them first.
        publish(PeopleTree(root, store="a"), before, [face(8)], refuse, {})
        try:
            with cut_short(cuts):
                to_end(PeopleTree(root, store="a"))
        except CutShortError:
            pass
        else:
            break
        assert [] == PeopleTree(root, store="a").read_edits(recorded), f"after {cuts} changes"
        tree = PeopleTree(root, store="a")
        tree.read_edits(recorded)
        to_end(tree)
        assert files_in(whole) == files_in(root), f"after {cuts} changes"
        assert [] == tree.read_edits(recorded)
        shutil.rmtree(root)
        cuts += step

    assert cuts > 40


def test_files_that_a_power_cut_emptied_are_written_again(tree: PeopleTree, root: Path) -> None:
    """They are not an edit, and are noticed at the next start."""
    people = [person(1, 1, 2), person(2, 3)]
    publish(tree, people, [], picture_of, {})
    before = (root / "person-0001/000001.jpg").read_bytes()
    for name in ("000001.jpg", "000002.txt"):
        (root / "person-0001" / name).write_bytes(b"")
    again = PeopleTree(root, store="store-a")

    assert [] == again.read_edits(known(*people))
    assert 2 == publish(again, people, [], picture_of, {}).written
    assert before == (root / "person-0001/000001.jpg").read_bytes()


def test_where_a_folder_is_unreadable_nothing_is_deleted() -> None:
    """It may hold what is missing elsewhere."""
    written = WrittenFile("", 1, 1)
    files = {f"00000{n}.jpg": ManifestEntry(f"portrait {n} 0,0,1,1", written) for n in (1, 2)}
    manifest = FolderManifest(1, "Anna", "Anna", 7, files)
    anna = FolderState("Anna", 7, ("000001.jpg",), manifest, has_manifest=True, number=1)
    snapshot = TreeSnapshot({1: anna}, missing=frozenset({2}))
    people = known(person(1, 1, 2), person(2, 3))

    assert (ExcludeFaces((2,)), IgnorePerson(2)) == detect_edits(snapshot, people).edits
    assert () == detect_edits(replace(snapshot, is_partial=True), people).edits


def test_an_unreadable_folder_is_not_deleted(tree: PeopleTree, root: Path) -> None:
    """Nor is anything that may be in it, nor does the person get a second folder."""
    people = [person(1, 1, 2), person(2, 3)]
    publish(tree, people, [], picture_of, {})
    (root / "person-0001/000001.jpg").unlink()
    (root / "person-0002").chmod(0)

    with permissions_count():
        assert [] == tree.read_edits(known(*people))
        assert {"person-0002"} == tree.unreadable
        done = publish(tree, people, [], picture_of, {})
    (root / "person-0002").chmod(0o700)

    assert {"person-0002": "Permission denied"} == done.faulty
    assert ["person-0001", "person-0002"] == sorted(path.name for path in root.glob("person-*"))
    assert [] == tree.read_edits(known(*people))


def test_portraits_in_an_unreadable_folder_are_not_deleted(tree: PeopleTree, root: Path) -> None:
    """A reviewer made it for themselves; when it can be read, it is a new person."""
    people = [person(1, 1, 2, 3), person(2, 4)]
    publish(tree, people, [], picture_of, {})
    (root / "Zoe").mkdir()
    (root / "person-0001/000001.jpg").rename(root / "Zoe/000001.jpg")
    (root / "Zoe").chmod(0)

    with permissions_count():
        assert [] == tree.read_edits(known(*people))
    (root / "Zoe").chmod(0o700)

    assert [SplitPerson((1,), "Zoe", "Zoe")] == tree.read_edits(known(*people))


def test_clutter_does_not_keep_a_folder(tree: PeopleTree, root: Path) -> None:
    """Files of file managers are removed with the folder; a person's file keeps it."""
    publish(tree, [person(1, 1), person(2, 2), person(3, 3)], [], picture_of, {})
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._000001.jpg"):
        (root / "person-0001" / name).write_bytes(b"clutter")
        (root / "person-0002" / name).write_bytes(b"clutter")
    (root / "person-0002/plan.txt").write_text("mine")

    publish(tree, [person(3, 1, 2, 3)], [], picture_of, {})

    assert not (root / "person-0001").exists()
    assert {"desktop.ini", "Thumbs.db", "plan.txt"} <= set(os.listdir(root / "person-0002"))


def test_a_new_folder_becomes_a_persons(tree: PeopleTree, root: Path) -> None:
    """Its portraits are accepted where they are, beside the person's own file."""
    publish(tree, [person(1, 1, 2, 3)], [], picture_of, {})
    (root / "Zoe").mkdir()
    (root / "Zoe/plan.txt").write_text("mine")
    (root / "person-0001/000001.jpg").rename(root / "Zoe/nice.jpg")
    before = (root / "Zoe/nice.jpg").stat().st_ino
    tree.read_edits(known(person(1, 1, 2, 3)))

    tree.adopt("Zoe", 7)
    people = [person(1, 2, 3), person(7, 1, name="Zoe")]
    done = publish(tree, people, [], picture_of, {})

    assert {1: "person-0001", 7: "Zoe"} == done.folders
    assert "Zoe/nice.jpg" == done.portraits[1]
    assert ["nice.jpg", "nice.txt", "plan.txt"] == visible(root / "Zoe")
    assert [] == tree.read_edits(known(*people))
    assert before != 0


def test_a_new_folder_that_cannot_be_written_stops_no_review(tree: PeopleTree, root: Path) -> None:
    """It becomes the person's when it can."""
    publish(tree, [person(1, 1, 2, 3)], [], picture_of, {})
    (root / "Zoe").mkdir()
    (root / "person-0001/000001.jpg").rename(root / "Zoe/000001.jpg")
    (root / "Zoe").chmod(0o500)
    people = [person(1, 2, 3), person(7, 1, name="Zoe")]

    with permissions_count():
        tree.read_edits(known(person(1, 1, 2, 3)))
        tree.adopt("Zoe", 7)
        done = publish(tree, people, [], picture_of, {})
    (root / "Zoe").chmod(0o770)

    assert {"Zoe": "Permission denied"} == done.faulty
    tree.read_edits(known(*people))
    assert {1: "person-0001", 7: "Zoe"} == publish(tree, people, [], picture_of, {}).folders


def test_a_folder_is_adopted_after_an_interruption(tree: PeopleTree, root: Path) -> None:
    """If the service stops before it writes the manifest, the next publish does."""
    publish(tree, [person(1, 1, 2, 3)], [], picture_of, {})
    (root / "Zoe").mkdir()
    (root / "person-0001/000001.jpg").rename(root / "Zoe/000001.jpg")
    tree.read_edits(known(person(1, 1, 2, 3)))
    people = [person(1, 2, 3), person(7, 1, name="Zoe")]
    again = PeopleTree(root, store="store-a")
    assert [] == again.read_edits(known(*people))

    done = publish(again, people, [], picture_of, {})

    assert {1: "person-0001", 7: "Zoe"} == done.folders
    assert ["000001.jpg", "000001.txt"] == visible(root / "Zoe")


@pytest.mark.parametrize("location", ["", "Nowhere", "person-0001", "../outside", "_unsorted"])
def test_what_cannot_be_adopted_is_left_alone(tree: PeopleTree, root: Path, location: str) -> None:
    """The root, a missing folder, an owned folder."""
    publish(tree, [person(1, 1)], [face(2)], picture_of, {})
    (root.parent / "outside").mkdir()
    before = visible(root.parent)

    tree.adopt(location, 7)

    assert before == visible(root.parent)
    assert not (root.parent / "outside/.person.json").exists()


def test_edits_between_review_and_publish_wait(tree: PeopleTree, root: Path) -> None:
    """A portrait that is moved again after the first move was read stays where it is now."""
    people = [person(1, 1, 2), person(2, 3), person(3, 4)]
    publish(tree, people, [], picture_of, {})
    (root / "person-0001/000001.jpg").rename(root / "person-0002/000001.jpg")
    assert [AssignFaces((1,), 2)] == tree.read_edits(known(*people))
    (root / "person-0002/000001.jpg").rename(root / "person-0003/000001.jpg")
    (root / "person-0002").rename(root / "Bob")

    after = [person(1, 2), person(2, 1, 3), person(3, 4)]
    publish(tree, after, [], picture_of, {})

    assert not (root / "Bob/000001.jpg").exists()
    assert [NamePerson(2, "Bob"), AssignFaces((1,), 3)] == tree.read_edits(known(*after))


def test_a_changed_portrait_is_moved_with_its_face(tree: PeopleTree, root: Path) -> None:
    """It is the person's version that is shown."""
    publish(tree, [person(1, 1, 2), person(2, 3)], [], picture_of, {})
    path = root / "person-0001/000001.jpg"
    changed = path.read_bytes() + b"by hand"
    path.write_bytes(changed)

    done = publish(tree, [person(1, 2), person(2, 1, 3)], [], picture_of, {})

    assert changed == (root / "person-0002/000001.jpg").read_bytes()
    assert "person-0002/000001.jpg" == done.portraits[1]
    assert not path.exists()
    assert 0 == publish(tree, [person(1, 2), person(2, 1, 3)], [], refuse, {}).written


def test_a_copied_folder_is_kept_when_the_person_is_removed(tree: PeopleTree, root: Path) -> None:
    """It belongs to the person who made it."""
    publish(tree, [person(1, 1), person(2, 2)], [], picture_of, {})
    shutil.copytree(root / "person-0001", root / "Backup")
    before = visible(root / "Backup")

    for _ in range(2):
        publish(tree, [person(2, 1, 2)], [], picture_of, {})

    assert before == visible(root / "Backup")
    assert not (root / "person-0001").exists()
