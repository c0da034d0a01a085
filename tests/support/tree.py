"""Small people trees, and what is in them on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from portraitd.media.jpeg import encode_jpeg
from portraitd.model.face import Box
from portraitd.model.person import PersonFolder, PublishedFace
from portraitd.people.tree.diff import RecordedState
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.people.tree.publish import PublishResult
from portraitd.store.publications import DesiredTree

Snapshot = dict[str, tuple[int, bytes]]


def face(number: int) -> PublishedFace:
    box, area = Box(70, 100, 170, 200), Box(0, 0, 240, 300)
    return PublishedFace(number, box, area, 0.9, "clip.mp4", "5" * 64, float(number))


def person(number: int, *faces: int, name: str | None = None) -> PersonFolder:
    return PersonFolder(number, name, tuple(face(one) for one in faces))


def known(
    *folders: PersonFolder,
    unsorted: Collection[int] = (),
    excluded: Collection[int] = (),
    ignored_faces: Collection[int] = (),
    ignored_people: Collection[int] = (),
) -> RecordedState:
    """What the database holds after it published these folders."""
    person_of: dict[int, int | None] = dict.fromkeys([*unsorted, *excluded, *ignored_faces])
    person_of |= {one.face_id: folder.person_id for folder in folders for one in folder.faces}
    names = {folder.person_id: folder.name for folder in folders}
    return RecordedState(person_of, excluded, ignored_faces, ignored_people, names)


ANNA, BOB, CARL = person(1, 1, 2, 3, name="Anna"), person(2, 4, 5), person(3, 6)
PEOPLE = [ANNA, BOB, CARL]
UNSORTED = [face(8), face(9)]
KNOWN = known(*PEOPLE, unsorted=[8, 9])

A1, A2, A3 = "Anna/000001.jpg", "Anna/000002.jpg", "Anna/000003.jpg"
B4, B5 = "person-0002/000004.jpg", "person-0002/000005.jpg"
"""Paths of some of their portraits."""


def jpeg_of(face_id: int) -> bytes:
    return f"portrait {face_id}".encode()


@cache
def picture_of(face_id: int) -> bytes:
    """A real picture, different for each face."""
    noise = np.random.default_rng(face_id).integers(0, 256, (30, 24, 3), np.uint8)
    return encode_jpeg(noise, 95)


def refuse(face_id: int) -> bytes:
    raise AssertionError(f"face {face_id} was requested without need")


def three_people(root: Path) -> PeopleTree:
    """Those three and two unsorted faces, just published."""
    tree = PeopleTree(root, store="store-a")
    tree.create()
    publish(tree, PEOPLE, UNSORTED, picture_of, {1: b"montage"})
    return tree


def publish(
    tree: PeopleTree,
    folders: Sequence[PersonFolder],
    unsorted: Sequence[PublishedFace],
    content: Callable[[int], bytes],
    montages: Mapping[int, bytes],
    **hidden: Any,
) -> PublishResult:
    """Publish people, with ``ignored`` people and ``ignored_faces``; see ``PeopleTree.publish``."""
    desired = DesiredTree(
        tuple(folders),
        tuple(hidden.pop("ignored", ())),
        tuple(unsorted),
        tuple(hidden.pop("ignored_faces", ())),
    )
    return tree.publish(desired, content, montages, **hidden)


def snapshot(root: Path) -> Snapshot:
    """Time and content of every file, by path."""
    return {
        os.fspath(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def visible(root: Path) -> list[str]:
    return sorted(
        os.fspath(path.relative_to(root))
        for path in root.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def make_sparse(path: Path) -> None:
    """Make a file of a terabyte that takes no space."""
    with path.open("wb") as file:
        file.truncate(1 << 40)
