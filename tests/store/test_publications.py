"""What the people tree is to show: few and good portraits, and only what changed is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from sqlite3 import Cursor
from typing import Any

import numpy as np
import pytest

from portraitd.config import ReviewSettings
from portraitd.model.edit import (
    AssignFaces,
    ExcludeFaces,
    IgnoreFaces,
    IgnorePerson,
    NamePerson,
    Placement,
)
from portraitd.model.face import Box
from portraitd.model.person import PersonFolder, PublishedFace
from portraitd.people.publisher import Publisher
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.database import Database
from portraitd.store.publications import DesiredTree, Publication, Publications
from portraitd.store.tree_stores import TreeStores
from portraitd.workers.pool import InlineExecutor
from support.clock import at
from support.store import Store, embedding

THREE = ReviewSettings(portraits_per_track=3, unsorted_portraits=2)


class Counting(Database):
    """A store that counts what is asked of it."""

    asked = 0

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        self.asked += 1
        return super().execute(sql, parameters)


class PublicationsFixture:
    """A store, and what it would show."""

    def __init__(self, folder: Path) -> None:
        self.database = Counting.open(folder)
        self.store = Store(self.database)
        self.publications = Publications(self.database)
        self.recorder = EditRecorder(self.database, self.store.ledger, self.publications, True)

    def see(self, seed: int, frames: int, blur: float = 0.03) -> None:
        """A video with one track, of a face that moves."""
        random = np.random.default_rng(frames + 100 * seed)
        noise = random.normal(0, blur, (frames, 128)).astype(np.float32)
        self.store.see(*(embedding(seed) / np.float32(8) + noise))
        self.store.track()

    def wanted(self, review: ReviewSettings = THREE) -> DesiredTree:
        return self.publications.desired_tree(review)


@pytest.fixture
def fixture(memory_path: Path) -> PublicationsFixture:
    return PublicationsFixture(memory_path)


def test_a_published_face_knows_its_box_and_its_picture(fixture: PublicationsFixture) -> None:
    """And where it comes from."""
    mine, nobodys = fixture.store.see(embedding(1), embedding(2))
    fixture.store.group([0, -1])

    wanted = fixture.wanted(ReviewSettings(portraits_per_track=0, unsorted_portraits=0))

    box, area = Box(10, 20, 110, 130), Box(0, 0, 200, 240)
    expected = PublishedFace(mine, box, area, 1.25, "video 0.mp4", "sha 0", 0.0)
    assert [PersonFolder(1, None, (expected,))] == list(wanted.folders)
    assert [nobodys] == [face.face_id for face in wanted.unsorted]


def test_a_track_is_shown_by_a_few_portraits(fixture: PublicationsFixture) -> None:
    """Two tracks of a person, of twelve faces and of one."""
    fixture.see(1, 12)
    fixture.see(1, 1)
    fixture.store.group([0] * 13)

    (folder,) = fixture.wanted().folders

    shown = Counter(face.face_id <= 12 for face in folder.faces)
    assert {True: 3, False: 1} == dict(shown)
    assert 13 == len(
        fixture.wanted(ReviewSettings(portraits_per_track=0, unsorted_portraits=0)).folders[0].faces
    )


def test_portraits_of_a_still_are_one(fixture: PublicationsFixture) -> None:
    """A second one would show the same."""
    fixture.see(1, 12, blur=0.0001)
    fixture.store.group([0] * 12)

    assert 1 == len(fixture.wanted().folders[0].faces)


def test_of_nobody_the_best_are_shown(fixture: PublicationsFixture) -> None:
    """One of each track, the largest first, up to the limit."""
    for seed in range(1, 5):
        fixture.see(seed, 2)
    fixture.store.group([-1] * 8)
    fixture.database.execute("update tracks set quality = id / 10.0")

    unsorted = fixture.wanted().unsorted

    assert [3, 4] == [(face.face_id + 1) // 2 for face in unsorted]
    assert 8 == len(
        fixture.wanted(ReviewSettings(portraits_per_track=0, unsorted_portraits=0)).unsorted
    )


def test_what_is_out_of_sight_is_shown_apart(fixture: PublicationsFixture) -> None:
    """Excluded faces nowhere, ignored faces and people in their own place."""
    for seed in (1, 1, 2, 2):
        fixture.see(seed, 1)
    fixture.store.group([0, 0, 1, 1])

    fixture.recorder.record([ExcludeFaces((1,)), IgnoreFaces((2,)), IgnorePerson(2)], 5.0)
    wanted = fixture.wanted()

    assert () == wanted.unsorted
    assert (PersonFolder(1, None, ()),) == wanted.folders
    assert [(2, [3, 4])] == [
        (folder.person_id, [face.face_id for face in folder.faces]) for folder in wanted.ignored
    ]
    assert [2] == [face.face_id for face in wanted.ignored_faces]
    assert {2: Placement.IGNORED, 3: 2, 4: 2} == wanted.placements()


def test_where_everything_lies_is_remembered(fixture: PublicationsFixture) -> None:
    """Across a restart, and as people move it."""
    for seed in (1, 1, 2):
        fixture.see(seed, 1)
    fixture.store.group([0, 0, -1])
    fixture.publications.record(Publication(1, 0, "look"), fixture.wanted().placements(), 5.0)
    assert {1: 1, 2: 1, 3: Placement.UNSORTED} == Publications(fixture.database).placements()

    fixture.recorder.record([AssignFaces((3,), 1), ExcludeFaces((2,))], 6.0)

    assert (
        {1: 1, 3: 1}
        == fixture.publications.placements()
        == Publications(fixture.database).placements()
    )
    assert Publication(1, 0, "look") == Publications(fixture.database).last()


def many(fixture: PublicationsFixture, people: int) -> None:
    """So many people, two tracks each."""
    for seed in range(1, people + 1):
        fixture.store.see(embedding(seed), embedding(seed + 10_000), embedding(seed))
    fixture.store.track()
    fixture.store.group([one for seed in range(people) for one in (seed, -1, seed)])


@pytest.mark.parametrize("people", [10, 200])
def test_asking_what_to_show_costs_the_same_for_many_people(
    fixture: PublicationsFixture, people: int
) -> None:
    """No query for each of them."""
    many(fixture, people)
    before = fixture.database.asked

    wanted = fixture.wanted(ReviewSettings(portraits_per_track=3, unsorted_portraits=5))

    assert people == len(wanted.folders)
    assert 9 == fixture.database.asked - before


def publisher(fixture: PublicationsFixture, folder: Path) -> Publisher:
    return Publisher(
        TreeStores.of(fixture.database)._replace(publications=fixture.publications),
        InlineExecutor(),
        lambda: None,
        PeopleTree(folder),
        ReviewSettings(portraits_per_track=3, unsorted_portraits=5),
    )


def written_since(folder: Path, before: dict[Path, int]) -> set[str]:
    """Folders of the tree in which a file is new or another."""
    return {
        path.parent.name
        for path, mtime_ns in files(folder).items()
        if before.get(path) != mtime_ns and path.parent != folder
    }


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_publishing_touches_what_changed(fixture: PublicationsFixture, memory_path: Path) -> None:
    """Five of two hundred people are seen again; the second publish asks whether, and no more."""
    many(fixture, 200)
    folder = memory_path / "people"
    stage = publisher(fixture, folder)
    stage.tick(at(10.0))
    assert not stage.pending
    before, asked = files(folder), fixture.database.asked
    stage.tick(at(11.0))
    assert before == files(folder)
    assert 4 >= fixture.database.asked - asked

    fixture.store.see(*(embedding(seed) for seed in range(1, 6)))
    fixture.store.track()
    persons = fixture.store.faces.persons()
    fixture.store.group([*(persons - 1).tolist()[:600], 0, 1, 2, 3, 4])
    asked = fixture.database.asked
    stage.tick(at(12.0))

    assert {f"person-{number:04d}" for number in range(1, 6)} == written_since(folder, before)
    assert 200 > fixture.database.asked - asked


def test_a_name_touches_one_folder(fixture: PublicationsFixture, memory_path: Path) -> None:
    """And is shown without a grouping."""
    many(fixture, 20)
    folder = memory_path / "people"
    stage = publisher(fixture, folder)
    stage.tick(at(10.0))
    before = files(folder)

    fixture.recorder.record([NamePerson(7, "Ann")], 11.0)
    assert stage.pending
    stage.tick(at(12.0))

    assert not stage.pending
    assert {"Ann"} == written_since(folder, before)
