"""People of very many tracks change at the edges, and keep every constraint."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.group_statistics import measure_groups
from portraitd.clustering.running_sums import LARGE_ROWS
from portraitd.model.grouping_rules import AgglomerationRule
from support.track_tables import DENSE, RULE, part, partition, spots, stores


def test_a_far_change_leaves_groups_as_they_are() -> None:
    """Only what was touched is merged again."""
    tracks = spots((0.0, 4), (0.4, 4), (5.0, 4), (5.4, 4), (5.3, 1))
    dbscan = IncrementalDbscan.empty().insert(tracks.vectors[:16], np.arange(16), DENSE)
    before = Agglomeration.empty(128).update(dbscan, part(tracks, 16), DENSE, RULE)
    dbscan = dbscan.insert(tracks.vectors, np.array([16]), DENSE)
    after = before.update(dbscan, tracks, DENSE, RULE)

    assert before.rebuilt.all()
    assert [False] * 8 + [True] * 9 == after.rebuilt.tolist()


@given(stores(), st.integers(0, 2**32 - 1))
def test_people_of_many_must_link_groups_keep_every_constraint(
    tracks: TrackTable, seed: int
) -> None:
    """Also if a grouping only adds to them; and each must-link group is in one group."""
    rule = AgglomerationRule(0.54, 0.46, large_group=2)
    size = len(tracks.vectors)
    dbscan, agglomeration = IncrementalDbscan.empty(), Agglomeration.empty(128)
    for some in np.array_split(np.random.default_rng(seed).permutation(size), 5):
        dbscan = dbscan.insert(tracks.vectors, some, DENSE)
        agglomeration = agglomeration.update(dbscan, tracks, DENSE, rule)
    groups = agglomeration.groups

    for a, b in tracks.cannot_link:
        assert groups[a] != groups[b] or tracks.pinned[a] == tracks.pinned[b] > 0
    for owner in set(tracks.pinned.tolist()) - {0}:
        assert 1 == len(set(groups[tracks.pinned == owner].tolist()))
    assert (groups >= 0).all()
    assert len(set(zip(agglomeration.must_link, groups, strict=True))) == len(
        set(agglomeration.must_link)
    )


def test_a_large_person_is_merged_again_after_a_tenth() -> None:
    """Until then new tracks are added and the old are left alone."""
    random = np.random.default_rng(3)
    vectors = np.zeros((260, 128), dtype=np.float32)
    # Too sparse for DBSCAN, near enough for linkage: every track is a must-link group.
    vectors[:] = random.normal(0, 0.032, vectors.shape)
    none = np.empty((0, 2), dtype=np.int64)
    tracks = TrackTable(vectors, np.zeros(260), np.zeros(260, np.int64), none)
    rule = AgglomerationRule(0.65, 0.46, large_group=50)
    dbscan = IncrementalDbscan.empty().insert(vectors, np.arange(200), DENSE)
    first = Agglomeration.empty(128).update(dbscan, tracks, DENSE, rule)
    dbscan = dbscan.insert(vectors, np.arange(200, 210), DENSE)
    second = first.update(dbscan, tracks, DENSE, rule)
    dbscan = dbscan.insert(vectors, np.arange(210, 260), DENSE)
    third = second.update(dbscan, tracks, DENSE, rule)
    fourth = third.update(dbscan, tracks, DENSE, rule)

    def heights_known(agglomeration: Agglomeration) -> int:
        return int(np.count_nonzero(agglomeration.linkage.tree.heights >= 0))

    assert 1 == len(partition(first.groups)) == len(partition(fourth.groups))
    assert [200, 11] == [heights_known(first), heights_known(second)]
    assert 260 == heights_known(fourth)
    again = Agglomeration.empty(128).update(dbscan, tracks, DENSE, rule)
    assert again.linkage.tree.into.tolist() == fourth.linkage.tree.into.tolist()


def test_a_new_cannot_link_splits_a_large_person() -> None:
    """The new track is in a must-link group of the person, and was seen beside another track."""
    random = np.random.default_rng(3)
    vectors = np.zeros((211, 128), dtype=np.float32)
    vectors[:200] = random.normal(0, 0.032, (200, 128))
    # Known before the track takes part, so that no constraint is new when it does.
    cannot_link = np.array([[17, 210]])
    tracks = TrackTable(vectors, np.zeros(211), np.zeros(211, np.int64), cannot_link)
    rule = AgglomerationRule(0.65, 0.46, large_group=50)
    dbscan = IncrementalDbscan.empty().insert(vectors, np.arange(210), DENSE)
    first = Agglomeration.empty(128).update(dbscan, tracks, DENSE, rule)
    dbscan = dbscan.insert(vectors, np.array([210]), DENSE)
    second = first.update(dbscan, tracks, DENSE, rule)

    assert 1 == len(partition(first.groups))
    assert second.must_link[210] == second.must_link[209]
    assert second.groups[17] != second.groups[210]


def test_running_sums_agree_with_sums_from_scratch() -> None:
    """A person of thousands of tracks is measured by what came and went."""
    random = np.random.default_rng(11)
    size = 24 * LARGE_ROWS
    vectors = np.zeros((size, 128), dtype=np.float32)
    vectors[:] = 0.12 + random.normal(0, 0.02, (size, 128))
    none = np.empty((0, 2), dtype=np.int64)
    tracks = TrackTable(vectors, random.uniform(0, 0.02, size), np.zeros(size, np.int64), none)
    dbscan, agglomeration = IncrementalDbscan.empty(), Agglomeration.empty(128)
    coming = np.split(np.arange(size), [1500, 2500])
    # Not the lowest, after which the must-link group is named.
    going = np.split(np.arange(100, 1000), [0, 2])
    for new, old in zip(coming, going, strict=True):
        dbscan = dbscan.insert(vectors, new, DENSE).remove(vectors, old, DENSE)
        agglomeration = agglomeration.update(dbscan, tracks, DENSE, RULE)
    again = Agglomeration.empty(128).update(dbscan, tracks, DENSE, RULE)

    assert [size - 900] == agglomeration.running_sums.counts.tolist()
    assert np.allclose(
        again.linkage.statistics.means, agglomeration.linkage.statistics.means, atol=1e-7
    )
    assert np.allclose(
        again.linkage.statistics.variances, agglomeration.linkage.statistics.variances
    )
    left = np.delete(np.arange(size), np.arange(100, 1000))
    small = measure_groups(vectors, tracks.variances, left, np.zeros(size - 900, np.int64))
    assert np.allclose(small.means[0], agglomeration.running_sums.sums[0] / (size - 900), atol=1e-4)
