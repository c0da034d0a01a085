"""What a loader would drop or misread in the formats that are only written if they are chosen."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.datasets.validate import FormatCheck, check_format
from portraitd.model.dataset_format import Format

VOC = (
    "<annotation><size><width>40</width><height>30</height></size><object><name>ann</name>"
    "<bndbox><xmin>{left}</xmin><ymin>2</ymin><xmax>20</xmax><ymax>9</ymax></bndbox></object>"
    "</annotation>"
)
POSE = "0 0.5 0.5 0.2 0.2" + " 0.4 0.4 2" * 4 + " 0 0 0\n"

PATHS: dict[str, Path] = {
    "voc": Path("voc/VOCdevkit/VOC2012/Annotations/1.xml"),
    "pairs": Path("pairs/pairs.txt"),
    "webdataset": Path("webdataset/train-000000.tar"),
    "captions": Path("captions/train/metadata.jsonl"),
    "yolo_pose": Path("yolo_pose/labels/val/val.txt"),
    "embeddings": Path("embeddings/embeddings.npz"),
}
"""In each format, the file that the tests damage."""


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((30, 40, 3), 90, np.uint8))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def shard(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())


def vectors(path: Path, rows: int = 2, names: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ("split", "recording", "time_s", "box", "quality", "file_stem")
    np.savez(
        path,
        vectors=np.ones((2, 3)),
        class_id=np.array([0, 1]),
        class_names=np.array(["ann", "bob"][:names]),
        **dict.fromkeys(columns, np.zeros(rows)),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small set that is valid in each of these formats."""
    voc = tmp_path / "voc/VOCdevkit/VOC2012"
    picture(voc / "JPEGImages/1.jpg")
    write(tmp_path / PATHS["voc"], VOC.format(left=1))
    for split, stems in (("train", "1\n"), ("val", "")):
        write(voc / f"ImageSets/Main/{split}.txt", stems)
        picture(tmp_path / f"yolo_pose/images/{split}/{split}.jpg")
        write(tmp_path / f"yolo_pose/labels/{split}/{split}.txt", POSE)
    write(
        tmp_path / "yolo_pose/data.yaml",
        'train: images/train\nval: images/val\nkpt_shape: [5, 3]\nnames:\n  0: "face"\n',
    )
    for name in ("ann/ann_0001", "ann/ann_0002", "bob/bob_0001"):
        picture(tmp_path / f"pairs/{name}.jpg")
    write(tmp_path / PATHS["pairs"], "1\nann\t1\t2\nann\t1\tbob\t1\n")
    shard(tmp_path / PATHS["webdataset"], "a.jpg", "a.cls", "a.json")
    picture(tmp_path / "captions/train/ann/1.jpg")
    write(tmp_path / "captions/train/ann/1.txt", "a photo of ann\n")
    write(tmp_path / PATHS["captions"], json.dumps({"file_name": "ann/1.jpg", "text": "x"}))
    vectors(tmp_path / PATHS["embeddings"])
    return tmp_path


def complaints(found: FormatCheck) -> str:
    return " ".join(found.dropped + found.problems)


@pytest.mark.parametrize(
    ("form", "images", "faces"),
    [
        ("voc", 1, 1), ("yolo_pose", 2, 2), ("pairs", 3, 3), ("webdataset", 1, 1),
        ("captions", 1, 1), ("embeddings", 2, 2),
    ],
)  # fmt: skip
def test_a_valid_set_has_no_problem(root: Path, form: Format, images: int, faces: int) -> None:
    """Images and faces are counted."""
    found = check_format(root, form)

    assert found.is_valid, complaints(found)
    assert (images, faces) == (found.images, found.faces)


@pytest.mark.parametrize(
    ("form", "text", "why"),
    [
        ("voc", VOC.format(left=0), "beyond the image"),
        ("voc", VOC.format(left=1).replace("40", "41"), "size of its annotation"),
        ("voc", "<!DOCTYPE x>" + VOC.format(left=1), "document type"),
        ("pairs", "1\nann\t1\t3\nann\t1\tbob\t1\n", "ann_0003.jpg is missing"),
        ("pairs", "2\nann\t1\t2\nann\t1\tbob\t1\n", "2 pairs are announced, but there are 2"),
        ("pairs", "many\n", "cannot be read"),
        ("captions", '{"file_name": "ann/2.jpg", "text": "x"}', "ann/2.jpg is not both"),
        ("yolo_pose", "0 0.5 0.5 0.2 0.2\n", "5 columns instead of 20"),
        ("yolo_pose", POSE.replace("0.4 0.4", "1.4 0.4"), "beyond the image"),
        ("webdataset", "no archive", "cannot be read"),
        ("embeddings", "no archive", "cannot be read"),
    ],
)
def test_what_a_loader_would_misread_is_found(
    root: Path, form: Format, text: str, why: str
) -> None:
    """In the file that describes the pictures."""
    (root / PATHS[form]).write_text(text)

    assert why in complaints(check_format(root, form))


def test_incomplete_samples_and_arrays_are_found(root: Path) -> None:
    """A sample without its class, a picture without its caption, a column that is too short."""
    shard(root / PATHS["webdataset"], "a.jpg", "a.cls", "a.json", "b.jpg", "b.json")
    (root / "captions/train/ann/1.txt").unlink()
    vectors(root / PATHS["embeddings"], rows=1, names=1)

    assert "b.jpg: in train-000000.tar" in complaints(check_format(root, "webdataset"))
    assert "has no caption" in complaints(check_format(root, "captions"))
    said = complaints(check_format(root, "embeddings"))
    assert "time_s does not have 2 rows" in said
    assert "a class has no name" in said
