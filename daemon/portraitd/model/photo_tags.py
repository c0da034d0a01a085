"""What a photo says about itself that a sidecar depends on."""

from __future__ import annotations

from typing import NamedTuple


class PhotoTags(NamedTuple):
    """What the header of a photo says.

    Attributes:
        width_px, height_px: Of the picture as it is stored, not yet turned upright.
        orientation: By EXIF, 1 to 8.
        xmp: The XMP in it; empty without any, or if it is too long.
    """

    width_px: int
    height_px: int
    orientation: int
    xmp: bytes
