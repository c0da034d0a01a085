"""What the jobs of training sets may return: a plan, images under requested names, a summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from portraitd.datasets.annotations import Plan
from portraitd.datasets.coverage import CoverageCell
from portraitd.datasets.crop_requests import CroppedImage, CropRequest, CropResult
from portraitd.datasets.harvest_requests import SearchRequest, SearchResult, Survey, SurveyRequest
from portraitd.ingest.media_results import FacesData, pack_faces, unpack_faces
from portraitd.media.jpeg_structure import check_jpeg
from portraitd.model.errors import AlreadyRunning, ConfigError, PublishError, StoreError, VideoError
from portraitd.workers.result_codec import MAX_TEXT, Record, ResultSchema, pack_plain, plain_text
from portraitd.workers.wire_types import Count, Finite, Name, Sentence

if TYPE_CHECKING:
    from portraitd.datasets.planner import PlanRequest
    from portraitd.datasets.writer import DatasetSummary, WriteRequest
    from portraitd.ingest.media_jobs import EncodeOptions
    from portraitd.model.media_file import Slice

_ERRORS = (StoreError, PublishError, AlreadyRunning, ConfigError)

MAX_JPEG_BYTES = 32 << 20


# --- Plans. The worker has the same rights as the service, and reads nothing but its store.


def _unpack_plan(found: Plan, request: PlanRequest) -> Plan:
    if found.rule != request.rule:
        raise ValueError("a plan by another rule")
    videos = {
        *(frame.video_id for frame in found.frames),
        *(crop.face.video_id for crop in found.crops),
        *found.tracks,
    }
    if not videos <= found.recordings.keys():
        raise ValueError("a recording that is not in the plan")
    return found


PLAN = ResultSchema(Plan, pack_plain, _unpack_plan, errors=_ERRORS, max_bytes=1 << 30)


# --- Images.


class ImageData(Record):
    """A ``CroppedImage``."""

    name: Name
    jpeg: Annotated[bytes, Meta(max_length=MAX_JPEG_BYTES)]


class CropsData(Record):
    """A ``CropResult``."""

    images: list[ImageData]
    reason: Sentence


def _pack_crops(results: Sequence[CropResult]) -> list[CropsData]:
    return [
        CropsData(
            [ImageData(image.name, image.jpeg) for image in result.images],
            plain_text(result.reason),
        )
        for result in results
    ]


def _unpack_crops(found: list[CropsData], requests: Sequence[CropRequest]) -> list[CropResult]:
    if len(found) != len(requests):
        raise ValueError(f"{len(found)} results for {len(requests)} requests")
    return [_unpack_crop(one, request) for one, request in zip(found, requests, strict=True)]


def _unpack_crop(found: CropsData, request: CropRequest) -> CropResult:
    sizes: dict[str, tuple[int, int]] = {}
    for frame in request.frames:
        sizes[frame.name] = frame.size_px
        for chip in frame.chips:
            sizes[chip.name_150] = (150, 150)
            sizes[chip.name_112] = (112, 112)
    # An empty name stands for an image that is not needed.
    sizes.pop("", None)
    for image in found.images:
        # Each name once.
        size_px = sizes.pop(image.name, None)
        if size_px is None:
            raise ValueError("an image that was not requested")
        if check_jpeg(image.jpeg, *size_px) != size_px:
            raise ValueError("an image of another size than was requested")
    return CropResult(
        tuple(CroppedImage(image.name, image.jpeg) for image in found.images), found.reason
    )


CROPS = ResultSchema(
    list[CropsData],
    _pack_crops,
    _unpack_crops,
    errors=(VideoError, ConfigError),
    max_bytes=1 << 30,
)


# --- Harvests.


class SurveyData(Record):
    """A ``Survey``."""

    counts: list[tuple[Name, Name, Count]]
    face_ids: list[Count]


def _pack_survey(survey: Survey) -> SurveyData:
    counts = [(cell.row, cell.name, count) for cell, count in survey.counts.items()]
    return SurveyData(counts, list(survey.face_ids))


def _unpack_survey(found: SurveyData, request: SurveyRequest) -> Survey:
    counts = {CoverageCell(row, name): count for row, name, count in found.counts}
    return Survey(counts, tuple(found.face_ids))


SURVEY = ResultSchema(SurveyData, _pack_survey, _unpack_survey, errors=_ERRORS, max_bytes=1 << 28)


class FoundData(Record):
    """A ``SearchResult``."""

    faces: FacesData
    lights: list[tuple[Finite, Annotated[float, Meta(ge=0, le=255)]]]


def _pack_found(result: SearchResult) -> FoundData:
    return FoundData(pack_faces(result.faces), list(result.lights.items()))


def _unpack_found(
    found: FoundData, video_slice: Slice, settings: EncodeOptions, request: SearchRequest
) -> SearchResult:
    faces = unpack_faces(found.faces, video_slice, settings)
    times = {one.t_s for one in faces.detections}
    if len(times) > sum(request.limits.values()):
        raise ValueError("more frames than were asked for")
    if not all(any(a < t_s < b for a, b in request.stretches) for t_s in times):
        raise ValueError("a frame that was not asked for")
    return SearchResult(faces, dict(found.lights))


FOUND = ResultSchema(
    FoundData, _pack_found, _unpack_found, errors=(VideoError, ConfigError), max_bytes=1 << 30
)


# --- Summaries.


class SummaryData(Record):
    """A ``DatasetSummary``."""

    frames: dict[Name, Count]
    backgrounds: dict[Name, Count]
    faces: dict[Name, Count]
    people: Count
    left_out: dict[Name, Count]
    written: Count
    removed: Count
    unchanged: Count
    put_aside: Count
    warnings: Annotated[
        tuple[Annotated[str, Meta(max_length=16 * MAX_TEXT)], ...], Meta(max_length=10_000)
    ]
    consents: dict[Name, Name]


def _pack_summary(summary: DatasetSummary) -> SummaryData:
    return SummaryData(*summary)


def _unpack_summary(found: SummaryData, request: WriteRequest) -> DatasetSummary:
    from portraitd.datasets.writer import DatasetSummary

    return DatasetSummary(*(getattr(found, name) for name in DatasetSummary._fields))


SUMMARY = ResultSchema(
    SummaryData, _pack_summary, _unpack_summary, errors=_ERRORS, max_bytes=1 << 26
)
