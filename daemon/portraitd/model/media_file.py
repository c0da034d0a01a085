"""Files, videos and slices: their states, identities and facts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Self

from portraitd.model.recording_time import RecordingTime


class FileState(StrEnum):
    """waiting -> ready -> probing -> encoding -> done | failed; probing -> duplicate; any -> gone.

    A file that is no photo or video by name and content is ignored, and so is a failure that was
    dismissed. A changed file starts again as waiting; ``retry`` moves failed back to ready; a
    restart moves probing back to ready. A file whose content was erased is forgotten.
    """

    WAITING = "waiting"
    READY = "ready"
    PROBING = "probing"
    ENCODING = "encoding"
    DONE = "done"
    DUPLICATE = "duplicate"
    FAILED = "failed"
    IGNORED = "ignored"
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
    """The kind of a content, whatever the file is called."""

    VIDEO = "video"
    PHOTO = "photo"


class Stamp(NamedTuple):
    """The metadata that changes when a file is written or replaced.

    An inode of 0 stands for an unknown one: some file systems number their files anew at each
    mount.
    """

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the stamp of a file from what ``stat`` reports of it."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)

    def is_same(self, other: Stamp) -> bool:
        """Return whether both may be of the same content; unknown inodes are not compared."""
        return self[:2] == other[:2] and (
            self.inode == other.inode or 0 in (self.inode, other.inode)
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A file and the stamp that it had when it was admitted; readers must find the same one.

    Attributes:
        path: The file.
        stamp: The stamp.
        root: A folder above the file. Neither the file nor a folder between them may be a link.
            None for the folder that the file is in.
    """

    path: Path
    stamp: Stamp
    root: Path | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """A half-open stretch of one video: the frames with ``start_s <= t < stop_s``.

    Attributes:
        source: The file.
        kind: Whether it is a video or a photo.
        start_s, stop_s: The stretch.
        sha256: Hash of the whole content, which identifies the file on other machines; empty
            if unknown.
        also_s: Timestamps of frames that are searched for faces besides the sampled ones.
    """

    source: Source
    kind: MediaKind
    start_s: float
    stop_s: float
    sha256: str = ""
    also_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """The facts that a probe reads from a content.

    Attributes:
        sha256: Hash of the whole content, hexadecimal.
        kind: Decided by the content, not by the name.
        duration_s: As declared, 0 for a photo, infinite if the declared one is not valid.
        fps: As declared, for information only; 0 if unknown.
        width_px, height_px: Size of the upright frame.
        extends: SHA-256 of the longest known content that this one starts with; empty if none.
        picture_hash: Hash of the coded pictures without metadata; empty if it cannot be computed.
        recorded: When it was recorded, as the file says; None if it does not.
    """

    sha256: str
    kind: MediaKind
    duration_s: float
    fps: float
    width_px: int
    height_px: int
    extends: str = ""
    picture_hash: str = ""
    recorded: RecordingTime | None = None
