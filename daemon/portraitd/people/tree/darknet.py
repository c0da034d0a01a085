"""Write the annotation beside each portrait: where the face is in *that* picture."""

from __future__ import annotations

from portraitd.model.face import Box


def darknet_line(class_number: int, box: Box, area: Box) -> str:
    """Return one Darknet line, ``class x_center y_center width height``, with a line end.

    Args:
        class_number: Class of the person, from 0.
        box: The face, in pixels of the full-size frame. It is clipped to ``area``.
        area: The part of the frame that the picture shows; the four numbers are fractions
            of it, so the scale of the picture does not matter.

    Raises:
        ValueError: If the class is negative or the box is outside ``area``.
    """
    if class_number < 0:
        raise ValueError(f"a Darknet class is at least 0, not {class_number}")
    left, right = max(box.left, area.left), min(box.right, area.right)
    top, bottom = max(box.top, area.top), min(box.bottom, area.bottom)
    if left >= right or top >= bottom:
        raise ValueError(f"the box {tuple(box)} is outside the picture {tuple(area)}")
    x_center = ((left + right) / 2 - area.left) / area.width
    y_center = ((top + bottom) / 2 - area.top) / area.height
    width, height = (right - left) / area.width, (bottom - top) / area.height
    return f"{class_number} {x_center:.6f} {y_center:.6f} {width:.6f} {height:.6f}\n"
