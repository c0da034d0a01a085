"""Read COCO annotations of instances, as portraitd and CVAT write them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from portraitd.datasets.box_import.annotation_file import read_annotations
from portraitd.datasets.box_import.imported_boxes import (
    EXPORT_ATTRIBUTE,
    FACE_ATTRIBUTE,
    MAX_BOXES,
    ImportedBox,
    ImportedFile,
    ImportedImage,
)
from portraitd.model.errors import ConfigError
from portraitd.model.reasons import ReasonCode

_INVALID = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def read_coco(path: Path) -> list[ImportedFile]:
    """Return what each JSON file says.

    Args:
        path: A JSON file, or a zip archive with such files.

    Raises:
        ConfigError: It cannot be read, or is no such file.
    """
    found = []
    for name, text in read_annotations(path, ".json"):
        try:
            found.append(_read(json.loads(text)))
        except _INVALID as error:
            raise ConfigError(f"{path}: {name}: no annotations of COCO: {error}") from error
    return found


def _read(document: dict[str, Any]) -> ImportedFile:
    labels = {int(one["id"]): str(one["name"]) for one in document["categories"]}
    annotations = document["annotations"]
    if len(annotations) > MAX_BOXES:
        raise ValueError(f"more than {MAX_BOXES:,} boxes")
    boxes: defaultdict[int, list[ImportedBox]] = defaultdict(list)
    left_out = []
    for one in annotations:
        place = f"annotation {one['id']}"
        attributes = one.get("attributes") or {}
        left, top, width, height = map(float, one["bbox"])
        if one.get("iscrowd") or float(attributes.get("rotation") or 0) % 360:
            left_out.append((ReasonCode.SHAPE_NOT_READ, place))
            continue
        corners = left, top, left + width, top + height
        if not all(map(math.isfinite, corners)):
            raise ValueError(f"{place} has no place")
        boxes[int(one["image_id"])].append(
            ImportedBox(
                labels[int(one["category_id"])],
                corners,
                str(attributes.get(FACE_ATTRIBUTE, "")),
                str(attributes.get(EXPORT_ATTRIBUTE, "")),
                True,
                place,
            )
        )
    images = [
        ImportedImage(
            str(one["file_name"]),
            None,
            (int(one["width"]), int(one["height"])) if one.get("width") else None,
            boxes.pop(int(one["id"]), []),
        )
        for one in document["images"]
    ]
    if boxes:
        raise ValueError(f"annotations of image {min(boxes)}, which it does not list")
    return ImportedFile("", None, None, [], images, left_out)
