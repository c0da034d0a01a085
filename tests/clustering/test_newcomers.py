"""Tracks without a person that probably show someone new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.newcomers import find_newcomers
from portraitd.model.grouping_rules import (
    AgglomerationRule,
    AssignmentRule,
    DbscanRule,
    GroupingRule,
)
from support.track_tables import spots

RULE = GroupingRule(
    DbscanRule(0.3, 2), AgglomerationRule(1.0, 1.0), AssignmentRule(1.0, 1.0), min_quality=0.2
)

TRACKS = spots((0.0, 2), (1.0, 3), (2.0, 1), (3.0, 2))


def find(
    tracks: TrackTable = TRACKS,
    known: tuple[int, ...] = (0, 1),
    left_out: tuple[int, ...] = (),
    poor: tuple[int, ...] = (),
) -> list[int]:
    rows = np.arange(len(tracks.vectors))
    return find_newcomers(
        np.where(np.isin(rows, known), 0, -1),
        np.isin(rows, left_out),
        tracks,
        np.where(np.isin(rows, poor), 0.1, 0.3),
        RULE,
    ).tolist()


def test_near_tracks_without_a_person_are_one_newcomer() -> None:
    """Each is numbered by its lowest row; a single track is no newcomer."""
    assert [-1, -1, 2, 2, 2, -1, 6, 6] == find()


def test_what_is_left_out_or_poor_is_nobody() -> None:
    """The others still are."""
    assert [-1, -1, -1, 3, 3, -1, -1, -1] == find(left_out=(2,), poor=(6,))


def test_who_was_seen_beside_each_other_is_not_one_newcomer() -> None:
    """Then nothing says which of them is."""
    tracks = replace(TRACKS, cannot_link=np.array([[2, 4], [5, 6]]))

    assert [-1, -1, -1, -1, -1, -1, 6, 6] == find(tracks)


def test_nobody_is_left() -> None:
    """It does not fail."""
    assert [-1] * 8 == find(known=tuple(range(8)))
