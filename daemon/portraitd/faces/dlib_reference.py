"""The reference: dlib's own detectors and embedder, as face_recognition configures them.

They are slow on a CPU; the networks in other runtimes are compared with them. The 68-point model
that face_recognition loads as well is never used: its training set excludes commercial use.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import dlib
import numpy as np

from portraitd.faces.interface import AlignedChips
from portraitd.faces.models.cards import DLIB
from portraitd.faces.quality import MMOD_CONFIDENCE_RAMP, confidence_of
from portraitd.faces.search_scales import limits_of
from portraitd.media.opencv import cv2
from portraitd.model.errors import ModelError
from portraitd.model.extras import describe_installation
from portraitd.model.face import Box, Detection, Embeddings, Image

SMALLEST_SIDE_PX = 24
"""Of a picture that dlib's network can search, after doubling it; its faces have 80."""


def face_recognition_api() -> ModuleType:
    """Import ``face_recognition.api``, which loads all its models (0.4 s, 100 MB).

    Raises:
        ModelError: face_recognition is not installed.
    """
    try:
        # It ends the process when its models package cannot be imported, as without pkg_resources.
        # That module warns that it is deprecated.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pkg_resources  # noqa: F401
            from face_recognition import api
    except ImportError as error:
        raise ModelError(
            f'{error}: encoder.kind = "dlib" needs face_recognition: '
            f"{describe_installation('reference')}"
        ) from error
    return api  # type: ignore[no-any-return]


class HogDetector:
    """dlib's frontal HOG detector. Finds faces of at least 80 px, 40 with one upsampling.

    Args:
        detector: A ``dlib.fhog_object_detector``.
        upsample: How often pictures are doubled first.
    """

    has_landmarks = False

    def __init__(self, detector: Any, upsample: int) -> None:
        self._detector = detector
        self._upsample = upsample
        self.limits = limits_of("hog", upsample)

    @classmethod
    def load(cls, upsample: int) -> HogDetector:
        """Create dlib's built-in detector."""
        return cls(dlib.get_frontal_face_detector(), upsample)

    def detect(self, images: Sequence[Image], min_face_px: float) -> list[list[Detection]]:
        """See ``Detector``. The score is the distance from the decision boundary, above 0."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Detection]:
        boxes, scores, _ = self._detector.run(_to_rgb(image), self._upsample, 0.0)
        return _sort_by_score(
            Detection(_to_box(box), float(score)) for box, score in zip(boxes, scores, strict=True)
        )


class CnnDetector:
    """dlib's MMOD detector in dlib itself; takes seconds for a frame on a CPU.

    Args:
        detector: A ``dlib.cnn_face_detection_model_v1``.
        upsample: How often pictures are doubled first.
    """

    has_landmarks = False

    def __init__(self, detector: Any, upsample: int) -> None:
        self._detector = detector
        self._upsample = upsample
        self.limits = limits_of("cnn", upsample)

    @classmethod
    def load(cls, path: Path, upsample: int) -> CnnDetector:
        """Read the MMOD weights."""
        return cls(dlib.cnn_face_detection_model_v1(str(path)), upsample)

    def detect(self, images: Sequence[Image], min_face_px: float) -> list[list[Detection]]:
        """See ``Detector``. The score is the distance from the decision boundary, above 0."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Detection]:
        # dlib's layers fail on a picture that is smaller than they are; no face fits into it.
        if min(image.shape[:2]) << self._upsample < SMALLEST_SIDE_PX:
            return []
        return _sort_by_score(
            Detection(
                _to_box(face.rect),
                face.confidence,
                None,
                confidence_of(face.confidence, MMOD_CONFIDENCE_RAMP),
            )
            for face in self._detector(_to_rgb(image), self._upsample)
        )


class DlibEmbedder:
    """dlib's ResNet in dlib itself; takes 80 ms for a face.

    Args:
        network: A ``dlib.face_recognition_model_v1``.
    """

    def __init__(self, network: Any) -> None:
        self._network = network

    @classmethod
    def load(cls, path: Path) -> DlibEmbedder:
        """Read the ResNet weights."""
        return cls(dlib.face_recognition_model_v1(str(path)))

    def embed(self, chips: AlignedChips) -> Embeddings:
        """See ``Embedder``."""
        vectors = [self._network.compute_face_descriptor(chip) for chip in chips]
        return np.asarray(vectors, np.float32).reshape(-1, DLIB.embedding_size)


def _to_rgb(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _to_box(rect: Any) -> Box:
    # dlib's rectangles include their right and bottom edge.
    return Box(rect.left(), rect.top(), rect.right() + 1, rect.bottom() + 1)


def _sort_by_score(detections: Any) -> list[Detection]:
    return sorted(detections, key=lambda face: -face.score)
