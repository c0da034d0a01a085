"""Requests to workers to crop images out of recordings, and their results."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from portraitd.model.face import Box, Landmarks
from portraitd.model.media_file import MediaKind, Source
from portraitd.workers.file_broker import JobFile


class ChipRequest(NamedTuple):
    """Aligned chips of one face; a chip with an empty name is not needed."""

    box: Box
    landmarks: Landmarks | None
    name_150: str
    name_112: str


class FrameRequest(NamedTuple):
    """The images of one frame.

    Attributes:
        t_s: Time of the frame.
        is_exact: Whether a frame close to that time is not enough.
        size_px: Width and height that the frame must have.
        name: Name in the frame cache; empty if only chips are needed.
        blurred: Faces to make unrecognisable.
        labelled: Faces that must stay recognisable.
        chips: Faces to align and crop.
        cached_path: The unchanged frame in the frame cache; None to read it from the video.
    """

    t_s: float
    is_exact: bool
    size_px: tuple[int, int]
    name: str
    blurred: tuple[Box, ...]
    labelled: tuple[Box, ...]
    chips: tuple[ChipRequest, ...]
    cached_path: Path | None = None


class CroppedImage(NamedTuple):
    """An image for the frame cache, as JPEG."""

    name: str
    jpeg: bytes


class CropRequest(NamedTuple):
    """The frames to crop from one slice of a recording."""

    video_id: int
    sha256: str
    sources: tuple[Source, ...]
    kind: MediaKind
    start_s: float
    frames: tuple[FrameRequest, ...]

    @property
    def files(self) -> list[JobFile]:
        """The files that the worker has to read."""
        cached = [JobFile(frame.cached_path) for frame in self.frames if frame.cached_path]
        return [*map(JobFile.of, self.sources), *cached]

    @property
    def image_names(self) -> set[str]:
        """The names of the requested images."""
        chips = (chip for frame in self.frames for chip in frame.chips)
        names = {name for chip in chips for name in (chip.name_150, chip.name_112)}
        return (names | {frame.name for frame in self.frames}) - {""}


class CropResult(NamedTuple):
    """The images that were made, and the reason why others were not."""

    images: tuple[CroppedImage, ...]
    reason: str
