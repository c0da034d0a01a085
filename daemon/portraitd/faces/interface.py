"""What an encoder is made of: its settings, a detector and an embedder.

Values and protocols only, so that the daemon process can import this module without
loading OpenCV, dlib or a runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Detection, Embeddings, Image

CHIP_PX = 150

EMBEDDING_SPACE = "dlib-resnet-v1"

AlignedChips = NDArray[np.uint8]
"""Shape ``(n, 150, 150, 3)``, RGB: faces turned upright and scaled, as dlib cuts them."""

EncoderKind = Literal["onnx", "dlib"]
DetectorName = Literal["auto", "mmod", "yunet", "hog", "cnn"]
RuntimeName = Literal["auto", "onnxruntime", "openvino"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """How faces are found and embedded.

    Attributes:
        models_dir: Where built networks and added models are kept. Created when needed.
        kind: ``onnx`` runs dlib's weights in a modern runtime, ``dlib`` is the slow
            reference. Both give the same embeddings.
        detector: ``auto`` takes yunet where it was added, else mmod; for ``dlib``, cnn.
        max_width: Detection runs on a copy of the frame no wider than this, in pixels.
        max_height: As ``max_width``, for the height. Frames are never enlarged to it.
        upsample: How often mmod, hog and cnn double that copy before they search it.
            Once finds faces from 40 pixels of the copy on, never from 80.
        mirror: Whether an embedding is the mean of the face's and its mirror image's.
        min_face_px: Smaller faces are not searched for, in pixels of the source frame.
        runtime: What runs the networks of ``onnx``; ``auto`` takes the fastest of those that
            are installed.
    """

    models_dir: Path
    kind: EncoderKind = "onnx"
    detector: DetectorName = "auto"
    max_width: int = 700
    max_height: int = 500
    upsample: int = 1
    mirror: bool = True
    min_face_px: int = 24
    runtime: RuntimeName = "auto"

    @property
    def embedding_space(self) -> str:
        """Names the space of the embeddings: distances between two spaces mean nothing.

        Engine and detector have no part in it: they do not change what a vector means.
        """
        return EMBEDDING_SPACE + ("+mirror" if self.mirror else "")


class Detector(Protocol):
    """Finds faces in pictures of one size."""

    def detect(self, images: Sequence[Image], min_face_px: float) -> list[list[Detection]]:
        """Find the faces in each picture.

        Args:
            images: BGR pictures, all of the same shape.
            min_face_px: No need to search for faces smaller than this, in pixels of
                these pictures. Smaller ones may be returned all the same.

        Returns:
            For each picture its faces, highest score first.
        """


class Embedder(Protocol):
    """Turns aligned faces into vectors."""

    def embed(self, chips: AlignedChips) -> Embeddings:
        """Embed each chip; ``(0, 150, 150, 3)`` gives ``(0, 128)``."""
