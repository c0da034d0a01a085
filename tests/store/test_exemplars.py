"""Exemplars are good and typical faces of a person, one per track."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from portraitd.store.corrections.exemplars import MAX_CANDIDATES, MAX_EXEMPLARS, Exemplars
from portraitd.store.database import Database
from support.store import Store, embedding


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


def around(seed: int, count: int) -> list[np.ndarray]:
    """Embeddings of one person; the first is the most typical."""
    centre = embedding(seed)
    return [centre, *(centre + 0.05 * embedding(1000 + number) for number in range(1, count))]


def test_the_typical_faces_are_chosen(store: Store) -> None:
    """Nine at most; a stranger who was moved in by mistake is not among them."""
    faces = store.see(*around(1, 12), embedding(2))
    store.group([0] * 13)

    chosen = Exemplars(store.database).choose(1)

    assert MAX_EXEMPLARS == len(chosen)
    assert faces[0] in chosen
    assert faces[12] not in chosen


def test_faces_can_be_left_out(store: Store) -> None:
    """Those that are just being moved do not represent the person they leave."""
    faces = store.see(*around(1, 3))
    store.group([0] * 3)
    exemplars = Exemplars(store.database)

    assert faces[1:] == exemplars.choose(1, without={faces[0]})
    assert [] == exemplars.choose(1, without=set(faces))


def test_a_track_has_one_exemplar_and_excluded_faces_are_none(store: Store) -> None:
    """However many faces it has."""
    faces = store.see(*[embedding(1)] * 3)
    (other,) = store.see(embedding(1))
    store.track()
    store.group([0] * 4)
    exemplars = Exemplars(store.database)

    first, second = exemplars.choose(1)
    assert first in faces
    assert second == other
    store.database.execute("update faces set hidden = 1 where id <= ?", (faces[-1],))
    assert [other] == exemplars.choose(1)


def test_of_very_many_tracks_the_best_faces_are_candidates(store: Store) -> None:
    """A blurred face is not, however typical it is."""
    (typical, *_) = store.see(*around(1, MAX_CANDIDATES + 1))
    store.group([0] * (MAX_CANDIDATES + 1))
    exemplars = Exemplars(store.database)
    assert typical in exemplars.choose(1)

    store.database.execute("update faces set sharpness = 3 where id = ?", (typical,))

    assert typical not in exemplars.choose(1)
