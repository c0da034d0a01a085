"""Face folders, one per person: portraits, dlib chips and ArcFace chips."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

from portraitd.datasets.annotations import Format, Plan, PlannedCrop, Split, make_chip_name
from portraitd.datasets.content import CachedImage, RenderedImage, SetFiles, TextFile, format_json
from portraitd.model.face import Box

CLASS_INDEX = "class_index.json"


def make_portrait_files(plan: Plan, make: Callable[[PlannedCrop], bytes]) -> SetFiles:
    """Yield ``imagefolder/train|val/<name>/`` with the portraits of the people folder."""
    for crop in plan.crops:
        path = f"imagefolder/{crop.split}/{plan.classes[crop.class_id].label}/{crop.stem}.jpg"
        yield path, RenderedImage(_portrait_identity(crop), lambda crop=crop: make(crop))  # type: ignore[misc]


def make_chip_files(
    plan: Plan, size_px: Literal[150, 112], cached: Callable[[PlannedCrop, str], CachedImage | None]
) -> SetFiles:
    """Yield ``chips150/`` or ``chips112/`` with the aligned faces that could be cropped.

    A class without a chip in one of the splits is in neither: trainers number the folders of
    each split in order.
    """
    found: list[tuple[PlannedCrop, CachedImage]] = []
    for crop in plan.crops:
        image = cached(crop, make_chip_name(crop.stem, size_px))
        if image:
            found.append((crop, image))
    class_splits: set[tuple[int, Split]] = {(crop.class_id, crop.split) for crop, _ in found}
    for crop, image in found:
        if {(crop.class_id, "train"), (crop.class_id, "val")} <= class_splits:
            label = plan.classes[crop.class_id].label
            yield f"chips{size_px}/{crop.split}/{label}/{crop.stem}.jpg", image


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


def _portrait_identity(crop: PlannedCrop) -> str:
    beside = hashlib.sha256(repr([tuple(box) for box in crop.hidden]).encode()).hexdigest()[:8]
    return f"portrait {crop.face.id} {crop.stem} {beside if crop.hidden else ''}".strip()
