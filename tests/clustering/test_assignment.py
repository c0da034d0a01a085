"""Low-quality tracks are assigned and move nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.assignment import Assignment
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.model.grouping_rules import AssignmentRule
from support.track_tables import DENSE, RULE, fresh, stores

ASSIGN = AssignmentRule(0.54, 0.45, thin_tracks=4)


def several(agglomeration: Agglomeration) -> NDArray[np.bool_]:
    """Groups of more than one track, by the row they are named after."""
    groups = agglomeration.groups
    return np.bincount(groups[groups >= 0], minlength=len(groups)) > 1


@given(stores(), st.integers(0, 2**32 - 1))
def test_assigning_some_tracks_again_gives_what_assigning_all_gives(
    tracks: TrackTable, seed: int
) -> None:
    """Also for those whose group, or whose rival's group, changed."""
    random = np.random.default_rng(seed)
    size = len(tracks.vectors)
    tracks = replace(tracks, pinned=np.zeros(size, dtype=np.int64))
    low_quality = random.random(size) < 0.4
    dbscan, agglomeration, assignment = (
        IncrementalDbscan.empty(),
        Agglomeration.empty(128),
        Assignment.empty(),
    )
    for some in np.array_split(random.permutation(np.flatnonzero(~low_quality)), 4):
        dbscan = dbscan.insert(tracks.vectors, some, DENSE)
        agglomeration = agglomeration.update(dbscan, tracks, DENSE, RULE)
        assignment = assignment.update(
            low_quality, several(agglomeration), agglomeration, tracks, ASSIGN
        )
    again = Assignment.empty().update(
        low_quality, several(agglomeration), agglomeration, tracks, ASSIGN
    )

    assert again.groups.tolist() == assignment.groups.tolist()


@given(stores(), st.integers(0, 2**32 - 1))
def test_low_quality_tracks_are_assigned_to_the_nearest_allowed_group(
    tracks: TrackTable, seed: int
) -> None:
    """By definition; no person is twice in one frame; and no group changes by it."""
    size = len(tracks.vectors)
    tracks = replace(tracks, pinned=np.zeros(size, dtype=np.int64))
    low_quality = np.random.default_rng(seed).random(size) < 0.4
    agglomeration = fresh(tracks, np.flatnonzero(~low_quality))
    assigned = (
        Assignment.empty()
        .update(low_quality, several(agglomeration), agglomeration, tracks, ASSIGN)
        .groups
    )
    groups = agglomeration.groups
    exact = tracks.vectors.astype(np.float64)
    everyone = np.where(low_quality, assigned, groups)
    for a, b in tracks.cannot_link:
        assert everyone[a] != everyone[b] or everyone[a] < 0

    def distance(row: np.int64, group: int) -> float:
        members = np.flatnonzero(groups == group)
        gaps = exact[members] - exact[row]
        return float(
            (gaps**2).sum(1).mean() + tracks.variances[members].mean() + tracks.variances[row]
        )

    def limit(group: int) -> float:
        size = (groups == group).sum()
        assert size > 1
        return (
            float(ASSIGN.thin_distance if size < ASSIGN.thin_tracks else ASSIGN.max_distance) ** 2
        )

    for row in np.flatnonzero(low_quality):
        beside = {int(b if a == row else a) for a, b in tracks.cannot_link if row in {a, b}}
        mine = distance(row, assigned[row]) if assigned[row] >= 0 else np.inf
        assert assigned[row] < 0 or mine <= limit(assigned[row]) + 1e-6
        for group in set(groups[groups >= 0].tolist()) - set(everyone[list(beside)].tolist()):
            if (groups == group).sum() > 1:
                assert distance(row, group) >= min(mine, limit(group)) - 1e-6
    assert (assigned[~low_quality] == -2).all()
    assert (groups[low_quality] == -1).all()


def test_a_track_is_assigned_again_when_its_rival_leaves() -> None:
    """Neither its own group nor anything near it changed; only who was seen beside it moved."""
    places = np.array([[0, 0], [0.7, 0], [0, 0.6]]).repeat(4, axis=0)
    rivals = np.array([[0, 0.32], [0.34, 0]])
    vectors = np.zeros((14, 128), dtype=np.float32)
    vectors[:, :2] = np.concatenate([places, rivals])
    cannot_link, low_quality = np.array([[12, 13]]), np.arange(14) >= 12
    tracks = TrackTable(vectors, np.zeros(14), np.zeros(14, np.int64), cannot_link)
    dbscan = IncrementalDbscan.empty().insert(vectors, np.arange(8), DENSE)
    agglomeration = Agglomeration.empty(128).update(dbscan, tracks, DENSE, RULE)
    before = Assignment.empty().update(
        low_quality, several(agglomeration), agglomeration, tracks, ASSIGN
    )
    dbscan = dbscan.insert(vectors, np.arange(8, 12), DENSE)
    agglomeration = agglomeration.update(dbscan, tracks, DENSE, RULE)
    after = before.update(low_quality, several(agglomeration), agglomeration, tracks, ASSIGN)

    assert [0, 4] == before.groups[12:].tolist()
    assert [8, 0] == after.groups[12:].tolist()
