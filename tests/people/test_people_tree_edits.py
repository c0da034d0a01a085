"""The people tree on a real disk while people edit it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portraitd.model.edit import ExcludeFaces, NamePerson
from portraitd.model.face import Box
from portraitd.model.person import PersonFolder
from portraitd.people.tree.people_tree import PeopleTree, PublishResult
from support.tree import face, jpeg_of, known, person, publish, refuse, snapshot, visible


@pytest.fixture
def tree(root: Path) -> PeopleTree:
    fresh = PeopleTree(root)
    fresh.create()
    return fresh


def test_a_renamed_folder_keeps_its_name_and_gets_its_writes(tree: PeopleTree, root: Path) -> None:
    """The folder is found by its manifest, and keeps the name a person gave it."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    (root / "person-0001").rename(root / "Mum")

    done = publish(tree, [person(1, 1, 2, name="Anna")], [], jpeg_of, {})

    assert "Mum/000002.jpg" == done.portraits[2]
    assert (root / "Mum").is_dir()
    assert not (root / "Anna").exists()


def test_people_inside_a_folder_that_gets_its_number_back_stay_apart(
    tree: PeopleTree, root: Path
) -> None:
    """Their folder was not moved into the other one: only the other one has another name."""
    publish(tree, [person(1, 1, 2, name="Anna")], [], jpeg_of, {})
    (root / "Anna/Bob").mkdir()
    (root / "Anna/000002.jpg").rename(root / "Anna/Bob/000002.jpg")
    tree.read_edits(known(person(1, 1, 2, name="Anna")))
    tree.adopt("Anna/Bob", 2)
    bob = person(2, 2, name="Bob")
    publish(tree, [person(1, 1, name="Anna"), bob], [], jpeg_of, {})
    (root / "Anna").rename(root / "Person-0001")

    edits = tree.read_edits(known(person(1, 1, name="Anna"), bob))
    done = publish(tree, [person(1, 1), bob], [], jpeg_of, {})
    again = tree.read_edits(known(person(1, 1), bob))

    assert [NamePerson(1, None)] == edits
    assert [] == again
    assert {1: "person-0001", 2: "person-0001/Bob"} == done.folders


def test_a_folder_put_into_ignored_stays_there(tree: PeopleTree, root: Path) -> None:
    """It is not created a second time among the others."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    (root / "person-0001").rename(root / "_ignored/person-0001")

    done = publish(tree, [person(1, 1, 2)], [], jpeg_of, {})

    assert "_ignored/person-0001/000002.jpg" == done.portraits[2]
    assert not (root / "person-0001").exists()


def test_a_copied_folder_is_not_published_to(tree: PeopleTree, root: Path) -> None:
    """Only the original is, even after both were renamed."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    shutil.copytree(root / "person-0001", root / "A copy")
    (root / "person-0001").rename(root / "The original")
    before = snapshot(root / "A copy")

    done = publish(tree, [person(1, 1, 2)], [], jpeg_of, {})

    assert {1: "The original"} == done.folders
    assert before == snapshot(root / "A copy")


def test_a_rename_in_mid_publish_takes_the_writes_along(tree: PeopleTree, root: Path) -> None:
    """A file that is being written ends up in the renamed folder; no second folder appears."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})

    def content(face_id: int) -> bytes:
        if face_id == 2:
            (root / "person-0001").rename(root / "Mum")
        return jpeg_of(face_id)

    done = publish(tree, [person(1, 1, 2, 3), person(2, 4)], [], content, {})

    assert "Mum/000003.jpg" == done.portraits[3]
    assert b"portrait 2" == (root / "Mum/000002.jpg").read_bytes()
    assert ["Mum", "person-0002"] == sorted(done.folders.values())
    assert not (root / "person-0001").exists()
    again = publish(tree, [person(1, 1, 2, 3), person(2, 4)], [], refuse, {})
    assert 0 == again.written


def test_a_rename_before_its_turn_is_noticed(tree: PeopleTree, root: Path) -> None:
    """A folder that is renamed between scan and write is found again."""
    publish(tree, [person(1, 1), person(2, 2)], [], jpeg_of, {})

    def content(face_id: int) -> bytes:
        if face_id == 3:
            (root / "person-0002").rename(root / "Bob")
        return jpeg_of(face_id)

    done = publish(tree, [person(1, 1, 3), person(2, 2, 4)], [], content, {})

    assert "Bob/000004.jpg" == done.portraits[4]
    assert not (root / "person-0002").exists()


def test_a_folder_removed_in_mid_publish_is_made_next_time(tree: PeopleTree, root: Path) -> None:
    """One removed folder does not stop the others."""
    publish(tree, [person(1, 1), person(2, 2)], [], jpeg_of, {})

    def content(face_id: int) -> bytes:
        if face_id == 3:
            shutil.rmtree(root / "person-0002")
        return jpeg_of(face_id)

    desired = [person(1, 1, 3), person(2, 2, 4), person(3, 5)]
    done = publish(tree, desired, [], content, {})
    again = publish(tree, desired, [], jpeg_of, {})

    assert {1: "person-0001", 3: "person-0003"} == done.folders
    assert "person-0002" == again.folders[2]


def test_a_changed_portrait_is_kept(tree: PeopleTree, root: Path) -> None:
    """A person's change stays; a newer montage of ours is put beside it, once."""
    publish(tree, [person(1, 1)], [], jpeg_of, {1: b"first"})
    (root / "person-0001/montage.jpg").write_bytes(b"drawn on by hand")
    (root / "person-0001/000001.jpg").write_bytes(b"cropped by hand")

    for _ in range(2):
        publish(tree, [person(1, 1, 2)], [], jpeg_of, {1: b"second"})

    folder = root / "person-0001"
    assert b"drawn on by hand" == (folder / "montage.jpg").read_bytes()
    assert b"second" == (folder / "montage (portraitd).jpg").read_bytes()
    assert b"cropped by hand" == (folder / "000001.jpg").read_bytes()
    assert not (folder / "000001 (portraitd).jpg").exists()
    assert not (folder / "montage (portraitd 2).jpg").exists()


def moved(folder: PersonFolder) -> PersonFolder:
    """The same faces, each cropped a little wider."""
    wider = tuple(replace(one, area=Box(0, 0, 250, 310)) for one in folder.faces)
    return replace(folder, faces=wider)


def test_a_portrait_cropped_again_replaces_the_old_one(tree: PeopleTree, root: Path) -> None:
    """If its bytes are the same, not even its time changes."""
    publish(tree, [person(1, 1, 2)], [], jpeg_of, {})
    before = snapshot(root)

    def content(face_id: int) -> bytes:
        return b"cropped again" if face_id == 1 else jpeg_of(face_id)

    done = publish(tree, [moved(person(1, 1, 2))], [], content, {})

    assert b"cropped again" == (root / "person-0001/000001.jpg").read_bytes()
    assert before["person-0001/000002.jpg"] == snapshot(root)["person-0001/000002.jpg"]
    assert 3 == done.written


def test_a_change_of_the_same_size_is_a_change(tree: PeopleTree, root: Path) -> None:
    """Another time and other bytes: the portrait is a person's."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    portrait = root / "person-0001/000001.jpg"
    portrait.write_bytes(b"PORTRAIT 1")
    os.utime(portrait, ns=(0, 0))

    publish(tree, [moved(person(1, 1))], [], jpeg_of, {})

    assert b"PORTRAIT 1" == portrait.read_bytes()
    assert b"portrait 1" == portrait.with_name("000001 (portraitd).jpg").read_bytes()


def test_a_change_in_mid_publish_is_kept(tree: PeopleTree, root: Path) -> None:
    """A file that a person changes or adds after planning is not overwritten."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})

    def content(face_id: int) -> bytes:
        (root / f"person-0001/00000{face_id}.jpg").write_bytes(b"human")
        return jpeg_of(face_id)

    desired = [moved(person(1, 1, 2))]
    publish(tree, desired, [], content, {})

    for number in (1, 2):
        assert b"human" == (root / f"person-0001/00000{number}.jpg").read_bytes()
    publish(tree, desired, [], jpeg_of, {})
    assert b"portrait 2" == (root / "person-0001/000002 (portraitd).jpg").read_bytes()


def test_foreign_files_survive_their_folder(tree: PeopleTree, root: Path) -> None:
    """When a person is removed, our files are removed and everything else stays."""
    publish(tree, [person(1, 1), person(2, 2)], [], jpeg_of, {})
    folder = root / "person-0001"
    (folder / "notes.txt").write_text("mine")
    (folder / "000001.jpg").write_bytes(b"cropped by hand")
    (folder / "album").mkdir()
    (root / "000001.jpg").write_bytes(b"mine")
    (root / "Holiday").mkdir()

    publish(tree, [person(2, 2)], [], jpeg_of, {})

    assert ["000001.jpg", "album", "notes.txt"] == visible(folder)
    assert b"cropped by hand" == (folder / "000001.jpg").read_bytes()
    assert b"mine" == (root / "000001.jpg").read_bytes()
    assert (root / "Holiday").is_dir()


@pytest.mark.parametrize("taken", ["Anna", "ANNA", "anna"])
def test_a_name_that_is_taken_is_not_used(tree: PeopleTree, root: Path, taken: str) -> None:
    """A person's own folder of that name is not used, in whatever case."""
    (root / taken).mkdir()

    done = publish(tree, [person(1, 1, name="Anna"), person(2, 2, name="anna")], [], jpeg_of, {})

    assert {1: "Anna (2)", 2: "anna (3)"} == done.folders
    assert [] == os.listdir(root / taken)


def test_a_removed_portrait_is_put_back(tree: PeopleTree, root: Path) -> None:
    """Once its absence was read and the store still publishes the face."""
    publish(tree, [person(1, 1, 2)], [], jpeg_of, {})
    (root / "person-0001/000002.jpg").unlink()
    assert 0 == publish(tree, [person(1, 1, 2)], [], jpeg_of, {}).written
    assert [ExcludeFaces((2,))] == tree.read_edits(known(person(1, 1, 2)))

    done = publish(tree, [person(1, 1, 2)], [], jpeg_of, {})

    assert 1 == done.written
    assert b"portrait 2" == (root / "person-0001/000002.jpg").read_bytes()


def test_links_are_never_followed(tree: PeopleTree, root: Path, tmp_path: Path) -> None:
    """No link, to a folder or a file, makes a write leave the tree."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file.jpg").write_bytes(b"outside")
    publish(tree, [person(1, 1), person(2, 2)], [], jpeg_of, {2: b"m"})
    shutil.copy(root / "person-0001/.person.json", outside)
    shutil.rmtree(root / "person-0001")
    (root / "person-0001").symlink_to(outside)
    (root / "person-0002/000003.jpg").symlink_to(outside / "file.jpg")
    (root / "person-0002/montage.jpg").unlink()
    (root / "person-0002/montage.jpg").symlink_to(outside / "file.jpg")
    before = snapshot(outside)
    tree.read_edits(known(person(1, 1), person(2, 2)))

    done = publish(tree, [person(1, 1), person(2, 2, 3)], [], jpeg_of, {2: b"n"})

    assert {1: "person-0001 (2)", 2: "person-0002"} == done.folders
    assert before == snapshot(outside)
    assert b"portrait 3" == (root / "person-0002/000003 (portraitd).jpg").read_bytes()
    assert b"n" == (root / "person-0002/montage (portraitd).jpg").read_bytes()


def test_a_manifest_cannot_lead_out_of_its_folder(tree: PeopleTree, root: Path) -> None:
    """A person who can write to the tree cannot make portraitd remove files elsewhere."""
    publish(tree, [person(1, 1), person(2, 2)], [], jpeg_of, {})
    manifest_path = root / "person-0001/.person.json"
    manifest = json.loads(manifest_path.read_text())
    victim = json.loads((root / "person-0002/.person.json").read_text())["files"]
    manifest["files"] |= {f"../person-0002/{name}": entry for name, entry in victim.items()}
    manifest["files"][".person.json"] = manifest["files"]["000001.jpg"]
    manifest_path.write_text(json.dumps(manifest))

    done = publish(tree, [person(2, 2)], [], refuse, {})

    assert (0, 2) == (done.written, done.removed)
    assert ["000002.jpg", "000002.txt"] == visible(root / "person-0002")


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"portraitd": 1}', b'{"portraitd": 2, "person": 1}',
               b"\xff\xfe", b"[" * 100_000]
)  # fmt: skip
def test_a_damaged_manifest_is_written_again(tree: PeopleTree, root: Path, damage: bytes) -> None:
    """The folder is recognised by name and inode, and up-to-date files are not written."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    (root / "person-0001/.person.json").write_bytes(damage)

    done = publish(tree, [person(1, 1)], [], jpeg_of, {})

    assert ({1: "person-0001"}, 0) == (done.folders, done.written)
    assert ["000001.jpg", "000001.txt"] == visible(root / "person-0001")
    assert 1 == json.loads((root / "person-0001/.person.json").read_text())["person"]


def test_a_renamed_folder_with_a_damaged_manifest_is_not_owned(
    tree: PeopleTree, root: Path
) -> None:
    """It stays as it is, and the person gets a new folder after the next review."""
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    (root / "person-0001/.person.json").write_bytes(b"{")
    (root / "person-0001").rename(root / "Mum")
    tree.read_edits(known(person(1, 1)))

    done = publish(tree, [person(1, 1)], [], jpeg_of, {})

    assert {1: "person-0001"} == done.folders
    assert ["000001.jpg", "000001.txt"] == visible(root / "Mum")


def test_a_pipe_for_a_manifest_does_not_hang(tree: PeopleTree, root: Path) -> None:
    """No file in the tree is opened in a way that blocks."""
    (root / "trap").mkdir()
    os.mkfifo(root / "trap/.person.json")
    os.mkfifo(root / "montage.jpg")

    assert {1: "person-0001"} == publish(tree, [person(1, 1)], [], jpeg_of, {}).folders


# Random publishes on disk, with random edits in between.
people_strategy = st.dictionaries(
    st.integers(1, 3), st.sets(st.integers(1, 6), min_size=1), max_size=3
)
Edit = Callable[[Path], None]


def _put(root: Path) -> None:
    for folder in _folders(root):
        (folder / "000001.jpg").write_bytes(b"human")


def _append(root: Path) -> None:
    for path in root.glob("*/000002.jpg"):
        path.write_bytes(path.read_bytes() + b" human")


def _rename(root: Path) -> None:
    for number, folder in enumerate(_folders(root)):
        folder.rename(root / f"Person {number} {folder.stat().st_ino}")


def _delete_portraits(root: Path) -> None:
    for path in root.glob("*/000003.*"):
        path.unlink()


def _delete_folder(root: Path) -> None:
    for folder in _folders(root)[:1]:
        if not any(b"human" in path.read_bytes() for path in folder.iterdir()):
            shutil.rmtree(folder)


def _lose_notes(root: Path) -> None:
    for path in root.glob("*/.person.json"):
        path.unlink()


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


edits: st.SearchStrategy[Edit] = st.sampled_from(
    [_put, _append, _rename, _delete_portraits, _delete_folder, _lose_notes]
)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@settings(deadline=None, max_examples=25)
@given(story=st.lists(st.tuples(people_strategy, st.lists(edits, max_size=2)), max_size=4))
@example(story=[({1: {2}, 2: {2}, 3: {1}}, []), ({1: {1}, 2: {1}}, [_put])])
def test_the_laws_hold_on_a_real_disk(
    scratch: Path, story: list[tuple[dict[int, set[int]], list[Edit]]]
) -> None:
    """Publishing twice writes nothing, and no byte of a person's file is lost."""
    root = scratch / "people"
    shutil.rmtree(root, ignore_errors=True)
    tree = PeopleTree(root)
    tree.create()
    desired: list[PersonFolder] = []
    for people, changes in story:
        for change in changes:
            change(root)
        theirs = _human_contents(root)
        tree.read_edits(known(*desired, unsorted=[99]))
        desired = [person(number, *sorted(faces)) for number, faces in people.items()]

        done = publish(tree, desired, [face(99)], jpeg_of, {})
        before = snapshot(root)
        again = publish(tree, desired, [face(99)], refuse, {})

        assert (0, 0) == (again.written, again.removed)
        assert before == snapshot(root)
        assert theirs == _human_contents(root)
        assert _all_are_there(root, done, desired)


def _human_contents(root: Path) -> list[bytes]:
    """Return the content of every foreign file, wherever it is now."""
    contents = [path.read_bytes() for path in root.rglob("*.jpg")]
    return sorted(content for content in contents if b"human" in content)


def _all_are_there(root: Path, done: PublishResult, desired: list[PersonFolder]) -> bool:
    return all(
        (root / done.portraits[one.face_id]).is_file() for each in desired for one in each.faces
    )
