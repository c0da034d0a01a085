"""Groupings with crashes and lost files in between give the people of a run from scratch."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.grouping_methods import (
    GroupingMethod,
    PeopleMethod,
    arrays_by_row,
    dbscan_rule,
    grouping_rule,
    make_method,
)
from portraitd.clustering.ledger_constraints import read_track_constraints
from portraitd.config import GroupingSettings
from portraitd.faces.models.cards import DLIB
from portraitd.model.grouping_rules import DbscanRule
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.store.database import FILE_NAME, Database
from portraitd.store.people import GroupingRun
from portraitd.workers.pool import InlineExecutor
from support.embedding_rules import DLIB_RULES
from support.store import ENCODER, Store, detection, embedding, slice_faces

Faces = list[NDArray[np.float32]]
Partition = frozenset[frozenset[int]]


def make_faces(random: np.random.Generator, count: int, people: int = 6) -> Faces:
    """Faces of families: who belongs to one is near enough to be mistaken at times."""
    always = np.random.default_rng(5)
    families = always.normal(0, 0.11, (2, 128))
    centres = families[np.arange(people) % 2] + always.normal(0, 0.035, (people, 128))
    of = random.integers(0, people, count)
    blur = random.uniform(0.01, 0.05, (count, 1))
    return list((centres[of] + random.normal(0, 1, (count, 128)) * blur).astype(np.float32))


class Household:
    """A store in a folder, and a method that is created again at each restart."""

    def __init__(self, folder: Path, **numbers: float) -> None:
        self.folder = folder
        self.settings = GroupingSettings.model_validate({"min_samples": 2, **numbers})
        self.start()

    def start(self) -> None:
        """As after a crash: nothing is known but what lies in the folder."""
        self.store = Store(Database.open(self.folder))
        self.method = self.make(self.folder)

    def crash(self) -> None:
        self.store.database.close()
        self.start()

    def make(self, folder: Path) -> GroupingMethod:
        store = self.store
        return make_method(
            self.settings,
            DLIB,
            store.faces,
            store.tracks,
            store.people,
            store.ledger,
            InlineExecutor(),
            folder,
        )

    def see(self, *faces: NDArray[np.float32]) -> None:
        self.store.see(*faces)
        self.store.track()

    def forget(self, video_id: int) -> None:
        self.store.database.execute("delete from videos where id = ?", (video_id,))

    def videos(self) -> list[int]:
        rows = self.store.database.execute("select id from videos order by id")
        return [row[0] for row in rows]

    def regroup(self) -> GroupingRun:
        """Begin, end and record one, as ``GroupingStage`` does."""
        answer = self.method.begin(self.store.people.last_grouping_run()).result()
        grouping_run = self.store.people.record(self.method.finish(answer), 1.0, 9.0)
        self.method.clean_up(grouping_run.snapshot)
        return grouping_run

    def people(self) -> Partition:
        """Who is together, by the numbers of the faces."""
        return together(self.store.faces.ids(), self.store.faces.persons())

    def people_from_scratch(self, folder: Path) -> Partition:
        """The same if this were the first grouping there ever was."""
        folder.mkdir()
        method = self.make(folder)
        grouped = method.finish(method.begin(None).result())
        if grouped.unit == "faces":
            return together(grouped.ids, grouped.carried.people)
        person_of = dict(zip(grouped.ids.tolist(), grouped.carried.people.tolist(), strict=True))
        rows = self.store.database.execute("select id, track_id from faces order by id").fetchall()
        persons = np.array([person_of[row["track_id"]] for row in rows], np.int64)
        return together(self.store.faces.ids(), persons)

    @property
    def snapshots(self) -> list[Path]:
        return sorted(self.folder.glob("*grouping-*"))


def together(ids: NDArray[np.int64], persons: NDArray[np.int64]) -> Partition:
    return frozenset(
        frozenset(ids[persons == one].tolist()) for one in np.unique(persons[persons > 0])
    )


@pytest.fixture
def home(tmp_path: Path) -> Household:
    return Household(tmp_path)


def full(home: Household, videos: int = 6) -> Household:
    """Some videos, and a grouping after each."""
    random = np.random.default_rng(11)
    for _ in range(videos):
        home.see(*make_faces(random, 7))
        home.regroup()
    return home


@settings(max_examples=25)
@given(st.data())
@pytest.mark.parametrize("method", ["people", "dbscan"])
def test_many_groupings_give_what_one_gives(
    tmp_path_factory: pytest.TempPathFactory, method: str, data: st.DataObject
) -> None:
    """Videos come, go and are retried; the service is restarted; only the last state matters."""
    folder = tmp_path_factory.mktemp("home")
    home = Household(folder, method=method)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    steps = data.draw(
        st.lists(st.sampled_from(["see", "see", "forget", "restart", "grouping"]), max_size=12)
    )
    for step in [*steps, "see"]:
        if step == "see":
            home.see(*make_faces(random, int(random.integers(0, 8))))
        elif step == "forget" and home.videos():
            home.forget(int(random.choice(home.videos())))
        elif step == "restart":
            home.crash()
        elif step == "grouping":
            home.regroup()

    home.regroup()

    assert home.people_from_scratch(folder / "scratch") == home.people()
    home.store.database.close()
    shutil.rmtree(folder)


def test_people_are_found_at_all(home: Household) -> None:
    """The faces of these tests have something to decide: several people, and some nobodies."""
    people = full(home).people()

    assert 4 <= len(people)
    assert 7 <= max(map(len, people))
    assert 42 == home.store.faces.count()
    assert sum(map(len, people)) < 42


def test_a_grouping_continues_from_the_last_one(home: Household) -> None:
    """Its state is one file, which each grouping replaces."""
    grouping_run = full(home, 2).regroup()

    assert [grouping_run.snapshot] == [path.name for path in home.snapshots]
    assert grouping_run == home.store.people.last_grouping_run()


def lose(home: Household) -> None:
    for path in home.snapshots:
        path.unlink()


def damage(home: Household) -> None:
    for path in home.snapshots:
        path.write_bytes(path.read_bytes()[:-100])


def lose_matrix(home: Household) -> None:
    (home.folder / "tracks.f32").unlink()


def lose_both(home: Household) -> None:
    lose(home)
    lose_matrix(home)


@pytest.mark.parametrize("mishap", [lose, damage, lose_matrix, lose_both])
@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize("forgotten", [[], [2], [6], [1, 3, 6]])
def test_lost_and_damaged_files_change_no_person(
    home: Household, mishap: object, restarted: bool, forgotten: list[int]
) -> None:
    """The next grouping takes longer, and finds the same people under the same numbers."""
    assert callable(mishap)
    full(home)
    for video_id in forgotten:
        home.forget(video_id)
    twin = home.people_from_scratch(home.folder / "before")
    mishap(home)
    if restarted:
        home.crash()
    persons = dict(zip(home.store.faces.ids().tolist(), home.store.faces.persons(), strict=True))

    grouping_run = home.regroup()

    assert twin == home.people()
    if not forgotten:
        after = dict(zip(home.store.faces.ids().tolist(), home.store.faces.persons(), strict=True))
        assert persons == after
        assert 0 == grouping_run.churn
    home.see(*make_faces(np.random.default_rng(12), 5))
    home.regroup()
    assert home.people_from_scratch(home.folder / "after") == home.people()


def test_rows_that_cannot_be_read_any_more_are_removed_all_the_same(home: Household) -> None:
    """A matrix that was written again lacks the vectors of deleted tracks in the snapshot."""
    home.settings = GroupingSettings(min_samples=5)
    home.crash()
    # A chain in steps of about 0.35: dense enough to be one person while each is there twice.
    for angle in [0.0, 0.24, 0.49, 0.73] * 2:
        face = np.zeros(128, np.float32)
        face[:2] = 1.4 * np.cos(angle), 1.4 * np.sin(angle)
        home.see(face)
    home.regroup()
    assert frozenset({frozenset(range(1, 9))}) == home.people()
    for video_id in (1, 2, 3, 4):
        home.forget(video_id)
    lose_matrix(home)

    home.regroup()

    assert frozenset({frozenset({5, 6}), frozenset({7, 8})}) == home.people()


def test_a_crash_between_result_and_record_keeps_the_old_people(home: Household) -> None:
    """Nothing of the answer counts; the next grouping is right, and clears up after it."""
    full(home, 3)
    before, last = home.people(), home.store.people.last_grouping_run()
    persons = home.store.faces.persons().tolist()
    home.see(*make_faces(np.random.default_rng(14), 7))
    home.method.begin(last).result()
    assert 2 == len(home.snapshots)

    home.crash()

    assert before == home.people()
    assert [*persons, *[0] * 7] == home.store.faces.persons().tolist()
    assert last == home.store.people.last_grouping_run()
    assert home.method.arrivals().stale
    grouping_run = home.regroup()
    assert home.people_from_scratch(home.folder / "scratch") == home.people()
    assert [grouping_run.snapshot] == [path.name for path in home.snapshots]
    assert not home.method.arrivals().stale


def test_files_left_by_a_crash_after_recording_are_deleted_later(home: Household) -> None:
    """The recorded snapshot is the current one; the next grouping deletes the older one."""
    full(home, 3)
    home.see(*make_faces(np.random.default_rng(15), 7))
    answer = home.method.begin(home.store.people.last_grouping_run()).result()
    recorded = home.store.people.record(home.method.finish(answer), 1.0, 9.0)
    home.crash()
    assert 2 == len(home.snapshots)
    assert recorded == home.store.people.last_grouping_run()

    home.see(*make_faces(np.random.default_rng(16), 7))
    grouping_run = home.regroup()

    assert [grouping_run.snapshot] == [path.name for path in home.snapshots]
    assert home.people_from_scratch(home.folder / "scratch") == home.people()


def test_a_store_put_back_from_a_backup_goes_on(home: Household, tmp_path: Path) -> None:
    """The files beside it are newer than it is; they are not believed."""
    full(home, 3)
    home.store.database.execute("pragma wal_checkpoint(truncate)")
    shutil.copyfile(home.folder / FILE_NAME, tmp_path / "backup")
    random = np.random.default_rng(17)
    for _ in range(3):
        home.see(*make_faces(random, 7))
        home.regroup()
    home.store.database.close()
    shutil.copyfile(tmp_path / "backup", home.folder / FILE_NAME)
    home.start()
    for _ in range(4):
        home.see(*make_faces(random, 7))

    home.regroup()

    assert home.people_from_scratch(home.folder / "scratch") == home.people()


def test_a_retried_video_is_grouped_with_all_its_faces(home: Household) -> None:
    """Its tracks have new numbers; its people keep theirs."""
    face = embedding(18)
    home.store.video("two.mp4", slices=2)
    first, second = home.store.slice_queue.claim(), home.store.slice_queue.claim()
    assert first
    assert second
    home.store.slice_queue.record(first, slice_faces(*[face] * 6), ENCODER, 5.0)
    home.store.slice_queue.lose(second, Reason(ReasonCode.WORKER_DIED, "died"), 1, 6.0)
    home.store.track()
    home.regroup()
    before = home.store.faces.persons().tolist()
    home.store.slice_queue.retry(7.0)
    claimed = home.store.slice_queue.claim()
    assert claimed
    late = [detection(face, 60.0 + t_s) for t_s in range(3)]
    home.store.slice_queue.record(claimed, replace(slice_faces(), detections=late), ENCODER, 8.0)
    home.store.track()
    assert home.method.arrivals().stale

    grouping_run = home.regroup()

    assert {1} == set(before)
    assert [1] * 9 == home.store.faces.persons().tolist()
    assert 0 == grouping_run.churn
    assert not home.method.arrivals().stale


def test_people_seen_in_one_frame_are_two(home: Household) -> None:
    """However alike they are; a grouping counts it if anybody is in one frame twice."""
    (face,) = make_faces(np.random.default_rng(19), 1)
    home.see(face)
    home.see(face)
    home.store.database.execute("update faces set video_id = 1")
    home.store.database.execute("update videos set tracked = 0")
    home.store.track()

    grouping_run = home.regroup()

    assert [[3, 4]] == home.store.tracks.cannot_link().tolist()
    assert 0 == grouping_run.violations
    assert frozenset() == home.people()


def test_a_named_person_is_never_lost(home: Household) -> None:
    """With a rule so strict that no group is a person, a name keeps its faces."""
    ann, bob = embedding(1), embedding(2)
    for face in (ann, bob, ann + np.float32(0.01), bob + np.float32(0.01)):
        home.see(face)
    home.regroup()
    assert [1, 2, 1, 2] == home.store.faces.persons().tolist()
    home.store.database.execute("update people set name = 'Bob' where id = 2")
    home.settings = GroupingSettings(eps=0.001, linkage=0.001)
    home.crash()

    grouping_run = home.regroup()

    assert [0, 2, 0, 2] == home.store.faces.persons().tolist()
    assert 0 == grouping_run.names_lost


def test_the_settings_name_the_method(home: Household) -> None:
    """With the numbers that suit it, unless they are set."""
    home.settings = GroupingSettings()
    people = home.make(home.folder)
    assert isinstance(people, PeopleMethod)
    assert DbscanRule(0.36, 3) == people.rule.dbscan
    assert 0.55 == people.rule.agglomeration.max_distance
    plain = GroupingSettings(method="dbscan")
    assert DbscanRule(0.5, 5) == dbscan_rule(plain, DLIB_RULES)
    own = GroupingSettings(method="dbscan", eps=0.4, min_samples=2)
    assert DbscanRule(0.4, 2) == dbscan_rule(own, DLIB_RULES)
    assert (
        0.5 == grouping_rule(GroupingSettings(linkage=0.5), DLIB_RULES).agglomeration.max_distance
    )


def test_tracks_are_spread_over_the_rows_of_the_matrix(home: Household) -> None:
    """A deleted track leaves an excluded row."""
    random = np.random.default_rng(20)
    for _ in range(3):
        home.see(*make_faces(random, 1))
    home.store.database.execute("delete from videos where id = 2")

    rows = arrays_by_row(
        home.store.tracks.rows(),
        np.array([[1, 3]]),
        4,
        read_track_constraints(home.store.ledger, 4).by_row,
    )

    assert [False, True, False, True] == rows["excluded"].tolist()
    assert [1, 0, 1, 0] == rows["faces"].tolist()
    assert [1, 0, 3, 0] == rows["videos"].tolist()
    assert [1.0, 0.0, 1.0, 0.0] == rows["quality"].tolist()
    assert [0, 0, 0, 0] == rows["pinned"].tolist()
    assert [[0, 2]] == rows["cannot_link"].tolist()
