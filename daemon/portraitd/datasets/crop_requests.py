"""What workers are asked to cut out of recordings for a training set, and what they hand back."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from portraitd.model.face import Box, Landmarks
from portraitd.model.media_file import MediaKind, Source


class ChipRequest(NamedTuple):
    """Chips of one face; an empty name is not wanted."""

    box: Box
    landmarks: Landmarks | None
    name_150: str
    name_112: str


class FrameRequest(NamedTuple):
    """Pictures of one frame.

    Attributes:
        t_s: When.
        is_exact: Whether it must be that very frame.
        size_px: Width and height that it must have.
        name: Under which it goes into the pool; empty if only chips are wanted.
        blurred: Faces that must not be recognised in it.
        labelled: Faces that must.
        chips: Faces to be cut from it.
        kept: Where the frame lies as it was seen; None if it has to be read from the video.
    """

    t_s: float
    is_exact: bool
    size_px: tuple[int, int]
    name: str
    blurred: tuple[Box, ...]
    labelled: tuple[Box, ...]
    chips: tuple[ChipRequest, ...]
    cached_path: Path | None = None


class CroppedPicture(NamedTuple):
    """A picture for the pool, as JPEG."""

    name: str
    jpeg: bytes


class CropRequest(NamedTuple):
    """Frames of one slice of a recording: one job."""

    video_id: int
    sha256: str
    sources: tuple[Source, ...]
    kind: MediaKind
    start_s: float
    frames: tuple[FrameRequest, ...]

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files that a worker needs for it."""
        cached_path = (frame.cached_path for frame in self.frames if frame.cached_path)
        return (*(source.path for source in self.sources), *cached_path)

    @property
    def names(self) -> set[str]:
        """The pictures that are wanted."""
        chips = (chip for frame in self.frames for chip in frame.chips)
        names = {name for chip in chips for name in (chip.name_150, chip.name_112)}
        return (names | {frame.name for frame in self.frames}) - {""}


class CropResult(NamedTuple):
    """What came of an order: the pictures that were made, and why others were not."""

    pictures: tuple[CroppedPicture, ...]
    reason: str
