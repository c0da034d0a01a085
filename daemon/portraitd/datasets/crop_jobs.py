"""Turns a plan into crop requests, without the images that are in the frame cache already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portraitd.datasets.annotations import DETECTION_FORMATS, Plan, make_chip_name
from portraitd.datasets.crop_requests import ChipRequest, CropRequest, CropResult, FrameRequest
from portraitd.model.face import Box
from portraitd.store.dataset_store import Recording
from portraitd.store.frame_cache import FrameCache, make_frame_name
from portraitd.workers.job_results import returns


@returns("portraitd.datasets.dataset_results:CROPS")
def crop_frames(requests: Sequence[CropRequest]) -> list[CropResult]:
    """Crop the images of some requests. Runs in a worker, which returns them and writes nothing."""
    from portraitd.datasets.cropping import crop_images

    return [crop_images(request) for request in requests]


@dataclass(slots=True)
class _FrameCrops:
    """The images to crop from one frame."""

    is_exact: bool = True
    name: str = ""
    blurred: tuple[Box, ...] = ()
    labelled: tuple[Box, ...] = ()
    chips: list[ChipRequest] = field(default_factory=list)


def make_crop_requests(plan: Plan, state_dir: Path) -> list[CropRequest]:
    """Return the crops that a plan still needs, one request per slice of a recording."""
    cache = FrameCache(state_dir)
    crops_by_video: defaultdict[int, dict[float, _FrameCrops]] = defaultdict(dict)
    cached_names = {one.id: cache.names(one.sha256) for one in plan.recordings.values()}
    if any(form in plan.rule.formats for form in DETECTION_FORMATS):
        for frame in plan.frames:
            if frame.cache_name not in cached_names[frame.video_id]:
                crops = crops_by_video[frame.video_id].setdefault(frame.t_s, _FrameCrops())
                crops.name, crops.blurred = frame.cache_name, frame.blurred
                crops.labelled = tuple(label.box for label in frame.labels)
                crops.is_exact = bool(frame.labels)
    for crop in plan.crops:
        face = crop.face
        names = (make_chip_name(crop.stem, 150), make_chip_name(crop.stem, 112))
        missing = [
            name if form in plan.rule.formats and name not in cached_names[face.video_id] else ""
            for form, name in zip(("chips150", "chips112"), names, strict=True)
        ]
        if any(missing):
            request = ChipRequest(face.box, face.landmarks, *missing)
            crops_by_video[face.video_id].setdefault(face.t_s, _FrameCrops()).chips.append(request)
    requests = []
    for video_id, crops_by_time in crops_by_video.items():
        recording = plan.recordings[video_id]
        cached_paths = {name: cache.path(recording.sha256, name) for name in cached_names[video_id]}
        requests += _requests_of_recording(recording, crops_by_time, cached_paths)
    return requests


def batch_requests(requests: Sequence[CropRequest], frames: int) -> Iterable[list[CropRequest]]:
    """Group requests into jobs of at least ``frames`` frames: a single photo is too small a job."""
    batch: list[CropRequest] = []
    for request in requests:
        batch.append(request)
        if sum(len(one.frames) for one in batch) >= frames:
            yield batch
            batch = []
    if batch:
        yield batch


def _requests_of_recording(
    recording: Recording, crops_by_time: dict[float, _FrameCrops], cached_paths: Mapping[str, Path]
) -> list[CropRequest]:
    size = (recording.width_px, recording.height_px)
    starts = [start_s for start_s, _ in recording.slices] or [0.0]
    by_start: defaultdict[float, list[FrameRequest]] = defaultdict(list)
    for t_s, crops in sorted(crops_by_time.items()):
        start_s = max((start for start in starts if start <= t_s), default=0.0)
        by_start[start_s].append(
            FrameRequest(
                t_s,
                crops.is_exact,
                size,
                crops.name,
                crops.blurred,
                crops.labelled,
                tuple(crops.chips),
                cached_paths.get(make_frame_name(recording.sha256, t_s)),
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
