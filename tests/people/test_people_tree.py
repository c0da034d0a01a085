"""The people tree on a real disk: what is published."""

from __future__ import annotations

import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.model.errors import PublishError
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.store.publications import DesiredTree
from support.permissions import permissions_count
from support.tree import (
    face,
    jpeg_of,
    known,
    person,
    picture_of,
    publish,
    refuse,
    snapshot,
    visible,
)


@pytest.fixture
def tree(root: Path) -> PeopleTree:
    fresh = PeopleTree(root)
    fresh.create()
    return fresh


def test_a_tree_is_published(tree: PeopleTree, root: Path) -> None:
    """Folders, portraits, annotations, montage and README, at the returned paths."""
    done = publish(
        tree, [person(1, 1, 2), person(2, 3, name="Anna")], [face(9)], jpeg_of, {1: b"m"}
    )

    assert [
        "Anna", "Anna/000003.jpg", "Anna/000003.txt", "README.txt", "_ignored",
        "_unsorted", "_unsorted/000009.jpg", "person-0001", "person-0001/000001.jpg",
        "person-0001/000001.txt", "person-0001/000002.jpg", "person-0001/000002.txt",
        "person-0001/montage.jpg",
    ] == visible(root)  # fmt: skip
    assert b"portrait 3" == (root / done.portraits[3]).read_bytes()
    assert b"portrait 9" == (root / done.portraits[9]).read_bytes()
    assert {1: "person-0001", 2: "Anna"} == done.folders
    assert "1 0.500000 0.500000 0.416667 0.333333\n" == (root / "Anna/000003.txt").read_text()
    assert (9, 0, 0) == (done.written, done.removed, done.unchanged)
    assert 2 == json.loads((root / "Anna/.person.json").read_text())["person"]


def test_a_second_publish_writes_nothing(tree: PeopleTree, root: Path) -> None:
    """Same bytes, same times, and no portrait is even requested."""
    people, unsorted = [person(1, 1, 2), person(2, 3)], [face(9)]
    publish(tree, people, unsorted, jpeg_of, {1: b"m"})
    before = snapshot(root)

    done = publish(tree, people, unsorted, refuse, {})

    assert (0, 0, 9) == (done.written, done.removed, done.unchanged)
    assert before == snapshot(root)


def test_only_what_changed_is_written(tree: PeopleTree, root: Path) -> None:
    """A new face of one person changes only that person's folder."""
    publish(tree, [person(1, 1), person(2, 2)], [], jpeg_of, {})
    before = snapshot(root)
    asked: list[int] = []

    def content(face_id: int) -> bytes:
        asked.append(face_id)
        return jpeg_of(face_id)

    publish(tree, [person(1, 1), person(2, 2, 3)], [], content, {})

    after = snapshot(root)
    assert [3] == asked
    assert {
        "person-0002/.person.json", "person-0002/000003.jpg", "person-0002/000003.txt"
    } == {path for path in after if before.get(path) != after[path]}  # fmt: skip


def test_a_face_that_changes_person_moves(tree: PeopleTree, root: Path) -> None:
    """Its old, empty folder is removed; the class in the annotation is the new person's."""
    publish(tree, [person(1, 1), person(2, 2)], [], jpeg_of, {})

    done = publish(tree, [person(2, 1, 2)], [], jpeg_of, {})

    assert "person-0002/000001.jpg" == done.portraits[1]
    assert (root / "person-0002/000001.txt").read_text().startswith("1 ")
    assert not (root / "person-0001").exists()
    assert (2, 2) == (done.written, done.removed)


def test_an_ignored_face_keeps_its_portrait(tree: PeopleTree, root: Path) -> None:
    """Its file in ``_ignored`` holds the picture, as in any other folder."""
    publish(tree, [person(1, 1)], [], picture_of, {}, ignored_faces=[face(2)])

    portrait = (root / "_ignored/000002.jpg").read_bytes()
    assert portrait.startswith(b"\xff\xd8")
    assert portrait.endswith(picture_of(2)[-1024:])


def test_modes_are_set_whatever_the_umask(tmp_path: Path) -> None:
    """The group may review; others have no access."""
    before = os.umask(0o077)
    try:
        tree = PeopleTree(tmp_path / "people")
        tree.create()
        publish(tree, [person(1, 1)], [], jpeg_of, {})
    finally:
        os.umask(before)

    modes = {
        os.fspath(path.relative_to(tmp_path)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in tmp_path.rglob("*")
    }
    assert {"0o2770"} == {modes["people"], modes["people/person-0001"]}
    assert {"0o660"} == {mode for mode in modes.values() if mode != "0o2770"}


def test_without_its_marker_nothing_is_published(tmp_path: Path) -> None:
    """An empty folder where the share should be is not filled, a missing one not created."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(PublishError, match="the share may not be mounted"):
        publish(PeopleTree(tmp_path / "empty"), [person(1, 1)], [], jpeg_of, {})
    with pytest.raises(PublishError, match="No such file or directory"):
        publish(PeopleTree(tmp_path / "none"), [person(1, 1)], [], jpeg_of, {})

    assert ["empty"] == os.listdir(tmp_path)
    assert [] == os.listdir(tmp_path / "empty")


def test_creating_again_changes_nothing(tree: PeopleTree, root: Path) -> None:
    """The marker and its content stay."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    before = snapshot(root)

    tree.create()

    assert before == snapshot(root)


def test_a_folder_that_portraitd_named_follows_the_name(tree: PeopleTree, root: Path) -> None:
    """A name given elsewhere reaches the folder; files without the name are not written again."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    before = (root / "person-0001/000001.jpg").stat()

    done = publish(tree, [person(1, 1, name="Anna")], [], jpeg_of, {})

    assert {1: "Anna"} == done.folders
    after = (root / "Anna/000001.jpg").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert not (root / "person-0001").exists()


def test_a_new_folder_appears_complete(tree: PeopleTree, root: Path) -> None:
    """While it is being filled it is hidden."""
    seen: list[str] = []

    def content(face_id: int) -> bytes:
        seen.extend(name for name in os.listdir(root) if not name.startswith("."))
        return jpeg_of(face_id)

    publish(tree, [person(1, 1, 2, 3)], [face(4)], content, {})

    assert {"README.txt", "_ignored", "_unsorted"} >= set(seen)
    assert (root / "person-0001/000003.jpg").exists()


class StopError(Exception):
    """As if the service were stopped in the middle."""


def test_an_interrupted_publish_is_completed(tree: PeopleTree, root: Path) -> None:
    """Written files are kept, unfinished ones removed, and nothing is there twice."""
    publish(tree, [person(1, 1)], [], jpeg_of, {1: b"m"})
    wanted = [person(1, 1, 2, 3), person(2, 4, 5)]

    for stop_at in (3, 5):

        def content(face_id: int, stop_at: int = stop_at) -> bytes:
            if face_id == stop_at:
                raise StopError
            return jpeg_of(face_id)

        with pytest.raises(StopError):
            publish(tree, wanted, [], content, {1: b"n"})
    (root / "person-0001/.portraitd-new-000009.jpg").write_bytes(b"half")

    publish(tree, wanted, [], jpeg_of, {1: b"n"})

    names = [path.name for path in root.rglob("*")]
    assert not [name for name in names if "(portraitd" in name or name.startswith(".portraitd-new")]
    assert 0 == publish(tree, wanted, [], refuse, {}).written
    assert {"000001", "000002", "000003"} == {
        path.stem for path in (root / "person-0001").glob("0*.jpg")
    }


def test_restored_from_a_backup_nothing_is_written(
    tree: PeopleTree, root: Path, tmp_path: Path
) -> None:
    """Other inodes and times, same content: nothing was changed."""
    publish(tree, [person(1, 1, 2)], [face(3)], jpeg_of, {1: b"m"})
    shutil.copytree(root, tmp_path / "backup", copy_function=shutil.copyfile)
    shutil.rmtree(root)
    (tmp_path / "backup").rename(root)

    assert 0 == publish(tree, [person(1, 1, 2)], [face(3)], refuse, {}).written
    assert 2 == publish(tree, [person(1, 1)], [face(3)], refuse, {}).removed


def test_stale_montages_are_found(tree: PeopleTree, root: Path) -> None:
    """A montage is stale if the person's faces changed or it is missing, and only then."""
    people = [person(1, 1), person(2, 2), person(3)]
    assert [1, 2] == tree.find_stale_montages(people)
    publish(tree, people, [], jpeg_of, {1: b"one", 2: b"two"})
    assert [] == tree.find_stale_montages(people)
    (root / "person-0002/montage.jpg").unlink()

    more = [person(1, 1, 4), person(2, 2)]
    publish(tree, more, [], jpeg_of, {})

    assert [1, 2] == tree.find_stale_montages(more)
    assert b"one" == (root / "person-0001/montage.jpg").read_bytes()
    assert not (root / "person-0002/montage.jpg").exists()


def test_the_class_in_an_annotation_is_as_permanent_as_the_person(
    tree: PeopleTree, root: Path
) -> None:
    """Classes count from 0."""
    publish(tree, [person(41, 1)], [], jpeg_of, {})

    assert (root / "person-0041/000001.txt").read_text().startswith("40 ")


@pytest.mark.parametrize("mode", [0o500, 0o600, 0])
def test_the_fault_of_one_folder_is_its_own(tree: PeopleTree, root: Path, mode: int) -> None:
    """It is named; everything else is written; what should move into it stays where it is."""
    before, after = [person(1, 1), person(2, 2, 3)], [person(1, 1, 3), person(2, 2, 4)]
    publish(tree, before, [], jpeg_of, {})
    (root / "person-0001").chmod(mode)

    with permissions_count():
        tree.read_edits(known(*before))
        done = publish(tree, after, [], jpeg_of, {})
        edits = tree.read_edits(known(*after))

    assert {"person-0001": "Permission denied"} == done.faulty
    assert ["000002.jpg", "000003.jpg", "000004.jpg"] == jpegs(root / "person-0002")
    assert [] == edits
    (root / "person-0001").chmod(0o700)
    done = publish(tree, after, [], jpeg_of, {})
    assert {} == done.faulty
    assert {1: "person-0001", 2: "person-0002"} == done.folders
    assert ["000001.jpg", "000003.jpg"] == jpegs(root / "person-0001")
    assert ["000002.jpg", "000004.jpg"] == jpegs(root / "person-0002")
    assert [] == tree.read_edits(known(*after))


def test_folders_that_others_make_can_be_written_by_the_group(tree: PeopleTree, root: Path) -> None:
    """Whatever their umask is; but other users see nothing."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    before = os.umask(0o022)
    try:
        for folder in (root / "Zoe", root / "person-0001/Zoe"):
            folder.mkdir()
            (folder / "note.txt").write_text("mine")
    finally:
        os.umask(before)

    modes = {
        os.fspath(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) & 0o777
        for path in root.rglob("*")
        if "Zoe" in path.parts
    }
    assert modes == {
        "Zoe": 0o770,
        "Zoe/note.txt": 0o660,
        "person-0001/Zoe": 0o770,
        "person-0001/Zoe/note.txt": 0o660,
    }


def jpegs(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jpg"))


def test_an_open_tree_of_an_earlier_version_is_closed_once(tree: PeopleTree, root: Path) -> None:
    """A mode that an operator sets afterwards stays."""
    tree.publish(DesiredTree((person(1, 1),), (), (), ()), jpeg_of, {})
    root.chmod(0o755)

    PeopleTree(root).create()

    assert 0o2770 == stat.S_IMODE(root.stat().st_mode)
    publish(tree, [person(1, 1)], [], jpeg_of, {}, publication=(1, 1))
    root.chmod(0o755)
    PeopleTree(root).create()
    assert 0o755 == stat.S_IMODE(root.stat().st_mode)


def test_a_mode_that_is_no_default_is_the_operators(tree: PeopleTree, root: Path) -> None:
    """Such as that of a folder which was made for another group."""
    root.chmod(0o750)

    PeopleTree(root).create()

    assert 0o750 == stat.S_IMODE(root.stat().st_mode)


def test_the_folder_of_a_person_whom_an_older_database_does_not_know_stays(
    tree: PeopleTree, root: Path
) -> None:
    """Their name is nowhere else. Who gets the number later gets another folder."""
    anna, zoe = person(1, 1, 2), person(9, 3, 4, name="Zoe")
    publish(tree, [anna, zoe], [], picture_of, {}, publication=(3, 5))
    again = PeopleTree(root)
    assert [] == again.read_edits(replace(known(anna), last_entry=2))
    assert (3, 5) == again.shown

    publish(again, [anna], [], picture_of, {}, publication=(4, 2))
    assert [] == again.read_edits(replace(known(anna), last_entry=2))
    done = publish(again, [anna, person(9, 3)], [], picture_of, {}, publication=(5, 2))

    assert {1: "person-0001", 9: "person-0009"} == done.folders
    assert ["000003.jpg", "000004.jpg"] == jpegs(root / "Zoe")
