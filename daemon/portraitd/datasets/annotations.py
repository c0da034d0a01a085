"""The annotations that every format contains: which faces in which images, with which class.

Values only. ``planner`` makes a ``Plan``, workers cut its images, and the formats write it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from portraitd.model.dataset_format import Format
from portraitd.model.face import Box
from portraitd.model.fingerprints import frame_stem
from portraitd.store.dataset_store import ClassKind, ClassRegistration, DatasetFace, Recording

if TYPE_CHECKING:
    from portraitd.config import DatasetSettings

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

DETECTION_FORMATS: tuple[Format, ...] = ("yolo", "yolo_face", "yolo_pose", "darknet", "coco", "voc")
ULTRALYTICS_FORMATS: tuple[Format, ...] = ("yolo", "yolo_face", "yolo_pose")
FACE_FOLDER_FORMATS: tuple[Format, ...] = ("imagefolder", "chips150", "chips112")

UnknownFaces = Literal["class", "blur", "leave_out"]
AnnotationRole = Literal["person", "unknown", "hidden"]

UNKNOWN_NAME = "unknown"


class PersonConsent(NamedTuple):
    """What a file in the folder of a person says about their consent.

    Attributes:
        until: The last day of it, as ISO 8601; empty if the file does not say.
        file_name: Its name.
        code: Why it does not hold; empty if it does.
    """

    person_id: int
    until: str
    file_name: str
    code: str


class ConsentAnswer(NamedTuple):
    """Whether a person is in a set by their consent.

    Attributes:
        name: Of the person.
        until: The last day of the consent, as ISO 8601; empty if there is none that can be read.
        code: Why they are not in the set; empty if they are.
        reason: The same as a sentence.
    """

    name: str
    until: str
    code: str
    reason: str


class DatasetRule(NamedTuple):
    """The settings that decide the content of a set.

    Attributes:
        formats: The formats to write.
        people: Whether people without a name are included.
        unknown: What to do with unknown faces in frames of known people.
        val_share: Share of the faces to hold back for validation.
        test_share: Share of the faces to hold back for a final test.
        folds: Number of folds for cross-validation; 0 for none.
        min_px: Smaller faces are left out, as are those below the next three.
        min_sharpness: As in ``model.face.Quality``, like the next one.
        min_confidence: Of the detector.
        max_turn: From 0 for a face that looks at the camera to 1 for a profile.
        min_cell_faces: A cell of a person's coverage card with fewer faces is thin.
        consents: Those of all people who have one; nothing else lets a person into the set. None
            if no consent is required.
        min_train_faces: The report warns of a class with fewer faces in train.
        near_duplicate: Largest embedding distance at which two faces of a person count as
            near-duplicates; None for that of the model.
        apart_s: Minimum time between two faces of one track.
        background_share: Number of frames without a face, relative to frames with one.
    """

    formats: tuple[Format, ...]
    people: Literal["named", "all"] = "named"
    unknown: UnknownFaces = "class"
    val_share: float = 0.2
    near_duplicate: float | None = None
    apart_s: float = 1.0
    background_share: float = 0.1
    test_share: float = 0.0
    folds: int = 0
    min_train_faces: int = 5
    min_px: float = 32.0
    min_sharpness: float = 4.0
    min_confidence: float = 0.3
    max_turn: float = 1.0
    min_cell_faces: int = 10
    consents: tuple[PersonConsent, ...] | None = None

    @classmethod
    def of(cls, settings: DatasetSettings, consents: tuple[PersonConsent, ...] = ()) -> Self:
        """Return the rule of the settings, for workers.

        Args:
            settings: What a set contains.
            consents: Those that were found; ignored unless the settings require them.
        """
        names = (name for name in cls._fields if name != "consents")
        rule = cls(*(getattr(settings, name) for name in names))
        return rule._replace(consents=consents) if settings.consent == "required" else rule

    def as_settings(self) -> dict[str, Any]:
        """Return it by the names of the settings, without what people agreed to."""
        settings = self._asdict()
        settings["consent"] = "off" if settings.pop("consents") is None else "required"
        return settings


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """A class as the formats write it.

    Attributes:
        id: From 0, without gaps; never reused for another person.
        label: Safe as the name of a folder, and unique regardless of case.
        person_id: None for unknown faces and for a class that no person has at present.
    """

    id: int
    label: str
    kind: ClassKind
    person_id: int | None


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """A face in a frame with its class; ``box`` is clipped to the frame."""

    face: DatasetFace
    class_id: int
    box: Box


@dataclass(frozen=True, slots=True)
class PlannedFrame:
    """A full-size frame of the detection sets; a background if it has no labels.

    Attributes:
        stem: Stem of its files in every format.
        blurred: Faces that must be unrecognisable in it.
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
    def cache_name(self) -> str:
        """Its name in the frame cache, which depends on what is blurred."""
        return f"{self.stem}.jpg" if not self.blurred else f"{self.stem}-{_hash(self.blurred)}.jpg"


@dataclass(frozen=True, slots=True)
class PlannedCrop:
    """One face that is used, for the face folders and the other formats of single faces.

    Attributes:
        hidden: Faces in the same frame that must be unrecognisable.
    """

    stem: str
    split: Split
    class_id: int
    face: DatasetFace
    hidden: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class PlannedTrack:
    """A track of one person in a video, for manual correction.

    Attributes:
        newest_face_id: The highest number of a face that the video has.
    """

    class_id: int
    faces: tuple[tuple[float, Box], ...]
    newest_face_id: int = 0


@dataclass(frozen=True, slots=True)
class FaceCounts:
    """How many faces of a class were found, and how many were left out, by code.

    The codes are those of ``reasons.LEFT_OUT``.
    """

    found: int
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """The content of a training set, provided that all its images are available.

    Attributes:
        classes: By number, without gaps.
        registration: New classes and splits, which must be recorded before the set is written.
        recordings: By id; every recording that a frame, crop or track refers to.
        tracks: By recording.
        counts: By class.
        unsplittable: Labels of classes whose faces cannot be divided into train and val.
        splits_by_time: Whether val comes from the same shots as train.
        frames_left_out: Number of frames left out because of unknown faces.
        folds: The fold of each recording, from 1, without those in test; empty without folds.
        untimed: Videos with tracks whose times of frames are not known.
        consents: What the consent of each person says, if one is required.
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
    folds: Mapping[int, int]
    untimed: tuple[int, ...] = ()
    consents: tuple[ConsentAnswer, ...] = ()

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits of this set; test only if something is in it."""
        used = {frame.split for frame in self.frames} | {crop.split for crop in self.crops}
        return tuple(split for split in SPLITS if split != "test" or split in used)


def classify_face(face: DatasetFace, classes: Mapping[int, int]) -> AnnotationRole:
    """Return the role of a face in a set.

    Args:
        face: The face.
        classes: The class of each person in the set.
    """
    if face.hidden:
        return "hidden"
    return "person" if face.person_id in classes else "unknown"


def make_set_fingerprint(fingerprint: str, rule: DatasetRule) -> str:
    """Return the fingerprint of a set: of the store and of the rule."""
    return f"{fingerprint} | {rule!r}"


def make_face_stem(sha256: str, face: DatasetFace) -> str:
    """Return the file stem of a face: its frame and its position."""
    return make_box_stem(sha256, face.t_s, face.box)


def make_box_stem(sha256: str, t_s: float, box: Box) -> str:
    """Return the file stem of a face by its time and box."""
    return f"{frame_stem(sha256, t_s)}-{max(box.left, 0)}-{max(box.top, 0)}"


def make_chip_name(stem: str, size_px: Literal[150, 112]) -> str:
    """Return the name of a chip in the frame cache."""
    return f"{stem}-chip{size_px}.jpg"


def _hash(boxes: tuple[Box, ...]) -> str:
    return hashlib.sha256(repr([tuple(box) for box in boxes]).encode()).hexdigest()[:8]
