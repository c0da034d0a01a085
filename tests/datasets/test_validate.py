"""Finds what a loader would drop or misread, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.datasets.validate import FormatCheck, check_format
from portraitd.media.jpeg import jpeg_problem, jpeg_size

YAML = 'train: images/train\nval: images/val\nnames:\n  0: "ann"\n  1: "bob"\n'


def picture(path: Path, width: int = 40, height: int = 30) -> Path:
    """Write a complete JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small set that is valid in every format."""
    for split in ("train", "val"):
        picture(tmp_path / f"yolo/images/{split}/{split}.jpg")
        label = tmp_path / f"yolo/labels/{split}/{split}.txt"
        label.parent.mkdir(parents=True)
        label.write_text("1 0.5 0.5 0.2 0.2\n")
        for name in ("ann", "bob"):
            picture(tmp_path / f"imagefolder/{split}/{name}/1.jpg")
        picture(tmp_path / f"coco/{split}/1.jpg")
        picture(tmp_path / f"darknet/{split}/1.jpg")
        (tmp_path / f"darknet/{split}/1.txt").write_text("0 0.5 0.5 0.2 0.2\n")
        instances = tmp_path / f"coco/annotations/instances_{split}.json"
        instances.parent.mkdir(exist_ok=True)
        instances.write_text(json.dumps(coco()))
    (tmp_path / "yolo/data.yaml").write_text(YAML)
    (tmp_path / "darknet/backup").mkdir()
    (tmp_path / "darknet/obj.names").write_text("ann\nbob\n")
    (tmp_path / "darknet/train.txt").write_text("train/1.jpg\n")
    (tmp_path / "darknet/valid.txt").write_text("val/1.jpg\n")
    (tmp_path / "darknet/obj.data").write_text(
        "classes = 2\ntrain = train.txt\nvalid = valid.txt\nnames = obj.names\nbackup = backup/\n"
    )
    (tmp_path / "cvat").mkdir()
    (tmp_path / "cvat/clip.xml").write_text(cvat())
    return tmp_path


def coco() -> dict[str, list[dict[str, object]]]:
    box = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 12]}
    return {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 40, "height": 30}],
        "annotations": [{**box, "area": 120, "iscrowd": 0, "segmentation": []}],
        "categories": [{"id": 1, "name": "ann", "supercategory": "face"}],
    }


def cvat(frame: int = 9, right: float = 20, label: str = "ann", outside: str = "0") -> str:
    return (
        "<annotations><version>1.1</version><meta><task><size>10</size><labels><label>"
        "<name>ann</name></label></labels><original_size><width>40</width><height>30</height>"
        f'</original_size></task></meta><track id="0" label="{label}"><box frame="{frame}" '
        f'outside="{outside}" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="{right}" ybr="9"/>'
        "</track></annotations>"
    )


@pytest.mark.parametrize("form", ["yolo", "darknet", "coco", "imagefolder", "cvat"])
def test_a_valid_set_has_no_problem(root: Path, form: str) -> None:
    """Every image is counted."""
    found: FormatCheck = check_format(root, form)  # type: ignore[arg-type]

    assert ([], []) == (found.dropped, found.problems)
    assert {"imagefolder": 4, "cvat": 1}.get(form, 2) == found.images == found.faces


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("1 0.5 0.5 0.2 0.2 0.9\n", "6 columns"),
        ("1 0.5 0.5 0.2\n", "4 columns"),
        ("2 0.5 0.5 0.2 0.2\n", "class 2, but the set has 2 classes"),
        ("-1 0.5 0.5 0.2 0.2\n", "beyond"),
        ("1 1.5 0.5 0.2 0.2\n", "beyond"),
        ("1 0.5 0.5 0 0.2\n", "no width or height"),
    ],
)
def test_invalid_labels_make_ultralytics_drop_an_image(root: Path, label: str, why: str) -> None:
    """One invalid line drops the whole image."""
    (root / "yolo/labels/train/train.txt").write_text("0 0.5 0.5 0.2 0.2\n" + label)

    found = check_format(root, "yolo")

    assert 1 == found.images
    assert why in found.dropped[0]


@pytest.mark.parametrize("content", ["", None])
def test_an_image_without_labels_is_a_background(root: Path, content: str | None) -> None:
    """Its label file may be empty or missing."""
    label = root / "yolo/labels/train/train.txt"
    label.unlink()
    if content is not None:
        label.write_text(content)

    found = check_format(root, "yolo")

    assert (2, 1, 0) == (found.images, found.backgrounds, len(found.dropped))


def test_invalid_images_are_dropped(root: Path) -> None:
    """They are too small, truncated, or not an image."""
    images = root / "yolo/images/train"
    picture(images / "small.jpg", 9, 30)
    whole = picture(images / "cut.jpg").read_bytes()
    (images / "cut.jpg").write_bytes(whole[:-2])
    (images / "text.jpg").write_text("text")

    assert ["cut.jpg: is truncated", "small.jpg: is 9x30 pixels; at least 10 are needed",
            "text.jpg: is not a JPEG"] == check_format(root, "yolo").dropped  # fmt: skip


@pytest.mark.parametrize(
    ("yaml", "why"),
    [
        ("path: /x\n" + YAML, "moved"),
        (YAML.replace("val:", "test:"), "no `val`"),
        (YAML.replace("1:", "2:"), "0, 1, 2"),
    ],
)
def test_a_misleading_data_yaml_is_a_problem(root: Path, yaml: str, why: str) -> None:
    """Each pitfall is reported."""
    (root / "yolo/data.yaml").write_text(yaml)

    assert why in check_format(root, "yolo").problems[0]


def test_an_image_in_both_splits_is_a_leak(root: Path) -> None:
    """It is found by its name."""
    picture(root / "yolo/images/val/train.jpg")

    assert ["train.jpg: is also in train"] == check_format(root, "yolo").dropped


def spoil(root: Path, change: Callable[[dict[str, list[dict[str, object]]]], object]) -> None:
    content = coco()
    change(content)
    (root / "coco/annotations/instances_train.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda c: c["annotations"][0].update(category_id=0), "refers to a missing category"),
        (lambda c: c["annotations"][0].update(bbox=[35, 2, 10, 12]), "beyond"),
        (lambda c: c["annotations"][0].pop("area"), "lacks area"),
        (lambda c: c["images"][0].update(width=41), "does not have the size of its entry"),
        (lambda c: c["images"][0].update(file_name="2.jpg"), "does not exist"),
        (lambda c: c["annotations"].append(c["annotations"][0]), "the same id"),
        (lambda c: c["annotations"][0].update(image_id=9), "refers to a missing image"),
        (lambda c: c["categories"][0].pop("supercategory"), "supercategory"),
    ],
)
def test_invalid_coco_entries_are_found(
    root: Path, change: Callable[[dict[str, list[dict[str, object]]]], object], why: str
) -> None:
    """pycocotools accepts most of them silently."""
    spoil(root, change)
    found = check_format(root, "coco")

    assert why in "; ".join(found.dropped + found.problems)


def test_splits_with_different_classes_are_a_problem(root: Path) -> None:
    """A class in train only shifts the numbers of all that follow in val."""
    picture(root / "imagefolder/train/abe/1.jpg")

    assert "different classes (abe)" in check_format(root, "imagefolder").problems[0]


@pytest.mark.parametrize("stray", ["train/Thumbs.db", "train/ann/classes.txt", "index.json"])
def test_foreign_files_in_a_face_folder_are_a_problem(root: Path, stray: str) -> None:
    """Some loaders read every file as an image or a class."""
    (root / "imagefolder" / stray).write_text("x")

    assert Path(stray).name in check_format(root, "imagefolder").problems[0]


def test_an_empty_folder_stops_torchvision(root: Path) -> None:
    """It is a problem in both splits."""
    for split in ("train", "val"):
        (root / f"imagefolder/{split}/abe").mkdir()

    assert 2 == len(check_format(root, "imagefolder").problems)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (cvat(frame=10), "beyond the video"),
        (cvat(right=41), "beyond the image"),
        (cvat(label="eve"), "undeclared label"),
        (cvat(outside="yes"), "other than 0 or 1"),
        (cvat().replace("1.1", "1.0"), "version 1.1"),
        ("<!DOCTYPE x>" + cvat(), "document type"),
    ],
)
def test_invalid_cvat_files_are_dropped(root: Path, text: str, why: str) -> None:
    """They break the rules of CVAT for videos."""
    (root / "cvat/clip.xml").write_text(text)

    assert why in check_format(root, "cvat").dropped[0]


def test_a_damaged_file_is_reported(root: Path) -> None:
    """This holds for each format."""
    (root / "coco/annotations/instances_val.json").write_text("{")
    (root / "cvat/clip.xml").write_text("<a>")
    (root / "darknet/obj.data").write_text("classes = many\n")

    for form in ("coco", "cvat", "darknet"):
        assert "cannot be read" in check_format(root, form).problems[0]  # type: ignore[arg-type]


def test_a_format_that_was_not_built_is_a_problem(tmp_path: Path) -> None:
    """The message says how to build it."""
    assert "dataset build" in check_format(tmp_path, "yolo").problems[0]


def test_the_size_of_a_jpeg_is_read_without_decoding(tmp_path: Path) -> None:
    """The width comes first."""
    assert (41, 23) == jpeg_size(picture(tmp_path / "a.jpg", 41, 23))
    assert "" == jpeg_problem(tmp_path / "a.jpg", 10)
    assert "does not exist" == jpeg_problem(tmp_path / "b.jpg", 10)
