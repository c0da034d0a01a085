"""What a grouping remembers is read back as it was written, or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.grouping import GroupingState, to_arrays
from portraitd.clustering.grouping_snapshot import (
    delete_other_snapshots,
    finish_snapshot,
    load_snapshot,
    make_snapshot_path,
    save_snapshot,
)
from support.embedding_rules import DLIB_RULES

RULE = DLIB_RULES.grouping


def tracks(size: int = 40) -> TrackTable:
    """Some people, some of them seen side by side."""
    random = np.random.default_rng(7)
    centres = random.normal(0, 0.12, (5, 128))
    vectors = centres[np.arange(size) % 5] + random.normal(0, 0.02, (size, 128))
    return TrackTable(
        vectors.astype(np.float32),
        random.uniform(0, 0.01, size),
        np.zeros(size, np.int64),
        np.array([(0, 1), (2, 8)]),
    )


def update(before: GroupingState, size: int = 40) -> GroupingState:
    faces, excluded = np.ones(size, np.int64), np.zeros(size, np.bool_)
    return before.update(tracks(size), np.linspace(0.1, 1.0, size), faces, excluded, RULE)


def values(grouping: GroupingState) -> dict[str, tuple[str, list[object]]]:
    return {name: (str(one.dtype), one.tolist()) for name, one in to_arrays(grouping).items()}


def groups(grouping: GroupingState, size: int = 40) -> list[int]:
    found: list[int] = grouping.select_people(np.ones(size, np.int64), RULE).tolist()
    return found


def save(folder: Path, state: GroupingState) -> Path:
    """Save a grouping as a worker and then the service do."""
    path = make_snapshot_path(folder)
    save_snapshot(path, state)
    assert finish_snapshot(path)
    return path


def test_a_state_is_restored_unchanged(tmp_path: Path) -> None:
    """To the last bit, also of nothing."""
    for grouping in (GroupingState.empty(128), update(GroupingState.empty(128))):
        path = save(tmp_path, grouping)

        assert values(grouping) == values(load_snapshot(path, 128))


def test_a_snapshot_continues_the_grouping(tmp_path: Path) -> None:
    """A restart between two groupings makes no difference."""
    first = update(GroupingState.empty(128), 25)
    read = load_snapshot(save(tmp_path, first), 128)

    assert groups(update(first)) == groups(update(read))
    assert groups(update(GroupingState.empty(128))) == groups(update(read))


def test_without_a_snapshot_grouping_starts_from_scratch(tmp_path: Path) -> None:
    """No name, or a name of nothing."""
    assert values(GroupingState.empty(128)) == values(load_snapshot(None, 128))
    assert values(GroupingState.empty(128)) == values(
        load_snapshot(tmp_path / "grouping-missing.npz", 128)
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snapshot")
    return save(folder, update(GroupingState.empty(128)))


@pytest.mark.parametrize("size", [0, 1, 2, 30, 1000, -1, -30])
def test_a_truncated_snapshot_starts_from_scratch(tmp_path: Path, whole: Path, size: int) -> None:
    """However much of it is left; the people are the same."""
    (tmp_path / whole.name).write_bytes(whole.read_bytes()[:size])

    read = load_snapshot(tmp_path / whole.name, 128)

    assert values(GroupingState.empty(128)) == values(read)
    assert groups(load_snapshot(whole, 128)) == groups(update(read))


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_snapshot_is_never_used(
    tmp_path_factory: pytest.TempPathFactory, whole: Path, data: st.DataObject
) -> None:
    """Whatever byte has changed: it is read as it was, or it is as if there were none."""
    content = bytearray(whole.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / whole.name).write_bytes(content)

    read = values(load_snapshot(folder / whole.name, 128))

    expected = (
        values(GroupingState.empty(128)),
        values(load_snapshot(whole, 128)),
    )
    assert read in expected


def test_a_snapshot_of_another_version_starts_from_scratch(tmp_path: Path, whole: Path) -> None:
    """One that lacks an array that is needed now."""
    name = whole.name
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / name, "w") as new:
        for entry in old.namelist()[1:]:
            new.writestr(entry, old.read(entry))

    assert values(GroupingState.empty(128)) == values(load_snapshot(tmp_path / name, 128))


def test_a_snapshot_of_version_0_2_keeps_the_clusters(tmp_path: Path, whole: Path) -> None:
    """It has neither offers nor near pairs; its low-quality tracks are assigned again."""
    name = whole.name
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / name, "w") as new:
        for entry in old.namelist():
            if not entry.startswith(("assignment.offers.", "near_pairs.")):
                new.writestr(entry, old.read(entry))
    read = load_snapshot(tmp_path / name, 128)

    assert len(read.dbscan.counts) == 40
    assert not len(read.assignment.groups)
    assert values(update(load_snapshot(whole, 128))) == values(update(read))


def test_all_other_snapshots_are_deleted(tmp_path: Path) -> None:
    """Those half written too; no other file is touched."""
    kept = save(tmp_path, GroupingState.empty(128)).name
    save(tmp_path, GroupingState.empty(128))
    save_snapshot(make_snapshot_path(tmp_path), GroupingState.empty(128))
    (tmp_path / ".grouping-half.npz").write_bytes(b"half")
    (tmp_path / "tracks.f32").write_bytes(b"")

    delete_other_snapshots(tmp_path, kept)

    assert {kept, "tracks.f32"} == {path.name for path in tmp_path.iterdir()}
    delete_other_snapshots(tmp_path, "")
    assert {"tracks.f32"} == {path.name for path in tmp_path.iterdir()}


def test_a_snapshot_is_complete_or_missing(tmp_path: Path) -> None:
    """Each has a name of its own once it is finished, and nothing is left beside it."""
    paths = {save(tmp_path, GroupingState.empty(128)) for _ in range(3)}

    assert paths == set(tmp_path.iterdir())
    assert 3 == len(paths)
    assert not finish_snapshot(make_snapshot_path(tmp_path))
