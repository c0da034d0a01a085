"""The content of the files of a set: texts, images of the frame cache, and what is rendered."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portraitd.datasets.annotations import LabelledFace, Plan, PlannedFrame, Split


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file."""

    content: str

    @property
    def identity(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class CachedImage:
    """An image of the frame cache: hard-linked if possible, else copied."""

    path: Path

    @property
    def identity(self) -> str:
        return "/".join(self.path.parts[-3:])


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """A picture or an archive that is made only if it has to be written.

    Attributes:
        identity: Equal for files with equal content.
    """

    identity: str
    make: Callable[[], bytes]


FileContent = TextFile | CachedImage | RenderedFile
SetFiles = Iterator[tuple[str, FileContent]]
"""Path below the root of the set, and content; a file comes before files that refer to it."""


@dataclass(frozen=True, slots=True)
class AvailableFrames:
    """The frames of a plan that are in the frame cache.

    Attributes:
        frames: By split, sorted by stem.
        path: Returns the path of an image in the frame cache, by id of the recording and name.
    """

    plan: Plan
    frames: dict[Split, list[PlannedFrame]]
    path: Callable[[int, str], Path]

    @classmethod
    def of(
        cls, plan: Plan, has: Callable[[int, str], bool], path: Callable[[int, str], Path]
    ) -> AvailableFrames:
        """Select the frames that are in the cache and large enough for every loader."""
        frames: defaultdict[Split, list[PlannedFrame]] = defaultdict(list)
        for frame in sorted(plan.frames, key=lambda frame: frame.stem):
            if min(frame.width_px, frame.height_px) >= MIN_SIDE_PX and has(
                frame.video_id, frame.cache_name
            ):
                frames[frame.split].append(frame)
        return cls(plan, frames, path)

    def cached_image(self, frame: PlannedFrame) -> CachedImage:
        return CachedImage(self.path(frame.video_id, frame.cache_name))


MIN_SIDE_PX = 10
"""Ultralytics drops images with a shorter side."""


def format_labels(
    frame: PlannedFrame, format_label: Callable[[PlannedFrame, LabelledFace], str]
) -> str:
    """Return the labels of a frame, one per line; equal ones are written once."""
    return join_lines(list(dict.fromkeys(format_label(frame, label) for label in frame.labels)))


def format_class_label(frame: PlannedFrame, label: LabelledFace) -> str:
    """Return ``class x_center y_center width height`` of a face, relative to the frame."""
    return format_box_label(frame, label, label.class_id)


def format_box_label(frame: PlannedFrame, label: LabelledFace, class_id: int) -> str:
    """Return the label of a face with this class."""
    box = label.box
    shares = (
        (box.left + box.right) / 2 / frame.width_px,
        (box.top + box.bottom) / 2 / frame.height_px,
        box.width / frame.width_px,
        box.height / frame.height_px,
    )
    return " ".join([str(class_id), *(f"{share:.6f}" for share in shares)])


def hash_texts(texts: Iterable[object]) -> str:
    """Return an identity of content that is made from these values."""
    return hashlib.sha256("\n".join(map(str, texts)).encode()).hexdigest()[:20]


def format_json(value: Any) -> str:
    """Return JSON that is readable for people as well: non-ASCII names are not escaped."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def quote_text(text: str) -> str:
    """Return a quoted text that both YAML and JSON read."""
    return json.dumps(text, ensure_ascii=False)


def join_lines(texts: Sequence[str]) -> str:
    """Join lines, each with a line end."""
    return "".join(f"{text}\n" for text in texts)
