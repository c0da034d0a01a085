"""Background frames: frames without a face, as negatives for a detector."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from portraitd.datasets.annotations import DatasetRule, PlannedFrame, Split
from portraitd.datasets.split_assignment import SplitAssignment
from portraitd.datasets.split_units import hash_to_fraction
from portraitd.model.fingerprints import frame_stem
from portraitd.store.dataset_store import DatasetStore, Recording

MIN_DISTANCE_S = 2.0
"""Minimum time to any face, so that a face is not missed by a frame or two."""

SPACING_S = 5.0
"""Time between candidate frames; closer ones are too similar."""


def plan_backgrounds(
    store: DatasetStore,
    splits: SplitAssignment,
    with_set_faces: set[int],
    frames: int,
    rule: DatasetRule,
) -> list[PlannedFrame]:
    """Choose video frames without a face, at a distance from every face.

    Photos are not used: a photo in which no face was found usually contains a missed face.

    Args:
        store: The videos.
        splits: The splits of all recordings.
        with_set_faces: The ids of the recordings with faces of the set.
        frames: Number of frames with faces.
        rule: The share of backgrounds.
    """
    count = math.floor(rule.background_share * frames)
    if count < 1:
        return []
    found: list[tuple[float, PlannedFrame]] = []
    for video_id in store.finished_videos():
        recording = store.recording(video_id)
        for t_s in _candidate_times(recording, store.face_times(video_id)):
            # The face was erased from the store, but it is still visible in the video.
            if store.is_erased_near(recording.sha256, t_s, MIN_DISTANCE_S):
                continue
            stem = frame_stem(recording.sha256, t_s)
            split: Split | None
            if video_id in with_set_faces:
                split = splits.split_at(video_id, t_s)
            else:
                split = splits.split_of_background(recording.sha256)
            if split is not None:
                size = (recording.width_px, recording.height_px)
                frame = PlannedFrame(stem, split, video_id, t_s, *size, (), ())
                found.append((hash_to_fraction(stem), frame))
    found.sort(key=lambda pair: pair[0])
    return [frame for _, frame in found[:count]]


def _candidate_times(recording: Recording, faces_s: Sequence[float]) -> list[float]:
    """Return candidate times of a video that are far from every face."""
    stop_s = recording.duration_s if math.isfinite(recording.duration_s) else 0.0
    times = []
    for number in range(math.ceil(stop_s / SPACING_S)):
        t_s = SPACING_S * (number + 0.5)
        at = bisect_left(faces_s, t_s)
        near = min((abs(face_s - t_s) for face_s in faces_s[max(at - 1, 0) : at + 1]), default=1e9)
        if near >= MIN_DISTANCE_S and t_s < stop_s:
            times.append(t_s)
    return times
