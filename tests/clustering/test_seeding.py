"""Pinned tracks and seeds join the clusters around them, and split them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.must_link_groups import apply_constraints
from portraitd.clustering.seeding import Seeding
from support.track_tables import DENSE, Rows, fresh, partition, spots, stores


def pinned(tracks: TrackTable, people: dict[int, int], seeds: list[int]) -> TrackTable:
    """The same tracks, some of them pinned to people."""
    of = np.zeros(len(tracks.vectors), np.int64)
    of[list(people)] = list(people.values())
    return replace(tracks, pinned=of, seeds=np.array(seeds, np.int64))


def groups(tracks: TrackTable) -> set[frozenset[int]]:
    return partition(fresh(tracks, np.arange(len(tracks.vectors))).groups)


def test_a_seed_brings_its_cluster() -> None:
    """A track from far away is pinned to the same person: all of them are one."""
    tracks = spots((0.0, 5), (5.0, 1))

    assert {frozenset({0, 1, 2, 3, 4}), frozenset({5})} == groups(tracks)
    assert {frozenset(range(6))} == groups(pinned(tracks, {0: 1, 5: 1}, [0]))


def test_a_moved_track_leaves_its_cluster_behind() -> None:
    """It goes to the other person; those around it stay."""
    tracks = spots((0.0, 5), (5.0, 5))

    found = groups(pinned(tracks, {4: 2, 5: 2}, [5]))

    assert {frozenset({0, 1, 2, 3}), frozenset({4, 5, 6, 7, 8, 9})} == found


def test_two_people_who_claim_one_cluster_split_it() -> None:
    """Where it is thin: each gets the part around their own."""
    line = np.concatenate([np.linspace(0, 0.2, 20), np.linspace(0.5, 0.7, 20)])
    tracks = spots(*[(place, 1) for place in line])
    assert 1 == len(groups(tracks))

    found = groups(pinned(tracks, {3: 1, 30: 2}, [3, 30]))

    assert {frozenset(range(20)), frozenset(range(20, 40))} == found


def test_a_track_seen_beside_a_pinned_one_stays_out() -> None:
    """The pinned track remains; the other leaves."""
    tracks = replace(
        pinned(spots((0.0, 5), (5.0, 1)), {0: 1, 5: 1}, [0]), cannot_link=np.array([[2, 5]])
    )

    assert {frozenset({0, 1, 3, 4, 5}), frozenset({2})} == groups(tracks)


def test_pinned_tracks_stay_together_although_seen_in_one_frame() -> None:
    """The user could tell."""
    tracks = replace(
        pinned(spots((0.0, 5), (5.0, 1)), {0: 1, 5: 1}, [0]), cannot_link=np.array([[0, 5]])
    )

    assert {frozenset(range(6))} == groups(tracks)


@given(stores())
def test_cannot_links_hold_unless_both_tracks_are_pinned_to_one_person(tracks: TrackTable) -> None:
    """Whichever clusters people claim."""
    found = fresh(tracks, np.arange(len(tracks.vectors))).groups
    for one, other in tracks.cannot_link.tolist():
        both = tracks.pinned[[one, other]]
        assert found[one] != found[other] or (both[0] == both[1] > 0)


def dbscan_with(tracks: TrackTable) -> Rows:
    """The original method, with constraints."""
    labels = (
        IncrementalDbscan.empty()
        .insert(tracks.vectors, np.arange(len(tracks.vectors)), DENSE)
        .labels
    )
    seeding = Seeding.of(labels, tracks.pinned, tracks.seeds)
    return apply_constraints(tracks.vectors, labels, seeding, tracks.cannot_link, DENSE)


@given(stores())
def test_plain_clusters_keep_the_constraints_too(tracks: TrackTable) -> None:
    """Tracks pinned to one person are one group, which no other person shares."""
    found = dbscan_with(tracks)
    rows = np.flatnonzero(tracks.pinned)
    pairs = set(zip(tracks.pinned[rows].tolist(), found[rows].tolist(), strict=True))

    assert len(pairs) == len({person for person, _ in pairs}) == len({g for _, g in pairs})
    for one, other in tracks.cannot_link.tolist():
        both = tracks.pinned[[one, other]]
        assert found[one] != found[other] or found[one] < 0 or both[0] == both[1] > 0


@given(stores())
def test_without_constraints_plain_clusters_are_unchanged(tracks: TrackTable) -> None:
    """Not a face goes elsewhere."""
    unconstrained = replace(
        tracks,
        pinned=np.zeros_like(tracks.pinned),
        seeds=np.empty(0, np.int64),
        cannot_link=np.empty((0, 2), np.int64),
    )
    labels = (
        IncrementalDbscan.empty()
        .insert(tracks.vectors, np.arange(len(tracks.vectors)), DENSE)
        .labels
    )

    assert partition(labels) == partition(dbscan_with(unconstrained))
