"""Turn the boxes of other programs into edits, and list what does not match."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple, TypeAlias

import numpy as np

from portraitd.datasets.annotations import UNKNOWN_NAME, DatasetRule, make_face_stem
from portraitd.datasets.box_import.box_matching import (
    FrameFace,
    MatchedBox,
    match_frame,
)
from portraitd.datasets.box_import.imported_boxes import ImportedBox, ImportedFile, ImportedImage
from portraitd.datasets.classes import make_class_labels
from portraitd.datasets.consents import select_consenting
from portraitd.model.edit import AssignFaces, DrawFaces, DrawnBox, ExcludeFaces
from portraitd.model.face import SAME_FRAME_S, Box, FrameTimes
from portraitd.model.fingerprints import frame_stem
from portraitd.model.media_file import MediaKind
from portraitd.model.reasons import ReasonCode
from portraitd.people.names import folded, folder_name
from portraitd.store.corrections.imported_edits import ImportedEdit, ImportedEdits
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.dataset_store import DatasetFace, DatasetStore, Recording
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.files import Files
from portraitd.store.people import People
from portraitd.store.video_lookup import find_by_content, find_by_file_name

FACE_LABEL = "face"
"""A label that says nothing about whose face it is."""

MAX_MISSING_SHARE = 0.2
FEW_FACES = 10
"""More missing faces than this share, and than this number, are not deleted without being asked."""

_STEM = re.compile(r"([0-9a-f]{12})-(\d{9})(?:-\d+-\d+)?")

ReadTimes: TypeAlias = "Callable[[Recording], FrameTimes | None]"
"""Returns the times of a recording's frames; None if its file is missing or cannot be read."""


_Drawings = defaultdict[tuple[bool, int | None, int | None], list[DrawnBox]]
"""By whether they correct boxes, whose the faces are, and whose they were."""


class ImportProblem(NamedTuple):
    """Something of a file that was not taken over."""

    code: ReasonCode
    place: str


@dataclass(slots=True)
class ImportPlan:
    """What is to be recorded, and what does not match.

    Attributes:
        edits: To record.
        moved, new, deleted, relabelled, unchanged: Number of faces; one that was moved and
            relabelled counts as both.
        problems: What was not taken over.
    """

    edits: ImportedEdits = field(default_factory=ImportedEdits)
    moved: int = 0
    new: int = 0
    deleted: int = 0
    relabelled: int = 0
    unchanged: int = 0
    problems: list[ImportProblem] = field(default_factory=list)


class _Meaning(NamedTuple):
    """What a label says.

    Attributes:
        person_id: Whose face it is; None if it says that this is not known, or nothing.
        says: Whether it says anything about that.
        problem: Why it cannot be understood.
    """

    person_id: int | None
    says: bool = True
    problem: ReasonCode | None = None


@dataclass(slots=True)
class _Frame:
    """All boxes of a frame, and whether every face in it should have one."""

    t_s: float
    boxes: list[ImportedBox] = field(default_factory=list)
    is_complete: bool = False
    is_image: bool = False


class ImportPlanner:
    """Plans an import from the store of a home. Writes nothing.

    Args:
        database: The store.
        files: The recordings.
        rule: Says which faces a set has.
        read_times: Reads the times of frames.
        recording: What all files are about; None to find out.
        deletes_missing: Whether faces without a box are deleted in any case.
    """

    def __init__(
        self,
        database: Database,
        files: Files,
        rule: DatasetRule,
        read_times: ReadTimes,
        recording: str | None = None,
        deletes_missing: bool = False,
    ) -> None:
        self._db = database
        self._store = DatasetStore(database, files)
        self._rule = rule
        self._read_times = read_times
        self._wanted = self._store.find(recording).id if recording else None
        self._deletes_missing = deletes_missing
        self._tombstones = Tombstones(database)
        self._corrections = Ledger(database).corrections()
        persons = self._store.persons(named_only=rule.people == "named")
        people, _ = select_consenting(persons, self._store, rule)
        self._set_people = {person.id for person in people}
        self._labels = _read_labels(
            {
                label.label: label.person_id
                for label in make_class_labels(self._store.classes(), people)
                if label.person_id is not None
            },
            {one.id: folder_name(one.id, one.name) for one in People(database).present()},
        )
        self._plan = ImportPlan()
        self._recordings: dict[int, Recording] = {}
        self._faces: dict[int, list[DatasetFace]] = {}
        self._times: dict[int, FrameTimes | None] = {}
        self._frames: defaultdict[int, dict[float, _Frame]] = defaultdict(dict)

    def plan(self, files: Iterable[ImportedFile]) -> ImportPlan:
        """Return what files say, and what of it does not match."""
        for file in files:
            self._plan.problems += [ImportProblem(*one) for one in file.left_out]
            if file.coverage is not None or file.tracks:
                self._add_tracks(file)
            # Frames of one video: what one of them says of the video is true of all.
            keys = {
                box.key
                for image in file.images
                if image.number is not None
                for box in image.boxes
                if box.key
            }
            for image in file.images:
                self._add_image(image, file, keys)
        drawings: _Drawings = defaultdict(list)
        outcomes: dict[int, _Outcome] = {}
        for video_id, frames in self._frames.items():
            self._match_recording(video_id, frames, drawings, outcomes)
        of_tracks, of_faces = self._make_edits(outcomes)
        of_faces += [
            DrawFaces(tuple(boxes), person_id)
            for (_, person_id, _), boxes in sorted(
                drawings.items(), key=lambda one: tuple(part or 0 for part in one[0])
            )
        ]
        self._plan.edits = ImportedEdits(of_tracks, of_faces)
        return self._plan

    # --- Which recording and frame each box is in.

    def _add_tracks(self, file: ImportedFile) -> None:
        place = file.source or "the tracks"
        keys = {mark.key for track in file.tracks for mark in track.marks if mark.key}
        recording = self._find_recording(keys, file.source, place)
        if recording is None:
            return
        if file.size_px not in (None, (recording.width_px, recording.height_px)):
            self._note(ReasonCode.SIZE_DIFFERS, place)
            return
        times_s = self._times_of(recording)
        if times_s is None:
            self._note(ReasonCode.FRAMES_UNREADABLE, place)
            return
        numbers: dict[int, float] = {}
        complete: set[int] = set()
        for face in self._faces_of(recording.id):
            number = _find_frame(times_s, face.t_s)
            if number is not None:
                numbers[number] = face.t_s
                if file.coverage is None or file.coverage.has(number):
                    complete.add(number)
        for track in file.tracks:
            for mark in track.marks:
                if mark.is_outside or not mark.is_keyframe:
                    continue
                if 0 <= mark.frame < len(times_s):
                    numbers.setdefault(mark.frame, float(times_s[mark.frame]))
                else:
                    self._note(ReasonCode.FRAME_UNKNOWN, f"{track.place}, frame {mark.frame}")
        for number, t_s in numbers.items():
            boxes = [box for track in file.tracks if (box := track.box_at(number)) is not None]
            self._add_frame(recording.id, t_s, boxes, number in complete, is_image=False)

    def _add_image(self, image: ImportedImage, file: ImportedFile, keys: set[str]) -> None:
        stem = _STEM.fullmatch(PurePath(image.name.replace("\\", "/")).stem)
        if stem:
            keys = {stem[0]}
        elif image.number is None:
            keys = {box.key for box in image.boxes if box.key}
        name = (image.name if image.number is None else file.source) if not stem else ""
        recording = self._find_recording(keys, name, image.name)
        if recording is None:
            return
        if image.size_px not in (None, (recording.width_px, recording.height_px)):
            self._note(ReasonCode.SIZE_DIFFERS, image.name)
            return
        t_s = self._find_time(recording, stem and int(stem[2]), image.number)
        if t_s is None:
            code = ReasonCode.FRAME_UNKNOWN
            if self._times.get(recording.id, ()) is None:
                code = ReasonCode.FRAMES_UNREADABLE
            self._note(code, image.name)
            return
        self._add_frame(recording.id, t_s, image.boxes, True, is_image=True)

    def _add_frame(
        self,
        video_id: int,
        t_s: float,
        boxes: Sequence[ImportedBox],
        is_whole: bool,
        is_image: bool,
    ) -> None:
        frame = self._frames[video_id].setdefault(t_s, _Frame(t_s, is_image=is_image))
        frame.boxes += boxes
        frame.is_complete |= is_whole

    def _find_recording(self, keys: set[str], name: str, place: str) -> Recording | None:
        """Return what a file or image is about; note why that is not known."""
        found = {self._wanted} if self._wanted else set()
        if not found:
            for start in {key[:12] for key in keys if _STEM.fullmatch(key)}:
                found |= set(find_by_content(self._db, start))
        if not found and name:
            found = set(find_by_file_name(self._db, name))
        if len(found) != 1:
            code = ReasonCode.RECORDING_AMBIGUOUS if found else ReasonCode.IMAGE_UNKNOWN
            self._note(code, place)
            return None
        (video_id,) = found
        if video_id not in self._recordings:
            self._recordings[video_id] = self._store.recording(video_id)
        return self._recordings[video_id]

    def _find_time(
        self, recording: Recording, milliseconds: int | None, number: int | None
    ) -> float | None:
        """Return the time of an image; None if the recording has no such frame."""
        if recording.kind is MediaKind.PHOTO:
            return 0.0
        if milliseconds is not None:
            for face in self._faces_of(recording.id):
                if round(face.t_s * 1000) == milliseconds:
                    return face.t_s
        times_s = self._times_of(recording)
        if times_s is None:
            return None
        if milliseconds is not None:
            number = _find_frame(times_s, milliseconds / 1000)
        if number is None or not 0 <= number < len(times_s):
            return None
        known = (face.t_s for face in self._faces_of(recording.id))
        t_s = float(times_s[number])
        return next((one for one in known if abs(one - t_s) < SAME_FRAME_S), t_s)

    # --- What the boxes say.

    def _match_recording(
        self,
        video_id: int,
        frames: Mapping[float, _Frame],
        drawings: _Drawings,
        outcomes: dict[int, _Outcome],
    ) -> None:
        recording = self._recordings[video_id]
        size_px = recording.width_px, recording.height_px
        by_time: defaultdict[float, list[DatasetFace]] = defaultdict(list)
        for face in self._faces_of(video_id):
            by_time[face.t_s].append(face)
        exports = {box.export for frame in frames.values() for box in frame.boxes if box.export}
        export = max((int(one) for one in exports if one.isdecimal()), default=None)
        missing: list[tuple[DatasetFace, str]] = []
        expected = 0
        for t_s, frame in sorted(frames.items()):
            here = {face.id: face for face in by_time[t_s]}
            stem = frame_stem(recording.sha256, t_s)
            found = match_frame(
                [
                    FrameFace(
                        face.id,
                        make_face_stem(recording.sha256, face),
                        face.box.clipped(*size_px),
                        self._is_hidden(face),
                    )
                    for face in here.values()
                ],
                frame.boxes,
                f"{stem}-",
                size_px,
            )
            self._plan.problems += [ImportProblem(*one) for one in found.problems]
            for one in found.matched:
                self._add_matched(one, here[one.face.id], drawings, outcomes)
            for imported, box in found.new:
                self._add_new(recording, t_s, imported, box, drawings)
            if frame.is_complete:
                absent = [
                    here[one.id]
                    for one in found.missing
                    if not frame.is_image or self._is_in_images(here[one.id])
                ]
                missing += [(face, f"{stem}, face {face.id}") for face in absent]
                expected += len(found.matched) + len(absent)
        self._add_missing(missing, expected, export, outcomes)

    def _add_matched(
        self,
        one: MatchedBox,
        face: DatasetFace,
        drawings: _Drawings,
        outcomes: dict[int, _Outcome],
    ) -> None:
        meaning = self._understand(one.imported.label)
        if meaning.problem is not None:
            self._note(meaning.problem, f"{one.imported.place}: {one.imported.label}")
        is_new = meaning.says and meaning.problem is None and meaning.person_id != face.person_id
        if meaning.person_id is None and face.person_id not in self._set_people:
            # A person who is not in the set is unknown in it.
            is_new = False
        self._plan.relabelled += is_new
        self._plan.moved += one.is_moved
        self._plan.unchanged += not (is_new or one.is_moved)
        target = _Outcome(face, "assign", meaning.person_id) if is_new else _Outcome(face, "same")
        if one.is_moved and not self._can_read(face.video_id, one.imported):
            self._plan.moved -= 1
        elif one.is_moved:
            person_id = meaning.person_id
            if not is_new:
                person_id = self._corrections.assigned_person(face.id) or None
            drawn = DrawnBox(face.video_id, face.t_s, one.box, face.id)
            drawings[True, person_id, face.person_id].append(drawn)
            target = target._replace(is_moved=True)
        outcomes[face.id] = target

    def _add_new(
        self,
        recording: Recording,
        t_s: float,
        imported: ImportedBox,
        box: Box,
        drawings: _Drawings,
    ) -> None:
        meaning = self._understand(imported.label)
        size_px = recording.width_px, recording.height_px
        if meaning.problem is not None:
            self._note(meaning.problem, f"{imported.place}: {imported.label}")
        elif self._tombstones.has_face(recording.sha256, t_s, box, size_px):
            self._note(ReasonCode.BOX_ERASED, imported.place)
        elif self._can_read(recording.id, imported):
            drawings[False, meaning.person_id, None].append(DrawnBox(recording.id, t_s, box))
            self._plan.new += 1

    def _can_read(self, video_id: int, imported: ImportedBox) -> bool:
        """Return whether a face can be read from a recording; note if it cannot."""
        if self._times_of(self._recordings[video_id]) is None:
            self._note(ReasonCode.FRAMES_UNREADABLE, imported.place)
            return False
        return True

    def _add_missing(
        self,
        missing: Sequence[tuple[DatasetFace, str]],
        expected: int,
        export: int | None,
        outcomes: dict[int, _Outcome],
    ) -> None:
        """Delete faces without a box, if the file was exported with them and most are there."""
        is_known = export is not None and len(missing) <= max(
            FEW_FACES, expected * MAX_MISSING_SHARE
        )
        for face, place in missing:
            if self._deletes_missing or (is_known and face.id <= (export or 0)):
                outcomes[face.id] = _Outcome(face, "delete")
                self._plan.deleted += 1
            else:
                is_newer = export is not None and face.id > export
                code = ReasonCode.FACE_NEWER if is_newer else ReasonCode.FACE_MISSING
                self._note(code, place)

    def _make_edits(
        self, outcomes: Mapping[int, _Outcome]
    ) -> tuple[list[ImportedEdit], list[ImportedEdit]]:
        """Return the edits of whole tracks, and of single faces.

        Where a file says the same of all faces of a track that it shows, that is true of the track.
        """
        of_track: defaultdict[int, set[tuple[str, int | None]]] = defaultdict(set)
        for one in outcomes.values():
            of_track[one.track].add((one.kind, one.person_id))
        groups: tuple[defaultdict[_Group, list[int]], ...] = (defaultdict(list), defaultdict(list))
        for face_id, one in sorted(outcomes.items()):
            # A box that is drawn anew has its person by that entry.
            if one.kind != "same" and not one.is_moved:
                is_whole = len(of_track[one.track]) == 1 and one.track > 0
                group = _Group(one.kind, one.person_id or 0, one.face.person_id or 0)
                groups[not is_whole][group].append(face_id)
        of_tracks, of_faces = (
            [
                ExcludeFaces(tuple(face_ids))
                if group.kind == "delete"
                else AssignFaces(tuple(face_ids), group.person_id or None)
                for group, face_ids in sorted(part.items())
            ]
            for part in groups
        )
        return list(of_tracks), list(of_faces)

    def _understand(self, label: str) -> _Meaning:
        if folded(label) in ("", folded(FACE_LABEL)) and not self._labels.get(folded(label)):
            return _Meaning(None, says=False)
        if folded(label) == folded(UNKNOWN_NAME):
            return _Meaning(None)
        people = self._labels.get(folded(label), set())
        if len(people) != 1:
            code = ReasonCode.LABEL_AMBIGUOUS if people else ReasonCode.LABEL_UNKNOWN
            return _Meaning(None, says=False, problem=code)
        return _Meaning(next(iter(people)))

    def _is_in_images(self, face: DatasetFace) -> bool:
        """Return whether sets of images label a face, unless something else is the matter."""
        return face.person_id in self._set_people or self._rule.unknown == "class"

    def _is_hidden(self, face: DatasetFace) -> bool:
        """Return whether no set has a box for a face."""
        lacks_consent = self._rule.consents is not None and face.person_id not in self._set_people
        return face.hidden or lacks_consent

    def _faces_of(self, video_id: int) -> list[DatasetFace]:
        if video_id not in self._faces:
            self._faces[video_id] = list(self._store.faces_of(video_id))
        return self._faces[video_id]

    def _times_of(self, recording: Recording) -> FrameTimes | None:
        if recording.id not in self._times:
            self._times[recording.id] = self._read_times(recording)
        return self._times[recording.id]

    def _note(self, code: ReasonCode, place: str) -> None:
        self._plan.problems.append(ImportProblem(code, place))


class _Outcome(NamedTuple):
    """What a file says of a face.

    Attributes:
        kind: ``same``, ``assign`` or ``delete``.
    """

    face: DatasetFace
    kind: str
    person_id: int | None = None
    is_moved: bool = False

    @property
    def track(self) -> int:
        """The track; a number below zero for a face without one."""
        return self.face.track_id or -self.face.id


class _Group(NamedTuple):
    """Faces that become one entry: of one person before, and one afterwards."""

    kind: str
    person_id: int
    former_id: int


def count_problems(plan: ImportPlan) -> Counter[ReasonCode]:
    """Return how often each reason applies."""
    return Counter(one.code for one in plan.problems)


def _read_labels(classes: Mapping[str, int], names: Mapping[int, str]) -> dict[str, set[int]]:
    """Return the people whom each label may name; the label of a class has priority."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for person_id, name in names.items():
        found[folded(name)].add(person_id)
    return dict(found) | {folded(label): {person_id} for label, person_id in classes.items()}


def _find_frame(times_s: FrameTimes, t_s: float) -> int | None:
    """Return the number of the frame at a time; None if there is none."""
    at = int(np.searchsorted(times_s, t_s - SAME_FRAME_S))
    return at if at < len(times_s) and abs(times_s[at] - t_s) <= SAME_FRAME_S else None
