"""The encoder: a batch of full-size frames in, the faces of each out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portraitd.faces import quality
from portraitd.faces.alignment import AlignedFace, FaceAligner
from portraitd.faces.interface import AlignedChips, Detector, Embedder, EncoderSpec
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Detection, Embeddings, Face, Image


class Encoder:
    """Finds and embeds faces. Holds its models; created once per worker.

    Args:
        settings: ``max_width``, ``max_height``, ``min_face_px`` and ``mirror`` are used here.
        detector: Finds faces in a reduced copy of the frame.
        aligner: Cuts the chips that the embedder wants from the full-size frame.
        embedder: Embeds them.
    """

    def __init__(
        self,
        settings: EncoderSpec,
        detector: Detector,
        aligner: FaceAligner,
        embedder: Embedder,
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._aligner = aligner
        self._embedder = embedder

    @property
    def id(self) -> str:
        """Name of the embedding space."""
        return self._settings.embedding_space

    def encode(self, images: Sequence[Image]) -> list[list[Face]]:
        """Find and embed the faces of each frame.

        The result for a frame does not depend on the other frames of the batch.

        Args:
            images: Full-size upright BGR frames, of any sizes.

        Returns:
            The faces of each frame, highest score first; boxes and landmarks in pixels of the
            frame.
        """
        found = self._detect(images)
        aligned = [
            self._aligner.align_face(image, detection)
            for image, detections in zip(images, found, strict=True)
            for detection in detections
        ]
        of_face = iter(zip(aligned, self.embed([face.chip for face in aligned]), strict=True))
        return [
            [_make_face(detection, *next(of_face)) for detection in detections]
            for detections in found
        ]

    def _detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Detect faces in reduced copies; return them in pixels of the full-size frames."""
        frames_of_size: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            frames_of_size[image.shape].append(index)
        found: list[list[Detection]] = [[] for _ in images]
        smallest = self._settings.min_face_px
        for (height, width, *_), indices in frames_of_size.items():
            size = fit_size(width, height, self._settings.max_width, self._settings.max_height)
            copies = [shrink_image(images[index], size) for index in indices]
            across, down = width / size[0], height / size[1]
            per_copy = self._detector.detect(copies, smallest / max(across, down))
            for index, detections in zip(indices, per_copy, strict=True):
                enlarged = (_scale_detection(detection, across, down) for detection in detections)
                found[index] = [
                    face for face in enlarged if min(face.box.width, face.box.height) >= smallest
                ]
        return found

    def align(self, image: Image, detection: Detection) -> AlignedFace:
        """Cut the chip of a face that was found before."""
        return self._aligner.align_face(image, detection)

    def embed(self, chips: Sequence[NDArray[np.uint8]]) -> Embeddings:
        """Return the embedding of each aligned chip, shape ``(n, d)``."""
        if not chips:
            return np.empty((0, self._settings.embedding_size), np.float32)
        upright: AlignedChips = np.stack(chips)
        if not self._settings.mirror:
            return self._embedder.embed(upright)
        mirrored = np.ascontiguousarray(upright[:, :, ::-1])
        both = self._embedder.embed(np.concatenate([upright, mirrored]))
        return (both[: len(chips)] + both[len(chips) :]) / np.float32(2)


def fit_size(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """Return the largest size with the frame's aspect that fits, at most the frame's own.

    Returns:
        Width and height in pixels, at least 1 each.
    """
    scale = min(1.0, max_width / width, max_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrink_image(image: Image, size: tuple[int, int]) -> Image:
    """Shrink a picture to a width and height.

    Whole factors are averaged, the rest is interpolated: as smooth as averaging alone, and seven
    times faster on 1080p.
    """
    if (image.shape[1], image.shape[0]) == size:
        return np.ascontiguousarray(image)
    whole = min(image.shape[1] // size[0], image.shape[0] // size[1])
    if whole > 1:
        part = (image.shape[1] // whole, image.shape[0] // whole)
        # Drop the few columns and rows that do not make a whole pixel: OpenCV averages whole
        # factors many times faster.
        image = image[: part[1] * whole, : part[0] * whole]
        image = np.asarray(cv2.resize(image, part, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _scale_detection(detection: Detection, across: float, down: float) -> Detection:
    box, points = detection.box, detection.landmarks
    return Detection(
        box=Box(
            round(box.left * across),
            round(box.top * down),
            round(box.right * across),
            round(box.bottom * down),
        ),
        score=detection.score,
        landmarks=points and tuple((x * across, y * down) for x, y in points),
        confidence=detection.confidence,
    )


def _make_face(detection: Detection, aligned: AlignedFace, embedding: NDArray[np.float32]) -> Face:
    """Combine a face; prefer the detector's own landmarks, as dlib's are derived from the box."""
    own = detection.landmarks
    frontal = (
        quality.frontality_from_centres(own)
        if own
        else quality.frontality_from_corners(aligned.landmarks)
    )
    return Face(
        box=detection.box,
        score=detection.score,
        landmarks=own or aligned.landmarks,
        embedding=embedding,
        quality=quality.measure_quality(
            detection.box, aligned.plain_chip, frontal, detection.confidence
        ),
    )
