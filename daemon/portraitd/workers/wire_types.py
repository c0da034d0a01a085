"""Types of the fields of results, with the bounds that hold for every job."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta

from portraitd.model.face import Box
from portraitd.workers.result_codec import MAX_TEXT, Record

MAX_SIDE_PX = 1 << 17
"""Largest distance in pixels; ``media.picture.MAX_PIXELS`` limits the area of a picture."""

MAX_ROWS = 1 << 31

Finite = Annotated[float, Meta(ge=-1e12, le=1e12)]
"""A number that is neither infinite nor NaN, and whose square is neither."""

Positive = Annotated[float, Meta(ge=0, le=1e12)]

Share = Annotated[float, Meta(ge=0, le=1)]

Count = Annotated[int, Meta(ge=0, le=MAX_ROWS)]

Side = Annotated[int, Meta(gt=0, lt=MAX_SIDE_PX)]

Coordinate = Annotated[int, Meta(gt=-MAX_SIDE_PX, lt=MAX_SIDE_PX)]

Sentence = Annotated[str, Meta(max_length=MAX_TEXT)]

Name = Annotated[str, Meta(max_length=256)]

Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
"""A SHA-256, hexadecimal."""

MaybeHash = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$", max_length=64)]


class BoxData(Record):
    """A ``Box``."""

    left: Coordinate
    top: Coordinate
    right: Coordinate
    bottom: Coordinate


def pack_box(box: Box) -> BoxData:
    """Return a box for a message."""
    return BoxData(*map(int, box))


def unpack_box(found: BoxData) -> Box:
    """Return a box of a message.

    Raises:
        ValueError: It is empty.
    """
    if found.left >= found.right or found.top >= found.bottom:
        raise ValueError("an empty box")
    return Box(found.left, found.top, found.right, found.bottom)


def is_finite(number: float) -> bool:
    """Return whether a number fits ``Finite``."""
    return math.isfinite(number) and abs(number) <= 1e12
