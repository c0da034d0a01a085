"""Pictures of known people are copied into their folders, and nothing else is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portraitd.people.references.reference_import import (
    ImportedPicture,
    Outcome,
    import_references,
    name_of_file,
)
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.people.tree.reference_pictures import MAX_REFERENCES_PER_FOLDER
from support.tree import make_sparse, person, picture_of, publish, visible


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """To be filled with pictures."""
    folder = tmp_path / "known"
    folder.mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty tree."""
    PeopleTree(tmp_path / "people").create()
    return tmp_path / "people"


def put(folder: Path, name: str, content: bytes | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(name.encode() if content is None else content)
    return path


def outcomes(pictures: list[ImportedPicture]) -> dict[str, Outcome]:
    return {picture.source: picture.outcome for picture in pictures}


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Anna", "Anna"),
        ("Anna_2", "Anna"),
        ("Anna-03", "Anna"),
        ("Anna (4)", "Anna"),
        ("Anna Maria 12", "Anna Maria"),
        ("Anna_Maria", "Anna_Maria"),
        ("Anna2", "Anna2"),
        ("1984", "1984"),
        ("_2", "2"),
    ],
)
def test_a_file_is_named_after_its_person(stem: str, name: str) -> None:
    """A number at the end counts the pictures; one within the name is part of it."""
    assert name == name_of_file(stem)


def test_folders_and_files_name_their_people(source: Path, root: Path) -> None:
    """Each picture is copied as it is."""
    put(source, "Anna/one.jpg")
    put(source, "Anna/two.PNG")
    put(source, "Ben.jpg")
    put(source, "Ben_2.webp")
    taken = import_references(source, root)

    assert {Outcome.TAKEN} == set(outcomes(taken).values())
    assert {"Anna/one.jpg", "Anna/two.PNG", "Ben/Ben.jpg", "Ben/Ben_2.webp"} == {
        one.target for one in taken
    }
    assert b"Anna/two.PNG" == (root / "Anna" / "two.PNG").read_bytes()
    assert 0o660 == (root / "Anna" / "two.PNG").stat().st_mode & 0o777


def test_a_second_run_copies_nothing(source: Path, root: Path) -> None:
    """Nor does a dry run, which says the same as the real one."""
    put(source, "Anna/one.jpg")
    before = visible(root)
    dry = import_references(source, root, dry_run=True)
    assert before == visible(root)

    assert dry == import_references(source, root)
    assert {"Anna/one.jpg": Outcome.THERE} == outcomes(import_references(source, root))


def test_a_picture_is_not_taken_for_a_portrait_by_its_name(source: Path, root: Path) -> None:
    """Cameras count, too. A portrait in its folder is not the copy of it that is imported."""
    publish(PeopleTree(root), [person(1, 11, name="Anna")], [], picture_of, {})
    put(source, "Anna/20241224.jpg")
    put(source, "Anna/000011.jpg", (root / "Anna" / "000011.jpg").read_bytes())
    targets = ["Anna/000011 (2).jpg", "Anna/20241224.jpg"]

    assert targets == sorted(one.target for one in import_references(source, root))
    assert {Outcome.THERE} == set(outcomes(import_references(source, root)).values())


def test_a_person_keeps_the_folder_they_have(source: Path, root: Path) -> None:
    """Wherever it is; and no file in it is overwritten."""
    publish(PeopleTree(root), [person(1, 11, name="Anna")], [], picture_of, {})
    (root / "Family").mkdir()
    (root / "Anna").rename(root / "Family" / "Anna")
    put(root / "Family" / "Anna", "me.jpg", b"before")
    put(source, "Anna/me.jpg", b"another")
    put(source, "ANNA_2.jpg", b"third")
    taken = import_references(source, root)

    assert ["Family/Anna/ANNA_2.jpg", "Family/Anna/me (2).jpg"] == sorted(
        one.target for one in taken
    )
    assert b"before" == (root / "Family" / "Anna" / "me.jpg").read_bytes()


def test_what_cannot_be_taken_is_named(source: Path, root: Path, tmp_path: Path) -> None:
    """Clutter is not reported."""
    put(source, "notes.txt")
    put(source, "Anna/readme.md")
    put(source, "person-0001/x.jpg")
    put(source, "gallery.jpg")
    put(source, "_questions.png")
    put(source, "_Unsorted_2.jpg")
    put(source, "_who/x.jpg")
    put(source, "___/x.jpg")
    put(source, ".DS_Store")
    put(source, "Anna/Thumbs.db")
    outside = put(tmp_path, "outside.jpg")
    (source / "Ben.jpg").symlink_to(outside)
    os.mkfifo(source / "Cleo.jpg")
    make_sparse(source / "Dora.jpg")
    for number in range(MAX_REFERENCES_PER_FOLDER + 1):
        put(source, f"Eve/{number:02}.jpg")
    found = outcomes(import_references(source, root))

    assert {
        "notes.txt": Outcome.NO_PICTURE,
        "Anna/readme.md": Outcome.NO_PICTURE,
        "person-0001/x.jpg": Outcome.NO_NAME,
        "gallery.jpg": Outcome.NO_NAME,
        "_questions.png": Outcome.NO_NAME,
        "_Unsorted_2.jpg": Outcome.NO_NAME,
        "_who/x.jpg": Outcome.NO_NAME,
        "___/x.jpg": Outcome.NO_NAME,
        "Ben.jpg": Outcome.NO_FILE,
        "Cleo.jpg": Outcome.NO_FILE,
        "Dora.jpg": Outcome.TOO_LARGE,
        f"Eve/{MAX_REFERENCES_PER_FOLDER:02}.jpg": Outcome.TOO_MANY,
    } == {name: why for name, why in found.items() if why is not Outcome.TAKEN}
    assert MAX_REFERENCES_PER_FOLDER == len(list((root / "Eve").iterdir()))
