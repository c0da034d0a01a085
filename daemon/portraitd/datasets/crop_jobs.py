"""What has to be cut, order by order: from the plan, without what lies in the pool already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portraitd.datasets.annotations import DETECTION_FORMATS, Plan, chip_name
from portraitd.datasets.crop_requests import ChipRequest, CropRequest, CropResult, FrameRequest
from portraitd.model.face import Box
from portraitd.store.dataset_store import Recording
from portraitd.store.frame_cache import FrameCache, frame_name


def crop_frames(requests: Sequence[CropRequest]) -> list[CropResult]:
    """Carry out some orders. For a worker, which hands back pictures and writes nothing."""
    from portraitd.datasets.cropping import crop_images

    return [crop_images(request) for request in requests]


@dataclass(slots=True)
class _Wanted:
    is_exact: bool = True
    name: str = ""
    blurred: tuple[Box, ...] = ()
    labelled: tuple[Box, ...] = ()
    chips: list[ChipRequest] = field(default_factory=list)


def make_crop_requests(plan: Plan, state_dir: Path) -> list[CropRequest]:
    """What has to be cut for a plan, one order for each slice of a recording."""
    cache = FrameCache(state_dir)
    wanted: defaultdict[int, dict[float, _Wanted]] = defaultdict(dict)
    there = {one.id: cache.names(one.sha256) for one in plan.recordings.values()}
    if any(form in plan.rule.formats for form in DETECTION_FORMATS):
        for frame in plan.frames:
            if frame.picture not in there[frame.video_id]:
                one = wanted[frame.video_id].setdefault(frame.t_s, _Wanted())
                one.name, one.blurred = frame.picture, frame.blurred
                one.labelled = tuple(label.box for label in frame.labels)
                one.is_exact = bool(frame.labels)
    for crop in plan.crops:
        face = crop.face
        names = (chip_name(crop.stem, 150), chip_name(crop.stem, 112))
        missing = [
            name if form in plan.rule.formats and name not in there[face.video_id] else ""
            for form, name in zip(("chips150", "chips112"), names, strict=True)
        ]
        if any(missing):
            request = ChipRequest(face.box, face.landmarks, *missing)
            wanted[face.video_id].setdefault(face.t_s, _Wanted()).chips.append(request)
    requests = []
    for video_id, moments in wanted.items():
        recording = plan.recordings[video_id]
        kept = {name: cache.path(recording.sha256, name) for name in there[video_id]}
        requests += _of_recording(recording, moments, kept)
    return requests


def batch_requests(requests: Sequence[CropRequest], frames: int) -> Iterable[list[CropRequest]]:
    """Orders in jobs of so many frames or a little more: a photo alone is not worth a job."""
    batch: list[CropRequest] = []
    for request in requests:
        batch.append(request)
        if sum(len(one.frames) for one in batch) >= frames:
            yield batch
            batch = []
    if batch:
        yield batch


def _of_recording(
    recording: Recording, moments: dict[float, _Wanted], kept: Mapping[str, Path]
) -> list[CropRequest]:
    size = (recording.width_px, recording.height_px)
    starts = [start_s for start_s, _ in recording.slices] or [0.0]
    by_start: defaultdict[float, list[FrameRequest]] = defaultdict(list)
    for t_s, one in sorted(moments.items()):
        start_s = max((start for start in starts if start <= t_s), default=0.0)
        by_start[start_s].append(
            FrameRequest(
                t_s,
                one.is_exact,
                size,
                one.name,
                one.blurred,
                one.labelled,
                tuple(one.chips),
                kept.get(frame_name(recording.sha256, t_s)),
            )
        )
    return [
        CropRequest(
            recording.id,
            recording.sha256,
            recording.sources,
            recording.kind,
            start_s,
            tuple(frames),
        )
        for start_s, frames in by_start.items()
    ]
