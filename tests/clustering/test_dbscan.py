"""Incremental DBSCAN gives what a fresh run gives, whatever came and went before."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.dbscan_removal import find_connected_parts, split_component
from portraitd.clustering.graph_components import connected_components
from portraitd.clustering.neighbours import find_neighbours, squared_distances
from portraitd.model.grouping_rules import DbscanRule

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@st.composite
def lattices(draw: st.DrawFn) -> tuple[Floats, DbscanRule]:
    """Points on a grid whose step divides eps, so ties at eps and duplicates abound."""
    size = draw(st.integers(1, 45))
    reach = draw(st.integers(1, 7))
    cells = draw(st.lists(st.tuples(*[st.integers(0, reach)] * 3), min_size=size, max_size=size))
    # A far corner makes the products lose digits, so that only the exact check can tell ties.
    corner = draw(st.sampled_from([0.0, 1000.0]))
    points = np.zeros((size, 128), dtype=np.float32)
    points[:, :3] = np.array(cells) * 0.25 + corner
    # The float above the root of 3: the square of the root itself rounds to less than 3, and
    # scikit-learn then decides by the place of the points in its tree.
    steps = draw(st.sampled_from([1.0, 2**0.5, math.nextafter(3**0.5, 2.0), 2.0]))
    return points, DbscanRule(0.25 * steps, draw(st.integers(1, 5)))


@st.composite
def clouds(draw: st.DrawFn) -> tuple[Floats, DbscanRule]:
    """A few bunches in 128 dimensions, with bridges between them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centres = random.normal(0, 0.03, (draw(st.integers(1, 4)), 128))
    size = draw(st.integers(1, 60))
    points = centres[random.integers(0, len(centres), size)] + random.normal(0, 0.02, (size, 128))
    return points.astype(np.float32), DbscanRule(0.33, draw(st.integers(1, 5)))


@st.composite
def histories(draw: st.DrawFn, size: int) -> list[tuple[str, Rows]]:
    """Inserts and removals in any order and any portions, appending rows as they come."""
    order = draw(st.permutations(range(size)))
    steps: list[tuple[str, Rows]] = []
    inside: set[int] = set()
    for _ in range(draw(st.integers(1, 8))):
        outside = [row for row in order if row not in inside]
        present = [row for row in order if row in inside]
        if outside and (not present or draw(st.booleans())):
            portion = outside[: draw(st.integers(1, len(outside)))]
            inside.update(portion)
            steps.append(("insert", np.array(portion)))
        else:
            portion = present[: draw(st.integers(1, len(present)))]
            inside.difference_update(portion)
            steps.append(("remove", np.array(portion)))
    return steps


def replay(points: Floats, rule: DbscanRule, steps: list[tuple[str, Rows]]) -> IncrementalDbscan:
    """Carry the steps out, handing over no more rows than have been needed so far."""
    result, seen = IncrementalDbscan.empty(), 0
    for what, rows in steps:
        seen = max(seen, int(rows.max()) + 1)
        change = result.insert if what == "insert" else result.remove
        result = change(points[:seen], rows, rule)
    return result


def partition(labels: Rows) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == one).tolist()) for one in np.unique(labels)}


def assert_as_fresh(result: IncrementalDbscan, points: Floats, rule: DbscanRule) -> None:
    rows = np.flatnonzero(result.included)
    labels = result.labels
    assert (labels[~result.included] == -1).all()
    if not len(rows):
        return
    exact = points[rows].astype(np.float64)
    fresh = DBSCAN(eps=rule.eps, min_samples=rule.min_samples, algorithm="kd_tree").fit(exact)
    core = fresh.core_sample_indices_

    assert rows[core].tolist() == np.flatnonzero(result.components >= 0).tolist()
    assert partition(fresh.labels_[core]) == partition(labels[rows][core])
    for at, row in enumerate(rows):
        if at in set(core.tolist()):
            assert (
                result.components[row] == rows[core][fresh.labels_[core] == fresh.labels_[at]].min()
            )
            continue
        squared = ((exact[core] - exact[at]) ** 2).sum(axis=1)
        within = len(core) > 0 and squared.min() <= rule.eps**2
        assert (fresh.labels_[at] >= 0) == within
        assert labels[row] == (labels[rows[core[squared.argmin()]]] if within else -1)


@given(st.one_of(lattices(), clouds()), st.data())
def test_any_history_gives_what_scikit_learn_gives(
    case: tuple[Floats, DbscanRule], data: st.DataObject
) -> None:
    """Cores, their partition, borders at the nearest core: equal, with ties and duplicates."""
    points, rule = case
    steps = data.draw(histories(len(points)))

    assert_as_fresh(replay(points, rule, steps), points, rule)


@given(st.one_of(lattices(), clouds()), st.data())
def test_the_state_does_not_depend_on_the_order(
    case: tuple[Floats, DbscanRule], data: st.DataObject
) -> None:
    """What is remembered is a function of who takes part, not of how they came to."""
    points, rule = case
    steps = data.draw(histories(len(points)))
    result = replay(points, rule, steps)
    at_once = IncrementalDbscan.empty().insert(points, np.flatnonzero(result.included), rule)

    assert np.array_equal(at_once.counts[: len(result.counts)], result.counts)
    assert np.array_equal(at_once.components[: len(result.counts)], result.components)
    assert np.array_equal(at_once.nearest_cores[: len(result.counts)], result.nearest_cores)


def test_more_rows_than_a_chunk_are_taken_in_portions() -> None:
    """Several chunks of inserts and removals, in more blocks than one, change nothing."""
    random = np.random.default_rng(7)
    centres = random.normal(0, 0.04, (40, 128))
    spread = random.normal(0, 0.024, (6000, 128))
    points = (centres[random.integers(0, 40, 6000)] + spread).astype(np.float32)
    rule = DbscanRule(0.36, 4)
    result = IncrementalDbscan.empty().insert(points, np.arange(6000), rule)
    result = result.remove(points, np.arange(0, 6000, 2), rule)

    assert len(np.unique(result.labels)) > 10
    assert_as_fresh(result, points, rule)


def border_between(left: float, right: float) -> tuple[Floats, DbscanRule]:
    """Two bunches of four, and last a point with so few neighbours that it is no core."""
    points = np.zeros((9, 128), dtype=np.float32)
    points[:8, 0] = [left - 0.25, left - 0.25, left - 0.25, left] + [right + 0.25] * 3 + [right]
    return points, DbscanRule(0.5, 4)


def test_a_border_point_goes_to_the_nearest_core() -> None:
    """Whichever cluster was there first, and the lowest row where both are equally near."""
    for left, right, label in [(-0.5, 0.5, 0), (-0.375, 0.5, 0), (-0.5, 0.375, 4)]:
        points, rule = border_between(left, right)
        for order in ([0, 1, 2, 3, 8, 4, 5, 6, 7], [4, 5, 6, 7, 8, 0, 1, 2, 3], list(range(9))):
            result = IncrementalDbscan.empty()
            for row in order:
                result = result.insert(points, np.array([row]), rule)

            assert [0] * 4 + [4] * 4 + [label] == result.labels.tolist()
            assert (3 if label == 0 else 7) == result.nearest_cores[8]


def test_a_chain_breaks_where_its_middle_is_removed() -> None:
    """A split is seen although each half is long and its ends are far from the break."""
    points = np.zeros((3000, 128), dtype=np.float32)
    points[:, 0] = np.arange(3000) * 0.25
    rule = DbscanRule(0.25, 2)
    whole = IncrementalDbscan.empty().insert(points, np.arange(3000), rule)
    split = whole.remove(points, np.array([1000]), rule)
    rejoined = split.insert(points, np.array([1000]), rule)

    assert {0} == set(whole.labels.tolist())
    assert [0] * 1000 + [-1] + [1001] * 1999 == split.labels.tolist()
    assert np.array_equal(whole.labels, rejoined.labels)


def test_a_ring_survives_one_break_and_not_two() -> None:
    """Survivors that meet behind the break are one cluster still."""
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    points = np.zeros((400, 128), dtype=np.float32)
    points[:, 0], points[:, 1] = 10 * np.cos(angles), 10 * np.sin(angles)
    rule = DbscanRule(0.2, 2)
    ring = IncrementalDbscan.empty().insert(points, np.arange(400), rule)
    once = ring.remove(points, np.array([7]), rule)
    twice = once.remove(points, np.array([200]), rule)

    assert 1 == len(set(once.labels[once.included].tolist()))
    assert 2 == len(set(twice.labels[twice.included].tolist()))


@given(lattices(), st.data())
def test_broken_parts_are_the_connected_parts(
    case: tuple[Floats, DbscanRule], data: st.DataObject
) -> None:
    """Looking beside the gaps finds what walking everywhere finds."""
    points, rule = case
    limit = rule.eps**2
    component = find_connected_parts(points, np.arange(len(points)), limit)[0]
    lost = np.unique(data.draw(st.lists(st.sampled_from(component.tolist()), min_size=1)))
    pool = np.setdiff1d(component, lost)

    parts = {frozenset(part.tolist()) for part in split_component(points, pool, lost, limit)}

    assert {frozenset(part.tolist()) for part in find_connected_parts(points, pool, limit)} == parts


@given(clouds(), st.floats(0.0, 0.5), st.integers(0, 2**32 - 1))
def test_near_finds_what_subtraction_finds(
    case: tuple[Floats, DbscanRule], limit: float, seed: int
) -> None:
    """With offsets and rows left out, no pair is missed and none is invented."""
    points, _ = case
    random = np.random.default_rng(seed)
    offsets = random.uniform(0, 0.2, len(points))
    offsets[random.random(len(points)) < 0.2] = np.inf
    own = random.uniform(0, 0.2, len(points))
    found = {
        (int(i), int(j))
        for pairs in find_neighbours(points, points, limit, own, offsets)
        for i, j in zip(*pairs, strict=True)
    }
    every = np.stack(np.meshgrid(range(len(points)), range(len(points))), axis=-1).reshape(-1, 2)
    exact = squared_distances(points, every[:, 0], points, every[:, 1])
    close = exact + own[every[:, 0]] + offsets[every[:, 1]] <= limit

    assert {(int(i), int(j)) for i, j in every[close]} == found


def test_a_memory_mapped_array_will_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The matrix may lie in a file, opened for reading only."""
    path = tmp_path_factory.mktemp("matrix") / "vectors"
    points = np.random.default_rng(1).normal(0, 0.02, (50, 128)).astype(np.float32)
    points.tofile(path)
    mapped = np.memmap(path, dtype=np.float32, mode="r", shape=(50, 128))
    rule = DbscanRule(0.33, 3)

    assert_as_fresh(IncrementalDbscan.empty().insert(mapped, np.arange(50), rule), points, rule)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60))
def test_connected_names_the_lowest_node_reached(edges: list[tuple[int, int]]) -> None:
    """A closure computed step by step agrees."""
    names = list(range(31))
    for _ in range(31):
        for a, b in edges:
            names[a] = names[b] = min(names[a], names[b])

    assert (
        names == connected_components(np.array(edges, dtype=np.int64).reshape(-1, 2), 31).tolist()
    )


def test_misuse_is_refused() -> None:
    """Rows go in once, come out once, and exist; rules are positive."""
    points = np.zeros((3, 128), dtype=np.float32)
    rule = DbscanRule(0.36, 2)
    two = IncrementalDbscan.empty().insert(points, np.array([0, 1]), rule)

    for change, row in [(two.insert, 1), (two.insert, 3), (two.remove, 2), (two.remove, -1)]:
        with pytest.raises(ValueError, match="only"):
            change(points, np.array([row]), rule)
    with pytest.raises(ValueError, match="appended"):
        two.insert(points[:1], np.array([0]), rule)
    with pytest.raises(ValueError, match="positive"):
        DbscanRule(0.0, 2)


def test_no_rows_are_no_change() -> None:
    """Inserting and removing nothing is allowed, also into nothing."""
    none = np.empty(0, dtype=np.int64)
    rule = DbscanRule(0.36, 2)
    points = np.empty((0, 128), dtype=np.float32)

    assert 0 == len(
        IncrementalDbscan.empty().insert(points, none, rule).remove(points, none, rule).labels
    )
