"""Crops frames and chips out of cached frames or videos. Runs in workers.

Imports OpenCV and dlib, so the service refers to it only through ``datasets.crop_jobs``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from portraitd.datasets.annotations import are_dlib_points
from portraitd.datasets.crop_requests import (
    ChipRequest,
    CroppedImage,
    CropRequest,
    CropResult,
    FrameRequest,
)
from portraitd.faces.alignment import Aligner
from portraitd.faces.models.weights import FIVE_POINTS, find_weights, read_verified
from portraitd.media.jpeg import TRAINING_QUALITY, encode_jpeg
from portraitd.media.opencv import cv2
from portraitd.media.video import FramesAt
from portraitd.model.errors import VideoError
from portraitd.model.face import Box, Image, Landmarks
from portraitd.model.wording import counted
from portraitd.workers.file_broker import open_to_read

ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
     (70.7299, 92.2041)],
    np.float64,
)  # fmt: skip
"""Eyes, nose and mouth corners in a chip of 112 x 112 pixels, as ArcFace was trained."""

ARCFACE_TEMPLATE_DLIB = np.array(
    [(80.2, 53.2), (66.5, 53.7), (31.4, 52.8), (45.2, 53.5), (55.8, 80.5)], np.float64
)
"""dlib's five points (eye corners and nose base) in such chips.

Medians over 1,047 photographed faces whose chips were aligned by YuNet's points; each coordinate
varies by 2 to 3 pixels.
"""

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


def align_arcface(image: Image, landmarks: Landmarks) -> Image:
    """Return a face aligned to 112 x 112 pixels for ArcFace-style recognisers, BGR.

    Args:
        image: The full-size frame, BGR.
        landmarks: Both eyes, the nose and both mouth corners, the left one of the image first,
            in pixels of the frame; or dlib's five points, with a less exact result.
    """
    template = ARCFACE_TEMPLATE_DLIB if are_dlib_points(landmarks) else ARCFACE_TEMPLATE
    turn = fit_similarity(np.asarray(landmarks, np.float64), template)
    scale = float(np.hypot(turn[0, 0], turn[0, 1]))
    if scale < 0.5:
        # Shrinking by more than half would skip pixels, so average them first.
        smooth = cv2.GaussianBlur(image, (0, 0), 0.35 / scale)
        return np.asarray(cv2.warpAffine(smooth, turn, (112, 112)), np.uint8)
    return np.asarray(cv2.warpAffine(image, turn, (112, 112)), np.uint8)


def fit_similarity(points: Any, target: Any) -> Any:
    """Return the similarity transform that maps points to a target, as a 2 x 3 matrix.

    Least squares (Umeyama, 1991), without reflection.
    """
    mean, target_mean = points.mean(axis=0), target.mean(axis=0)
    centred, target_centred = points - mean, target - target_mean
    left, stretch, right = np.linalg.svd(target_centred.T @ centred / len(points))
    sign = np.array([1.0, 1.0 if np.linalg.det(left) * np.linalg.det(right) > 0 else -1.0])
    turn = left @ np.diag(sign) @ right
    scale = float((stretch * sign).sum() / centred.var(axis=0).sum())
    return np.hstack([scale * turn, (target_mean - scale * turn @ mean)[:, None]])


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
