"""Plans the content of a training set from the store. Read-only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from portraitd.datasets.annotations import (
    DETECTION_FORMATS,
    ConsentAnswer,
    DatasetRule,
    FaceCounts,
    LabelledFace,
    Plan,
    PlannedCrop,
    PlannedFrame,
    PlannedTrack,
    classify_face,
    make_face_stem,
    make_set_fingerprint,
)
from portraitd.datasets.backgrounds import plan_backgrounds
from portraitd.datasets.classes import make_class_labels, register_classes
from portraitd.datasets.consents import select_consenting
from portraitd.datasets.dedup import select_distinct
from portraitd.datasets.quality_floor import find_fault
from portraitd.datasets.split_assignment import SplitAssignment, SplitRecording, assign_folds
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.face import Box
from portraitd.model.fingerprints import ERASED_MARGIN_S, frame_stem
from portraitd.model.media_file import MediaKind
from portraitd.model.reasons import ReasonCode
from portraitd.store.database import Database
from portraitd.store.dataset_store import (
    ClassRegistration,
    ClassRow,
    DatasetFace,
    DatasetStore,
    NamedPerson,
    Recording,
)
from portraitd.store.files import Files
from portraitd.workers.job_results import returns


class PlanRequest(NamedTuple):
    """The home to plan a set for, and the rule of the set."""

    state_dir: Path
    inbox_dir: Path
    rule: DatasetRule


@returns("portraitd.datasets.dataset_results:PLAN")
def plan_dataset(request: PlanRequest) -> Plan:
    """Plan a set from the database of a home. Runs in a worker.

    Raises:
        StoreError: The store cannot be read.
    """
    with Database.open_to_read(request.state_dir) as database:
        return plan_from_store(
            DatasetStore(database, Files(database, request.inbox_dir)), request.rule
        )


class SetFaces(NamedTuple):
    """The faces that a set is made from, with their classes and splits.

    Attributes:
        people: The people in the set, by id.
        rows: All classes, by number.
        registration: New classes, and new names of classes.
        classes: The class of each person in the set.
        by_video: All faces of the recordings with these people, by recording and time.
        recordings: By id.
        set_faces: The faces of people in the set, by recording.
        distinct: The ids of those that are no near-duplicates.
        faults: Why the others are left out, by id.
        known: The stored splits, by key, without what the user moved.
        moved: The splits that the user chose for whole recordings, by key.
        seen: Every recording, with its faces of people in the set.
        splits: The splits of all faces and frames.
        consents: What the consent of each person says, if one is required.
    """

    people: Sequence[NamedPerson]
    rows: Sequence[ClassRow]
    registration: ClassRegistration
    classes: Mapping[int, int]
    by_video: Mapping[int, Sequence[DatasetFace]]
    recordings: dict[int, Recording]
    set_faces: Mapping[int, Sequence[DatasetFace]]
    distinct: set[int]
    faults: Mapping[int, ReasonCode]
    known: Mapping[str, str]
    moved: Mapping[str, str]
    seen: Sequence[SplitRecording]
    splits: SplitAssignment
    consents: tuple[ConsentAnswer, ...]


def _hide_others(face: DatasetFace, classes: Mapping[int, int]) -> DatasetFace:
    """Return a face that must be unrecognisable unless it is of a person in the set."""
    return face if face.person_id in classes else replace(face, hidden=True)


def read_set_faces(store: DatasetStore, rule: DatasetRule) -> SetFaces:
    """Return the faces of a set, with new classes and splits for what is new. Writes nothing."""
    people, consents = select_consenting(
        store.persons(named_only=rule.people == "named"), store, rule
    )
    rows, registration = register_classes(
        store.classes(), people, rule.unknown == "class" and bool(people) and not consents
    )
    class_of = {row.person_id: row.id for row in rows if row.person_id is not None}
    classes = {person.id: class_of[person.id] for person in people}
    by_video = {
        video_id: [_hide_others(face, classes) if consents else face for face in faces]
        for video_id, faces in groupby(
            store.faces_in_recordings_of(list(classes)), key=lambda face: face.video_id
        )
    }
    recordings = {video_id: store.recording(video_id) for video_id in by_video}
    set_faces = {
        video_id: [face for face in faces if classify_face(face, classes) == "person"]
        for video_id, faces in by_video.items()
    }
    faults = {
        face.id: fault
        for faces in set_faces.values()
        for face in faces
        if (fault := find_fault(face, rule))
    }
    distinct = _find_distinct(store, set_faces, faults.keys(), rule)
    for video_id, faces in set_faces.items():
        for face in faces:
            if face.id not in distinct:
                faults.setdefault(face.id, ReasonCode.NEAR_DUPLICATE)
            # An erased person is still visible in the video, at an unknown position in the frame.
            elif store.is_erased_near(recordings[video_id].sha256, face.t_s, ERASED_MARGIN_S):
                faults[face.id] = ReasonCode.ERASED_NEARBY
    distinct -= faults.keys()
    known, moved = store.splits(), store.moved_splits()
    seen = [
        SplitRecording(
            video_id,
            recordings[video_id].sha256,
            faces,
            [face for face in faces if face.id in distinct],
        )
        for video_id, faces in set_faces.items()
    ]
    splits = SplitAssignment(seen, known, rule.val_share, rule.test_share, moved)
    return SetFaces(
        people,
        rows,
        registration,
        classes,
        by_video,
        recordings,
        set_faces,
        distinct,
        faults,
        known,
        moved,
        seen,
        splits,
        consents,
    )


def plan_from_store(store: DatasetStore, rule: DatasetRule) -> Plan:
    """Plan a set from the current state of the store."""
    fingerprint = make_set_fingerprint(store.fingerprint(), rule)
    found = read_set_faces(store, rule)
    recordings, by_video, rows = found.recordings, found.by_video, found.rows
    set_faces, distinct, splits = found.set_faces, found.distinct, found.splits
    classes = found.classes
    crops, unsplittable = _plan_crops(recordings, by_video, set_faces, distinct, splits, classes)
    unknown = next((row.id for row in rows if row.kind == "unknown"), None)
    frames, frames_left_out = _plan_frames(
        recordings, by_video, distinct, splits, classes, unknown, rule
    )
    all_labels = make_class_labels(rows, found.people)
    backgrounds = plan_backgrounds(store, splits, set(by_video), len(frames), rule)
    for video_id in {frame.video_id for frame in backgrounds} - recordings.keys():
        recordings[video_id] = store.recording(video_id)
    folds, new_folds = assign_folds(found.seen, found.known, splits, rule.folds)
    tracks = _plan_tracks(recordings, by_video, classes, rows)
    wants_frames = any(form in rule.formats for form in DETECTION_FORMATS)
    return Plan(
        rule=rule,
        fingerprint=fingerprint,
        classes=all_labels,
        registration=found.registration._replace(splits={**splits.new, **new_folds}),
        recordings=recordings,
        frames=(*frames, *backgrounds) if wants_frames else (),
        crops=crops,
        tracks=tracks,
        counts=_count_faces(found),
        unsplittable=tuple(all_labels[number].label for number in unsplittable),
        splits_by_time=splits.splits_by_time,
        frames_left_out=frames_left_out,
        folds=folds,
        consents=found.consents,
        untimed=tuple(
            video_id
            for video_id in tracks
            if "cvat" in rule.formats and store.frame_times(recordings[video_id]) is None
        ),
    )


def _find_distinct(
    store: DatasetStore,
    set_faces: Mapping[int, Sequence[DatasetFace]],
    poor: Collection[int],
    rule: DatasetRule,
) -> set[int]:
    """Return the faces that are no near-duplicates, without poor ones.

    A poor face comes first at times; then the good ones that follow are no duplicates of it.
    Harvested faces come last, and need not be apart in time: each was chosen because it differs.
    """
    near_duplicate = rule.near_duplicate
    if near_duplicate is None:
        near_duplicate = require_rules(store.embedder()).near_duplicate
    of_person: defaultdict[int, list[DatasetFace]] = defaultdict(list)
    for faces in set_faces.values():
        for face in faces:
            if face.id not in poor:
                of_person[face.person_id or 0].append(face)
    distinct: set[int] = set()
    for faces in of_person.values():
        faces.sort(key=lambda face: face.is_harvested)
        tracks = [-face.id if face.is_harvested else face.track_id or -face.id for face in faces]
        keeps = select_distinct(
            store.embeddings_of([face.id for face in faces]),
            np.array(tracks, np.int64),
            np.array([face.t_s for face in faces], np.float64),
            near_duplicate,
            rule.apart_s,
        )
        distinct.update(face.id for face, keep in zip(faces, keeps, strict=True) if keep)
    return distinct


def _count_faces(found: SetFaces) -> dict[int, FaceCounts]:
    """Return the counts by class."""
    counts: Counter[int] = Counter()
    left_out: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for faces in found.set_faces.values():
        for face in faces:
            number = found.classes[face.person_id or 0]
            counts[number] += 1
            fault = found.faults.get(face.id)
            if fault is None and found.splits.split_of(face) is None:
                fault = ReasonCode.IN_ANOTHER_SPLIT
            if fault is not None:
                left_out[number][fault] += 1
    return {number: FaceCounts(count, left_out[number]) for number, count in counts.items()}


def _plan_crops(
    recordings: Mapping[int, Recording],
    by_video: Mapping[int, Sequence[DatasetFace]],
    set_faces: Mapping[int, Sequence[DatasetFace]],
    distinct: set[int],
    splits: SplitAssignment,
    classes: Mapping[int, int],
) -> tuple[tuple[PlannedCrop, ...], list[int]]:
    """Return all faces that are used, and the classes that get no folder.

    These are the classes without a face in train or val: trainers number the folders of each
    split in order, so a class that is missing in one would shift the numbers of all that follow.
    """
    found: list[PlannedCrop] = []
    stems: set[str] = set()
    for video_id, faces in set_faces.items():
        for face in faces:
            split = splits.split_of(face) if face.id in distinct else None
            stem = make_face_stem(recordings[video_id].sha256, face)
            if split is None or stem in stems:
                continue
            stems.add(stem)
            beside = tuple(
                other.box
                for other in by_video[video_id]
                if other.hidden and abs(other.t_s - face.t_s) < 1e-6
            )
            found.append(PlannedCrop(stem, split, classes[face.person_id or 0], face, beside))
    both = {(crop.class_id, crop.split) for crop in found}
    unsplittable = sorted(
        number
        for number in {crop.class_id for crop in found}
        if not {(number, "train"), (number, "val")} <= both
    )
    return tuple(found), unsplittable


def _plan_frames(
    recordings: Mapping[int, Recording],
    by_video: Mapping[int, Sequence[DatasetFace]],
    distinct: set[int],
    splits: SplitAssignment,
    classes: Mapping[int, int],
    unknown: int | None,
    rule: DatasetRule,
) -> tuple[list[PlannedFrame], int]:
    """Return the frames with a distinct face, and the number left out for unknown faces."""
    found: dict[str, PlannedFrame] = {}
    frames_left_out = 0
    for video_id, faces in by_video.items():
        recording = recordings[video_id]
        size = (recording.width_px, recording.height_px)
        for t_s, group in groupby(faces, key=lambda face: face.t_s):
            here = list(group)
            split = splits.split_at(video_id, t_s)
            if split is None or not any(face.id in distinct for face in here):
                continue
            labelled, blurred = _label_faces(here, size, classes, unknown, rule)
            if labelled is None:
                frames_left_out += 1
                continue
            stem = frame_stem(recording.sha256, t_s)
            if labelled:
                found.setdefault(
                    stem, PlannedFrame(stem, split, video_id, t_s, *size, labelled, blurred)
                )
    return list(found.values()), frames_left_out


def _label_faces(
    faces: Iterable[DatasetFace],
    size: tuple[int, int],
    classes: Mapping[int, int],
    unknown: int | None,
    rule: DatasetRule,
) -> tuple[tuple[LabelledFace, ...] | None, tuple[Box, ...]]:
    """Divide the faces of a frame into labelled and blurred; None to leave the frame out."""
    labelled: list[LabelledFace] = []
    blurred: list[Box] = []
    for face in faces:
        box = face.box.clipped(*size)
        if box.width < 1 or box.height < 1:
            continue
        role = classify_face(face, classes)
        if role == "person":
            labelled.append(LabelledFace(face, classes[face.person_id or 0], box))
        elif rule.unknown == "leave_out":
            return None, ()
        elif role == "unknown" and rule.unknown == "class" and unknown is not None:
            labelled.append(LabelledFace(face, unknown, box))
        else:
            blurred.append(box)
    return tuple(labelled), tuple(blurred)


def _plan_tracks(
    recordings: Mapping[int, Recording],
    by_video: Mapping[int, Sequence[DatasetFace]],
    classes: Mapping[int, int],
    rows: Sequence[ClassRow],
) -> dict[int, tuple[PlannedTrack, ...]]:
    """Return all tracks of each video, for manual correction, without deduplication or splits.

    Where a correction gave a track faces of several people, it is one track for each of them.
    """
    unknown = next((row.id for row in rows if row.kind == "unknown"), len(rows))
    found = {}
    for video_id, faces in by_video.items():
        recording = recordings[video_id]
        if recording.kind is not MediaKind.VIDEO:
            continue
        newest = max(face.id for face in faces)
        tracks: defaultdict[tuple[int, int], list[DatasetFace]] = defaultdict(list)
        for face in faces:
            if classify_face(face, classes) != "hidden":
                number = classes.get(face.person_id or 0, unknown)
                tracks[face.track_id or -face.id, number].append(face)
        size = (recording.width_px, recording.height_px)
        found[video_id] = tuple(
            PlannedTrack(
                number, tuple((face.t_s, face.box.clipped(*size)) for face in members), newest
            )
            for (_, number), members in tracks.items()
        )
    return found
