"""Frozen versions: they stay as they are, and say what they hold; only an erasure changes them."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.frozen_sets import (
    FROZEN_NAME,
    compare_sets,
    find_changed,
    find_frozen,
    freeze_set,
    list_frozen,
    read_current,
)
from portraitd.datasets.set_erasure import erase_sets
from portraitd.model.errors import ConfigError, PublishError
from support.dataset_home import ANN, MakeHome, ann, build_set, move_to_val, name
from support.home import Home


@pytest.fixture
def home(copied: MakeHome) -> Home:
    """A home with a set whose files have the times that its manifest lists."""
    formats = ("yolo", "coco", "imagefolder", "chips150", "embeddings", "webdataset")
    home = copied(formats=formats)
    build_set(home)
    freeze(home, "v1")
    return home


def freeze(home: Home, version: str) -> None:
    freeze_set(
        home.settings.dataset_dir, version, DatasetRule.of(home.settings.dataset), {"Made": "here"}
    )


def test_a_version_outlives_the_next_builds(home: Home) -> None:
    """Its files have the hashes that it lists, for every program."""
    root = home.settings.dataset_dir
    name(home, ann(home), "Zoë")
    build_set(home)
    with next(root.glob("coco/train/*.jpg")).open("ab") as picture:
        picture.write(b"changed in place")

    (version,) = list_frozen(root)
    assert version.is_whole
    assert [] == list(find_changed(root, version))
    place = root / FROZEN_NAME / "v1"
    checked = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=place, check=False)
    assert 0 == checked.returncode
    sheet = (place / "DATASHEET.md").read_text()
    assert f"People: {ANN}, " in sheet
    assert "- Made: here." in sheet
    assert "`dataset.val_share` = 0.2" in sheet


def test_a_changed_file_is_found(home: Home) -> None:
    """Also one that is missing."""
    root = home.settings.dataset_dir
    place = root / FROZEN_NAME / "v1"
    (place / "yolo/data.yaml").unlink()
    label = next(place.glob("coco/annotations/instances_val.json"))
    label.chmod(0o600)
    label.write_text("{}")

    found = find_changed(root, find_frozen(root, "v1"))
    assert {"yolo/data.yaml", "coco/annotations/instances_val.json"} == set(found)


def test_a_comparison_says_what_moved(home: Home) -> None:
    """And which class has another name, and which setting another value."""
    root = home.settings.dataset_dir
    moved = {path.name[:12] for path in root.glob("imagefolder/train/*/*.jpg")}.pop()
    move_to_val(home, moved)
    name(home, ann(home), "Zoë")
    build_set(home)
    rule = DatasetRule.of(home.settings.dataset)

    current = read_current(root, rule._replace(folds=5))
    found = compare_sets(find_frozen(root, "v1"), current)

    assert {"folds": (0, 5)} == found.settings
    assert [(ANN, "Zoë")] == found.renamed_classes
    assert ([], []) == (found.added_classes, found.removed_classes)
    assert found.moved[("train", "val")] > 0
    assert found.common > found.removed
    counted = Counter(current.summary["frames"]) + Counter(current.summary["faces"])
    assert found.common + found.added == counted.total()


def test_an_erasure_reaches_versions(home: Home, tmp_path: Path) -> None:
    """Of a version, what shows or lists the erased face goes, and this is said."""
    root = home.settings.dataset_dir
    place = root / FROZEN_NAME / "v1"
    stem = next(place.glob("coco/train/*.jpg")).stem
    others = {path for path in place.rglob("*.jpg") if path.stem[:12] != stem[:12]}
    shown = {path for path in others if path.parts[-3] in ("imagefolder", "coco", "chips150")}

    erase_sets(home.settings.state_dir, root, [stem])

    assert not [path for path in place.rglob("*") if stem in path.name]
    assert not (place / "SHA256SUMS").exists()
    assert not list(place.rglob("*.npz")) + list(place.rglob("*.tar"))
    assert all(path.exists() for path in shown)
    (version,) = list_frozen(root)
    assert not version.is_whole


def test_what_cannot_be_frozen_is_an_error(home: Home) -> None:
    """A name that is taken or none, other settings, and a set with a changed file."""
    root, rule = home.settings.dataset_dir, DatasetRule.of(home.settings.dataset)
    for version in ("v1", "../v2", "", ".v2"):
        with pytest.raises(ConfigError):
            freeze(home, version)
    with pytest.raises(ConfigError, match="other settings"):
        freeze_set(root, "v2", rule._replace(folds=3), {})
    next(root.glob("yolo/labels/train/*.txt")).write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(PublishError, match="was changed"):
        freeze(home, "v2")
    assert ["v1"] == [one.name for one in list_frozen(root)]
    with pytest.raises(ConfigError, match="no version 'v3'"):
        find_frozen(root, "v3")
