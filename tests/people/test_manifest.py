"""Manifests of portraitd 0.1.0 are read as they are, and written in the same format."""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from portraitd.model.edit import Placement
from portraitd.people.tree.folder_fs import WrittenFile
from portraitd.people.tree.manifest import (
    FolderManifest,
    ManifestEntry,
    face_of,
    read_manifest,
    read_note,
)
from portraitd.people.tree.people_tree import PeopleTree
from support.tree import face, known, make_sparse, person, picture_of, publish, refuse, snapshot

PERSON_0_1_0 = (
    b'{"portraitd": 1, "person": 1, "label": "Anna", "folder": "Family/Anna", "inode": 7, '
    b'"strays": {"copy 1.jpg": 4}, "files": {\n'
    b'"000004.jpg": ["portrait 4 0,0,240,300 5d", "ab", 12, 34]\n}}\n'
)


def test_a_manifest_of_0_1_0_is_read_and_written_byte_for_byte() -> None:
    """The keys on disk keep their names, whatever the attributes are called."""
    manifest = FolderManifest(
        1,
        "Anna",
        "Family/Anna",
        7,
        {"000004.jpg": ManifestEntry("portrait 4 0,0,240,300 5d", WrittenFile("ab", 12, 34))},
        {"copy 1.jpg": 4},
    )

    assert manifest == read_manifest(PERSON_0_1_0)
    assert PERSON_0_1_0 == manifest.to_bytes()
    assert 4 == face_of(manifest.files["000004.jpg"].identity)


def test_a_tree_of_0_1_0_is_taken_over_without_a_write(tmp_path: Path) -> None:
    """The root recorded ``_ignored`` under another number. That is neither missing nor an edit."""
    root = tmp_path / "people"
    people, ignored = [person(1, 1)], [person(2, 2)]
    tree = PeopleTree(root, store="a")
    tree.create()
    publish(tree, people, [], picture_of, {}, ignored=ignored, ignored_faces=[face(3)])
    marker = root / ".portraitd-root"
    facts = json.loads(marker.read_text())
    facts["homes"]["-2"] = facts["homes"].pop(str(int(Placement.IGNORED)))
    marker.write_text(json.dumps(facts))
    before = snapshot(root)
    recorded = known(*people, *ignored, ignored_faces=[3], ignored_people=[2])

    again = PeopleTree(root, store="a")
    assert [] == again.read_edits(recorded)
    done = publish(again, people, [], refuse, {}, ignored=ignored, ignored_faces=[face(3)])

    assert (0, 0) == (done.written, done.removed)
    assert before == snapshot(root)


FULL = FolderManifest(
    None,
    "",
    "",
    7,
    {"000004.jpg": ManifestEntry("portrait 4 0,0,240,300 5d", WrittenFile("ab", 12, 34))},
    {"copy 1.jpg": 4},
    "store",
    {1: ("Anna", 8), -1: ("_ignored", 9)},
    (3, 5),
)
TOKENS = (
    b"1e999", b"NaN", b"-Infinity", b"null", b"[" * 3000, b"]", b"{", b"}", b'"\\ud800"', b"1.0",
    b"9" * 30, b"9" * 5000, b"true", b"-1", b'""', b'"\\u0000"', b"[]", b"{}", b",", b":", b"\0",
    b"\xff\xfe", b'"../x"', b'"x"', b"18446744073709551616",
)  # fmt: skip


def mutate(data: bytes, hand: random.Random) -> bytes:
    """Write something else into a manifest, at a few places."""
    changed = bytearray(data)
    for _ in range(hand.randint(1, 4)):
        at = hand.randrange(len(changed) + 1)
        changed[at : at + hand.choice([0, 0, 1, 6, 20])] = hand.choice(
            [*TOKENS, hand.randbytes(hand.randrange(4))]
        )
    return bytes(changed)


def test_whatever_a_manifest_contains_it_is_a_manifest_or_none() -> None:
    """And one that is read is written and read again as the same."""
    hand, read = random.Random(1), 0
    for _ in range(int(os.environ.get("PORTRAITD_MANIFESTS", "2000"))):
        manifest = read_manifest(mutate(hand.choice([PERSON_0_1_0, FULL.to_bytes()]), hand))
        if manifest is not None:
            read += 1
            assert manifest == read_manifest(manifest.to_bytes())
            assert all(os.fsencode(name) and "/" not in name for name in manifest.files)

    assert read > 20


def bind_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


NO_NOTES: list[Callable[[Path], object]] = [
    os.mkfifo,
    make_sparse,
    bind_socket,
    lambda path: path.mkdir(),
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to(path),
    lambda path: path.write_bytes(b'{"portraitd": 1, "person": 1, "inode": 1e999'),
]


@pytest.mark.parametrize("make", NO_NOTES)
def test_a_folder_with_a_broken_note_is_one_without(
    tmp_path: Path, make: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is still the person's, by its place; everything in the root is published as before."""
    monkeypatch.chdir(tmp_path)
    root = Path("people")
    tree = PeopleTree(root, store="a")
    tree.create()
    publish(tree, [person(1, 1), person(2, 2)], [], picture_of, {})
    for name in ("person-0001/.person.json", "STATUS.html", "README.txt"):
        (root / name).unlink(missing_ok=True)
        make(root / name)

    recorded = known(person(1, 1), person(2, 2))
    assert [] == tree.read_edits(recorded)
    done = publish(tree, [person(1, 1, 3), person(2, 2, name="Bob")], [], picture_of, {})

    assert "person-0001/000003.jpg" == done.portraits.get(3) or done.faulty
    assert (root / "Bob/000002.jpg").is_file()
    assert [] == PeopleTree(root, store="a").read_edits(recorded)


def test_a_note_is_not_read_through_a_link(tmp_path: Path) -> None:
    """Nor is a pipe waited for."""
    (tmp_path / "real").write_bytes(PERSON_0_1_0)
    (tmp_path / "link").symlink_to("real")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read_note(fd, "real") is not None
        assert read_note(fd, "link") is None
        assert read_note(fd, "missing") is None
        assert read_note(fd, "\ud800") is None
    finally:
        os.close(fd)
