"""The detection sets for Ultralytics YOLO (also faces only, and pose), Darknet and COCO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from portraitd.datasets.annotations import LabelledFace, PlannedFrame, Split, make_face_stem
from portraitd.datasets.box_import.imported_boxes import EXPORT_ATTRIBUTE, FACE_ATTRIBUTE
from portraitd.datasets.content import (
    AvailableFrames,
    SetFiles,
    TextFile,
    format_box_label,
    format_class_label,
    format_json,
    format_labels,
    join_lines,
    quote_text,
)
from portraitd.model.face import are_dlib_points
from portraitd.store.dataset_store import Recording

POINTS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")
"""As they are seen in an upright face."""


def make_yolo_files(available: AvailableFrames) -> SetFiles:
    """Yield ``data.yaml``, ``images/`` and ``labels/`` for Ultralytics.

    ``data.yaml`` has no ``path``: Ultralytics then uses its folder, so the set can be moved. A fold
    is another such file, whose lists of images are relative to themselves.
    """
    plan = available.plan
    yield from _make_pictures(available, "yolo", format_class_label)
    names = [f"  {label.id}: {quote_text(label.label)}" for label in plan.classes]
    names = ["names:" if names else "names: {}", *names]
    head = [f"{split}: images/{split}" for split in plan.splits]
    yield "yolo/data.yaml", TextFile(join_lines([*head, *names]))
    for fold in sorted(set(plan.folds.values())):
        lists: dict[str, list[str]] = {"train": [], "val": []}
        for frame in (*available.frames["train"], *available.frames["val"]):
            is_held = plan.folds.get(frame.video_id) == fold
            path = f"./images/{frame.split}/{frame.stem}.jpg"
            lists["val" if is_held else "train"].append(path)
        for name, paths in lists.items():
            yield f"yolo/fold-{fold}-{name}.txt", TextFile(join_lines(paths))
        head = [f"{split}: fold-{fold}-{split}.txt" for split in lists]
        yield f"yolo/fold-{fold}.yaml", TextFile(join_lines([*head, *names]))


def make_face_files(available: AvailableFrames) -> SetFiles:
    """Yield ``yolo_face/``: as ``yolo/``, with one class for all faces."""
    yield from _make_one_class(available, "yolo_face", [], partial(format_box_label, class_id=0))


def make_pose_files(available: AvailableFrames) -> SetFiles:
    """Yield ``yolo_pose/``: one class, and five points for each face.

    The points are those of YuNet: the eye, the nose, and the corner of the mouth, those on the
    left of an upright face first. A face without them has points that are not labelled.
    """
    head = ["kpt_shape: [5, 3]", "flip_idx: [1, 0, 2, 4, 3]"]
    yield from _make_one_class(available, "yolo_pose", head, _format_pose)


def _make_one_class(
    available: AvailableFrames,
    form: str,
    head: Sequence[str],
    format_label: Callable[[PlannedFrame, LabelledFace], str],
) -> SetFiles:
    yield from _make_pictures(available, form, format_label)
    paths = [f"{split}: images/{split}" for split in available.plan.splits]
    yield f"{form}/data.yaml", TextFile(join_lines([*paths, *head, "names:", '  0: "face"']))


def _make_pictures(
    available: AvailableFrames,
    form: str,
    format_label: Callable[[PlannedFrame, LabelledFace], str],
) -> SetFiles:
    """Yield ``images/`` and ``labels/`` of a format of Ultralytics."""
    for split in available.plan.splits:
        for frame in available.frames[split]:
            labels = TextFile(format_labels(frame, format_label))
            # The label first: an image without one would be a background.
            yield f"{form}/labels/{split}/{frame.stem}.txt", labels
            yield f"{form}/images/{split}/{frame.stem}.jpg", available.cached_image(frame)


def _format_pose(frame: PlannedFrame, label: LabelledFace) -> str:
    """Return a box and five points, each as x, y and whether it is labelled: 2 or 0."""
    box = format_box_label(frame, label, 0)
    points = label.face.landmarks
    if points is None or are_dlib_points(points):
        return box + " 0 0 0" * len(POINTS)
    found = [box]
    for x, y in points:
        is_inside = 0 <= x < frame.width_px and 0 <= y < frame.height_px
        place = f" {x / frame.width_px:.6f} {y / frame.height_px:.6f} 2"
        found.append(place if is_inside else " 0 0 0")
    return "".join(found)


def make_darknet_files(available: AvailableFrames) -> SetFiles:
    """Yield ``obj.data`` and its files; paths are relative to ``darknet/``, so train from there."""
    lists: dict[Split, str] = {"train": "train", "val": "valid", "test": "test"}
    splits = available.plan.splits
    folders = {split: f"obj_{lists[split]}_data" for split in splits}
    for split in splits:
        for frame in available.frames[split]:
            beside = f"darknet/{folders[split]}/{frame.stem}"
            yield f"{beside}.txt", TextFile(format_labels(frame, format_class_label))
            yield f"{beside}.jpg", available.cached_image(frame)
    for split in splits:
        paths = [f"{folders[split]}/{frame.stem}.jpg" for frame in available.frames[split]]
        yield f"darknet/{lists[split]}.txt", TextFile(join_lines(paths))
    classes = available.plan.classes
    yield "darknet/obj.names", TextFile(join_lines([label.label for label in classes]))
    # Darknet writes its weights there but does not create the folder.
    yield (
        "darknet/backup/weights-come-here.txt",
        TextFile("Darknet writes its weights here.\n"),
    )
    yield (
        "darknet/obj.data",
        TextFile(
            join_lines(
                [
                    f"classes = {len(classes)}",
                    "train = train.txt",
                    "valid = valid.txt",
                    "names = obj.names",
                    "backup = backup/",
                ]
            )
        ),
    )


def make_coco_files(available: AvailableFrames) -> SetFiles:
    """Yield ``annotations/instances_train.json``, ``instances_val.json`` and the images.

    Category ids start at 1, as is usual for COCO: the class number plus one.
    """
    plan = available.plan
    newest: Counter[int] = Counter()
    for frame in plan.frames:
        for label in frame.labels:
            newest[frame.video_id] = max(newest[frame.video_id], label.face.id)
    categories = [
        {"id": label.id + 1, "name": label.label, "supercategory": "face"} for label in plan.classes
    ]
    for split in plan.splits:
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, frame in enumerate(available.frames[split], 1):
            yield f"coco/{split}/{frame.stem}.jpg", available.cached_image(frame)
            images.append(_make_image_entry(number, frame, plan.recordings[frame.video_id]))
            sha256 = plan.recordings[frame.video_id].sha256
            annotations += _make_annotations(number, frame, sha256, newest[frame.video_id])
        yield (
            f"coco/annotations/instances_{split}.json",
            TextFile(
                format_json(
                    {
                        "info": {"description": "Faces, by portraitd", "version": "1"},
                        "licenses": [],
                        "images": images,
                        "annotations": annotations,
                        "categories": categories,
                    }
                )
            ),
        )


def _make_image_entry(number: int, frame: PlannedFrame, recording: Recording) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": f"{frame.stem}.jpg",
        "width": frame.width_px,
        "height": frame.height_px,
        "video": recording.sha256,
        "time_s": round(frame.t_s, 3),
    }


def _make_annotations(
    image: int, frame: PlannedFrame, sha256: str, newest_face_id: int
) -> list[dict[str, Any]]:
    """Return COCO annotations; a box is left, top, width, height in pixels.

    The id of a face in the store is unique, so it is the id of its annotation. By the attributes,
    a corrected file is imported; CVAT keeps them.
    """
    return [
        {
            "id": label.face.id,
            "image_id": image,
            "category_id": label.class_id + 1,
            "bbox": [label.box.left, label.box.top, label.box.width, label.box.height],
            "area": label.box.width * label.box.height,
            "iscrowd": 0,
            "segmentation": [],
            "track_id": label.face.track_id,
            "attributes": {
                FACE_ATTRIBUTE: make_face_stem(sha256, label.face),
                EXPORT_ATTRIBUTE: str(newest_face_id),
            },
        }
        for label in frame.labels
    ]
