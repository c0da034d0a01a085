"""The lines of the detection formats, for one frame."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from portraitd.datasets.annotations import (
    ClassLabel,
    DatasetRule,
    LabelledFace,
    Plan,
    PlannedFrame,
)
from portraitd.datasets.content import AvailableFrames, TextFile
from portraitd.datasets.formats.detection import make_face_files, make_pose_files
from portraitd.datasets.formats.voc import make_voc_files
from portraitd.model.face import Box
from portraitd.store.dataset_store import ClassRegistration, DatasetFace

YUNET = ((-2.0, 30.0), (40.0, 30.0), (30.0, 40.0), (22.0, 50.0), (38.0, 50.0))


def frame_of(*landmarks: tuple[tuple[float, float], ...] | None) -> AvailableFrames:
    """Return one frame of 200 x 100 pixels with a face for each set of points."""
    box = Box(10, 20, 50, 60)
    faces = [
        DatasetFace(at, 1, 0.0, box, 1.0, 40.0, 50.0, 1.0, 1.0, points, at, 1, False)
        for at, points in enumerate(landmarks)
    ]
    labels = tuple(LabelledFace(face, at, box.shifted(at, 0)) for at, face in enumerate(faces))
    frame = PlannedFrame("stem", "train", 1, 0.0, 200, 100, labels, ())
    classes = (ClassLabel(0, "Ann & Bob", "person", 1), ClassLabel(1, "unknown", "unknown", None))
    plan = Plan(
        DatasetRule(()), "", classes, ClassRegistration([], [], {}), {}, (frame,), (), {}, {},
        (), False, 0, {},
    )  # fmt: skip
    return AvailableFrames(plan, defaultdict(list, train=[frame]), lambda _, name: Path(name))


def texts(files: object) -> dict[str, str]:
    found = dict(files)  # type: ignore[call-overload]
    return {path: one.content for path, one in found.items() if isinstance(one, TextFile)}


def test_a_pose_has_five_points() -> None:
    """A point outside the frame is not labelled, nor are the points of a face without any."""
    found = texts(make_pose_files(frame_of(YUNET, None)))

    first, second = found["yolo_pose/labels/train/stem.txt"].splitlines()
    assert first == (
        "0 0.150000 0.400000 0.200000 0.400000 0 0 0 0.200000 0.300000 2 "
        "0.150000 0.400000 2 0.110000 0.500000 2 0.190000 0.500000 2"
    )
    assert second.endswith("0.400000" + " 0 0 0" * 5)
    assert "kpt_shape: [5, 3]\nflip_idx: [1, 0, 2, 4, 3]\n" in found["yolo_pose/data.yaml"]


def test_one_class_is_called_face() -> None:
    """Whoever it is."""
    found = texts(make_face_files(frame_of(None, None)))

    assert ["0", "0"] == [line[0] for line in found["yolo_face/labels/train/stem.txt"].splitlines()]
    assert found["yolo_face/data.yaml"].endswith('names:\n  0: "face"\n')


def test_voc_counts_pixels_from_one() -> None:
    """Both ends of a box are included; names are escaped."""
    found = texts(make_voc_files(frame_of(None)))
    annotation = found["voc/VOCdevkit/VOC2012/Annotations/stem.xml"]

    assert "<xmin>11</xmin><ymin>21</ymin><xmax>50</xmax><ymax>60</ymax>" in annotation
    assert "<name>Ann &amp; Bob</name>" in annotation
    assert "stem\n" == found["voc/VOCdevkit/VOC2012/ImageSets/Main/trainval.txt"]
    labels = found["voc/VOCdevkit/VOC2012/labelmap.txt"].splitlines()
    assert ["background:0,0,0::", "Ann & Bob:::"] == labels[1:3]
