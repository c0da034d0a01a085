"""People and the censuses that found them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.store import Census, Database
from portraitd.store.people import Arrivals
from stores import Store, embedding


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


def test_the_first_census_makes_people(store: Store) -> None:
    """One for each cluster; noise is nobody."""
    store.see(*(embedding(seed) for seed in range(5)))

    census = store.group([0, 0, 1, -1, 1])

    assert [1, 1, 2, 0, 2] == store.faces.persons().tolist()
    assert [1, 2] == [person.id for person in store.people.present()]
    assert Census(1, "p", 5, 5, 0, 2, 1, 0, 0, 0, 1.5, 9.0, "") == census
    assert census == store.people.last_census()


def test_a_known_person_keeps_their_id(store: Store) -> None:
    """Whatever number the cluster has this time."""
    store.see(*(embedding(seed) for seed in range(4)))
    store.group([0, 0, 1, 1])

    census = store.group([7, 7, 3, 3])

    assert [1, 1, 2, 2] == store.faces.persons().tolist()
    assert 0 == census.churn


def test_a_face_that_changes_person_is_churn(store: Store) -> None:
    """One that becomes nobody's is too; one that becomes somebody's is not."""
    store.see(*(embedding(seed) for seed in range(5)))
    store.group([0, 0, 1, 1, -1])

    census = store.group([0, 1, 1, -1, 0])

    assert [1, 2, 2, 0, 1] == store.faces.persons().tolist()
    assert 2 == census.churn
    assert 1 == census.unassigned


def test_a_person_without_faces_is_not_present(store: Store) -> None:
    """The number stays theirs: nobody else gets it."""
    store.see(embedding(1), embedding(2))
    store.group([0, 1])
    store.group([0, -1])
    assert [1] == [person.id for person in store.people.present()]

    store.group([0, 1])

    assert [1, 3] == [person.id for person in store.people.present()]


def test_a_face_forgotten_during_the_census_is_not_brought_back(store: Store) -> None:
    """And the census is stale at once: it knew more faces than there are."""
    ids = store.see(embedding(1), embedding(2))
    grouped = store.grouped([0, 0])
    store.database.execute("delete from faces where id = ?", (ids[0],))

    store.people.record(grouped, 1.0, 9.0)

    assert [1] == store.faces.persons().tolist()
    assert store.people.arrivals("p", "faces").stale


def test_faces_that_no_census_saw_are_arrivals(store: Store) -> None:
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
    """A census under other numbers says nothing."""
    store.see(embedding(1), at_s=3.0)
    store.group([0])

    assert Arrivals(True, 3.0, 3.0) == store.people.arrivals("other", "faces")


def test_a_forgotten_video_makes_a_census_stale(store: Store) -> None:
    """People may be fewer now."""
    ids = store.see(embedding(1), embedding(2))
    store.group([0, 0])
    store.database.execute("delete from faces where id = ?", (ids[0],))

    assert store.people.arrivals("p", "faces").stale


def test_a_census_of_nothing_is_a_census(store: Store) -> None:
    """After the last video was forgotten."""
    census = store.group([])

    assert (0, 0, 0, 0) == (census.last_id, census.faces, census.people, census.unassigned)
    assert not store.people.arrivals("p", "faces").stale


def test_a_census_that_fails_changes_nothing(store: Store) -> None:
    """In one transaction: no person without a census."""
    store.see(embedding(1), embedding(2))

    grouped = store.grouped([0, 1])
    shorter = replace(grouped.carried, people=grouped.carried.people[:1])
    with pytest.raises(ValueError, match="shorter"):
        store.people.record(replace(grouped, carried=shorter), 1.0, 9.0)

    assert [0, 0] == store.faces.persons().tolist()
    assert [] == store.people.present()
    assert store.people.last_census() is None
    assert 0 == store.database.execute("select count(*) from people").fetchone()[0]
    store.people.record(grouped, 1.0, 9.0)
    assert [1, 2] == store.faces.persons().tolist()


def test_a_publication_is_remembered(store: Store) -> None:
    """The last one only."""
    assert (0, "") == store.people.last_publication()
    store.people.note_publication(1, "look", 5.0)
    store.people.note_publication(2, "look 2", 6.0)

    assert (2, "look 2") == store.people.last_publication()
