"""What a worker says of a file is refused unless it is possible for that file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from portraitd.config import Settings
from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_results
from portraitd.ingest.dispatcher import encode_options
from portraitd.ingest.media_results import FACES, FACTS, HASHES, PORTRAIT_EMBEDDINGS
from portraitd.media.jpeg import encode_jpeg
from portraitd.model.errors import NotMedia, PortraitdError, StoreError, WorkerDied
from portraitd.model.face import (
    Box,
    DetectedFace,
    FoundFace,
    Portrait,
    SliceFaces,
    StoredPortrait,
)
from portraitd.model.media_file import MediaFacts, MediaKind, Slice, Source, Stamp
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.recording_time import RecordingTime
from portraitd.workers.result_codec import ResultSchema, ValueMessage, encode_error
from support.store import detection, embedding

OPTIONS = encode_options(Settings())

SOURCE = Source(Path("/inbox/clip.mp4"), Stamp(10_000_000, 1, 2))

PIECE = Slice(SOURCE, MediaKind.VIDEO, 60.0, 120.0, "a" * 64)

PORTRAIT = encode_jpeg(np.zeros((500, 400, 3), np.uint8), 90)

FACTS_OF_CLIP = MediaFacts(
    "a" * 64, MediaKind.VIDEO, 60.0, 25.0, 640, 480, "", "b" * 64, RecordingTime(1e9, 120)
)


def face(**changes: Any) -> DetectedFace:
    found = detection(embedding(1), 61.0)
    return replace(found, portrait=Portrait(Box(0, 0, 200, 240), PORTRAIT), **changes)


def faces(*detections: DetectedFace, **changes: Any) -> SliceFaces:
    return replace(SliceFaces(detections, 60, 1500, 119.9, 2.5), **changes)


def send(schema: ResultSchema[Any], value: object, *args: Any) -> Any:
    """Return what the service reads when a worker sends a value."""
    return schema.decode(schema.encode(1, value), 1, args, {})


def send_raw(schema: ResultSchema[Any], data: object, *args: Any) -> Any:
    """Return what the service reads when a worker sends any plain data as the value."""
    return schema.decode(msgspec.msgpack.encode(ValueMessage(1, data)), 1, args, {})


def require_refused(schema: ResultSchema[Any], send_it: Any) -> str:
    with pytest.raises(WorkerDied) as raised:
        send_it()
    assert ReasonCode.INVALID_RESULT is raised.value.reason.code
    return str(raised.value)


# --- Facts.


def test_facts_arrive_as_they_are() -> None:
    """Hash and date may be unknown, the duration infinite."""
    assert FACTS_OF_CLIP == send(FACTS, FACTS_OF_CLIP, SOURCE)
    bare = replace(FACTS_OF_CLIP, picture_hash="", recorded=None, duration_s=math.inf)
    assert bare == send(FACTS, bare, SOURCE)
    photo = replace(bare, kind=MediaKind.PHOTO, duration_s=0.0)
    assert photo == send(FACTS, photo, SOURCE)


def test_a_date_that_nothing_can_mean_is_left_out() -> None:
    """The file is processed without it."""
    odd = replace(FACTS_OF_CLIP, recorded=RecordingTime(1e300, None))

    assert send(FACTS, odd, SOURCE).recorded is None


FIELDS = msgspec.to_builtins(media_results._pack_facts(FACTS_OF_CLIP))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, ""),
        (0, 7),
        (0, "A" * 64),
        (0, "a" * 65),
        (0, None),
        (1, "song"),
        (1, 1),
        (2, math.nan),
        (2, -1.0),
        (2, 1e9),
        (2, 2_000_000.0),  # more than 10 bytes a second of this file
        (2, "long"),
        (3, math.nan),
        (3, math.inf),
        (4, -1),
        (4, 0),
        (4, 1 << 63),
        (4, 1e30),
        (5, 1.5),
        (5, True),
        (6, "c" * 64),  # a content that the worker was not asked about
        (6, None),
        (7, "b" * 65),
        (7, b"b" * 64),
        (8, "yesterday"),
        (8, ["1", None]),
        (8, [1.0, "+2"]),
        (8, [math.nan, None]),
        (8, [1.0, 1 << 40]),
    ],
)
def test_facts_that_no_file_has_are_refused(at: int, value: object) -> None:
    """The service would stop at what it cannot store, and never end what lasts 30 years."""
    data = [*FIELDS[:at], value, *FIELDS[at + 1 :]]

    require_refused(FACTS, lambda: send_raw(FACTS, data, SOURCE))


@pytest.mark.parametrize("data", [None, [], {}, FIELDS[:-1], [*FIELDS, 1], "facts", b"facts", 7])
def test_something_else_is_not_facts(data: object) -> None:
    """No value, another value, fields that are missing or too many."""
    require_refused(FACTS, lambda: send_raw(FACTS, data, SOURCE))


def test_a_photo_has_no_duration() -> None:
    """It would be cut into slices."""
    photo = replace(FACTS_OF_CLIP, kind=MediaKind.PHOTO)

    assert "photo" in require_refused(FACTS, lambda: send(FACTS, photo, SOURCE))


def test_only_a_content_that_was_asked_about_can_be_extended() -> None:
    """The file of another recording would be taken for a copy of the first part."""
    longer = replace(FACTS_OF_CLIP, extends="c" * 64)

    assert longer == send(FACTS, longer, SOURCE, ((100, "c" * 64),))
    require_refused(FACTS, lambda: send(FACTS, longer, SOURCE, ((100, "d" * 64),)))


def test_hashes_arrive_as_they_are() -> None:
    """A list, a short one or an empty one is not both of them."""
    assert ("a" * 64, "") == send(HASHES, ("a" * 64, ""), SOURCE)
    for data in (["a" * 64], ["", ""], "a" * 64, ["a" * 64, "", ""]):
        require_refused(HASHES, lambda data=data: send_raw(HASHES, data, SOURCE))


# --- Faces.


def test_faces_arrive_as_they_are() -> None:
    """Every number, in the types of the model."""
    sent = faces(face(), face(t_s=62.0, face=replace(face().face, landmarks=None)))

    found = send(FACES, sent, PIECE, OPTIONS)

    assert (60, 1500, 119.9, 2.5) == (found.sampled, found.decoded, found.ended_s, found.seconds)
    for before, after in zip(sent.detections, found.detections, strict=True):
        assert (before.t_s, before.portrait) == (after.t_s, after.portrait)
        assert (before.face.box, before.face.landmarks) == (after.face.box, after.face.landmarks)
        assert (before.face.score, before.face.quality) == (after.face.score, after.face.quality)
        assert np.float32 == after.face.embedding.dtype
        assert np.array_equal(before.face.embedding, after.face.embedding)


def test_kept_frames_arrive_only_if_they_were_asked_for() -> None:
    """They are written to the frame cache."""
    sent = faces(face(), kept=[(61.0, PORTRAIT)])

    keeping = OPTIONS._replace(keeps_frames=True)
    assert [(61.0, PORTRAIT)] == send(FACES, sent, PIECE, keeping).kept
    require_refused(FACES, lambda: send(FACES, sent, PIECE, OPTIONS))
    for kept in ((59.0, PORTRAIT), (61.0, b"<svg>"), (61.0, sized(PORTRAIT, 65500, 65500))):
        wrong = faces(face(), kept=[kept])
        require_refused(FACES, lambda wrong=wrong: send(FACES, wrong, PIECE, keeping))


def sized(jpeg: bytes, width_px: int, height_px: int) -> bytes:
    """Have a JPEG say that it has another size."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + height_px.to_bytes(2, "big") + width_px.to_bytes(2, "big") + jpeg[at + 4 :]


def impossible_faces() -> Iterator[tuple[str, SliceFaces]]:
    good = face()
    found, area = good.face, good.portrait.area

    def with_face(**changes: Any) -> SliceFaces:
        return faces(replace(good, face=replace(found, **changes)))

    def with_quality(**changes: Any) -> SliceFaces:
        return with_face(quality=replace(found.quality, **changes))

    def with_portrait(box: Box, jpeg: bytes = PORTRAIT) -> SliceFaces:
        return faces(replace(good, portrait=Portrait(box, jpeg)))

    yield "count", faces(good, sampled=-1)
    yield "count of frames", faces(good, sampled=0)
    yield "decoded", faces(good, decoded=-1)
    yield "seconds NaN", faces(good, seconds=math.nan)
    yield "seconds infinite", faces(good, seconds=math.inf)
    yield "seconds", faces(good, seconds=1e9)
    yield "end NaN", faces(good, ended_s=math.nan)
    yield "end before", faces(good, ended_s=59.0)
    yield "time", faces(replace(good, t_s=59.9))
    yield "time at the end", faces(replace(good, t_s=120.0))
    yield "time NaN", faces(replace(good, t_s=math.nan))
    yield "embedding NaN", with_face(embedding=np.full(128, np.nan, np.float32))
    yield "embedding infinite", with_face(embedding=np.full(128, np.inf, np.float32))
    yield "embedding huge", with_face(embedding=np.full(128, 1e38, np.float32))
    yield "embedding short", with_face(embedding=np.ones(64, np.float32))
    yield "embedding long", with_face(embedding=np.ones(512, np.float32))
    yield "embedding empty", with_face(embedding=np.ones(0, np.float32))
    yield "box turned", with_face(box=Box(9, 9, 1, 1))
    yield "box empty", with_face(box=Box(10, 20, 10, 130))
    yield "box huge", with_face(box=Box(0, 0, 1 << 30, 10))
    yield "score", with_face(score=math.nan)
    yield "landmarks infinite", with_face(landmarks=((1.0, math.inf),) * 5)
    yield "landmarks few", with_face(landmarks=((1.0, 2.0),) * 4)
    yield "sharpness", with_quality(sharpness=math.nan)
    yield "frontal", with_quality(frontal=1.5)
    yield "confidence", with_quality(confidence=-0.1)
    yield "area empty", with_portrait(Box(0, 0, 0, 0))
    yield "area without width", with_portrait(Box(50, 0, 50, 240))
    yield "area outside", with_portrait(Box(-5, 0, 200, 240))
    yield "area elsewhere", with_portrait(Box(500, 500, 600, 600))
    yield "no JPEG", with_portrait(area, b"<svg>")
    yield "empty JPEG", with_portrait(area, b"")
    yield "cut JPEG", with_portrait(area, PORTRAIT[:-20])
    yield "start of a JPEG", with_portrait(area, b"\xff\xd8\xff" + b"x" * 100 + b"\xff\xd9")
    yield "huge JPEG", with_portrait(area, sized(PORTRAIT, 65500, 65500))
    yield "wide JPEG", with_portrait(area, sized(PORTRAIT, 401, 500))
    yield "JPEG of no size", with_portrait(area, sized(PORTRAIT, 0, 500))
    yield "progressive JPEG", with_portrait(area, PORTRAIT.replace(b"\xff\xc0", b"\xff\xc2", 1))


@pytest.mark.parametrize(("name", "result"), list(impossible_faces()), ids=str)
def test_faces_that_no_slice_has_are_refused(name: str, result: SliceFaces) -> None:
    """The encoder checks nothing, so that these arrive as a worker sends them."""
    require_refused(FACES, lambda: send(FACES, result, PIECE, OPTIONS))


def test_too_many_faces_are_refused() -> None:
    """Before any of them is looked at."""
    one = msgspec.to_builtins(media_results.pack_faces(faces(face())))
    one[0] = [[61.0]] * (media_results.MAX_FACES + 1)

    refusal = require_refused(FACES, lambda: send_raw(FACES, one, PIECE, OPTIONS))

    assert "length <=" in refusal


# --- Embeddings.

SPEC = EncoderSpec(Path("/models"))


def stored(count: int) -> list[StoredPortrait]:
    return [StoredPortrait(FoundFace(Box(0, 0, 9, 9), None), Box(0, 0, 20, 20), b"")] * count


def test_embeddings_arrive_as_they_are() -> None:
    """A row of NaN stands for a face that was not found."""
    vectors = np.stack([embedding(1), np.full(128, np.nan, np.float32)])

    found = send(PORTRAIT_EMBEDDINGS, vectors, stored(2), SPEC)

    assert np.array_equal(vectors, found, equal_nan=True)
    assert found.flags.writeable


@pytest.mark.parametrize(
    "vectors",
    [
        np.ones((1, 128)),
        np.ones((3, 128)),
        np.ones((2, 64)),
        np.ones(256),
        np.full((2, 128), np.inf),
        np.full((2, 128), 1e30),
        np.where(np.arange(256).reshape(2, 128) == 5, np.nan, 1.0),
    ],
)
def test_embeddings_of_another_shape_or_size_are_refused(vectors: Any) -> None:
    """Nor any of which only some numbers are known."""
    require_refused(
        PORTRAIT_EMBEDDINGS, lambda: send(PORTRAIT_EMBEDDINGS, vectors, stored(2), SPEC)
    )


# --- Errors.


@pytest.mark.parametrize(
    ("sent", "kind", "code"),
    [
        (NotMedia(Reason.of(ReasonCode.EMPTY)), NotMedia, ReasonCode.EMPTY),
        # What a worker cannot know: that the file is known already.
        (NotMedia(Reason(ReasonCode.DUPLICATE_OF, "x")), NotMedia, ReasonCode.NOT_MEDIA),
        # A job that the service would give back for ever.
        (StoreError("x"), WorkerDied, ReasonCode.INVALID_RESULT),
        (ValueError("x"), WorkerDied, ReasonCode.UNEXPECTED_ERROR),
        (MemoryError(), WorkerDied, ReasonCode.OUT_OF_MEMORY),
    ],
)
def test_a_job_raises_what_it_may(
    sent: Exception, kind: type[PortraitdError], code: ReasonCode
) -> None:
    """Others are the fault of the worker."""
    with pytest.raises(kind) as raised:
        FACES.decode(encode_error(1, sent), 1, (PIECE, OPTIONS), {})

    assert (kind, code) == (type(raised.value), raised.value.reason.code)
