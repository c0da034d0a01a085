"""People and the grouping_runs that found them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portraitd.clustering.identity import carry_over
from portraitd.model.suggestion import Suggestion
from portraitd.store.database import Database
from portraitd.store.people import Arrivals, GroupingRun, PersonAssignment
from support.store import Store, embedding


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


def test_the_first_grouping_run_makes_people(store: Store) -> None:
    """One for each cluster; noise has no person."""
    store.see(*(embedding(seed) for seed in range(5)))

    grouping_run = store.group([0, 0, 1, -1, 1])

    assert [1, 1, 2, 0, 2] == store.faces.persons().tolist()
    assert [1, 2] == [person.id for person in store.people.present()]
    assert GroupingRun(1, "p", 5, 5, 0, 2, 1, 0, 0, 0, 1.5, 9.0, "") == grouping_run
    assert grouping_run == store.people.last_grouping_run()


def test_a_known_person_keeps_their_id(store: Store) -> None:
    """Whatever number the cluster has this time."""
    store.see(*(embedding(seed) for seed in range(4)))
    store.group([0, 0, 1, 1])

    grouping_run = store.group([7, 7, 3, 3])

    assert [1, 1, 2, 2] == store.faces.persons().tolist()
    assert 0 == grouping_run.churn


def test_a_face_that_changes_person_is_churn(store: Store) -> None:
    """One that loses its person is too; one that gets its first person is not."""
    store.see(*(embedding(seed) for seed in range(5)))
    store.group([0, 0, 1, 1, -1])

    grouping_run = store.group([0, 1, 1, -1, 0])

    assert [1, 2, 2, 0, 1] == store.faces.persons().tolist()
    assert 2 == grouping_run.churn
    assert 1 == grouping_run.unassigned


def test_a_person_without_faces_is_not_present(store: Store) -> None:
    """The id stays theirs: no other person gets it."""
    store.see(embedding(1), embedding(2))
    store.group([0, 1])
    store.group([0, -1])
    assert [1] == [person.id for person in store.people.present()]

    store.group([0, 1])

    assert [1, 3] == [person.id for person in store.people.present()]


def test_a_face_forgotten_during_the_grouping_run_is_not_brought_back(store: Store) -> None:
    """And the grouping is stale at once: it knew more faces than there are."""
    ids = store.see(embedding(1), embedding(2))
    grouped = store.grouped([0, 0])
    store.database.execute("delete from faces where id = ?", (ids[0],))

    store.people.record(grouped, 1.0, 9.0)

    assert [1] == store.faces.persons().tolist()
    assert store.people.arrivals("p", "faces").stale


def test_faces_that_no_grouping_run_saw_are_arrivals(store: Store) -> None:
    """When the first and the last of them came."""
    assert Arrivals(False, 0.0, 0.0) == store.people.arrivals("p", "faces")
    store.see(embedding(1), at_s=3.0)
    store.see(embedding(2), at_s=8.0)
    assert Arrivals(True, 3.0, 8.0) == store.people.arrivals("p", "faces")

    store.group([0, 0])

    assert not store.people.arrivals("p", "faces").stale
    store.see(embedding(3), at_s=20.0)
    assert Arrivals(True, 20.0, 20.0) == store.people.arrivals("p", "faces")


def test_other_parameters_make_every_face_an_arrival(store: Store) -> None:
    """A grouping under other numbers says nothing."""
    store.see(embedding(1), at_s=3.0)
    store.group([0])

    assert Arrivals(True, 3.0, 3.0) == store.people.arrivals("other", "faces")


def test_a_forgotten_video_makes_a_grouping_run_stale(store: Store) -> None:
    """People may be fewer now."""
    ids = store.see(embedding(1), embedding(2))
    store.group([0, 0])
    store.database.execute("delete from faces where id = ?", (ids[0],))

    assert store.people.arrivals("p", "faces").stale


def test_a_grouping_run_of_nothing_is_a_grouping_run(store: Store) -> None:
    """After the last video was erased."""
    grouping_run = store.group([])

    assert (0, 0, 0, 0) == (
        grouping_run.last_id,
        grouping_run.faces,
        grouping_run.people,
        grouping_run.unassigned,
    )
    assert not store.people.arrivals("p", "faces").stale


def test_a_grouping_run_that_fails_changes_nothing(store: Store) -> None:
    """In one transaction: no person without a grouping."""
    store.see(embedding(1), embedding(2))

    grouped = store.grouped([0, 1])
    shorter = replace(grouped.carried, people=grouped.carried.people[:1])
    with pytest.raises(ValueError, match="shorter"):
        store.people.record(replace(grouped, carried=shorter), 1.0, 9.0)

    assert [0, 0] == store.faces.persons().tolist()
    assert [] == store.people.present()
    assert store.people.last_grouping_run() is None
    assert 0 == store.database.execute("select count(*) from people").fetchone()[0]
    store.people.record(grouped, 1.0, 9.0)
    assert [1, 2] == store.faces.persons().tolist()


def tracked(store: Store, *seeds: int, at_s: float = 3.0) -> None:
    """A video with a track of one face for each seed."""
    store.see(*map(embedding, seeds), at_s=at_s)
    store.track()


def grouped_tracks(store: Store, people: list[int]) -> PersonAssignment:
    """What a grouping of tracks says, by the person of each."""
    rows = store.tracks.rows()
    previous, faces = rows.persons, rows.faces
    carried = carry_over(np.array(people), previous, faces, store.people.next_id())
    return PersonAssignment("tracks", rows.ids, carried, "p", "memory.npz")


def test_a_grouping_run_of_tracks_moves_all_their_faces(store: Store) -> None:
    """Those without a track have no person yet."""
    store.see(embedding(1), embedding(1), embedding(2))
    store.track()
    store.see(embedding(1))

    grouping_run = store.people.record(grouped_tracks(store, [0, -1]), 1.5, 9.0)

    assert [1, 1, 0, 0] == store.faces.persons().tolist()
    assert GroupingRun(1, "p", 2, 4, 2, 1, 2, 0, 0, 0, 1.5, 9.0, "memory.npz") == grouping_run
    assert grouping_run == store.people.last_grouping_run()


def test_tracks_that_no_grouping_run_saw_are_arrivals(store: Store) -> None:
    """They came when their videos ended; faces without tracks have not come yet."""
    store.see(embedding(1), at_s=3.0)
    assert Arrivals(False, 0.0, 0.0) == store.people.arrivals("p", "tracks")
    store.track()
    tracked(store, 2, at_s=8.0)
    assert Arrivals(True, 3.0, 8.0) == store.people.arrivals("p", "tracks")

    store.people.record(grouped_tracks(store, [0, 1]), 1.5, 9.0)

    assert not store.people.arrivals("p", "tracks").stale
    tracked(store, 3, at_s=20.0)
    assert Arrivals(True, 20.0, 20.0) == store.people.arrivals("p", "tracks")
    assert Arrivals(True, 3.0, 20.0) == store.people.arrivals("other", "tracks")


def test_tracks_forgotten_during_a_grouping_run_make_it_stale(store: Store) -> None:
    """It was grouped with more than there are."""
    tracked(store, 1)
    tracked(store, 2)
    grouped = grouped_tracks(store, [0, 0])
    store.database.execute("delete from videos where id = 1")

    store.people.record(grouped, 1.5, 9.0)

    assert [1] == store.faces.persons().tolist()
    assert store.people.arrivals("p", "tracks").stale
    store.people.record(grouped_tracks(store, [0]), 1.5, 10.0)
    assert not store.people.arrivals("p", "tracks").stale


def test_one_person_twice_in_a_frame_is_counted(store: Store) -> None:
    """The log shows that something is wrong."""
    store.see(*(embedding(seed) for seed in range(4)))
    store.database.execute("update faces set t_s = 1.0 where id <= 3")

    assert 2 == store.group([0, 0, 0, 0]).violations
    assert 1 == store.group([0, 0, 1, 1]).violations
    assert 0 == store.group([0, 1, 2, 0]).violations
    assert 0 == store.group([-1, -1, -1, -1]).violations


def test_what_became_of_people_is_written_down(store: Store) -> None:
    """Who was merged into and split from whom; one who has faces again is not merged."""

    def merges_and_splits() -> list[tuple[object, ...]]:
        rows = store.database.execute("select id, merged_into, split_from from people order by id")
        return [tuple(row) for row in rows]

    store.see(*(embedding(seed) for seed in range(5)))
    store.group([0, 0, 0, 1, 1])
    assert [(1, None, None), (2, None, None)] == merges_and_splits()

    store.group([0, 0, 0, 0, 0])
    assert [(1, None, None), (2, 1, None)] == merges_and_splits()

    store.group([0, 0, 0, 1, 1])
    assert [(1, None, None), (2, 1, None), (3, None, 1)] == merges_and_splits()

    store.people.record(back_to(store, [1, 1, 1, 2, 2]), 1.5, 9.0)
    assert [(1, None, None), (2, None, None), (3, 2, 1)] == merges_and_splits()


def back_to(store: Store, people: list[int]) -> PersonAssignment:
    """These people and no others."""
    grouped = store.grouped([0] * len(people))
    carried = replace(grouped.carried, people=np.array(people), merged_into={3: 2})
    return replace(grouped, carried=carried)


def test_people_with_a_name_or_a_lock_are_kept(store: Store) -> None:
    """A merge of two of them leaves both."""
    store.see(*(embedding(seed) for seed in range(3)))
    store.group([0, 1, 2])
    store.database.execute("update people set name = 'Ann' where id = 1")
    store.database.execute("update people set locked = 1 where id = 2")

    grouping_run = store.group([0, 0, 0])

    assert [1, 2] == sorted(store.people.kept())
    assert {1, 2} == set(store.faces.persons().tolist())
    assert 0 == grouping_run.names_lost


def test_the_next_id_was_never_used(store: Store) -> None:
    """Also when no person is left."""
    assert 1 == store.people.next_id()
    store.see(embedding(1), embedding(2))
    store.group([0, 1])
    store.group([0, -1])
    store.database.execute("delete from people where id = 2")

    assert 3 == store.people.next_id()


def test_suggestions_are_those_of_the_last_grouping_the_most_likely_first(store: Store) -> None:
    """The next grouping replaces them."""
    store.see(*(embedding(seed) for seed in range(3)))
    first, second = Suggestion(1, 2, 0.5, 0.9), Suggestion(2, 3, 0.4, 0.7)
    store.people.record(replace(store.grouped([0, 1, 2]), suggestions=[second, first]), 1.0, 9.0)
    assert [first, second] == store.people.suggestions()

    store.group([0, 1, 2])

    assert [] == store.people.suggestions()
