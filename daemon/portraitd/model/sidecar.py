"""Sidecars: files beside the recordings of the inbox that name their people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from portraitd.model.face import Box


class SidecarKind(StrEnum):
    """XMP for photos, NFO for videos."""

    XMP = "xmp"
    NFO = "nfo"


SidecarKey = tuple[int, SidecarKind]
"""A file, and the kind of its sidecar."""


@dataclass(frozen=True, slots=True)
class NamedRecording:
    """A recording of the inbox, and those of its people who have names.

    Attributes:
        file_id: Its file.
        path: Below the inbox.
        kind: Of its sidecar.
        width_px, height_px: Of the upright picture.
        faces: Name and box of each named face, in pixels of that picture; of a video, each name
            once, without a box.
        identity: Equal for equal people at equal places.
    """

    file_id: int
    path: Path
    kind: SidecarKind
    width_px: int
    height_px: int
    faces: Sequence[tuple[str, Box | None]]
    identity: str

    @property
    def key(self) -> SidecarKey:
        """Return what its sidecar is recorded by."""
        return self.file_id, self.kind

    def joined(self, other: NamedRecording) -> NamedRecording:
        """Return it with the people of another one, which has the same sidecar."""
        faces = dict.fromkeys([*self.faces, *other.faces])
        return replace(self, faces=tuple(faces), identity=f"{self.identity} {other.identity}")


@dataclass(frozen=True, slots=True)
class WrittenSidecar:
    """A sidecar as it is.

    Attributes:
        file_id: The recording.
        path: Below the inbox.
        identity: That of the people in it; empty if they were taken out.
    """

    file_id: int
    kind: SidecarKind
    path: Path
    identity: str

    @property
    def key(self) -> SidecarKey:
        """Return what it is recorded by."""
        return self.file_id, self.kind
