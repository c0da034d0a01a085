"""Face folders, one per person: portraits, dlib chips and ArcFace chips."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Literal

from portraitd.datasets.annotations import Plan, PlannedCrop, Split, make_chip_name
from portraitd.datasets.content import CachedImage, RenderedFile, SetFiles, TextFile, format_json
from portraitd.model.dataset_format import Format
from portraitd.model.face import Box

CLASS_INDEX = "class_index.json"


def select_folder_crops(crops: Iterable[PlannedCrop]) -> list[PlannedCrop]:
    """Return the crops that can be in face folders.

    Trainers number the folders of each split in order, so every split has the same classes: those
    with faces in train and val. Test is left out if one of these has no face in it.
    """
    of_class: defaultdict[int, set[Split]] = defaultdict(set)
    found = list(crops)
    for crop in found:
        of_class[crop.class_id].add(crop.split)
    classes = {number for number, splits in of_class.items() if {"train", "val"} <= splits}
    has_test = all("test" in of_class[number] for number in classes)
    return [
        crop for crop in found if crop.class_id in classes and (has_test or crop.split != "test")
    ]


def make_portrait_files(plan: Plan, make: Callable[[PlannedCrop], bytes]) -> SetFiles:
    """Yield ``imagefolder/train|val/<name>/`` with the portraits of the people folder."""
    for crop in select_folder_crops(plan.crops):
        path = f"imagefolder/{crop.split}/{plan.classes[crop.class_id].label}/{crop.stem}.jpg"
        yield path, make_portrait(crop, make)


def make_portrait(crop: PlannedCrop, make: Callable[[PlannedCrop], bytes]) -> RenderedFile:
    """Return the portrait of a face as content of a set."""
    return RenderedFile(portrait_identity(crop), lambda: make(crop))


def make_chip_files(
    plan: Plan, size_px: Literal[150, 112], cached: Callable[[PlannedCrop, str], CachedImage | None]
) -> SetFiles:
    """Yield ``chips150/`` or ``chips112/`` with the aligned faces that could be cropped."""
    images = {
        crop.stem: image
        for crop in plan.crops
        if (image := cached(crop, make_chip_name(crop.stem, size_px)))
    }
    for crop in select_folder_crops(crop for crop in plan.crops if crop.stem in images):
        label = plan.classes[crop.class_id].label
        yield f"chips{size_px}/{crop.split}/{label}/{crop.stem}.jpg", images[crop.stem]


def make_folds(plan: Plan) -> SetFiles:
    """Yield ``folds.json`` with the fold of each recording.

    A recording is given by the first twelve digits of its SHA-256, with which the names of its
    pictures start in every format.
    """
    if plan.folds:
        of_recording = {
            plan.recordings[video_id].sha256[:12]: fold
            for video_id, fold in sorted(plan.folds.items(), key=lambda item: item[1])
        }
        yield "folds.json", TextFile(format_json(of_recording))


def make_class_index(plan: Plan, folders: dict[Format, set[str]]) -> SetFiles:
    """Yield ``class_index.json`` with the number of each class in each format.

    Args:
        plan: The classes.
        folders: The labels that have a folder, by format.
    """
    orders = {form: sorted(labels) for form, labels in folders.items()}
    entries = [
        {
            "class": label.id,
            "name": label.label,
            "in_use": label.kind == "unknown" or label.person_id is not None,
            "coco_category": label.id + 1,
            **{
                f"{form}_index": order.index(label.label) if label.label in order else None
                for form, order in orders.items()
            },
        }
        for label in plan.classes
    ]
    yield CLASS_INDEX, TextFile(format_json(entries))


def find_overlapping(area: Box, faces: tuple[Box, ...]) -> list[Box]:
    """Return the faces that are visible in a part of the frame."""
    return [face for face in faces if area.iou(face) > 0]


def portrait_identity(crop: PlannedCrop) -> str:
    """Return a text that is equal for equal portraits."""
    beside = hashlib.sha256(repr([tuple(box) for box in crop.hidden]).encode()).hexdigest()[:8]
    return f"portrait {crop.face.id} {crop.stem} {beside if crop.hidden else ''}".strip()
