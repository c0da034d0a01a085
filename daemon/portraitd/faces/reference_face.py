"""Choose the face that a reference picture is about."""

from __future__ import annotations

from collections.abc import Sequence

from portraitd.model.face import Box

CLEARLY_LARGER = 1.5
"""The largest face counts as the person's if it is this many times as wide and high as any other:
then the others stand behind it, or are in a picture on the wall."""


def find_main_face(boxes: Sequence[Box]) -> int | None:
    """Return the index of the only face, or of the clearly largest one; None if there is none."""
    if not boxes:
        return None
    areas = [box.width * box.height for box in boxes]
    largest = max(range(len(boxes)), key=areas.__getitem__)
    others = [area for index, area in enumerate(areas) if index != largest]
    is_clear = all(areas[largest] >= CLEARLY_LARGER**2 * area for area in others)
    return largest if is_clear else None
