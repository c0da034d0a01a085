"""Crops frames and chips out of cached frames or videos. Runs in workers.

Imports OpenCV and dlib, so the service refers to it only through ``datasets.crop_jobs``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from portraitd.datasets.crop_requests import (
    ChipRequest,
    CroppedImage,
    CropRequest,
    CropResult,
    FrameRequest,
)
from portraitd.faces.alignment import Aligner, align_arcface
from portraitd.faces.models.weights import FIVE_POINTS, find_weights, read_verified
from portraitd.media.jpeg import TRAINING_QUALITY, encode_jpeg
from portraitd.media.opencv import cv2
from portraitd.media.video import FramesAt
from portraitd.model.errors import VideoError
from portraitd.model.face import Box, Image
from portraitd.model.wording import counted
from portraitd.workers.file_broker import open_to_read

BACKGROUND_TOLERANCE_S = 1.0

_BLURRED_BLOCKS = 5
"""A blurred face is reduced to this many colour blocks across, too few to recognise it."""


def crop_images(request: CropRequest) -> CropResult:
    """Make the requested images, as far as possible. Writes nothing."""
    done: list[CroppedImage] = []
    left = []
    for frame in request.frames:
        image = _read_cached_frame(frame)
        if image is None:
            left.append(frame)
        else:
            done += _make_frame_images(frame, image)
    if not left:
        return CropResult(tuple(done), "")
    reason = "the file no longer exists"
    for source in request.sources:
        exact = [frame for frame in left if frame.is_exact]
        loose = [frame for frame in left if not frame.is_exact]
        try:
            for frames, tolerance_s in ((exact, 0.0), (loose, BACKGROUND_TOLERANCE_S)):
                by_time = {frame.t_s: frame for frame in frames}
                wanted = FramesAt(
                    source, request.kind, request.start_s, sorted(by_time), tolerance_s
                )
                for t_s, found in wanted if by_time else ():
                    done += _make_frame_images(by_time[t_s], found.image)
                    left.remove(by_time[t_s])
        except VideoError as error:
            reason = str(error)
            continue
        return CropResult(tuple(done), f"{counted(len(left), 'frame')} not found" if left else "")
    return CropResult(tuple(done), reason)


def _read_cached_frame(frame: FrameRequest) -> Image | None:
    """Read a frame from the frame cache; None if it is not there."""
    if frame.cached_path is None:
        return None
    try:
        fd = open_to_read(frame.cached_path)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, np.uint8)


def _make_frame_images(request: FrameRequest, image: Image) -> list[CroppedImage]:
    """Make the images of one frame; none if the frame has an unexpected size."""
    if (image.shape[1], image.shape[0]) != request.size_px:
        return []
    # The frame comes last: if it is in the cache, later chips are cropped from it instead of
    # from the video.
    made = [
        CroppedImage(name, encode_jpeg(picture, TRAINING_QUALITY))
        for chip in request.chips
        for name, picture in _make_chip_images(image, chip)
    ]
    if request.name:
        shown = blur_faces(image, request.blurred, request.labelled) if request.blurred else image
        made.append(CroppedImage(request.name, encode_jpeg(shown, TRAINING_QUALITY)))
    return made


def _make_chip_images(image: Image, request: ChipRequest) -> list[tuple[str, Image]]:
    made = []
    if request.name_150:
        chip, _ = _load_aligner().align(image, request.box)
        made.append((request.name_150, np.asarray(cv2.cvtColor(chip, cv2.COLOR_RGB2BGR), np.uint8)))
    if request.name_112 and request.landmarks:
        made.append((request.name_112, align_arcface(image, request.landmarks)))
    return made


def blur_faces(image: Image, faces: Sequence[Box], spared: Sequence[Box] = ()) -> Image:
    """Return the image with some faces made unrecognisable, including hair and chin.

    Args:
        image: BGR.
        faces: The faces to blur, in pixels of the image.
        spared: Other faces: of these, only the part inside a blurred face is blurred.
    """
    height, width = image.shape[:2]
    result = image.copy()
    for face in faces:
        across, down = round(face.width * 0.3), round(face.height * 0.4)
        area = Box(
            face.left - across, face.top - down, face.right + across, face.bottom + down
        ).clipped(width, height)
        part = image[area.top : area.bottom, area.left : area.right]
        if not part.size:
            continue
        few = cv2.resize(part, (_BLURRED_BLOCKS, _BLURRED_BLOCKS), interpolation=cv2.INTER_AREA)
        result[area.top : area.bottom, area.left : area.right] = cv2.resize(
            few, (area.width, area.height), interpolation=cv2.INTER_LINEAR
        )
    hidden = [result[f.top : f.bottom, f.left : f.right].copy() for f in _clip_boxes(faces, image)]
    for box in _clip_boxes(spared, image):
        part = image[box.top : box.bottom, box.left : box.right]
        result[box.top : box.bottom, box.left : box.right] = part
    for box, part in zip(_clip_boxes(faces, image), hidden, strict=True):
        result[box.top : box.bottom, box.left : box.right] = part
    return result


def _clip_boxes(boxes: Sequence[Box], image: Image) -> list[Box]:
    return [box.clipped(image.shape[1], image.shape[0]) for box in boxes]


@lru_cache(maxsize=1)
def _load_aligner() -> Aligner:
    points = find_weights(FIVE_POINTS)
    read_verified(FIVE_POINTS, points)
    return Aligner.load(points)
