"""Whom a face shows that was not grouped, and how likely that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portraitd.clustering.identification import MIN_PROBABILITY, KnownFaces
from portraitd.faces.models.cards import DLIB, MOBILEFACENET
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.grouping_rules import NearMissRule
from portraitd.store.database import Database
from support.store import Store, embedding

RULES = require_rules(DLIB)


@pytest.fixture
def known(tmp_path: Path) -> KnownFaces:
    """Two people, the first from three videos; a face without a person."""
    store = Store(Database.open(tmp_path))
    for _ in range(3):
        store.see(embedding(1), embedding(2))
    store.see(embedding(3))
    store.track()
    store.group([0, 1, 0, 1, 0, -1, -1])
    return KnownFaces.read(store.tracks, DLIB.embedding_size)


def test_the_faces_of_a_person_are_summed_up(known: KnownFaces) -> None:
    """Those without a person are nobody's."""
    assert [1, 2] == known.people.tolist()
    assert [3, 2] == known.tracks.tolist()
    assert np.allclose(0.0, known.variances, atol=1e-5)


def test_the_same_face_is_surely_the_person(known: KnownFaces) -> None:
    """And a stranger is nobody."""
    (same, stranger) = known.find([embedding(1), embedding(9)], RULES)

    assert 1 == same[0].person_id
    assert same[0].probability is not None
    assert same[0].probability > 0.97
    assert [] == stranger


def test_two_cannot_both_be_likely(known: KnownFaces) -> None:
    """A face between two people."""
    (between,) = known.find([(embedding(1) + embedding(2)) / 2], RULES)

    chances = [one.probability or 0.0 for one in between]
    assert sum(chances) <= 1.0
    assert all(chance >= MIN_PROBABILITY for chance in chances)


def test_a_model_that_was_not_measured_gives_no_probability(known: KnownFaces) -> None:
    """Only who is nearest."""
    rules = replace(RULES, suggestions=replace(RULES.suggestions, identification=NearMissRule()))
    (found,) = known.find([embedding(1)], rules)

    assert [(1, None)] == [(one.person_id, one.probability) for one in found]


@pytest.mark.parametrize("card", [DLIB, MOBILEFACENET], ids=lambda card: card.name)
def test_a_farther_face_is_less_likely(card: object) -> None:
    """And so is one that is about as near to the next person."""
    rule = require_rules(card).suggestions.identification
    length = require_rules(card).vector_length
    distances = np.linspace(0.3, 1.3, 6) * length * (0.45 if card is DLIB else 1.0)
    zero, ones = np.zeros(6), np.ones(6, np.int64)
    chances = rule.estimate_probability(distances, zero, zero, ones)

    assert chances.tolist() == sorted(chances.tolist(), reverse=True)
    assert (rule.estimate_probability(distances, zero + 0.1, zero, ones) > chances).all()
