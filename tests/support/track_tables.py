"""Stores of tracks for the tests of grouping."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.model.grouping_rules import AgglomerationRule, DbscanRule

Rows = NDArray[np.int64]

DENSE = DbscanRule(0.36, 3)
RULE = AgglomerationRule(0.54, 0.46, thin_tracks=1)


@st.composite
def stores(draw: st.DrawFn) -> TrackTable:
    """People who are so close that every rule has something to decide."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(1, 40))
    people = draw(st.integers(1, 8))
    # All in a few dimensions, where many distances come near the limit.
    width = draw(st.integers(2, 6))
    centres = random.normal(0, 0.5, (people, width))
    vectors = np.zeros((size, 128), dtype=np.float32)
    vectors[:, :width] = centres[random.integers(0, people, size)]
    vectors[:, :width] += random.normal(0, draw(st.sampled_from([0.1, 0.2])), (size, width))
    pairs = random.integers(0, size, (draw(st.integers(0, 12)), 2))
    pinned = np.where(random.random(size) < 0.1, random.integers(1, 4, size), 0)
    return TrackTable(
        vectors=vectors,
        variances=random.uniform(0, 0.05, size),
        pinned=pinned,
        cannot_link=np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0),
        seeds=np.flatnonzero((pinned > 0) & (random.random(size) < 0.5)),
    )


def part(tracks: TrackTable, size: int, pinned: Rows | None = None) -> TrackTable:
    """The first rows alone."""
    pinned = (tracks.pinned if pinned is None else pinned)[:size]
    seeds = tracks.seeds[tracks.seeds < size]
    return TrackTable(
        tracks.vectors[:size],
        tracks.variances[:size],
        pinned,
        tracks.cannot_link[(tracks.cannot_link < size).all(axis=1)],
        seeds[pinned[seeds] > 0],
    )


def fresh(tracks: TrackTable, rows: Rows) -> Agglomeration:
    dbscan = IncrementalDbscan.empty().insert(tracks.vectors, rows, DENSE)
    return Agglomeration.empty(128).update(dbscan, tracks, DENSE, RULE)


def partition(names: Rows) -> set[frozenset[int]]:
    return {
        frozenset(np.flatnonzero(names == one).tolist()) for one in np.unique(names[names >= 0])
    }


def spots(*places: tuple[float, int]) -> TrackTable:
    """Tracks on a line: position and how many are there."""
    line = np.concatenate([np.full(count, place) for place, count in places])
    vectors = np.zeros((len(line), 128), dtype=np.float32)
    vectors[:, 0] = line
    none = np.empty((0, 2), dtype=np.int64)
    return TrackTable(vectors, np.zeros(len(line)), np.zeros(len(line), np.int64), none)
