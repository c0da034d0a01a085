"""User edits constrain every later grouping, with both methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from portraitd.clustering.grouping_methods import make_method
from portraitd.clustering.grouping_stage import GroupingStage
from portraitd.config import GroupingSettings
from portraitd.faces.models.cards import DLIB
from portraitd.model.edit import (
    AssignFaces,
    Edit,
    ExcludeFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    RejectPerson,
    SeparatePeople,
    SplitPerson,
)
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.database import Database
from portraitd.store.people import GroupingRun
from portraitd.store.publications import Publications
from portraitd.workers.pool import InlineExecutor
from support.clock import at
from support.executors import HeldExecutor
from support.store import Store, embedding

Vector = NDArray[np.float32]


def near(seed: int, number: int) -> Vector:
    """A face of one person, a little different each time."""
    random = np.random.default_rng(1000 * seed + number)
    return (embedding(seed) + random.normal(0, 0.005, 128)).astype(np.float32)


class Household:
    """Videos of one face each, and groupings of them."""

    def __init__(self, folder: Path, **grouping: object) -> None:
        self.folder = folder
        self.store = Store(Database.open(folder))
        self.recorder = EditRecorder(
            self.store.database, self.store.ledger, Publications(self.store.database), True
        )
        self.settings = GroupingSettings.model_validate({"min_samples": 2} | grouping)

    def see(self, *faces: Vector) -> list[int]:
        """A video for each. Returns the ids of the faces."""
        ids = [face_id for face in faces for face_id in self.store.see(face)]
        self.store.track()
        return ids

    def do(self, *edits: Edit) -> None:
        self.recorder.record(edits, 50.0)

    def regroup(self) -> GroupingRun:
        store = self.store
        method = make_method(
            self.settings,
            DLIB,
            store.faces,
            store.tracks,
            store.people,
            store.ledger,
            InlineExecutor(),
            self.folder,
        )
        answer = method.begin(store.people.last_grouping_run()).result()
        grouping_run = store.people.record(method.finish(answer), 1.0, 60.0)
        method.clean_up(grouping_run.snapshot)
        return grouping_run

    def person(self, face_id: int) -> int:
        row = self.store.database.execute(
            "select coalesce(person_id, 0) from faces where id = ?", (face_id,)
        ).fetchone()
        return int(row[0])

    def persons(self, *face_ids: int) -> list[int]:
        return [self.person(face_id) for face_id in face_ids]


ANN, BOB, EVE = 1, 2, 3


@pytest.fixture(params=["people", "dbscan"])
def home(request: pytest.FixtureRequest, memory_path: Path) -> Household:
    """Ann, 1 to 4, and Bob, 5 to 8; found by a grouping."""
    home = Household(memory_path, method=request.param)
    home.see(*(near(ANN, number) for number in range(4)))
    home.see(*(near(BOB, number) for number in range(4)))
    home.regroup()
    assert [1, 1, 1, 1, 2, 2, 2, 2] == home.persons(*range(1, 9))
    return home


def test_a_moved_face_stays_and_so_do_all_others(home: Household) -> None:
    """A face of Bob is put with Ann: it is hers, Bob stays Bob and Ann stays Ann."""
    home.do(AssignFaces((5,), 1))

    home.regroup()
    home.see(near(ANN, 9), near(BOB, 9))
    home.regroup()

    assert [1, 1, 1, 1, 1, 2, 2, 2, 1, 2] == home.persons(*range(1, 11))


def test_a_merge_holds_for_faces_that_come_later(home: Household) -> None:
    """However far apart the two look."""
    home.do(MergePeople(2, 1))

    home.regroup()
    home.see(near(ANN, 9), near(BOB, 9))
    grouping_run = home.regroup()

    assert [1] * 10 == home.persons(*range(1, 11))
    assert 1 == grouping_run.people


def test_an_undone_merge_is_undone(home: Household) -> None:
    """Both are who they were, also for those who came in between."""
    home.do(MergePeople(2, 1))
    home.regroup()
    home.see(near(BOB, 9))
    home.regroup()
    assert 1 == home.person(9)

    home.recorder.undo(None, 70.0)
    home.regroup()

    assert [1, 1, 1, 1, 2, 2, 2, 2, 2] == home.persons(*range(1, 10))


def test_a_person_who_was_split_off_stays_one(home: Household) -> None:
    """Two of Ann's four are another person, although their embeddings do not show it."""
    home.do(SplitPerson((3, 4), "Eve", "Eve"))

    home.regroup()
    grouping_run = home.regroup()

    assert [1, 1, 3, 3] == home.persons(1, 2, 3, 4)
    assert 0 == grouping_run.names_lost
    assert 0 == grouping_run.churn


def test_an_excluded_face_stays_excluded(home: Household) -> None:
    """It belongs to no person and connects none."""
    home.do(ExcludeFaces((5, 6)))

    grouping_run = home.regroup()

    assert [0, 0, 2, 2] == home.persons(5, 6, 7, 8)
    assert 0 == grouping_run.unassigned


def test_an_unsorted_face_stays_unsorted(home: Household) -> None:
    """A face in _unsorted that looks like Bob is not given back to him."""
    home.do(AssignFaces((5,), None))

    home.regroup()

    assert [0, 2, 2, 2] == home.persons(5, 6, 7, 8)


def test_an_ignored_person_is_recognised_again(home: Household) -> None:
    """Later faces of theirs are out of sight too."""
    home.do(IgnorePerson(2))

    home.see(near(BOB, 9))
    home.regroup()

    assert 2 == home.person(9)
    assert {2} == home.store.people.ignored()


def test_two_named_people_never_become_one(home: Household) -> None:
    """Under numbers that throw everybody together."""
    home.do(NamePerson(1, "Ann"), NamePerson(2, "Bob"))
    home.settings = home.settings.model_copy(update={"eps": 100.0, "linkage": 100.0})

    grouping_run = home.regroup()

    assert [1, 1, 1, 1, 2, 2, 2, 2] == home.persons(*range(1, 9))
    assert (0, 0) == (grouping_run.names_lost, grouping_run.churn)


LOOSE = {"people": {"linkage": 99.0}, "dbscan": {"eps": 18.0}}
"""Rules by which everybody is one person."""


def test_two_who_were_separated_stay_two(home: Household) -> None:
    """By rules that join everybody; also those who come later are one or the other."""
    home.do(SeparatePeople(1, 2))
    home.settings = home.settings.model_copy(update=LOOSE[home.settings.method])

    home.see(near(ANN, 9), near(BOB, 9))
    home.regroup()

    assert [1, 1, 1, 1, 2, 2, 2, 2, 1, 2] == home.persons(*range(1, 11))
    home.recorder.undo(None, 70.0)
    home.regroup()
    assert 1 == len(set(home.persons(*range(1, 11))))


def test_a_merge_by_hand_joins_those_who_were_separated(home: Household) -> None:
    """Whatever was said before, and for those who come later."""
    home.do(SeparatePeople(1, 2))
    home.regroup()

    home.do(MergePeople(2, 1))
    home.see(near(ANN, 9), near(BOB, 9))
    home.regroup()

    assert [1] * 10 == home.persons(*range(1, 11))


def test_a_rejected_face_goes_to_nobody_or_somebody_else(home: Household) -> None:
    """The person keeps all others, and the face stays out whatever the rules are."""
    home.do(RejectPerson((1,), 1))

    home.regroup()
    assert [0, 1, 1, 1, 2, 2, 2, 2] == home.persons(*range(1, 9))
    home.settings = home.settings.model_copy(update=LOOSE[home.settings.method])
    home.regroup()

    assert home.person(1) not in home.persons(2, 3, 4)


def test_edits_hold_with_other_settings(home: Household) -> None:
    """So strict that no group is a person, or so loose that all are one."""
    home.do(
        AssignFaces((5,), 1),
        NamePerson(2, "Bob"),
        SplitPerson((4,), "Eve", "Eve"),
        ExcludeFaces((8,)),
    )
    for eps in (0.0001, 100.0, 0.36):
        home.settings = home.settings.model_copy(update={"eps": eps, "linkage": eps})

        grouping_run = home.regroup()

        assert [1, 3, 0] == home.persons(5, 4, 8)
        assert 2 in home.persons(6, 7)
        assert 0 == grouping_run.names_lost


def test_edits_hold_with_the_other_method(home: Household) -> None:
    """A home may be grouped in one way and then in the other."""
    home.do(
        AssignFaces((5,), 1), MergePeople(2, 1), SplitPerson((4,), "Eve", "Eve"), ExcludeFaces((8,))
    )
    home.regroup()
    other = {"people": "dbscan", "dbscan": "people"}[home.settings.method]
    home.settings = home.settings.model_copy(update={"method": other})

    home.regroup()

    assert [1, 1, 1, 3, 1, 1, 1, 0] == home.persons(*range(1, 9))


def test_a_separated_face_separates_its_neighbours(memory_path: Path) -> None:
    """A stranger whom linkage took for Ann is put elsewhere; the next of theirs goes along."""
    home = Household(memory_path)
    stranger = near(ANN, 0) + np.float32(0.06) * np.sign(embedding(7))
    home.see(*(near(ANN, number) for number in range(6)))
    home.see(*((stranger + near(9, n) * np.float32(0.01)).astype(np.float32) for n in range(3)))
    home.settings = home.settings.model_copy(update={"linkage": 5.0, "eps": 0.2})
    home.regroup()
    assert {1} == set(home.persons(*range(1, 10)))

    home.do(SplitPerson((7, 8), "Eve", "Eve"))
    home.regroup()

    assert [1] * 6 == home.persons(*range(1, 7))
    assert [2, 2] == home.persons(7, 8)


def test_a_user_edit_may_put_a_person_twice_in_a_frame(home: Household) -> None:
    """A mirror, or a poster: the edit is applied, and counted."""
    ids = home.store.see(near(ANN, 20), near(BOB, 20))
    home.store.database.execute(
        "update faces set t_s = 0, box_left = 500 * (id - ?), box_right = 500 * (id - ?) + 100 "
        "where id in (?, ?)",
        (ids[0], ids[0], *ids),
    )
    home.store.track()
    home.regroup()
    assert [1, 2] == home.persons(*ids)

    home.do(AssignFaces((ids[1],), 1), AssignFaces((ids[0],), 1))
    grouping_run = home.regroup()

    assert [1, 1] == home.persons(*ids)
    assert (0, 1) == (grouping_run.violations, grouping_run.forced)


def test_a_superseded_grouping_is_repeated(memory_path: Path) -> None:
    """What was said while it was out is not undone by an answer that knew nothing of it."""
    home = Household(memory_path)
    home.see(*(near(ANN, number) for number in range(4)))
    home.regroup()
    home.see(*(near(BOB, number) for number in range(4)))
    store, executor = home.store, HeldExecutor()
    method = make_method(
        home.settings,
        DLIB,
        store.faces,
        store.tracks,
        store.people,
        store.ledger,
        executor,
        memory_path,
    )
    taker = GroupingStage(
        store.people, method, lambda: None, GroupingSettings(settle_s=0.0, max_wait_s=600.0)
    )
    taker.tick(at(100.0))
    home.do(AssignFaces((5,), 1))

    executor.answer()
    taker.tick(at(101.0))

    last = store.people.last_grouping_run()
    assert last
    assert 1 == last.id
    assert taker.pending
    taker.tick(at(120.0))
    executor.answer()
    taker.tick(at(121.0))
    assert [1, 2, 2, 2] == home.persons(5, 6, 7, 8)
    assert not taker.pending
