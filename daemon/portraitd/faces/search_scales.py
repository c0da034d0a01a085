"""The scales at which a picture is searched, and the smallest faces that are found at them.

A reduced copy shows large faces. Where it would hide small ones, a larger copy is searched as well,
and copies between the two. Numbers only, so that ``explain`` can say what a search finds.
"""

from __future__ import annotations

import math

from portraitd.faces.interface import EncoderSpec, SearchLimits

STEP = 3.0
"""Between two copies. A face too large for the overlap of two tiles is small in the next copy."""

WORTH_IT = 1.5
"""A larger copy is searched if it is at least this many times as wide as the reduced one."""


def limits_of(detector: str, upsample: int) -> SearchLimits:
    """Return the limits of a detector; those for dlib's own search the reduced copy alone.

    YuNet takes about 0.05 s per megapixel of the copy; MMOD, whose window has 80 pixels, takes 2 s
    if the copy is doubled once.
    """
    doubled = 2**upsample
    if detector == "yunet":
        return SearchLimits(14.0, math.inf, 0.8, 2048)
    if detector == "mmod":
        return SearchLimits(80 / doubled, 48e6 / doubled**2, 0.72 / doubled, 2048 // doubled)
    return SearchLimits(80 / doubled, 0.0, 0.0, 2048)


def fit_size(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """Return the largest size with the frame's aspect that fits, at most the frame's own.

    Returns:
        Width and height in pixels, at least 1 each.
    """
    return scaled_size(width, height, _fitting_scale(width, height, max_width, max_height))


def scaled_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Return the size of a copy in pixels, at least 1 each."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def list_scales(
    width: int, height: int, settings: EncoderSpec, limits: SearchLimits, *, is_photo: bool
) -> list[float]:
    """Return the scales of the copies to search, the largest first.

    Args:
        width, height: Of the full-size picture, in pixels.
        settings: ``max_width``, ``max_height`` and ``small_faces`` are used.
        limits: Those of the detector.
        is_photo: Whether it is a photo; else it is a frame of a video.
    """
    reduced = _fitting_scale(width, height, settings.max_width, settings.max_height)
    scales = []
    scale = _largest_scale(width * height, settings, limits, is_photo=is_photo)
    while scale >= WORTH_IT * reduced:
        scales.append(scale)
        scale /= STEP
    return [*scales, reduced]


def smallest_face_px(
    width: int, height: int, settings: EncoderSpec, limits: SearchLimits, *, is_photo: bool
) -> int:
    """Return the smallest faces that are found nearly always, in pixels of the full-size picture.

    Args:
        width, height, settings, limits, is_photo: As for ``list_scales``.
    """
    largest = list_scales(width, height, settings, limits, is_photo=is_photo)[0]
    return max(settings.min_face_px, math.ceil(limits.face_px / largest))


def _fitting_scale(width: int, height: int, max_width: int, max_height: int) -> float:
    return min(1.0, max_width / width, max_height / height)


def _largest_scale(
    pixels: int, settings: EncoderSpec, limits: SearchLimits, *, is_photo: bool
) -> float:
    """Return the scale of the largest copy; 0 if small faces are not wanted."""
    if is_photo and settings.small_faces != "off":
        return min(1.0, math.sqrt(limits.photo_pixels / pixels))
    if not is_photo and settings.small_faces == "all":
        return min(1.0, limits.video_scale)
    return 0.0
