"""Files and videos: what lies in the inbox, its states, and the slices it is processed in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Self


class FileState(StrEnum):
    """waiting -> ready -> probing -> encoding -> done | failed; probing -> duplicate; any -> gone.

    A file that changes begins again as waiting; ``retry`` moves failed back to ready; a
    restart moves probing back to ready. A file whose content is forgotten is forgotten.
    """

    WAITING = "waiting"
    READY = "ready"
    PROBING = "probing"
    ENCODING = "encoding"
    DONE = "done"
    DUPLICATE = "duplicate"
    FAILED = "failed"
    GONE = "gone"
    FORGOTTEN = "forgotten"


class VideoState(StrEnum):
    """queued -> done | failed; ``retry`` moves failed back to queued."""

    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"


class JobState(StrEnum):
    """queued -> running -> done | failed; a restart moves running back to queued."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class MediaKind(StrEnum):
    """What the content of a file is, whatever its name says."""

    VIDEO = "video"
    PHOTO = "photo"


class Stamp(NamedTuple):
    """What changes when a file is written or replaced."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the stamp of a file from what ``stat`` reports of it."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it lay there when it was taken: reading it must find the same stamp."""

    path: Path
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Slice:
    """A half-open stretch of one video: the frames with ``start_s <= t < stop_s``.

    Attributes:
        source: The file.
        kind: Whether it holds moving pictures or one.
        start_s, stop_s: The stretch.
        sha256: Of the file's whole content, which names it where its path means nothing;
            empty if unknown.
    """

    source: Source
    kind: MediaKind
    start_s: float
    stop_s: float
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a look at the content told.

    Attributes:
        sha256: Of the whole content, hexadecimal.
        kind: Decided by the content, not by the name.
        duration_s: As declared, 0 for a photo, infinite where the container cannot be believed.
        fps: As declared, for information only; 0 if unknown.
        width_px, height_px: Of the upright frame.
        extends: SHA-256 of the longest known content that this one begins with; empty if none.
    """

    sha256: str
    kind: MediaKind
    duration_s: float
    fps: float
    width_px: int
    height_px: int
    extends: str = ""
