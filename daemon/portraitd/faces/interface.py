"""The parts of an encoder: its settings, a detector and an embedder.

Values and protocols only, so that the service can import this module without loading OpenCV, dlib
or a runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from portraitd.faces.models.model_registry import find_embedder
from portraitd.model.face import Detection, Embeddings, Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DLIB_CHIP_PX = 150

ARCFACE_CHIP_PX = 112

MIRRORED = "mirror"
"""Ends the name of a space whose vectors are means of a face and its mirror image."""

AlignedChips: TypeAlias = "NDArray[np.uint8]"
"""Shape ``(n, side, side, 3)``, RGB: upright faces of the size that the embedder wants."""

EncoderKind = Literal["onnx", "dlib"]
DetectorName = Literal["auto", "mmod", "yunet", "hog", "cnn"]
RuntimeName = Literal["auto", "onnxruntime", "openvino"]
SmallFaces = Literal["all", "photos", "off"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """How faces are found and embedded.

    Attributes:
        models_dir: Folder of converted networks and added models; created when needed.
        kind: ``onnx`` runs the networks in ONNX Runtime or OpenVINO, ``dlib`` is the slow
            reference of dlib's networks. Both give the same embeddings.
        embedder: Name of the card of the embedding model.
        detector: ``auto`` is yunet if it was added, else mmod; for ``dlib`` it is cnn.
        max_width: Detection runs on a copy of the frame no wider than this, in pixels.
        max_height: As ``max_width``, for the height. Frames are never enlarged to it.
        small_faces: Where larger copies are searched as well: in photos and videos, in photos
            only, or nowhere.
        upsample: How often mmod, hog and cnn double that copy before they search it. With 0
            they find faces of at least 80 pixels of the copy, with 1 of at least 40.
        mirror: Whether an embedding is the mean of those of the face and its mirror image.
        min_face_px: Smaller faces are not searched for, in pixels of the source frame.
        runtime: What runs the networks of ``onnx``; ``auto`` is the fastest installed one.
    """

    models_dir: Path
    kind: EncoderKind = "onnx"
    embedder: str = "dlib"
    detector: DetectorName = "auto"
    max_width: int = 700
    max_height: int = 500
    small_faces: SmallFaces = "all"
    upsample: int = 1
    mirror: bool = True
    min_face_px: int = 24
    runtime: RuntimeName = "auto"

    @property
    def embedding_space(self) -> str:
        """Name of the embedding space; embeddings of two spaces cannot be compared.

        Runtime and detector are not part of it, because they do not change what a vector means.
        """
        space = find_embedder(self.embedder, self.models_dir).space
        return f"{space}+{MIRRORED}" if self.mirror else space

    @property
    def embedding_size(self) -> int:
        """Return how many numbers an embedding has."""
        return find_embedder(self.embedder, self.models_dir).embedding_size


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """What a detector finds, and how large its copies may be for what that costs.

    Attributes:
        face_px: The smallest faces that it finds nearly always, in pixels of the copy.
        photo_pixels: The largest copy of a photo, in pixels.
        video_scale: The largest copy of a video frame, as a share of the frame's width.
        tile_px: The largest side of a tile.
    """

    face_px: float
    photo_pixels: float
    video_scale: float
    tile_px: int


class Detector(Protocol):
    """Finds faces in pictures of one size."""

    has_landmarks: bool
    """Whether its faces have eyes, nose and mouth corners."""

    @property
    def limits(self) -> SearchLimits:
        """The size of the faces that it finds, and of the copies to search."""

    def detect(self, images: Sequence[Image], min_face_px: float) -> list[list[Detection]]:
        """Find the faces in each picture.

        Args:
            images: BGR pictures, all of the same shape.
            min_face_px: Smaller faces, in pixels of these pictures, need not be found. They
                may be returned all the same.

        Returns:
            The faces of each picture, highest score first.
        """


class Embedder(Protocol):
    """Turns aligned faces into vectors."""

    def embed(self, chips: AlignedChips) -> Embeddings:
        """Return the embedding of each chip, shape ``(n, d)``; no chips give ``(0, d)``."""
