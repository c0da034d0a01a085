"""From what the store knows to what a set should hold. Reads, and writes nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from portraitd.datasets.annotations import (
    DETECTION,
    DatasetRule,
    Labelled,
    Plan,
    PlannedCrop,
    PlannedFrame,
    PlannedTrack,
    Thinned,
    face_stem,
    marked,
    standing_of,
)
from portraitd.datasets.backgrounds import planned_backgrounds
from portraitd.datasets.classes import enrolled, labels
from portraitd.datasets.dedup import deduplicated
from portraitd.datasets.split_assignment import SplitAssignment, SplitRecording
from portraitd.model.face import Box
from portraitd.model.fingerprints import frame_stem
from portraitd.model.media_file import MediaKind
from portraitd.store import Database, Files
from portraitd.store.dataset_store import (
    ClassRegistration,
    ClassRow,
    DatasetStore,
    Recording,
    SeenFace,
)

FORGOTTEN_NEAR_S = 0.5
"""So far from a moment at which somebody was forgotten, pictures may be in a set again."""


class PlanRequest(NamedTuple):
    """Which home to plan a set for, and how."""

    state_dir: Path
    inbox_dir: Path
    rule: DatasetRule


def plan(request: PlanRequest) -> Plan:
    """Read the store, and say what the set should hold. For a worker.

    Raises:
        StoreError: The store cannot be read.
    """
    database = Database.open_to_read(request.state_dir)
    try:
        return planned(DatasetStore(database, Files(database, request.inbox_dir)), request.rule)
    finally:
        database.close()


def planned(store: DatasetStore, rule: DatasetRule) -> Plan:
    """What the set should hold, by everything the store knows now."""
    fingerprint = marked(store.fingerprint(), rule)
    people = store.persons(named_only=rule.people == "named")
    rows, enrolment = enrolled(store.classes(), people, rule.unknown == "class" and bool(people))
    class_of = {row.person_id: row.id for row in rows if row.person_id is not None}
    classes = {person.id: class_of[person.id] for person in people}
    by_video = {
        video_id: list(faces)
        for video_id, faces in groupby(
            store.faces_beside(list(classes)), key=lambda face: face.video_id
        )
    }
    recordings = {video_id: store.recording(video_id) for video_id in by_video}
    ours = {
        video_id: [face for face in faces if standing_of(face, classes) == "person"]
        for video_id, faces in by_video.items()
    }
    staying, thinned = _thinned(store, ours, classes, rule)
    # Somebody who was forgotten is still in the video, and nothing says where in the frame.
    staying -= {
        face.id
        for video_id, faces in ours.items()
        for face in faces
        if store.is_forgotten(recordings[video_id].sha256, face.t_s, FORGOTTEN_NEAR_S)
    }
    known = store.splits()
    seen = [
        SplitRecording(
            video_id,
            recordings[video_id].sha256,
            faces,
            [face for face in faces if face.id in staying],
        )
        for video_id, faces in ours.items()
    ]
    sides = SplitAssignment(seen, known, rule.val_share)
    crops, alone = _crops(recordings, by_video, ours, staying, sides, classes)
    unknown = next((row.id for row in rows if row.kind == "unknown"), None)
    frames, left_out = _frames(recordings, by_video, staying, sides, classes, unknown, rule)
    all_labels = labels(rows, people)
    backgrounds = planned_backgrounds(
        store, {**known, **sides.new}, sides, set(by_video), len(frames), rule
    )
    for video_id in {frame.video_id for frame in backgrounds} - recordings.keys():
        recordings[video_id] = store.recording(video_id)
    wants_frames = any(form in rule.formats for form in DETECTION)
    return Plan(
        rule=rule,
        fingerprint=fingerprint,
        classes=all_labels,
        enrolment=ClassRegistration(enrolment.new_classes, enrolment.holders, sides.new),
        recordings=recordings,
        frames=(*frames, *backgrounds) if wants_frames else (),
        crops=crops,
        tracks=_tracks(recordings, by_video, classes, rows),
        thinned=thinned,
        alone=tuple(all_labels[number].label for number in alone),
        cut_in_time=sides.cut_in_time,
        left_out=left_out,
    )


def _thinned(
    store: DatasetStore,
    ours: Mapping[int, Sequence[SeenFace]],
    classes: Mapping[int, int],
    rule: DatasetRule,
) -> tuple[set[int], dict[int, Thinned]]:
    """The faces that stay, and by class how many did not."""
    of_person: defaultdict[int, list[SeenFace]] = defaultdict(list)
    for faces in ours.values():
        for face in faces:
            of_person[face.person_id or 0].append(face)
    staying: set[int] = set()
    counts = {}
    for person, faces in of_person.items():
        keeps = deduplicated(
            store.embeddings_of([face.id for face in faces]),
            np.array([face.track_id or -face.id for face in faces], np.int64),
            np.array([face.t_s for face in faces], np.float64),
            rule.near_duplicate,
            rule.apart_s,
        )
        staying.update(face.id for face, keep in zip(faces, keeps, strict=True) if keep)
        counts[classes[person]] = Thinned(len(faces), len(faces) - int(keeps.sum()))
    return staying, counts


def _crops(
    recordings: Mapping[int, Recording],
    by_video: Mapping[int, Sequence[SeenFace]],
    ours: Mapping[int, Sequence[SeenFace]],
    staying: set[int],
    sides: SplitAssignment,
    classes: Mapping[int, int],
) -> tuple[tuple[PlannedCrop, ...], list[int]]:
    """The faces of the folders, and the classes that have no folder.

    Trainers number folders by their order in each split: a class that is missing in one of
    them would rename all that follow it. So a class is in both, or in none.
    """
    found: list[PlannedCrop] = []
    stems: set[str] = set()
    for video_id, faces in ours.items():
        for face in faces:
            side = sides.of_face(face) if face.id in staying else None
            stem = face_stem(recordings[video_id].sha256, face)
            if side is None or stem in stems:
                continue
            stems.add(stem)
            beside = tuple(
                other.box
                for other in by_video[video_id]
                if other.hidden and abs(other.t_s - face.t_s) < 1e-6
            )
            found.append(PlannedCrop(stem, side, classes[face.person_id or 0], face, beside))
    both = {(crop.class_id, crop.split) for crop in found}
    alone = sorted(
        number
        for number in {crop.class_id for crop in found}
        if not {(number, "train"), (number, "val")} <= both
    )
    return tuple(crop for crop in found if crop.class_id not in alone), alone


def _frames(
    recordings: Mapping[int, Recording],
    by_video: Mapping[int, Sequence[SeenFace]],
    staying: set[int],
    sides: SplitAssignment,
    classes: Mapping[int, int],
    unknown: int | None,
    rule: DatasetRule,
) -> tuple[list[PlannedFrame], int]:
    """The frames with a face that stays, and how many were left out for others in them."""
    found: dict[str, PlannedFrame] = {}
    left_out = 0
    for video_id, faces in by_video.items():
        recording = recordings[video_id]
        size = (recording.width_px, recording.height_px)
        for t_s, group in groupby(faces, key=lambda face: face.t_s):
            here = list(group)
            side = sides.of_moment(video_id, t_s)
            if side is None or not any(face.id in staying for face in here):
                continue
            labelled, blurred = _labelled(here, size, classes, unknown, rule)
            if labelled is None:
                left_out += 1
                continue
            stem = frame_stem(recording.sha256, t_s)
            if labelled:
                found.setdefault(
                    stem, PlannedFrame(stem, side, video_id, t_s, *size, labelled, blurred)
                )
    return list(found.values()), left_out


def _labelled(
    faces: Iterable[SeenFace],
    size: tuple[int, int],
    classes: Mapping[int, int],
    unknown: int | None,
    rule: DatasetRule,
) -> tuple[tuple[Labelled, ...] | None, tuple[Box, ...]]:
    """Every face of a frame: labelled or blurred; None if the frame is to be left out."""
    labelled: list[Labelled] = []
    blurred: list[Box] = []
    for face in faces:
        box = face.box.clipped(*size)
        if box.width < 1 or box.height < 1:
            continue
        standing = standing_of(face, classes)
        if standing == "person":
            labelled.append(Labelled(face, classes[face.person_id or 0], box))
        elif rule.unknown == "leave_out":
            return None, ()
        elif standing == "unknown" and rule.unknown == "class" and unknown is not None:
            labelled.append(Labelled(face, unknown, box))
        else:
            blurred.append(box)
    return tuple(labelled), tuple(blurred)


def _tracks(
    recordings: Mapping[int, Recording],
    by_video: Mapping[int, Sequence[SeenFace]],
    classes: Mapping[int, int],
    rows: Sequence[ClassRow],
) -> dict[int, tuple[PlannedTrack, ...]]:
    """The tracks of every video, for correcting by hand: nothing is thinned, nobody is split."""
    unknown = next((row.id for row in rows if row.kind == "unknown"), len(rows))
    found = {}
    for video_id, faces in by_video.items():
        recording = recordings[video_id]
        if recording.kind is not MediaKind.VIDEO:
            continue
        tracks: defaultdict[int, list[SeenFace]] = defaultdict(list)
        for face in faces:
            if standing_of(face, classes) != "hidden":
                tracks[face.track_id or -face.id].append(face)
        size = (recording.width_px, recording.height_px)
        planned_tracks = []
        for members in tracks.values():
            known = [classes[f.person_id or 0] for f in members if f.person_id in classes]
            number = Counter(known).most_common(1)[0][0] if known else unknown
            boxes = tuple((face.t_s, face.box.clipped(*size)) for face in members)
            planned_tracks.append(PlannedTrack(number, boxes))
        found[video_id] = tuple(planned_tracks)
    return found
