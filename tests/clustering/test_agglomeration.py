"""Must-link groups become the groups that average linkage gives by definition, at any time."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.group_statistics import MergingStatistics, measure_groups
from portraitd.clustering.must_link_groups import build_must_link_groups
from portraitd.clustering.seeding import Seeding
from portraitd.model.grouping_rules import AgglomerationRule
from support.track_tables import DENSE, RULE, Rows, fresh, part, partition, spots, stores


def must_link_groups(tracks: TrackTable, dbscan: IncrementalDbscan, rows: Rows) -> Rows:
    """The must-link group of each of these rows."""
    seeding = Seeding.of(dbscan.labels, tracks.pinned, tracks.seeds)
    join_clusters = seeding.join_clusters(dbscan.included)
    return build_must_link_groups(
        tracks.vectors, rows, join_clusters, seeding, tracks.cannot_link, DENSE
    )


def by_definition(tracks: TrackTable, rows: Rows) -> set[frozenset[int]]:
    """Average linkage with every pair of faces looked at and every pair of groups compared."""
    dbscan = IncrementalDbscan.empty().insert(tracks.vectors, rows, DENSE)
    must_link = must_link_groups(tracks, dbscan, rows)
    groups = [rows[must_link == one] for one in np.unique(must_link)]
    exact = tracks.vectors.astype(np.float64)
    squared = ((exact[:, None] - exact[None]) ** 2).sum(axis=2)
    squared += tracks.variances[:, None] + tracks.variances[None]
    cannot_link = {tuple(pair) for pair in tracks.cannot_link.tolist()}

    def inner(group: Rows) -> float:
        return float(squared[np.ix_(group, group)].mean() - tracks.variances[group].mean() * 2) / 2

    def distance(left: Rows, right: Rows) -> float:
        owners = set(tracks.pinned[np.concatenate([left, right])].tolist()) - {0}
        beside = any((min(a, b), max(a, b)) in cannot_link for a in left for b in right)
        if beside or (len(owners) > 1):
            return np.inf
        return float(squared[np.ix_(left, right)].mean())

    assert all(inner(group) >= -1e-9 for group in groups)
    while len(groups) > 1:
        pairs = list(itertools.combinations(range(len(groups)), 2))
        distances = [distance(groups[a], groups[b]) for a, b in pairs]
        best = int(np.argmin(distances))
        if distances[best] > RULE.limit:
            break
        a, b = pairs[best]
        groups[a] = np.concatenate([groups[a], groups.pop(b)])
    return {frozenset(group.tolist()) for group in groups}


@given(stores())
def test_groups_are_those_of_average_linkage(tracks: TrackTable) -> None:
    """Sufficient statistics, sparse pairs and rounds of mutual neighbours lose nothing."""
    rows = np.arange(len(tracks.vectors))

    assert by_definition(tracks, rows) == partition(fresh(tracks, rows).groups)


@settings(max_examples=300)
@given(stores(), st.data())
def test_changing_a_store_gives_what_a_fresh_start_gives(
    tracks: TrackTable, data: st.DataObject
) -> None:
    """Tracks come, go and are pinned in any order; only the last state matters."""
    size = len(tracks.vectors)
    order = data.draw(st.permutations(range(size)))
    dbscan, agglomeration, inside = (
        IncrementalDbscan.empty(),
        Agglomeration.empty(128),
        np.zeros(size, np.bool_),
    )
    seen, pinned = 0, np.zeros(size, dtype=np.int64)
    for _ in range(data.draw(st.integers(1, 6))):
        outside = [row for row in order if not inside[row]]
        coming = np.array(outside[: data.draw(st.integers(0, len(outside)))], dtype=np.int64)
        present = np.flatnonzero(inside)
        going = present[: data.draw(st.integers(0, len(present)))]
        inside[coming], inside[going] = True, False
        seen = max(seen, int(coming.max(initial=-1)) + 1)
        pinned = np.where(np.arange(size) % data.draw(st.integers(1, 3)) == 0, tracks.pinned, 0)
        now = part(tracks, seen, pinned)
        dbscan = dbscan.remove(now.vectors, going, DENSE).insert(now.vectors, coming, DENSE)
        agglomeration = agglomeration.update(dbscan, now, DENSE, RULE)
    again = fresh(part(tracks, seen, pinned), np.flatnonzero(inside[:seen]))

    assert partition(again.groups) == partition(agglomeration.groups)
    assert again.must_link.tolist() == agglomeration.must_link.tolist()
    assert np.array_equal(again.linkage.statistics.means, agglomeration.linkage.statistics.means)
    assert again.linkage.tree.into.tolist() == agglomeration.linkage.tree.into.tolist()
    assert np.allclose(again.linkage.tree.heights, agglomeration.linkage.tree.heights)


@given(stores(), st.data())
def test_cannot_links_added_later_are_the_same_as_added_at_once(
    tracks: TrackTable, data: st.DataObject
) -> None:
    """Constraints may come and go without any track changing."""
    rows = np.arange(len(tracks.vectors))
    dbscan = IncrementalDbscan.empty().insert(tracks.vectors, rows, DENSE)
    agglomeration = Agglomeration.empty(128)
    for _ in range(3):
        some = np.array([data.draw(st.booleans()) for _ in tracks.cannot_link], dtype=np.bool_)
        constrained = replace(tracks, cannot_link=tracks.cannot_link[some])
        agglomeration = agglomeration.update(dbscan, constrained, DENSE, RULE)

    assert partition(fresh(constrained, rows).groups) == partition(agglomeration.groups)


@given(stores())
def test_no_person_is_in_one_frame_twice(tracks: TrackTable) -> None:
    """Tracks with a cannot-link stay separate, unless a user pinned both to one person."""
    groups = fresh(tracks, np.arange(len(tracks.vectors))).groups
    for a, b in tracks.cannot_link:
        assert groups[a] != groups[b] or tracks.pinned[a] == tracks.pinned[b] > 0


@given(stores())
def test_tracks_pinned_to_one_person_are_in_one_group(tracks: TrackTable) -> None:
    """However far apart, and never with tracks pinned to another person."""
    groups = fresh(tracks, np.arange(len(tracks.vectors))).groups
    pinned = np.flatnonzero(tracks.pinned)
    pairs = set(zip(tracks.pinned[pinned].tolist(), groups[pinned].tolist(), strict=True))

    assert len(pairs) == len({person for person, _ in pairs})
    assert len(pairs) == len({group for _, group in pairs})


@given(stores(), st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(tracks: TrackTable, seed: int) -> None:
    """Which video came first does not decide who is who."""
    size = len(tracks.vectors)
    order = np.random.default_rng(seed).permutation(size)
    place = np.argsort(order)
    shuffled = TrackTable(
        tracks.vectors[order],
        tracks.variances[order],
        tracks.pinned[order],
        np.sort(place[tracks.cannot_link], axis=1),
        np.sort(place[tracks.seeds]),
    )
    groups = fresh(shuffled, np.arange(size)).groups[place]

    assert partition(fresh(tracks, np.arange(size)).groups) == partition(groups)


def test_an_old_group_gives_way_where_it_would_have_grown_otherwise() -> None:
    """A newcomer between two lone tracks takes the nearer; the third is left alone."""
    tracks = spots((0.0, 1), (0.5, 1), (-0.2, 1), (-0.62, 1))
    before = fresh(part(tracks, 2), np.arange(2))
    dbscan = IncrementalDbscan.empty().insert(tracks.vectors, np.arange(4), DENSE)
    after = before.update(dbscan, tracks, DENSE, RULE)

    assert {frozenset({0, 1})} == partition(before.groups)
    assert {frozenset({0, 2, 3}), frozenset({1})} == partition(after.groups)


def test_a_cluster_of_two_people_is_split_by_density() -> None:
    """A chain between two people breaks where it is thin, not where it happens to begin."""
    line = np.concatenate([np.linspace(0, 0.2, 20), np.linspace(0.5, 0.7, 20)])
    tracks = spots(*[(place, 1) for place in line])
    tracks = replace(tracks, cannot_link=np.array([[3, 30]]))
    dbscan = IncrementalDbscan.empty().insert(tracks.vectors, np.arange(40), DENSE)
    must_link = must_link_groups(tracks, dbscan, np.arange(40))

    assert {0} == set(dbscan.labels.tolist())
    assert [0] * 20 + [20] * 20 == must_link.tolist()


def test_cannot_links_that_density_cannot_separate_leave_as_single_tracks() -> None:
    """Twins in one frame, closer than any eps: both leave, the rest stays whole."""
    tracks = replace(spots((0.0, 10)), cannot_link=np.array([[2, 7]]))
    dbscan = IncrementalDbscan.empty().insert(tracks.vectors, np.arange(10), DENSE)
    must_link = must_link_groups(tracks, dbscan, np.arange(10))

    assert [0, 0, 2, 0, 0, 0, 0, 7, 0, 0] == must_link.tolist()


def test_long_tracks_are_compared_by_their_faces() -> None:
    """Two means as near as the limit are farther when their faces are spread."""
    tracks = spots((0.0, 1), (0.53, 1))
    variance = replace(tracks, variances=np.array([0.01, 0.01]))

    assert 1 == len(partition(fresh(tracks, np.arange(2)).groups))
    assert 2 == len(partition(fresh(variance, np.arange(2)).groups))


@given(stores())
def test_three_figures_stand_for_all_faces(tracks: TrackTable) -> None:
    """The mean squared distance of two groups, and of what they merge to, from statistics."""
    size = len(tracks.vectors)
    names = np.arange(size) % 3
    state = MergingStatistics.of(
        measure_groups(tracks.vectors, tracks.variances, np.arange(size), names)
    )
    exact = tracks.vectors.astype(np.float64)

    def directly(left: Rows, right: Rows) -> float:
        gaps = exact[left][:, None] - exact[right][None]
        inner = tracks.variances[left].mean() + tracks.variances[right].mean()
        return float((gaps**2).sum(axis=2).mean() + inner)

    if size >= 3:
        members = [np.flatnonzero(names == name) for name in range(3)]
        assert np.isclose(state.distances(np.array([[0, 1]]))[0], directly(*members[:2]))
        state.merge(np.array([0]), np.array([1]))
        merged = np.concatenate(members[:2])
        assert np.isclose(state.distances(np.array([[0, 2]]))[0], directly(merged, members[2]))


def test_two_lone_pictures_are_merged_only_when_close() -> None:
    """One distance is thin evidence; with a third picture beside them it is not."""
    rule = AgglomerationRule(0.54, 0.5, thin_tracks=3)

    def groups(*places: float) -> set[frozenset[int]]:
        tracks = spots(*[(place, 1) for place in places])
        dbscan = IncrementalDbscan.empty().insert(tracks.vectors, np.arange(len(places)), DENSE)
        return partition(Agglomeration.empty(128).update(dbscan, tracks, DENSE, rule).groups)

    assert {frozenset({0}), frozenset({1})} == groups(0.0, 0.52)
    assert {frozenset({0, 1})} == groups(0.0, 0.48)
    assert {frozenset({0, 1, 2})} == groups(0.0, 0.52, 0.02)


@pytest.mark.parametrize("size", [0, 1])
def test_almost_nothing_is_no_trouble(size: int) -> None:
    """A store begins empty."""
    tracks = part(spots((0.0, 1)), size)

    assert [0] * size == fresh(tracks, np.arange(size)).groups.tolist()
