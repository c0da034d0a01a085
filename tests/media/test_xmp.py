"""What a portrait says about itself, as others and as portraitd read it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.media.xmp import Mark, read_mark, with_mark
from portraitd.model.edit import AssignFaces
from portraitd.model.face import Box
from portraitd.people.tree.people_tree import PeopleTree
from support.tree import face, known, person, picture_of, publish
from support.xmp_removal import without_mark

ANNA = replace(face(7), t_s=12.5, source="Urlaub <2019> & mehr.mp4")
MARK = Mark("store-a", 7, "5" * 64, 12.5, Box(70, 100, 170, 200))

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool is not installed"
)


def said(jpeg: bytes) -> Mark | None:
    return read_mark(BytesIO(jpeg))


def test_a_portrait_says_which_face_it_is() -> None:
    """And the picture is the same, byte by byte."""
    plain = picture_of(7)

    marked = with_mark(plain, ANNA, "Anna", "store-a")

    assert said(marked) == MARK
    assert said(plain) is None
    assert plain == without_mark(marked)
    assert plain == without_mark(plain)
    assert marked == with_mark(plain, ANNA, "Anna", "store-a")
    pixels = [cv2.imdecode(np.frombuffer(one, np.uint8), 1) for one in (plain, marked)]
    assert np.array_equal(*pixels)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_name_is_written(name: str, source: str) -> None:
    """Whatever people call each other and their files, the portrait is known again."""
    one = replace(ANNA, source=source)

    assert said(with_mark(picture_of(7), one, name, "store-a")) == MARK


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 200))
def test_whatever_the_bytes_are_they_are_read(noise: bytes, at: int, length: int) -> None:
    """A file in the tree may be anything; it says which face it is, or nothing."""
    marked = with_mark(picture_of(7), ANNA, "Anna", "store-a")

    damaged = marked[:at] + noise + marked[at + length :]

    assert said(damaged) is None or isinstance(said(damaged), Mark)
    assert isinstance(with_mark(damaged, ANNA, None, ""), bytes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'portraitd:face="7"', b'portraitd:face="-7"'),
        (b'portraitd:face="7"', b'portraitd:face="9999999999999999999999"'),
        (b'portraitd:face="7"', b'portraitd:face="seven"'),
        (b'portraitd:time="12.5"', b'portraitd:time="nan"'),
        (b"70,100,170,200", b"70,100,170"),
        (b"urn:portraitd:face:", b"urn:somebody:else::"),
        (b'portraitd:video="', b'portraitd:other="'),
        (b"Urlaub", b"\xff\xfe\xff\xfe\xff\xfe"),
    ],
)
def test_a_mark_that_is_not_clear_is_none(old: bytes, new: bytes) -> None:
    """Numbers that are none, another's namespace, a missing field, bytes that are no text."""
    marked = with_mark(picture_of(7), ANNA, "Anna", "store-a")
    assert old in marked

    header = marked.index(b"http://ns.adobe.com/xap/1.0/") - 2
    changed = marked.replace(old, new)
    length = int.from_bytes(marked[header : header + 2], "big") + len(new) - len(old)
    changed = changed[:header] + length.to_bytes(2, "big") + changed[header + 2 :]

    assert said(changed) is None


def test_a_large_file_is_not_read_to_its_end() -> None:
    """Only what stands before the picture is looked at."""

    class Counting(BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    file = Counting(picture_of(1) + bytes(10_000_000))

    assert read_mark(file) is None
    assert file.taken < 2000


def exif(path: Path) -> dict[str, object]:
    answer = subprocess.run(
        ["exiftool", "-json", "-struct", "-G1", "-charset", "utf8", path],
        capture_output=True,
        check=True,
    )
    (facts,) = json.loads(answer.stdout)
    assert isinstance(facts, dict)
    return facts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with two people."""
    root = tmp_path / "people"
    tree = PeopleTree(root, store="store-a")
    tree.create()
    publish(tree, [person(1, 1, name="Zoë <M>"), person(2, 2)], [face(3)], picture_of, {})
    return root


@needs_exiftool
def test_others_read_the_name_and_the_place_of_the_face(root: Path) -> None:
    """As MWG regions and keywords; the box is in shares of the picture, from its centre."""
    facts = exif(root / "Zoë -M-/000001.jpg")

    assert {
        "AppliedToDimensions": {"W": 24, "H": 30, "Unit": "pixel"},
        "RegionList": [
            {
                "Area": {"X": 0.5, "Y": 0.5, "W": 0.416667, "H": 0.333333, "Unit": "normalized"},
                "Name": "Zoë <M>",
                "Type": "Face",
            }
        ],
    } == facts["XMP-mwg-rs:RegionInfo"]
    assert ["Zoë <M>"] == facts["XMP-dc:Subject"]
    assert ["People/Zoë <M>"] == facts["XMP-digiKam:TagsList"]
    assert (1, "clip.mp4", 1) == tuple(
        facts[f"XMP-portraitd:{key}"] for key in ("Face", "Source", "Time")
    )
    assert "Warning" not in " ".join(facts)


@needs_exiftool
def test_who_has_no_name_is_given_none(root: Path) -> None:
    """The number of a folder is no name."""
    facts = exif(root / "person-0002/000002.jpg")

    assert "Name" not in json.dumps(facts["XMP-mwg-rs:RegionInfo"])
    assert "XMP-dc:Subject" not in facts


@needs_exiftool
@pytest.mark.parametrize(
    "change",
    [["-XMP-dc:Subject+=holiday"], ["-EXIF:Artist=somebody"], ["-Orientation#=3", "-n"]],
    ids=["keyword", "exif", "turned"],
)
def test_a_portrait_that_others_wrote_to_is_known(root: Path, change: list[str]) -> None:
    """They write the packet in their own way, and the picture is still that face."""
    moved = root / "person-0002/somebody.jpg"
    (root / "Zoë -M-/000001.jpg").rename(moved)
    subprocess.run(["exiftool", "-q", "-overwrite_original", *change, moved], check=True)
    before = moved.read_bytes()
    tree = PeopleTree(root, store="store-a")

    assert [AssignFaces((1,), 2)] == tree.read_edits(
        known(person(1, 1), person(2, 2), unsorted=[3])
    )

    done = publish(tree, [person(2, 1, 2)], [face(3)], picture_of, {})
    assert "person-0002/somebody.jpg" == done.portraits[1]
    assert before == moved.read_bytes()


def test_a_new_name_is_written_into_each_portrait(root: Path) -> None:
    """Once; and nothing else is rewritten."""
    tree = PeopleTree(root, store="store-a")
    people = [person(1, 1, name="Anna"), person(2, 2)]

    done = publish(tree, people, [face(3)], picture_of, {})

    portrait = (root / "Anna/000001.jpg").read_bytes()
    assert 1 == done.written
    assert b'mwg-rs:Name="Anna"' in portrait
    assert picture_of(1) == without_mark(portrait)
    assert 0 == publish(tree, people, [face(3)], picture_of, {}).written


def test_an_old_tree_is_marked_once(tmp_path: Path) -> None:
    """Portraits of a version that wrote no marks get theirs; those a human changed do not."""
    root = tmp_path / "people"
    tree = PeopleTree(root)
    tree.create()
    publish(tree, [person(1, 1, 2)], [], picture_of, {})
    for number in (1, 2):
        _as_of_old(root / "person-0001", f"00000{number}.jpg", picture_of(number))
    changed = picture_of(2) + b"changed by hand"
    (root / "person-0001/000002.jpg").write_bytes(changed)
    tree = PeopleTree(root)

    done = publish(tree, [person(1, 1, 2)], [], picture_of, {})

    assert 1 == done.written
    assert said((root / "person-0001/000001.jpg").read_bytes())
    assert changed == (root / "person-0001/000002.jpg").read_bytes()
    assert 0 == publish(tree, [person(1, 1, 2)], [], picture_of, {}).written


def _as_of_old(folder: Path, name: str, plain: bytes) -> None:
    """Put a portrait and its note back to what the first version wrote."""
    path, note_path = folder / name, folder / ".person.json"
    path.write_bytes(plain)
    note = json.loads(note_path.read_text())
    identity = note["files"][name][0].rpartition(" ")[0]
    digest = subprocess.run(["sha256sum", path], capture_output=True, check=True).stdout
    facts = path.stat()
    note["files"][name] = [identity, digest.split()[0].decode(), facts.st_size, facts.st_mtime_ns]
    note_path.write_text(json.dumps(note))


def test_a_portrait_without_a_mark_is_known_by_its_bytes(tmp_path: Path) -> None:
    """One of an old tree, moved and renamed before it could be marked."""
    root = tmp_path / "people"
    tree = PeopleTree(root)
    tree.create()
    publish(tree, [person(1, 1, 2), person(2, 3)], [], picture_of, {})
    _as_of_old(root / "person-0001", "000001.jpg", picture_of(1))
    (root / "person-0001/000001.jpg").rename(root / "person-0002/x.jpg")

    people = known(person(1, 1, 2), person(2, 3))
    assert [AssignFaces((1,), 2)] == PeopleTree(root).read_edits(people)


def test_random_bytes_cost_no_time(tmp_path: Path) -> None:
    """A thousand pictures that are none."""
    noise = random.Random(1)
    for _ in range(1000):
        body = noise.randbytes(300)
        assert said(b"\xff\xd8" + body) is None
        assert said(b"\xff\xd8\xff\xe1\x01\x00http://ns.adobe.com/xap/1.0/\0" + body) is None
