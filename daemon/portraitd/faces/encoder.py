"""The encoder: a batch of full-size frames in, the faces of each out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from portraitd.faces import quality
from portraitd.faces.alignment import AlignedFace, FaceAligner, region_around
from portraitd.faces.detectors.tiled_search import scale_detection, search_scales, shrink_image
from portraitd.faces.interface import AlignedChips, Detector, Embedder, EncoderSpec
from portraitd.faces.search_scales import list_scales, scaled_size
from portraitd.model.face import Box, Detection, Embeddings, Face, Image, are_dlib_points

REFINED_SIDE_PX = 320
"""Largest side of the picture in which the landmarks of a known face are looked for."""

SAME_FACE_IOU = 0.4
"""Smallest intersection over union of a detection and the known face that it is."""

BOX_TOLERANCE = 0.85
"""Width of the smallest box for a face of the smallest size, as measured with YuNet at 24 px."""


class Encoder:
    """Finds and embeds faces. Holds its models; created once per worker.

    Args:
        settings: ``max_width``, ``max_height``, ``small_faces``, ``min_face_px`` and ``mirror``
            are used here.
        detector: Finds faces in copies of the frame.
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

    def encode(self, images: Sequence[Image], *, are_photos: bool = False) -> list[list[Face]]:
        """Find and embed the faces of each frame.

        The result for a frame does not depend on the other frames of the batch.

        Args:
            images: Full-size upright BGR frames, of any sizes.
            are_photos: Whether they are photos; else they are frames of a video.

        Returns:
            The faces of each frame, highest score first; boxes and landmarks in pixels of the
            frame.
        """
        found = self._detect(images, are_photos)
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

    def encode_boxes(self, image: Image, boxes: Sequence[Box]) -> list[Face]:
        """Embed faces whose boxes a person drew.

        Args:
            image: The full-size upright BGR frame.
            boxes: In pixels of the frame.

        Returns:
            The faces, with these boxes and in this order. They count as certain.
        """
        known = [self.refine(image, Detection(box, 1.0)) for box in boxes]
        aligned = [self.align(image, detection) for detection in known]
        vectors = self.embed([face.chip for face in aligned])
        return [
            _make_face(detection, face, vector)
            for detection, face, vector in zip(known, aligned, vectors, strict=True)
        ]

    def _detect(self, images: Sequence[Image], are_photos: bool) -> list[list[Detection]]:
        """Detect faces in copies; return them in pixels of the full-size frames."""
        frames_of_size: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            frames_of_size[image.shape].append(index)
        found: list[list[Detection]] = [[] for _ in images]
        smallest = self._settings.min_face_px
        for (height, width, *_), indices in frames_of_size.items():
            scales = list_scales(
                width, height, self._settings, self._detector.limits, is_photo=are_photos
            )
            same_size = [images[index] for index in indices]
            if len(scales) > 1:
                per_image = [self._search(image, scales) for image in same_size]
            else:
                per_image = self._search_reduced(same_size, scaled_size(width, height, scales[0]))
            # A box may be a little smaller than its face, and a small face is what larger copies
            # are for.
            least = smallest * BOX_TOLERANCE if len(scales) > 1 else smallest
            for index, detections in zip(indices, per_image, strict=True):
                found[index] = [
                    face for face in detections if min(face.box.width, face.box.height) >= least
                ]
        return found

    def _search(self, image: Image, scales: Sequence[float]) -> list[Detection]:
        settings, limits = self._settings, self._detector.limits
        return search_scales(self._detector, image, scales, settings.min_face_px, limits.tile_px)

    def _search_reduced(
        self, images: Sequence[Image], size: tuple[int, int]
    ) -> list[list[Detection]]:
        """Search reduced copies of frames that all have one size."""
        height, width = images[0].shape[:2]
        across, down = width / size[0], height / size[1]
        copies = [shrink_image(image, size) for image in images]
        per_copy = self._detector.detect(copies, self._settings.min_face_px / max(across, down))
        return [
            [scale_detection(detection, across, down) for detection in detections]
            for detections in per_copy
        ]

    def align(self, image: Image, detection: Detection) -> AlignedFace:
        """Cut the chip of a face that was found before."""
        return self._aligner.align_face(image, detection)

    def refine(self, image: Image, known: Detection) -> Detection:
        """Return a known face with the landmarks of this encoder's detector, if it gives any.

        Landmarks of one kind make chips of one kind: then faces that another detector found can
        be compared with new ones.

        Args:
            image: Shows the face, BGR.
            known: The face.
        """
        has_own = known.landmarks is not None and not are_dlib_points(known.landmarks)
        if has_own or not self._detector.has_landmarks:
            return known
        region = region_around(image, known.box)
        cut = image[region.top : region.bottom, region.left : region.right]
        scale = min(1.0, REFINED_SIDE_PX / max(region.width, region.height))
        [found] = self._search_reduced([cut], scaled_size(region.width, region.height, scale))
        own = known.box.shifted(-region.left, -region.top)
        best = max(found, key=lambda one: one.box.iou(own), default=None)
        if best is None or best.landmarks is None or best.box.iou(own) < SAME_FACE_IOU:
            return known
        points = tuple((x + region.left, y + region.top) for x, y in best.landmarks)
        return replace(known, landmarks=points)

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
