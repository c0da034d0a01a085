"""The splits as they are shown, and what the user changes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.planner import read_set_faces
from portraitd.datasets.split_overview import (
    SplitOverview,
    make_overview,
    move_recording,
    reset_splits,
)
from portraitd.model.errors import ConfigError
from portraitd.store.database import Database
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.files import Files
from support.dataset_home import ANN, BEA, MakeHome, build_set
from support.home import Home


def open_store(home: Home) -> DatasetStore:
    database = Database.open(home.settings.state_dir)
    return DatasetStore(database, Files(database, home.inbox))


def overview(store: DatasetStore, home: Home) -> SplitOverview:
    found = read_set_faces(store, DatasetRule.of(home.settings.dataset))
    return make_overview(found, home.inbox)


def test_every_recording_and_person_is_shown(copied: MakeHome) -> None:
    """As the set that was built has them."""
    home = copied()
    found = overview(open_store(home), home)

    pictures = (home.settings.dataset_dir / "imagefolder").glob("*/*/*.jpg")
    built = [(path.parent.parent.name, path.parent.name) for path in pictures]
    for person in found.people:
        for split in ("train", "val"):
            assert built.count((split, person.name)) == person.faces[split]
    assert {"stored"} == {one.origin for one in found.recordings}
    assert len(found.recordings) == len({one.sha256 for one in found.recordings}) > 6


def test_a_moved_recording_stays_when_splits_are_rebuilt(copied: MakeHome) -> None:
    """Its pictures are in its split after the next build; auto puts it back."""
    home = copied()
    store = open_store(home)
    before = overview(store, home)
    moved = next(one for one in before.recordings if one.split == "train" and one.faces["train"])
    fingerprint = store.fingerprint()

    said = move_recording(store, moved.name, "val", 5.0)
    assert f"{moved.name} is now in val" in said
    assert fingerprint != store.fingerprint()
    reset_splits(store, 6.0)
    build_set(home)

    now = {one.name: one for one in overview(store, home).recordings}
    assert ("val", "moved") == (now[moved.name].split, now[moved.name].origin)
    assert {"val"} == {
        path.parent.parent.name
        for path in (home.settings.dataset_dir / "imagefolder").glob(f"*/*/{moved.sha256[:12]}*")
    }

    move_recording(store, moved.sha256[:12], "auto", 7.0)
    assert {"moved"}.isdisjoint(one.origin for one in overview(store, home).recordings)


def test_a_test_split_is_in_every_format(copied: MakeHome) -> None:
    """But in no face folders while a person of theirs has no face in it."""
    from portraitd.datasets.validate import check_format

    home = copied()
    store, root = open_store(home), home.settings.dataset_dir
    for one in overview(store, home).recordings:
        if one.split == "train" and len(one.faces) == 1 and "0-" in one.name:
            move_recording(store, one.name, "test", 5.0)
            break
    done = build_set(home)

    assert 1 == done.frames["test"]
    for form in ("yolo", "darknet", "coco", "imagefolder"):
        assert check_format(root, form).is_valid
    assert 1 == len(list((root / "yolo/images/test").iterdir()))
    assert "test: images/test" in (root / "yolo/data.yaml").read_text()
    assert not (root / "imagefolder/test").exists()
    (warning,) = [sentence for sentence in done.warnings if "no test split" in sentence]
    assert f": {BEA}. " in warning
    assert ANN not in warning


def test_reset_splits_forgets_all_but_moves(copied: MakeHome) -> None:
    """The sentence says how many recordings are assigned again."""
    store = open_store(copied())
    recordings = sum(key.startswith("video ") for key in store.splits())

    assert f"assigns {recordings} recordings again" in reset_splits(store, 5.0)
    assert {} == store.splits()


def test_an_unknown_recording_is_an_error(copied: MakeHome) -> None:
    """Nothing is recorded."""
    store = open_store(copied())
    before = store.fingerprint()

    with pytest.raises(ConfigError, match="there is no video 'none"):
        move_recording(store, "none.mp4", "val", 5.0)
    assert before == store.fingerprint()


def test_folds_are_listed(copied: MakeHome) -> None:
    """Ultralytics reads the lists of a fold relative to themselves."""
    home = copied(folds=3, formats=("yolo",))
    build_set(home)
    root = home.settings.dataset_dir / "yolo"

    every = {path.relative_to(root) for path in root.glob("images/*/*.jpg")}
    held = []
    for fold in (1, 2, 3):
        lists = {
            split: (root / f"fold-{fold}-{split}.txt").read_text().splitlines()
            for split in ("train", "val")
        }
        assert every == {Path(line) for lines in lists.values() for line in lines}
        held += lists["val"]
        assert f"val: fold-{fold}-val.txt" in (root / f"fold-{fold}.yaml").read_text()
    assert len(held) == len(set(held))
