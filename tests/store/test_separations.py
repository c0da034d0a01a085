"""The answer no is remembered: two people are not one, and a face is not that person's."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.model.edit import (
    AssignFaces,
    Edit,
    ExcludeFaces,
    MergePeople,
    RejectPerson,
    SeparatePeople,
    SplitPerson,
)
from portraitd.model.suggestion import Suggestion
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.separations import Separation
from portraitd.store.database import Database
from portraitd.store.publications import Publications
from support.store import Store, embedding


class Reviewed:
    """Three people of three faces each, and the unsorted faces 10 and 11; each face is a track."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(Database.open(folder))
        self.recorder = EditRecorder(
            self.store.database, self.store.ledger, Publications(self.store.database), True
        )
        for seed in (1, 2, 3):
            for number in range(3):
                self.store.see(embedding(seed) + 0.001 * number)
        self.store.see(embedding(4))
        self.store.see(embedding(5))
        self.store.track()
        self.store.group([0, 0, 0, 1, 1, 1, 2, 2, 2, -1, -1])

    def do(self, *edits: Edit) -> list[int]:
        return [done.entry_id for done in self.recorder.record(edits, 100.0)]

    def separations(self) -> list[Separation]:
        return self.store.ledger.corrections().separations

    def people(self) -> set[tuple[int, ...]]:
        pairs = self.store.ledger.corrections().separated_people()
        return {tuple(sorted(pair)) for pair in pairs}

    def person(self, face_id: int) -> int | None:
        row = self.store.database.execute("select person_id from faces where id = ?", (face_id,))
        person: int | None = row.fetchone()["person_id"]
        return person


@pytest.fixture
def reviewed(memory_path: Path) -> Reviewed:
    return Reviewed(memory_path)


def test_two_people_are_separated_by_faces_of_both(reviewed: Reviewed) -> None:
    """Once; the same answer again changes nothing."""
    assert [1] == reviewed.do(SeparatePeople(1, 2))

    assert [Separation(1, {1, 2, 3}, 2, {4, 5, 6})] == reviewed.separations()
    assert {(1, 2)} == reviewed.people()
    assert [] == reviewed.do(SeparatePeople(1, 2))


def test_faces_are_not_a_person(reviewed: Reviewed) -> None:
    """They may still be any other person."""
    assert [1] == reviewed.do(RejectPerson((10, 11), 1))

    assert [Separation(1, {1, 2, 3}, None, {10, 11})] == reviewed.separations()
    assert set() == reviewed.people()
    assert [] == reviewed.do(RejectPerson((10,), 1))
    assert [2] == reviewed.do(RejectPerson((10,), 2))


def test_rejected_faces_leave_the_person_at_once(reviewed: Reviewed) -> None:
    """A grouping may have assigned them since the question was asked."""
    reviewed.do(RejectPerson((3,), 1))

    assert (None, 1) == (reviewed.person(3), reviewed.person(2))
    assert [Separation(1, {1, 2}, None, {3})] == reviewed.separations()


@pytest.mark.parametrize("edit", [SeparatePeople(1, 2), RejectPerson((10,), 2)])
def test_a_no_is_undone(reviewed: Reviewed, edit: Edit) -> None:
    """And redone."""
    reviewed.do(edit)

    reviewed.recorder.undo(None, 110.0)
    assert [] == reviewed.separations()

    reviewed.recorder.undo(2, 120.0)
    assert 1 == len(reviewed.separations())


@pytest.mark.parametrize("edit", [SeparatePeople(1, 2), RejectPerson((10,), 2)])
def test_an_undone_no_is_not_read_again(reviewed: Reviewed, edit: Edit) -> None:
    """The card may still be where the reviewer put it; other answers count."""
    others = [SeparatePeople(1, 3), RejectPerson((11,), 2), RejectPerson((10,), 3)]
    reviewed.do(edit)
    reviewed.recorder.undo(None, 110.0)

    assert others == reviewed.recorder.drop_undone([edit, *others], after_id=0)


def test_a_separation_takes_the_suggestion_away(reviewed: Reviewed) -> None:
    """At once; it would come again only from a grouping, which knows the separation."""
    rows = [(1, 2, 0.5, 0.7), (1, 3, 0.5, 0.7)]
    reviewed.store.database.executemany("insert into merge_candidates values (?, ?, ?, ?)", rows)

    reviewed.do(SeparatePeople(1, 2))

    assert [Suggestion(1, 3, 0.5, 0.7)] == reviewed.store.people.suggestions()


@pytest.mark.parametrize("merge", [MergePeople(2, 1), MergePeople(1, 2)])
def test_a_later_merge_by_hand_wins(reviewed: Reviewed, merge: Edit) -> None:
    """And undone, the no counts again."""
    reviewed.do(SeparatePeople(1, 2))

    assert [2] == reviewed.do(merge)

    assert [] == reviewed.separations()
    reviewed.recorder.undo(None, 110.0)
    assert {(1, 2)} == reviewed.people()


def test_a_separation_follows_its_people(reviewed: Reviewed) -> None:
    """A person who is not Ann is not one who turns out to be Ann either."""
    reviewed.do(SeparatePeople(1, 2))

    reviewed.do(MergePeople(2, 3))

    assert {(1, 3)} == reviewed.people()
    assert [] == reviewed.do(SeparatePeople(1, 2))


def test_a_merge_wins_wherever_the_grouping_put_the_separated_faces(reviewed: Reviewed) -> None:
    """It joined person 2 with person 3, and a reviewer says that all of those are person 1."""
    reviewed.do(SeparatePeople(1, 2))
    reviewed.store.group([0, 0, 0, 1, 1, 1, 1, 1, 1, -1, -1])
    assert {2} == {reviewed.person(face) for face in range(4, 10)}

    reviewed.do(MergePeople(2, 1))

    assert [] == reviewed.separations()


def test_rejected_faces_that_are_merged_by_hand_belong_there(reviewed: Reviewed) -> None:
    """They were said not to be person 1, became part of person 3, and that person is person 1."""
    reviewed.do(RejectPerson((10, 11), 1))
    reviewed.store.group([0, 0, 0, 1, 1, 1, 2, 2, 2, 2, -1])

    reviewed.do(MergePeople(3, 1))

    assert [Separation(1, {1, 2, 3}, None, {11})] == reviewed.separations()


def test_a_face_that_is_moved_by_hand_is_whose_it_was_moved_to(reviewed: Reviewed) -> None:
    """What was said before about it and that person does not count any more."""
    reviewed.do(RejectPerson((10, 11), 1))

    reviewed.do(AssignFaces((10,), 1))

    assert [Separation(1, {1, 2, 3}, None, {11})] == reviewed.separations()
    assert [] == reviewed.do(RejectPerson((10,), 1))
    reviewed.do(AssignFaces((11,), 3))
    assert [Separation(1, {1, 2, 3}, None, {11})] == reviewed.separations()


def test_a_face_that_is_moved_away_represents_its_person_no_more(reviewed: Reviewed) -> None:
    """Assigned elsewhere, split off or deleted."""
    reviewed.do(SeparatePeople(1, 2))

    reviewed.do(AssignFaces((4,), 3), SplitPerson((1,), "Eve", "Eve"), ExcludeFaces((6,)))

    assert [Separation(1, {2, 3}, 2, {5, 6})] == reviewed.separations()


@pytest.mark.parametrize(
    "edit",
    [
        SeparatePeople(1, 99),
        SeparatePeople(98, 99),
        RejectPerson((10,), 99),
        RejectPerson((999,), 1),
        RejectPerson((), 1),
    ],
)
def test_what_is_not_there_is_not_separated(reviewed: Reviewed, edit: Edit) -> None:
    """It leaves no entry."""
    assert [] == reviewed.do(edit)
    assert 0 == reviewed.store.ledger.last_id()


def test_the_answer_about_people_who_were_merged_comes_too_late(reviewed: Reviewed) -> None:
    """Also in the same reading as the merge."""
    reviewed.do(MergePeople(2, 1))

    assert [] == reviewed.do(SeparatePeople(1, 2))
    reviewed.do(MergePeople(3, 1), SeparatePeople(1, 3))
    assert set() == reviewed.people()
