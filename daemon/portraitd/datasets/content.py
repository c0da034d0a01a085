"""What a format asks to be written: texts, pictures of the pool, and pictures made on demand."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portraitd.datasets.annotations import Plan, PlannedFrame, Split


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file with this content."""

    content: str

    @property
    def identity(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class CachedImage:
    """A picture of the pool: linked where that can be done, copied where not."""

    path: Path

    @property
    def identity(self) -> str:
        return "/".join(self.path.parts[-3:])


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """A picture that is made when it has to be written.

    Attributes:
        identity: The same for pictures that look the same.
    """

    identity: str
    make: Callable[[], bytes]


FileContent = TextFile | CachedImage | RenderedImage
SetFiles = Iterator[tuple[str, FileContent]]
"""Path below the set's root, and content; what others refer to comes first."""


@dataclass(frozen=True, slots=True)
class AvailableFrames:
    """The pictures that could be had, of those a plan names.

    Attributes:
        frames: By split, in the order of their stems.
        path: Of a picture in the pool, by the recording's id and its name.
    """

    plan: Plan
    frames: dict[Split, list[PlannedFrame]]
    path: Callable[[int, str], Path]

    @classmethod
    def of(
        cls, plan: Plan, has: Callable[[int, str], bool], path: Callable[[int, str], Path]
    ) -> AvailableFrames:
        """Those of a plan's frames that are there and no smaller than any loader wants them."""
        frames: defaultdict[Split, list[PlannedFrame]] = defaultdict(list)
        for frame in sorted(plan.frames, key=lambda frame: frame.stem):
            if min(frame.width_px, frame.height_px) >= MIN_SIDE_PX and has(
                frame.video_id, frame.picture
            ):
                frames[frame.split].append(frame)
        return cls(plan, frames, path)

    def of_frame(self, frame: PlannedFrame) -> CachedImage:
        return CachedImage(self.path(frame.video_id, frame.picture))


MIN_SIDE_PX = 10
"""Ultralytics drops pictures with a shorter side."""


def format_labels(frame: PlannedFrame) -> str:
    """The faces of a frame, ``class x_center y_center width height`` each, as shares of it."""
    lines = []
    for label in frame.labels:
        box = label.box
        shares = (
            (box.left + box.right) / 2 / frame.width_px,
            (box.top + box.bottom) / 2 / frame.height_px,
            box.width / frame.width_px,
            box.height / frame.height_px,
        )
        line = " ".join([str(label.class_id), *(f"{share:.6f}" for share in shares)])
        if line not in lines:
            lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def format_json(value: Any) -> str:
    """For people as well: names are written as they are."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def quote_text(text: str) -> str:
    """A text as YAML and JSON both read it."""
    return json.dumps(text, ensure_ascii=False)


def join_lines(texts: Sequence[str]) -> str:
    """Each with a line end."""
    return "".join(f"{text}\n" for text in texts)
