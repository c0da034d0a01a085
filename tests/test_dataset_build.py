"""A whole set from real pictures: what is in it, that it loads, and that it stays as it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import (
    ANN,
    BEA,
    SECTIONS,
    ann,
    below,
    name,
    name_two,
    stepped,
    with_dataset,
    with_photos,
)
from homes import Home
from loaders import loaded
from portraitd.dataset.assembly import Assembled
from portraitd.dataset.checking import checked
from portraitd.dataset.jpeg import jpeg_size
from portraitd.dataset.truth import Format
from portraitd.errors import AlreadyRunning

FORMATS: tuple[Format, ...] = (
    "yolo", "darknet", "coco", "imagefolder", "chips150", "chips112", "cvat",
)  # fmt: skip

UNKNOWN = 2
"""The detector takes a part of a space suit for a face: somebody nobody gave a name."""

MakeHome = Callable[..., Home]


class Built:
    """A home, its set, and what building it came to."""

    def __init__(self, home: Home, done: Assembled) -> None:
        self.home = home
        self.done = done
        self.root = home.settings.dataset_dir


@pytest.fixture(scope="module")
def named(
    tmp_path_factory: pytest.TempPathFactory,
    two_people: Path,
    photographs: list[Path],
    nobody: Path,
) -> Home:
    """A clip of two people, a clip of nobody, six photographs of each; both have names."""
    home = Home(tmp_path_factory.mktemp("named") / "home", **SECTIONS)
    home.drop(two_people, "clip.mp4")
    home.drop(nobody, "nobody.mp4")
    with_photos(home, photographs)
    home.run()
    name_two(home)
    return home


@pytest.fixture(scope="module")
def built(named: Home) -> Built:
    """Read only."""
    return Built(named, stepped(named))


@pytest.fixture
def copied(named: Home, built: Built, tmp_path: Path) -> MakeHome:
    """The same home in another place, to be changed."""

    def make(**changes: object) -> Home:
        shutil.copytree(named.settings.home_dir, tmp_path / "copy", symlinks=True)
        copy = Home(tmp_path / "copy", **SECTIONS)
        return with_dataset(copy, **changes)

    return make


def labels(root: Path) -> dict[str, list[list[float]]]:
    """The lines of every label, by the stem of its picture."""
    return {
        path.stem: [
            [float(value) for value in line.split()] for line in path.read_text().splitlines()
        ]
        for path in root.glob("yolo/labels/*/*.txt")
    }


# --- What is in it.


def test_every_format_loads_by_its_rules(built: Built) -> None:
    """No picture would be dropped, and there are some."""
    for form in FORMATS:
        found = checked(built.root, form)

        assert found.sound, (found.dropped, found.problems)
        assert found.images > 0, form
        assert found.faces > 0, form


def test_the_formats_tell_one_truth(built: Built) -> None:
    """The same pictures with the same boxes on the same sides."""
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


def test_boxes_lie_on_faces(built: Built) -> None:
    """A detector of its own finds a face within each box that is not thrown about."""
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


def test_nobody_is_on_both_sides_by_one_recording(built: Built) -> None:
    """The first part of a stem is the recording."""
    sides = {
        split: {path.stem.split("-")[0] for path in built.root.glob(f"imagefolder/{split}/*/*.jpg")}
        for split in ("train", "val")
    }

    assert not sides["train"] & sides["val"]
    assert sides["train"]
    assert sides["val"]


def test_frames_without_a_face_are_backgrounds(named: Home, copied: MakeHome) -> None:
    """Of the clip of nobody, with an empty label."""
    home = copied(background_share=0.2)
    done = stepped(home)
    sha256 = next(r["sha256"] for r in home.rows("videos") if r["width_px"] == 64)
    stems = [path.stem for path in home.settings.dataset_dir.glob("yolo/images/*/*.jpg")]
    empty = [stem for stem, lines in labels(home.settings.dataset_dir).items() if not lines]

    assert sum(done.backgrounds.values()) == len(empty) > 0
    assert {sha256[:12]} == {stem.split("-")[0] for stem in empty}
    assert set(empty) <= set(stems)


def test_folders_are_called_by_names(built: Built) -> None:
    """The same in train and val, and in the index beside."""
    for form in ("imagefolder", "chips150", "chips112"):
        for split in ("train", "val"):
            folders = sorted(path.name for path in (built.root / form / split).iterdir())
            assert [ANN, BEA] == folders
    index = json.loads((built.root / "class_index.json").read_text())

    assert [(0, ANN, 1, 0), (1, BEA, 2, 1)] == [
        (one["class"], one["name"], one["coco_category"], one["imagefolder_index"])
        for one in index[:2]
    ]


def test_chips_have_the_sizes_of_their_names(built: Built) -> None:
    """And show somebody with eyes where ArcFace wants them."""
    import dlib

    detector = dlib.get_frontal_face_detector()
    for size in (150, 112):
        chips = list(built.root.glob(f"chips{size}/*/*/*.jpg"))
        assert {(size, size)} == {jpeg_size(chip) for chip in chips}
        found = [len(detector(cv2.imread(str(chip)), 1)) for chip in chips]
        assert sum(count == 1 for count in found) >= 0.8 * len(found)


def test_the_report_names_everybody_and_shows_them(built: Built) -> None:
    """A page without anything from elsewhere, and a PNG for each."""
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


def test_unknown_faces_are_labelled_as_such(built: Built) -> None:
    """In the frames of people who have a name, and in no folder."""
    found = [line for lines in labels(built.root).values() for line in lines]

    assert 0 < sum(line[0] == UNKNOWN for line in found) < len(found) / 2
    assert not list(built.root.glob("imagefolder/*/unknown"))


def test_unknown_faces_can_be_blurred(built: Built, copied: MakeHome) -> None:
    """In all frames they are in, and nothing else is changed there."""
    home = copied(unknown="blur")
    stepped(home)
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


def test_frames_with_unknown_faces_can_be_left_out(built: Built, copied: MakeHome) -> None:
    """The folders of faces lose nothing by it."""
    home = copied(unknown="leave_out")
    done = stepped(home)
    root = home.settings.dataset_dir
    without = {
        stem
        for stem, lines in labels(built.root).items()
        if lines and all(line[0] != UNKNOWN for line in lines)
    }

    assert without == {stem for stem, lines in labels(root).items() if lines}
    assert built.done.faces == done.faces
    assert any("left out" in sentence for sentence in done.warnings)


# --- That it stays as it is.


def test_building_again_writes_nothing(copied: MakeHome) -> None:
    """Not even a time changes."""
    home = copied()
    stepped(home)
    before = below(home.settings.dataset_dir)

    done = stepped(home)

    assert (0, 0) == (done.written, done.removed)
    assert before == below(home.settings.dataset_dir)


def test_a_new_name_moves_folders_and_no_number(copied: MakeHome) -> None:
    """Labels stay to the byte, pictures are not cut again."""
    home = copied()
    before = below(home.settings.dataset_dir)

    name(home, ann(home), "Zoë")
    stepped(home)
    after = below(home.settings.dataset_dir)

    root = home.settings.dataset_dir
    assert ["Béa (née X)", "Zoë"] == sorted(p.name for p in (root / "chips150/val").iterdir())
    assert '  0: "Zoë"' in (root / "yolo/data.yaml").read_text()
    kept = [path for path in before if path.startswith(("yolo/labels", "yolo/images", "coco/val"))]
    assert [before[path] for path in kept] == [after[path] for path in kept]
    assert checked(root, "imagefolder").sound


def test_somebody_without_a_name_is_unknown(copied: MakeHome) -> None:
    """Their class keeps its number; their folder is gone; in frames of others they are labelled."""
    home = copied()
    name(home, ann(home), None)
    stepped(home)
    root = home.settings.dataset_dir

    assert [BEA] == [path.name for path in (root / "imagefolder/train").iterdir()]
    lines = (root / "yolo/data.yaml").read_text().splitlines()
    assert ['  0: "unused-0"', f'  1: "{BEA}"', '  2: "unknown"'] == lines[3:]
    assert {1.0} == {line[0] for found in labels(root).values() for line in found}


def test_more_footage_moves_nobody_to_the_other_side(
    copied: MakeHome, photographs: list[Path]
) -> None:
    """What was train is train."""
    home = copied()

    def sides() -> dict[str, str]:
        found = home.settings.dataset_dir.glob("*/*/*/*.jpg")
        return {path.name: path.parent.parent.name for path in found if "report" not in path.parts}

    before = sides()
    with_photos(home, photographs, count=9)
    home.run()
    stepped(home)
    after = sides()

    assert len(after) > len(before)
    assert before.items() <= after.items()


def test_files_of_others_stay(copied: MakeHome) -> None:
    """Also one that was ours and was changed: it is put aside."""
    home = copied()
    root = home.settings.dataset_dir
    (root / "notes.txt").write_text("mine")
    changed = next(root.glob("yolo/labels/train/*.txt"))
    changed.unlink()
    changed.write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "yolo/labels/train.cache").write_text("stale")

    done = stepped(home)

    assert "mine" == (root / "notes.txt").read_text()
    assert 1 == done.put_aside
    aside = root / "_changed" / changed.relative_to(root)
    assert "0 0.5 0.5 0.1 0.1\n" == aside.read_text()
    assert changed.read_text() != aside.read_text()
    assert not (root / "yolo/labels/train.cache").exists()


def test_a_format_that_is_not_wanted_any_more_is_removed(copied: MakeHome) -> None:
    """With its folders; the pictures of the others stay."""
    home = copied(formats=("coco", "chips150"))
    stepped(home)

    folders = {path.name for path in home.settings.dataset_dir.iterdir() if path.is_dir()}
    assert {"coco", "chips150", "report"} == folders
    assert checked(home.settings.dataset_dir, "coco").sound


def test_on_one_disk_a_picture_takes_its_room_once(built: Built) -> None:
    """YOLO, Darknet and COCO hold links to the same file."""
    for image in built.root.glob("yolo/images/val/*.jpg"):
        others = [built.root / "coco/val" / image.name]
        others.append(built.root / "darknet/obj_valid_data" / image.name)

        assert all(image.samefile(other) for other in others)


def test_a_lost_note_is_no_reason_to_write_everything_again(copied: MakeHome) -> None:
    """What lies there is recognised by its content."""
    home = copied()
    stepped(home)
    (home.settings.dataset_dir / ".portraitd-dataset.json").unlink()

    assert 0 == stepped(home).put_aside
    assert not (home.settings.dataset_dir / "_changed").exists()


def test_two_builds_at_once_are_refused(copied: MakeHome) -> None:
    """The second says so."""
    from portraitd.dataset.folder import held

    home = copied()
    with (
        held(home.settings.dataset_dir),
        pytest.raises(AlreadyRunning, match="being built"),
    ):
        stepped(home)


# --- Where pictures come from.


def test_videos_that_are_gone_leave_what_was_cut(copied: MakeHome) -> None:
    """And what cannot be cut any more is left out, with a sentence."""
    home = copied()
    shutil.rmtree(home.inbox)
    home.inbox.mkdir()
    assert 0 == stepped(home).removed

    shutil.rmtree(home.settings.state_dir / "frames")
    done = stepped(home)

    assert {"train": 0, "val": 0} == done.frames
    assert "not there" in done.warnings[-1] or "removed" in done.warnings[-1]
    assert sum(done.faces.values()) > 0
    assert checked(home.settings.dataset_dir, "imagefolder").sound


def test_kept_frames_need_no_video(
    tmp_path: Path, two_people: Path, photographs: list[Path]
) -> None:
    """They are written while the video is processed, and only if that is set."""
    sections = SECTIONS | {"dataset": {"frames": "keep", "near_duplicate": 0.0}}
    home = Home(tmp_path / "home", **sections)
    home.drop(two_people, "clip.mp4")
    with_photos(home, photographs, count=3)
    home.run()
    kept = list((home.settings.state_dir / "frames").rglob("*.jpg"))
    times = {(row["video_id"], row["t_s"]) for row in home.rows("faces")}
    assert len(times) == len(kept)
    shutil.rmtree(home.inbox)
    home.inbox.mkdir()
    name_two(home)

    done = stepped(home)

    assert sum(done.frames.values()) > 0
    assert not [one for one in done.warnings if "again" in one]
    for form in FORMATS:
        assert checked(home.settings.dataset_dir, form).sound


def test_frames_are_cut_as_they_were_seen(built: Built) -> None:
    """A portrait, scaled to its part of the frame, is that part of the frame."""
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


# --- The loaders themselves.


def test_pycocotools_reads_every_box(built: Built, tmp_path: Path) -> None:
    """With the sizes and categories an evaluation asks for."""
    found = loaded("pycocotools", built.root, tmp_path)
    ours = checked(built.root, "coco")

    assert ours.images == sum(found[split]["images"] for split in ("train", "val"))
    assert ours.faces == sum(found[split]["boxes"] for split in ("train", "val"))
    assert [] == found["train"]["missing"] + found["val"]["missing"]
    assert [ANN, BEA] == found["names"][:2]


def test_supervision_reads_every_format(built: Built, tmp_path: Path) -> None:
    """Detection sets and folders."""
    found = loaded("supervision", built.root, tmp_path)

    for form in ("yolo", "coco"):
        ours = checked(built.root, form)
        sides = [found[f"{form} {split}"] for split in ("train", "val")]
        assert (ours.images, ours.faces) == (
            sum(side["images"] for side in sides),
            sum(side["boxes"] for side in sides),
        )
        assert [ANN, BEA] == found[f"{form} names"][:2]
    for form in ("imagefolder", "chips150", "chips112"):
        sides = [found[f"{form} {split}"] for split in ("train", "val")]
        assert checked(built.root, form).images == sum(side["images"] for side in sides)  # type: ignore[arg-type]
        assert [[ANN, BEA]] * 2 == [side["names"] for side in sides]


def test_torchvision_numbers_both_sides_alike(built: Built, tmp_path: Path) -> None:
    """A class has one number in train and val."""
    found = loaded("torchvision", built.root, tmp_path)

    for form in ("imagefolder", "chips150", "chips112"):
        assert found[f"{form} train"]["numbers"] == found[f"{form} val"]["numbers"]
        assert {ANN: 0, BEA: 1} == found[f"{form} val"]["numbers"]
    assert [[112, 112]] == found["chips112 train"]["sizes"]


def test_ultralytics_drops_nothing(built: Built, tmp_path: Path) -> None:
    """Neither a picture nor a box, and it rewrites nothing."""
    copy = tmp_path / "set"
    shutil.copytree(built.root, copy)
    before = below(copy)

    found = loaded("ultralytics", copy, tmp_path)

    ours = checked(built.root, "yolo")
    assert ours.images == sum(found[split]["images"] for split in ("train", "val"))
    assert ours.faces == sum(found[split]["boxes"] for split in ("train", "val"))
    assert [ANN, BEA] == found["names"][:2]
    assert 2 == found["classify"]
    assert before.items() <= below(copy).items()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_set_that_cannot_be_written_says_so(copied: MakeHome) -> None:
    """It is a matter of the machine."""
    from portraitd.errors import PublishError

    home = copied()
    name(home, ann(home), "Zoë")
    home.settings.dataset_dir.chmod(0o500)
    try:
        with pytest.raises(PublishError):
            stepped(home)
    finally:
        home.settings.dataset_dir.chmod(0o700)
