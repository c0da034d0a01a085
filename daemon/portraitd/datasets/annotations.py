"""The truth that every format tells: which faces in which pictures, with which class.

Values only. ``planning`` makes a ``Plan``, workers cut the pictures it names, and the formats
write down what it says.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from portraitd.model.face import Box, Landmarks
from portraitd.model.fingerprints import frame_stem
from portraitd.store.dataset_store import ClassKind, ClassRegistration, DatasetFace, Recording

Split = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")

Format = Literal["yolo", "darknet", "coco", "imagefolder", "chips150", "chips112", "cvat"]
DETECTION_FORMATS: tuple[Format, ...] = ("yolo", "darknet", "coco")
FACE_FOLDER_FORMATS: tuple[Format, ...] = ("imagefolder", "chips150", "chips112")

UnknownFaces = Literal["class", "blur", "leave_out"]
FaceRole = Literal["person", "unknown", "hidden"]

UNKNOWN_NAME = "unknown"


class DatasetRule(NamedTuple):
    """What, besides the store, decides what a set holds.

    Attributes:
        formats: Which are written.
        people: Whether people without a name are in it as well.
        unknown: What becomes of unknown faces beside known ones.
        val_share: The share of faces to hold back.
        near_duplicate: Faces of one person that lie no farther apart are one too many.
        apart_s: Faces of one track must be so far apart in time.
        background_share: Frames without a face, as a share of those with one.
    """

    formats: tuple[Format, ...]
    people: Literal["named", "all"] = "named"
    unknown: UnknownFaces = "class"
    val_share: float = 0.2
    near_duplicate: float = 0.2
    apart_s: float = 1.0
    background_share: float = 0.1


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """A class as the formats write it.

    Attributes:
        id: From 0, without gaps; never given to anybody else.
        label: Safe as a folder's name, and distinct without regard to case.
        person_id: Who it is; None for unknown faces and for a class nobody holds now.
    """

    id: int
    label: str
    kind: ClassKind
    person_id: int | None


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """A face in a frame, with the class it has there; ``box`` lies inside the frame."""

    face: DatasetFace
    class_id: int
    box: Box


@dataclass(frozen=True, slots=True)
class PlannedFrame:
    """A full-size frame of the detection sets; a background if nothing is labelled in it.

    Attributes:
        stem: Of its files in every format.
        blurred: What must not be recognised in it.
    """

    stem: str
    split: Split
    video_id: int
    t_s: float
    width_px: int
    height_px: int
    labels: tuple[LabelledFace, ...]
    blurred: tuple[Box, ...]

    @property
    def picture(self) -> str:
        """Its name in the pool: another one when it has to look different."""
        return f"{self.stem}.jpg" if not self.blurred else f"{self.stem}-{_hash(self.blurred)}.jpg"


@dataclass(frozen=True, slots=True)
class PlannedCrop:
    """One face of the folders of faces.

    Attributes:
        hidden: Faces in its frame that must not be seen beside it.
    """

    stem: str
    split: Split
    class_id: int
    face: DatasetFace
    hidden: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class PlannedTrack:
    """One face followed through a video, for correcting by hand."""

    class_id: int
    faces: tuple[tuple[float, Box], ...]


@dataclass(frozen=True, slots=True)
class FaceCounts:
    """How many faces of a class there were, and how many were near-duplicates."""

    found: int
    near_duplicates: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A training set as it should be, if every picture can be had.

    Attributes:
        classes: By number, without gaps.
        enrolment: What must be remembered before anything is written.
        recordings: By id; all that a frame, crop or track names.
        tracks: By recording.
        thinned: By class.
        alone: Labels of classes whose faces cannot be parted into train and val.
        cut_in_time: Whether val had to be cut from the same shots as train.
        left_out: Frames that were left out because of unknown faces.
    """

    rule: DatasetRule
    fingerprint: str
    classes: tuple[ClassLabel, ...]
    registration: ClassRegistration
    recordings: Mapping[int, Recording]
    frames: tuple[PlannedFrame, ...]
    crops: tuple[PlannedCrop, ...]
    tracks: Mapping[int, tuple[PlannedTrack, ...]]
    counts: Mapping[int, FaceCounts]
    unsplittable: tuple[str, ...]
    splits_by_time: bool
    frames_left_out: int


def face_role(face: DatasetFace, classes: Mapping[int, int]) -> FaceRole:
    """What a face is to a set.

    Args:
        face: The face.
        classes: The class of each person who is in the set.
    """
    if face.hidden:
        return "hidden"
    return "person" if face.person_id in classes else "unknown"


def set_fingerprint(fingerprint: str, rule: DatasetRule) -> str:
    """What a set is made from: the store as it is, and the rule."""
    return f"{fingerprint} | {rule!r}"


def face_stem(sha256: str, face: DatasetFace) -> str:
    """The name of a face: that of its frame, and where it is."""
    return f"{frame_stem(sha256, face.t_s)}-{max(face.box.left, 0)}-{max(face.box.top, 0)}"


def chip_name(stem: str, size_px: Literal[150, 112]) -> str:
    """The name of a chip in the pool."""
    return f"{stem}-chip{size_px}.jpg"


def are_dlib_points(landmarks: Landmarks) -> bool:
    """Whether five points are dlib's: corners of the eyes, and the base of the nose.

    Four of those lie on one line. Others find centres of eyes, a nose and corners of a mouth.
    """
    ax, ay = landmarks[0]
    bx, by = landmarks[2]
    length = math.hypot(bx - ax, by - ay)
    if length == 0:
        return False

    def off_line(point: tuple[float, float]) -> float:
        return abs((bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)) / length

    return max(off_line(landmarks[1]), off_line(landmarks[3])) < 0.4 * off_line(landmarks[4])


def _hash(boxes: tuple[Box, ...]) -> str:
    return hashlib.sha256(repr([tuple(box) for box in boxes]).encode()).hexdigest()[:8]
