"""What a worker says of a training set is refused unless it is possible for the request."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portraitd.datasets.annotations import (
    ClassLabel,
    DatasetRule,
    FaceCounts,
    LabelledFace,
    Plan,
    PlannedCrop,
    PlannedFrame,
    PlannedTrack,
)
from portraitd.datasets.coverage import CoverageCell
from portraitd.datasets.crop_requests import (
    ChipRequest,
    CroppedImage,
    CropRequest,
    CropResult,
    FrameRequest,
)
from portraitd.datasets.dataset_results import CROPS, FOUND, PLAN, SUMMARY, SURVEY
from portraitd.datasets.harvest_requests import SearchRequest, SearchResult, Survey
from portraitd.datasets.planner import PlanRequest
from portraitd.datasets.writer import DatasetSummary
from portraitd.faces.interface import EncoderSpec
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.media.jpeg import encode_jpeg
from portraitd.model.errors import PortraitdError, WorkerDied
from portraitd.model.face import Box, DetectedFace, Face, Portrait, Quality, SliceFaces
from portraitd.model.media_file import MediaKind, Slice, Source, Stamp
from portraitd.model.track import TrackedFaces
from portraitd.store.dataset_store import ClassRegistration, DatasetFace, Recording
from portraitd.workers.result_codec import ResultSchema
from support.answer_fuzzing import NUMBER, mutate
from support.embedding_rules import DLIB_RULES

# A name that is not UTF-8.
CLIP = Source(Path(os.fsdecode(b"/inbox/caf\xe9.mp4")), Stamp(5, 6, 1 << 63))

RULE = DatasetRule(("coco", "chips150"))

REQUEST = PlanRequest(Path("/state"), Path("/inbox"), RULE)

BOX = Box(1, 2, 30, 40)

FACE = DatasetFace(1, 7, 0.5, BOX, 1.0, 29.0, 50.0, 0.9, 1.0, ((1.0, 2.0),) * 5, 3, None, False)

PLAN_OF_ONE = Plan(
    rule=RULE,
    fingerprint="of the store",
    classes=(ClassLabel(0, "Ann", "person", 1), ClassLabel(1, "unknown", "unknown", None)),
    registration=ClassRegistration([(1, "unknown")], [(0, 1, "Ann")], {"key": "train"}),
    recordings={
        7: Recording(
            7, "a" * 64, MediaKind.VIDEO, 25.0, 9.0, 64, 48, (CLIP,), ((0.0, float("inf")),)
        )
    },
    frames=(PlannedFrame("f", "train", 7, 0.5, 64, 48, (LabelledFace(FACE, 0, BOX),), (BOX,)),),
    crops=(PlannedCrop("f-1-2", "val", 0, FACE, (BOX,)),),
    tracks={7: (PlannedTrack(0, ((0.5, BOX),)),)},
    counts={0: FaceCounts(1, {"too_small": 0})},
    unsplittable=("Bob",),
    splits_by_time=True,
    frames_left_out=2,
    folds={7: 1},
)

CROP = CropRequest(
    7,
    "a" * 64,
    (CLIP,),
    MediaKind.VIDEO,
    0.0,
    (FrameRequest(0.5, True, (64, 48), "f.jpg", (), (BOX,), (ChipRequest(BOX, None, "c", ""),)),),
)

SUMMARY_OF_ONE = DatasetSummary(
    {"train": 1},
    {"val": 0},
    {"train": 1},
    1,
    {"blurred": 3},
    5,
    0,
    2,
    0,
    ("few",),
    {"Ann": "2027-05-31"},
)


def jpeg(width_px: int, height_px: int) -> bytes:
    return encode_jpeg(np.zeros((height_px, width_px, 3), np.uint8), 90)


MADE = [CropResult((CroppedImage("f.jpg", jpeg(64, 48)), CroppedImage("c", jpeg(150, 150))), "")]

CASES: list[tuple[ResultSchema[Any], Any, tuple[Any, ...]]] = [
    (PLAN, PLAN_OF_ONE, (REQUEST,)),
    (CROPS, MADE, ([CROP],)),
    (SUMMARY, SUMMARY_OF_ONE, (None,)),
    (SURVEY, Survey({CoverageCell("light", "dark"): 3}, (4, 5)), (None,)),
]
NAMES = ["plan", "crops", "summary", "survey"]


@pytest.mark.parametrize(("schema", "value", "args"), CASES, ids=NAMES)
def test_results_arrive_as_they_are(
    schema: ResultSchema[Any], value: object, args: tuple[Any, ...]
) -> None:
    """Whatever the names of files are."""
    assert value == schema.decode(schema.encode(1, value), 1, args, {})


@pytest.mark.parametrize(("schema", "value", "args"), CASES, ids=NAMES)
def test_any_answer_is_a_result_or_an_error(
    schema: ResultSchema[Any], value: object, args: tuple[Any, ...]
) -> None:
    """Three hundred that differ from an honest one."""
    message = schema.encode(NUMBER, value)
    refused = 0
    for seed in range(300):
        try:
            schema.decode(mutate(message, random.Random(seed)), NUMBER, args, {})
        except PortraitdError:
            refused += 1

    assert 150 < refused


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN_OF_ONE, rule=RULE._replace(people="all")),
        replace(PLAN_OF_ONE, recordings={}),
        replace(PLAN_OF_ONE, tracks={8: ()}),
    ],
)
def test_a_plan_of_something_else_is_refused(plan: Plan) -> None:
    """By another rule, or of recordings that it does not name."""
    with pytest.raises(WorkerDied, match="invalid result"):
        PLAN.decode(PLAN.encode(1, plan), 1, (REQUEST,), {})


@pytest.mark.parametrize(
    "images",
    [
        (CroppedImage("other.jpg", jpeg(64, 48)),),
        (CroppedImage("../f.jpg", jpeg(64, 48)),),
        (CroppedImage("", jpeg(112, 112)),),
        (CroppedImage("f.jpg", jpeg(64, 48)),) * 2,
        (CroppedImage("f.jpg", jpeg(48, 64)),),
        (CroppedImage("c", jpeg(112, 112)),),
        (CroppedImage("c", b"<svg>"),),
    ],
)
def test_images_that_were_not_requested_are_refused(images: tuple[CroppedImage, ...]) -> None:
    """Each name once, in the size of its request."""
    with pytest.raises(WorkerDied, match="invalid result"):
        CROPS.decode(CROPS.encode(1, [CropResult(images, "")]), 1, ([CROP],), {})


def test_each_request_has_one_result() -> None:
    """In the order of the requests."""
    for results in ([], [*MADE, *MADE]):
        with pytest.raises(WorkerDied, match="results for 1 requests"):
            CROPS.decode(CROPS.encode(1, results), 1, ([CROP],), {})


def searched(*times_s: float) -> SearchResult:
    """Return a face in each of some frames."""
    face = Face(BOX, 1.0, None, np.zeros(128, np.float32), Quality(29.0, 50.0, 0.9))
    portrait = Portrait(BOX, jpeg(20, 20))
    detections = [DetectedFace(t_s, face, portrait) for t_s in times_s]
    count = len(detections)
    return SearchResult(SliceFaces(detections, count, count, None, 0.1), {0.5: 80.0})


def decode_found(found: SearchResult) -> SearchResult:
    """Return a result for a search of at most two frames, between 0 and 1 s and 2 and 3 s."""
    request = SearchRequest(
        1,
        ((0.0, 1.0), (2.0, 3.0)),
        5.0,
        TrackedFaces(*(np.empty(0, np.int64) for _ in range(7))),
        {CoverageCell("light", "dark"): 2},
        None,
        RULE,
        0.2,
        DLIB_RULES,
    )
    options = EncodeOptions(1.0, False, True, EncoderSpec(Path("/models")), 20)
    piece = Slice(CLIP, MediaKind.VIDEO, 0.0, 60.0)
    args = (piece, options, request)
    return FOUND.decode(FOUND.encode(1, found), 1, args, {})


def test_a_search_gives_frames_of_the_stretches_only() -> None:
    """No more than were asked for."""
    found = decode_found(searched(0.5, 2.5))
    assert [0.5, 2.5] == [one.t_s for one in found.faces.detections]
    assert {0.5: 80.0} == found.lights

    for times_s in ((1.5,), (2.0,), (0.25, 0.5, 0.75)):
        with pytest.raises(WorkerDied):
            decode_found(searched(*times_s))
