"""A whole set from real images: its content, and that it loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.output import lock_set
from portraitd.datasets.planner import plan_from_store
from portraitd.datasets.validate import check_format
from portraitd.datasets.writer import WriteRequest, write_dataset
from portraitd.media.jpeg import jpeg_size
from portraitd.service.pools import assembling_policy
from portraitd.workers import sandbox
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerLimits
from support.dataset_home import (
    ANN,
    BEA,
    FORMATS,
    UNKNOWN,
    BuiltHome,
    MakeHome,
    build_set,
    file_stats,
    labels,
    opened_sets,
)
from support.dataset_loaders import load_set

# --- Content.


def test_every_format_is_valid(built: BuiltHome) -> None:
    """No image would be dropped, and no format is empty."""
    for form in FORMATS:
        found = check_format(built.root, form)

        assert found.is_valid, (found.dropped, found.problems)
        assert found.images > 0, form
        assert found.faces > 0, form


def test_the_formats_have_the_same_annotations(built: BuiltHome) -> None:
    """They have the same images with the same boxes in the same splits."""
    for split in ("train", "val"):
        coco = json.loads((built.root / f"coco/annotations/instances_{split}.json").read_text())
        yolo = {path.stem for path in built.root.glob(f"yolo/images/{split}/*.jpg")}
        folder = {"train": "obj_train_data", "val": "obj_valid_data"}[split]
        darknet = {path.stem for path in built.root.glob(f"darknet/{folder}/*.jpg")}

        assert yolo == darknet == {Path(one["file_name"]).stem for one in coco["images"]}
        of_image: dict[str, list[list[float]]] = {stem: [] for stem in yolo}
        size = {one["id"]: one for one in coco["images"]}
        for one in coco["annotations"]:
            image = size[one["image_id"]]
            x, y, width, height = one["bbox"]
            of_image[Path(image["file_name"]).stem].append(
                [
                    one["category_id"] - 1,
                    (x + width / 2) / image["width"],
                    (y + height / 2) / image["height"],
                    width / image["width"],
                    height / image["height"],
                ]
            )
        for stem, lines in of_image.items():
            assert np.allclose(sorted(lines), sorted(labels(built.root)[stem]), atol=1e-5)
            label = f"yolo/labels/{split}/{stem}.txt"
            assert (built.root / label).read_bytes() == (
                built.root / f"darknet/{folder}/{stem}.txt"
            ).read_bytes()


def test_boxes_match_faces(built: BuiltHome) -> None:
    """An independent detector finds a face in most boxes."""
    import dlib

    detector = dlib.get_frontal_face_detector()
    hits = []
    for stem, lines in labels(built.root).items():
        image = cv2.imread(str(next(built.root.glob(f"yolo/images/*/{stem}.jpg"))))
        assert image is not None
        height, width = image.shape[:2]
        middles = [((f.left() + f.right()) / 2, (f.top() + f.bottom()) / 2)
                   for f in detector(image[:, :, ::-1].copy(), 0)]  # fmt: skip
        for number, x, y, across, down in lines:
            if number == UNKNOWN:
                continue
            hits.append(
                any(
                    abs(mx / width - x) < across / 2 and abs(my / height - y) < down / 2
                    for mx, my in middles
                )
            )

    assert len(hits) >= 12
    assert sum(hits) >= 0.9 * len(hits)


def test_no_recording_is_in_both_splits(built: BuiltHome) -> None:
    """The first part of a stem identifies the recording."""
    splits = {
        split: {path.stem.split("-")[0] for path in built.root.glob(f"imagefolder/{split}/*/*.jpg")}
        for split in ("train", "val")
    }

    assert not splits["train"] & splits["val"]
    assert splits["train"]
    assert splits["val"]


def test_frames_without_a_face_are_backgrounds(copied: MakeHome) -> None:
    """They come from the clip without people and have an empty label."""
    home = copied(background_share=0.2)
    done = build_set(home)
    sha256 = next(r["sha256"] for r in home.rows("videos") if r["width_px"] == 64)
    stems = [path.stem for path in home.settings.dataset_dir.glob("yolo/images/*/*.jpg")]
    empty = [stem for stem, lines in labels(home.settings.dataset_dir).items() if not lines]

    assert sum(done.backgrounds.values()) == len(empty) > 0
    assert {sha256[:12]} == {stem.split("-")[0] for stem in empty}
    assert set(empty) <= set(stems)


def test_class_folders_have_the_names_of_people(built: BuiltHome) -> None:
    """They are the same in train, val and the class index."""
    for form in ("imagefolder", "chips150", "chips112"):
        for split in ("train", "val"):
            folders = sorted(path.name for path in (built.root / form / split).iterdir())
            assert [ANN, BEA] == folders
    index = json.loads((built.root / "class_index.json").read_text())

    assert [(0, ANN, 1, 0), (1, BEA, 2, 1)] == [
        (one["class"], one["name"], one["coco_category"], one["imagefolder_index"])
        for one in index[:2]
    ]


def test_chips_have_the_size_of_their_name(built: BuiltHome) -> None:
    """A detector finds one face in most of them."""
    import dlib

    detector = dlib.get_frontal_face_detector()
    for size in (150, 112):
        chips = list(built.root.glob(f"chips{size}/*/*/*.jpg"))
        assert {(size, size)} == {jpeg_size(chip) for chip in chips}
        found = [len(detector(cv2.imread(str(chip)), 1)) for chip in chips]
        assert sum(count == 1 for count in found) >= 0.8 * len(found)


def test_the_report_shows_every_person(built: BuiltHome) -> None:
    """It is a page without external resources, and a PNG for each person."""
    page = (built.root / "report" / "index.html").read_text()

    assert ANN in page
    assert "Béa (née X)" in page
    assert "http" not in page
    assert [f"0000-{ANN}.png", f"0001-{BEA}.png"] == sorted(
        path.name for path in built.root.glob("report/*.png")
    )
    sheet = cv2.imread(str(next(built.root.glob("report/0000*.png"))))
    assert sheet is not None
    assert sheet.shape[0] > 100


# --- Unknown faces.


def test_unknown_faces_have_their_own_class(built: BuiltHome) -> None:
    """They are in frames of named people, and have no face folder."""
    found = [line for lines in labels(built.root).values() for line in lines]

    assert 0 < sum(line[0] == UNKNOWN for line in found) < len(found) / 2
    assert not list(built.root.glob("imagefolder/*/unknown"))


def test_unknown_faces_can_be_blurred(built: BuiltHome, copied: MakeHome) -> None:
    """They are blurred in every frame, and nothing else changes."""
    home = copied(unknown="blur")
    build_set(home)
    root = home.settings.dataset_dir
    with_unknown = {
        stem: [line for line in lines if line[0] == UNKNOWN]
        for stem, lines in labels(built.root).items()
        if any(line[0] == UNKNOWN for line in lines)
    }
    assert with_unknown

    assert labels(built.root).keys() == labels(root).keys()
    assert not [line for lines in labels(root).values() for line in lines if line[0] == UNKNOWN]
    for stem in labels(root):
        before = cv2.imread(str(next(built.root.glob(f"coco/*/{stem}.jpg"))))
        after = cv2.imread(str(next(root.glob(f"coco/*/{stem}.jpg"))))
        assert before is not None
        assert after is not None
        if stem not in with_unknown:
            assert np.array_equal(before, after)
        for _, x, y, across, down in with_unknown.get(stem, []):
            height, width = before.shape[:2]
            top, bottom = round((y - down / 2) * height), round((y + down / 2) * height)
            left, right = round((x - across / 2) * width), round((x + across / 2) * width)
            sharp, soft = (
                cv2.Laplacian(one[top:bottom, left:right], cv2.CV_64F).var()
                for one in (before, after)
            )
            assert soft < sharp / 5


def test_frames_with_unknown_faces_can_be_left_out(built: BuiltHome, copied: MakeHome) -> None:
    """The face folders are unaffected."""
    home = copied(unknown="leave_out")
    done = build_set(home)
    root = home.settings.dataset_dir
    without = {
        stem
        for stem, lines in labels(built.root).items()
        if lines and all(line[0] != UNKNOWN for line in lines)
    }

    assert without == {stem for stem, lines in labels(root).items() if lines}
    assert built.done.faces == done.faces
    assert any("Left out because of unknown faces: " in sentence for sentence in done.warnings)


def test_formats_share_images_by_hard_links(built: BuiltHome) -> None:
    """YOLO, Darknet and COCO link to the same file."""
    for image in built.root.glob("yolo/images/val/*.jpg"):
        others = [built.root / "coco/val" / image.name]
        others.append(built.root / "darknet/obj_valid_data" / image.name)

        assert all(image.samefile(other) for other in others)


def test_frames_match_the_stored_portraits(built: BuiltHome) -> None:
    """A portrait scaled to its part of the frame equals that part."""
    import sqlite3

    db = sqlite3.connect(built.home.settings.state_dir / "portraitd.sqlite3")
    rows = db.execute(
        """
        select sha256, t_s, area_left, area_top, area_right, area_bottom, jpeg from faces
        join portraits on face_id = faces.id join videos on videos.id = video_id
        """
    ).fetchall()
    db.close()
    compared = 0
    for sha256, t_s, left, top, right, bottom, jpeg in rows:
        path = next(built.root.glob(f"coco/*/{sha256[:12]}-{round(t_s * 1000):09d}.jpg"), None)
        if path is None:
            continue
        frame, portrait = cv2.imread(str(path)), cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)
        assert frame is not None
        assert portrait is not None
        part = cv2.resize(portrait, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        difference = np.abs(frame[top:bottom, left:right].astype(int) - part.astype(int)).mean()
        assert difference < 6, path.name
        compared += 1
    assert compared >= 12


@pytest.mark.skipif(
    bool(list(sandbox.missing_essentials())), reason="the kernel supports no sandbox"
)
def test_a_sealed_worker_writes_every_format(copied: MakeHome, built: BuiltHome) -> None:
    """It needs no library that it does not have yet."""
    home = copied()
    settings = home.settings
    shutil.rmtree(settings.dataset_dir)
    with lock_set(settings.dataset_dir):
        pass
    worker = LocalExecutor(1, WorkerLimits(0, 0, 120.0), assembling_policy(settings))
    try:
        with opened_sets(home) as store:
            plan = plan_from_store(store, DatasetRule.of(settings.dataset))
            request = WriteRequest(
                plan, settings.state_dir, settings.inbox_dir, settings.dataset_dir, (), False
            )
            worker.submit(write_dataset, request).result(240.0)
    finally:
        worker.shutdown(cancel_futures=True)

    assert list(file_stats(built.root)) == list(file_stats(settings.dataset_dir))


# --- The loaders themselves.


def test_pycocotools_reads_every_box(built: BuiltHome, tmp_path: Path) -> None:
    """Sizes and categories are as an evaluation needs them."""
    found = load_set("pycocotools", built.root, tmp_path)
    ours = check_format(built.root, "coco")

    assert ours.images == sum(found[split]["images"] for split in ("train", "val"))
    assert ours.faces == sum(found[split]["boxes"] for split in ("train", "val"))
    assert [] == found["train"]["missing"] + found["val"]["missing"]
    assert [ANN, BEA] == found["names"][:2]


def test_supervision_reads_every_format(built: BuiltHome, tmp_path: Path) -> None:
    """This covers detection sets and face folders."""
    found = load_set("supervision", built.root, tmp_path)

    for form in ("yolo", "coco"):
        ours = check_format(built.root, form)
        splits = [found[f"{form} {split}"] for split in ("train", "val")]
        assert (ours.images, ours.faces) == (
            sum(split["images"] for split in splits),
            sum(split["boxes"] for split in splits),
        )
        assert [ANN, BEA] == found[f"{form} names"][:2]
    ours = check_format(built.root, "voc")
    assert (ours.images, ours.faces) == (found["voc"]["images"], found["voc"]["boxes"])
    for form in ("imagefolder", "chips150", "chips112"):
        splits = [found[f"{form} {split}"] for split in ("train", "val")]
        assert check_format(built.root, form).images == sum(split["images"] for split in splits)  # type: ignore[arg-type]
        assert [[ANN, BEA]] * 2 == [split["names"] for split in splits]


def test_torchvision_numbers_both_splits_alike(built: BuiltHome, tmp_path: Path) -> None:
    """A class has the same number in train and val."""
    found = load_set("torchvision", built.root, tmp_path)

    for form in ("imagefolder", "chips150", "chips112"):
        assert found[f"{form} train"]["numbers"] == found[f"{form} val"]["numbers"]
        assert {ANN: 0, BEA: 1} == found[f"{form} val"]["numbers"]
    assert [[112, 112]] == found["chips112 train"]["sizes"]
    for form in ("voc", "coco"):
        ours = check_format(built.root, form)
        splits = [found[f"{form} {split}"] for split in ("train", "val")]
        assert ours.images == sum(split["images"] for split in splits)
        assert ours.faces == sum(split["boxes"] for split in splits)


def test_ultralytics_drops_nothing(built: BuiltHome, tmp_path: Path) -> None:
    """It keeps every image and box, and rewrites nothing."""
    copy = tmp_path / "set"
    shutil.copytree(built.root, copy)
    before = file_stats(copy)

    found = load_set("ultralytics", copy, tmp_path)

    ours = check_format(built.root, "yolo")
    assert ours.images == sum(found[split]["images"] for split in ("train", "val"))
    assert ours.faces == sum(found[split]["boxes"] for split in ("train", "val"))
    assert [ANN, BEA] == found["names"][:2]
    assert 2 == found["classify"]
    for form in ("yolo_face", "yolo_pose"):
        splits = [found[f"{form} {split}"] for split in ("train", "val")]
        assert ours.images == sum(split["images"] for split in splits)
        assert ours.faces == sum(split["boxes"] for split in splits)
    assert before.items() <= file_stats(copy).items()


def test_datumaro_reads_every_format(built: BuiltHome, tmp_path: Path) -> None:
    """It knows the classes in each; of the tracks for CVAT it reads the boxes of all videos."""
    found = load_set("datumaro", built.root, tmp_path)

    for form in ("yolo", "yolo_face", "darknet", "coco", "voc", "imagefolder", "chips112"):
        ours = check_format(built.root, form)
        val = f"{form} valid" if form == "darknet" else f"{form} val"
        splits = [found[f"{form} train"], found[val]]
        assert ours.images == sum(split["images"] for split in splits)
        assert ours.faces == sum(split["boxes"] for split in splits)
    classes = {name: one["classes"] for name, one in found.items()}
    assert [3, 3, 3, 1] == [
        classes[f"{form} train"] for form in ("yolo", "darknet", "coco", "yolo_face")
    ]
    assert 2 == classes["imagefolder train"]


def test_webdataset_reads_every_sample(built: BuiltHome, tmp_path: Path) -> None:
    """With its picture, its class number and its facts."""
    found = load_set("webdataset", built.root, tmp_path)

    ours = check_format(built.root, "webdataset")
    assert ours.images == sum(found[split]["samples"] for split in ("train", "val"))
    assert [2, 2] == [found[split]["classes"] for split in ("train", "val")]
    assert all(found[split]["agree"] for split in ("train", "val"))


# --- Formats of single faces.


def test_vectors_of_one_person_are_near_their_mean(built: BuiltHome) -> None:
    """As docs/datasets.md describes the arrays; nothing in the file is a pickle."""
    with np.load(built.root / "embeddings/embeddings.npz") as arrays:
        vectors, classes, means = (arrays[k] for k in ("vectors", "class_id", "mean_vectors"))
        names, split = arrays["class_names"], arrays["split"]
        assert "dlib-resnet-v1" == arrays["model"]
        assert [ANN, BEA] == list(names[:2])
        assert [0, 1] == list(arrays["mean_class_id"])
        assert (len(vectors), 4) == arrays["box"].shape == arrays["quality"].shape

    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert list(classes) == list((vectors @ means.T).argmax(axis=1))
    stems = {path.stem for path in built.root.glob("imagefolder/*/*/*.jpg")}
    with np.load(built.root / "embeddings/embeddings.npz") as arrays:
        assert stems <= set(arrays["file_stem"])
    assert {"train", "val"} == set(split)


def test_pairs_are_of_faces_outside_train(built: BuiltHome) -> None:
    """As many pairs of one person as of two; a reader may divide lines at any white space."""
    first, *lines = (built.root / "pairs/pairs.txt").read_text().splitlines()
    held = len(list(built.root.glob("imagefolder/val/*/*.jpg")))

    assert [3] * int(first) + [4] * int(first) == [len(line.split()) for line in lines]
    assert len(set(lines)) == len(lines) > 0
    assert held == len(list(built.root.glob("pairs/*/*.jpg")))
    for line in lines[: int(first)]:
        name, left, right = line.split()
        assert left != right
        assert (built.root / "pairs" / name / f"{name}_{int(left):04d}.jpg").is_file()


def test_points_without_a_meaning_are_not_labelled(built: BuiltHome) -> None:
    """The points of dlib are others than those of a pose."""
    for path in built.root.glob("yolo_pose/labels/*/*.txt"):
        for line in path.read_text().splitlines():
            assert ["0"] * 15 == line.split()[5:]


def test_a_caption_names_the_person(built: BuiltHome) -> None:
    """Beside the picture, and in the list of the split."""
    lines = (built.root / "captions/train/metadata.jsonl").read_text().splitlines()
    entries = {one["file_name"]: one["text"] for one in map(json.loads, lines)}

    assert len(entries) == len(list(built.root.glob("captions/train/*/*.jpg")))
    for place, text in entries.items():
        assert f"a photo of {Path(place).parent}" == text
        beside = built.root / "captions/train" / Path(place).with_suffix(".txt")
        assert f"{text}\n" == beside.read_text()
