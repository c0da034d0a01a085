"""``portraitd dataset check``: checks a set by the rules of its loaders, without the loaders.

It finds what would make a loader drop an image or misread it, before training. Nothing is
decoded: of a JPEG only the size and the end marker are read.
"""

from __future__ import annotations

import json
import re
import tarfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portraitd.datasets.annotations import DETECTION_FORMATS, SPLITS, Split
from portraitd.media.jpeg import jpeg_problem, jpeg_size
from portraitd.model.dataset_format import Format
from portraitd.model.wording import counted

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The suffixes that torchvision's ImageFolder reads."""


EMBEDDING_COLUMNS = (
    "vectors",
    "class_id",
    "split",
    "recording",
    "time_s",
    "box",
    "quality",
    "file_stem",
)
"""The arrays of ``embeddings.npz`` that have a row for each face."""

_SIDES = ("width", "height")


@dataclass(slots=True)
class FormatCheck:
    """What a loader would read of a set in one format.

    Attributes:
        images: Number of images it would load; for CVAT of videos.
        backgrounds: How many of these have no face.
        faces: Number of labelled faces.
        dropped: Images it would drop, with the reason.
        problems: What would stop or mislead it.
    """

    form: Format
    images: int = 0
    backgrounds: int = 0
    faces: int = 0
    dropped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        return not self.dropped and not self.problems


def check_format(root: Path, form: Format) -> FormatCheck:
    """Check one format of a set, below its folder ``root``."""
    found = FormatCheck(form)
    checks: dict[str, Callable[[Path, FormatCheck], None]] = {
        "yolo": _check_yolo,
        "yolo_face": _check_yolo,
        "yolo_pose": _check_yolo,
        "darknet": _check_darknet,
        "coco": _check_coco,
        "voc": _check_voc,
        "pairs": _check_pairs,
        "embeddings": _check_embeddings,
        "webdataset": _check_webdataset,
        "captions": _check_captions,
        "cvat": _check_cvat,
    }
    folder = root / form
    if not folder.is_dir():
        if form not in DETECTION_FORMATS:
            # No person can be divided into train and val, or there is no video.
            return found
        found.problems.append(f"{form}/ does not exist; run `portraitd dataset build`")
        return found
    try:
        checks.get(form, _check_face_folders)(folder, found)
    except (
        OSError,
        UnicodeDecodeError,
        ValueError,
        KeyError,
        TypeError,
        ET.ParseError,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        found.problems.append(f"{form}/ cannot be read: {type(error).__name__}: {error}")
    return found


def _check_yolo(folder: Path, found: FormatCheck) -> None:
    """As Ultralytics' ``check_det_dataset`` and ``verify_image_label``."""
    columns = 20 if folder.name == "yolo_pose" else 5
    names = _read_yaml_names(folder / "data.yaml", found)
    seen: dict[str, str] = {}
    for split in _find_splits(folder / "images"):
        images = sorted(path for path in (folder / "images" / split).rglob("*") if path.is_file())
        if not images:
            found.problems.append(f"{folder.name}: {split} has no images; every split needs some")
        for image in images:
            label = folder / "labels" / split / image.with_suffix(".txt").name
            problem = _find_image_problem(image) or _find_labels_problem(label, len(names), columns)
            if image.stem in seen:
                problem = f"is also in {seen[image.stem]}"
            seen[image.stem] = split
            _add_image(found, image, problem, _count_labels(label))


def _check_darknet(folder: Path, found: FormatCheck) -> None:
    """As Darknet reads ``obj.data`` from within the folder."""
    keys: dict[str, str] = {}
    for line in (folder / "obj.data").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        keys[key.strip()] = value.strip()
    names = (folder / keys["names"]).read_text(encoding="utf-8").splitlines()
    if int(keys["classes"]) != len(names):
        found.problems.append(f"darknet: {keys['classes']} classes, but {len(names)} names")
    if not (folder / keys["backup"]).is_dir():
        found.problems.append("darknet: the folder for weights is missing")
    lists = [keys["train"], keys["valid"]]
    if (folder / "test.txt").exists():
        lists.append(keys.get("test", "test.txt"))
    for listed in lists:
        for line in (folder / listed).read_text(encoding="utf-8").splitlines():
            image = folder / line
            label = image.with_suffix(".txt")
            problem = _find_image_problem(image) or _find_labels_problem(label, len(names))
            if not label.is_file():
                problem = problem or "has no label file"
            _add_image(found, image, problem, _count_labels(label))


def _check_coco(folder: Path, found: FormatCheck) -> None:
    """As pycocotools' ``createIndex`` and supervision read ``instances_*.json``."""
    for split in _find_splits(folder):
        content = json.loads(
            (folder / "annotations" / f"instances_{split}.json").read_text(encoding="utf-8")
        )
        categories = {one["id"] for one in content["categories"]}
        images = {one["id"]: one for one in content["images"]}
        for key, unique in (("categories", categories), ("images", images)):
            if len(unique) != len(content[key]):
                found.problems.append(f"coco {split}: two {key} have the same id")
        if any("supercategory" not in one or "name" not in one for one in content["categories"]):
            found.problems.append(f"coco {split}: a category has no name or supercategory")
        if len({one["id"] for one in content["annotations"]}) != len(content["annotations"]):
            found.problems.append(f"coco {split}: two annotations have the same id")
        bad: dict[Any, str] = {}
        faces: dict[Any, int] = {}
        for one in content["annotations"]:
            faces[one["image_id"]] = faces.get(one["image_id"], 0) + 1
            problem = _find_annotation_problem(one, images.get(one["image_id"]), categories)
            if problem:
                bad[one["image_id"]] = problem
        for number in bad.keys() - images.keys():
            found.problems.append(f"coco {split}: {bad[number]}")
        for number, image in images.items():
            path = folder / split / image["file_name"]
            problem = _find_image_problem(path)
            if not problem and jpeg_size(path) != (image["width"], image["height"]):
                problem = "does not have the size of its entry"
            _add_image(found, path, problem or bad.get(number, ""), faces.get(number, 0))


def _find_annotation_problem(
    one: dict[str, Any], image: dict[str, Any] | None, categories: set[Any]
) -> str:
    if image is None:
        return f"annotation {one['id']} refers to a missing image"
    missing = {"bbox", "area", "iscrowd", "segmentation", "category_id"} - one.keys()
    if missing:
        return f"annotation {one['id']} lacks {', '.join(sorted(missing))}"
    if one["category_id"] not in categories:
        return f"annotation {one['id']} refers to a missing category"
    x, y, width, height = one["bbox"]
    is_inside = x + width <= image["width"] and y + height <= image["height"]
    if not is_inside or min(x, y) < 0 or min(width, height) <= 0:
        return f"annotation {one['id']} extends beyond its image"
    return ""


def _check_face_folders(folder: Path, found: FormatCheck) -> None:
    """As torchvision's ImageFolder, Ultralytics' classify and supervision read folders."""
    classes: dict[str, list[str]] = {}
    for split in _find_splits(folder):
        split_dir = folder / split
        entries = sorted(split_dir.iterdir()) if split_dir.is_dir() else []
        for stray in (entry for entry in entries if not entry.is_dir()):
            found.problems.append(f"{folder.name}/{split}/{stray.name} is not a class folder")
        classes[split] = [entry.name for entry in entries if entry.is_dir()]
        for entry in (entry for entry in entries if entry.is_dir()):
            images = 0
            for path in sorted(entry.rglob("*")):
                if path.is_dir():
                    continue
                if path.suffix.lower() not in IMAGE_SUFFIXES:
                    found.problems.append(
                        f"{folder.name}/{split}/{entry.name}/{path.name} is not an image"
                    )
                    continue
                images += 1
                _add_image(found, path, _find_image_problem(path, smallest_px=1), 1)
            if not images:
                found.problems.append(f"{folder.name}/{split}/{entry.name} is empty")
    for other, names in classes.items():
        differing = sorted(set(classes["train"]) ^ set(names))
        if differing:
            found.problems.append(
                f"{folder.name}: train and {other} have different classes "
                f"({', '.join(differing[:5])}), so their numbers differ"
            )
    for stray in folder.iterdir():
        if stray.name not in SPLITS:
            found.problems.append(f"{folder.name}/{stray.name} is not part of the set")


def _check_voc(folder: Path, found: FormatCheck) -> None:
    """As torchvision's ``VOCDetection`` and supervision's ``from_pascal_voc``."""
    root = folder / "VOCdevkit" / "VOC2012"
    for split in SPLITS:
        listed = root / "ImageSets" / "Main" / f"{split}.txt"
        if split == "test" and not listed.exists():
            continue
        for stem in listed.read_text(encoding="utf-8").split():
            image = root / "JPEGImages" / f"{stem}.jpg"
            document = _parse_xml(root / "Annotations" / f"{stem}.xml")
            problem = _find_image_problem(image)
            width, height = (int(document.findtext(f"size/{one}") or 0) for one in _SIDES)
            if not problem and jpeg_size(image) != (width, height):
                problem = "does not have the size of its annotation"
            boxes = [
                [int(box.findtext(corner) or 0) for corner in ("xmin", "ymin", "xmax", "ymax")]
                for box in document.iter("bndbox")
            ]
            for left, top, right, bottom in boxes:
                if not (1 <= left <= right <= width and 1 <= top <= bottom <= height):
                    problem = problem or "a box is empty or extends beyond the image"
            _add_image(found, image, problem, len(boxes))


def _check_pairs(folder: Path, found: FormatCheck) -> None:
    """As readers of LFW's pairs: they divide each line at any white space."""
    first, *lines = (folder / "pairs.txt").read_text(encoding="utf-8").splitlines()
    if len(lines) != 2 * int(first):
        found.problems.append(f"pairs: {first} pairs are announced, but there are {len(lines)}")
    images: dict[Path, int] = dict.fromkeys(sorted(folder.glob("*/*.jpg")), 0)
    for line in lines:
        parts = line.split()
        if len(parts) == 3:
            parts = [*parts[:2], parts[0], parts[2]]
        for name, number in zip(parts[::2], parts[1::2], strict=True):
            path = folder / name / f"{name}_{int(number):04d}.jpg"
            if path not in images:
                found.problems.append(f"pairs: {path.name} is missing")
    for path in images:
        _add_image(found, path, _find_image_problem(path, smallest_px=1), 1)


def _check_embeddings(folder: Path, found: FormatCheck) -> None:
    """As ``numpy.load`` reads the file, without pickles."""
    import numpy as np

    with np.load(folder / "embeddings.npz") as arrays:
        count = len(arrays["vectors"])
        for name in EMBEDDING_COLUMNS:
            if len(arrays[name]) != count:
                found.problems.append(f"embeddings: {name} does not have {count} rows")
        if count and not 0 <= arrays["class_id"].min() <= arrays["class_id"].max() < len(
            arrays["class_names"]
        ):
            found.problems.append("embeddings: a class has no name")
        if not np.isfinite(arrays["vectors"]).all():
            found.problems.append("embeddings: a vector has a value that is not a number")
        found.images = found.faces = count


def _check_webdataset(folder: Path, found: FormatCheck) -> None:
    """As webdataset groups the members of a shard: by name, in their order."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = [Path(member.name) for member in archive if member.isfile()]
        for at in range(0, len(members), 3):
            sample = members[at : at + 3]
            problem = ""
            if [one.suffix for one in sample] != [".jpg", ".cls", ".json"] or len(
                {one.stem for one in sample}
            ) != 1:
                problem = f"in {path.name}, is not a sample of jpg, cls and json"
            _add_image(found, sample[0], problem, 1)


def _check_captions(folder: Path, found: FormatCheck) -> None:
    """As trainers read text files, and as the ``imagefolder`` of Hugging Face reads the list."""
    for listed in sorted(folder.glob("*/metadata.jsonl")):
        entries = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
        names = {str(entry["file_name"]) for entry in entries}
        images = {str(path.relative_to(listed.parent)) for path in listed.parent.glob("*/*.jpg")}
        for name in sorted(names ^ images):
            found.problems.append(f"captions: {name} is not both a picture and in {listed.name}")
        for name in sorted(names & images):
            path = listed.parent / name
            problem = _find_image_problem(path, smallest_px=1)
            if not path.with_suffix(".txt").is_file():
                problem = problem or "has no caption beside it"
            _add_image(found, path, problem, 1)


def _find_splits(folder: Path) -> list[Split]:
    """Return the splits of a set; only test may be missing."""
    return [split for split in SPLITS if split != "test" or (folder / split).is_dir()]


def _check_cvat(folder: Path, found: FormatCheck) -> None:
    """As CVAT reads its video format 1.1."""
    for path in sorted(folder.glob("*.xml")):
        try:
            document = _parse_xml(path)
        except ValueError as error:
            found.dropped.append(f"{path.name}: {error}")
            continue
        problem = _find_cvat_problem(document)
        boxes = sum(1 for box in document.iter("box") if box.get("outside") == "0")
        _add_image(found, path, problem, boxes)


def _parse_xml(path: Path) -> ET.Element:
    """Parse an annotation; neither ours nor those of other programs contain entities.

    Raises:
        ValueError: It has a document type.
        ParseError: It is damaged.
    """
    text = path.read_text(encoding="utf-8")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("has a document type, which no annotation tool writes")
    return ET.fromstring(text)  # noqa: S314


def _find_cvat_problem(document: ET.Element) -> str:
    if document.tag != "annotations" or document.findtext("version") != "1.1":
        return "is not a CVAT annotation of version 1.1"
    labels = {label.findtext("name") for label in document.iter("label")}
    frames = int(document.findtext("meta/task/size") or 0)
    width = float(document.findtext("meta/task/original_size/width") or 0)
    height = float(document.findtext("meta/task/original_size/height") or 0)
    ids = [track.get("id") for track in document.iter("track")]
    if len(set(ids)) != len(ids):
        return "has two tracks with the same id"
    problems = (
        _find_track_problem(track, labels, frames, (width, height))
        for track in document.iter("track")
    )
    return next(filter(None, problems), "")


def _find_track_problem(
    track: ET.Element, labels: set[str | None], frames: int, size: tuple[float, float]
) -> str:
    name = f"track {track.get('id')}"
    numbers = [int(box.attrib["frame"]) for box in track.iter("box")]
    if track.get("label") not in labels:
        return f"{name} has an undeclared label"
    if not numbers or numbers != sorted(set(numbers)):
        return f"the frames of {name} are not ascending"
    if not 0 <= numbers[0] <= numbers[-1] < frames:
        return f"{name} extends beyond the video"
    for box in track.iter("box"):
        left, top, right, bottom = (float(box.attrib[k]) for k in ("xtl", "ytl", "xbr", "ybr"))
        if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
            return f"a box of {name} is empty or extends beyond the image"
        if {box.attrib["outside"], box.attrib["occluded"], box.attrib["keyframe"]} - {"0", "1"}:
            return f"a box of {name} has a flag other than 0 or 1"
    return ""


def _find_labels_problem(label: Path, classes: int, columns: int = 5) -> str:
    """Return why Ultralytics would drop an image with these labels; empty if it would not."""
    if not label.is_file():
        return ""
    for line in label.read_text(encoding="utf-8").splitlines():
        values = [float(value) for value in line.split()]
        if len(values) != columns:
            return f"a label has {counted(len(values), 'column')} instead of {columns}"
        # A point is x, y, and whether it is labelled: up to 2.
        places = values[1:5] + [value for at, value in enumerate(values[5:]) if at % 3 < 2]
        if min(values) < -0.01 or max(places) > 1.01:
            return "a label extends beyond the image"
        if values[0] >= classes or values[0] != int(values[0]):
            known = counted(classes, "class", "classes")
            return f"a label has class {values[0]:g}, but the set has {known}"
        if values[3] <= 0 or values[4] <= 0:
            return "a label has no width or height"
    return ""


def _find_image_problem(path: Path, smallest_px: int = 10) -> str:
    return jpeg_problem(path, smallest_px)


def _count_labels(label: Path) -> int:
    return len(label.read_text(encoding="utf-8").splitlines()) if label.is_file() else 0


def _add_image(found: FormatCheck, path: Path, problem: str, faces: int) -> None:
    if problem:
        found.dropped.append(f"{path.name}: {problem}")
        return
    found.images += 1
    found.faces += faces
    found.backgrounds += not faces


def _read_yaml_names(path: Path, found: FormatCheck) -> list[str]:
    """Read the class names of ``data.yaml``, in the subset of YAML that portraitd writes."""
    names: list[str] = []
    keys: dict[str, str] = {}
    for line in _read_lines(path):
        numbered = re.fullmatch(r'\s+(\d+): (".*")', line)
        if numbered:
            if int(numbered[1]) != len(names):
                found.problems.append(
                    "yolo: the classes in data.yaml are not numbered 0, 1, 2, ..."
                )
            names.append(str(json.loads(numbered[2])))
            continue
        key, _, value = line.partition(":")
        keys[key.strip()] = value.strip()
    for key in ("train", "val", "names"):
        if key not in keys:
            found.problems.append(f"yolo: data.yaml has no `{key}`")
    if "path" in keys:
        found.problems.append("yolo: data.yaml has a `path`, so the set cannot be moved")
    if not names:
        found.problems.append("yolo: data.yaml has no classes")
    return names


def _read_lines(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    return (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
