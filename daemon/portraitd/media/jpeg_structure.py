"""Check what a JPEG from a worker claims to be, without decoding it.

The service stores these pictures, and shows and decodes them later: their size decides how much
memory and time that takes.
"""

from __future__ import annotations

_START = b"\xff\xd8"
_END = b"\xff\xd9"

_BASELINE = (0xC0, 0xC1)
"""Frames that are coded in one pass. A progressive one may need any number of them."""

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})

_SCAN = 0xDA

_MAX_SEGMENTS = 64


def check_jpeg(data: bytes, max_width_px: int, max_height_px: int) -> tuple[int, int]:
    """Return width and height of a picture as portraitd writes them: baseline, and complete.

    Args:
        data: The whole picture.
        max_width_px, max_height_px: The largest size.

    Raises:
        ValueError: It is not such a picture.
    """
    if not (data.startswith(_START) and data.endswith(_END)):
        raise ValueError("not a JPEG from its first byte to its last")
    at = len(_START)
    size: tuple[int, int] | None = None
    for _ in range(_MAX_SEGMENTS):
        head = data[at : at + 4]
        if len(head) < 4 or head[0] != 0xFF:
            break
        marker, length = head[1], int.from_bytes(head[2:], "big")
        if marker == _SCAN and size is not None:
            return size
        if marker in _FRAMES:
            if size is not None or marker not in _BASELINE:
                raise ValueError("a JPEG that is not coded as a single picture")
            size = _read_size(data[at + 4 : at + 2 + length])
            if not (0 < size[0] <= max_width_px and 0 < size[1] <= max_height_px):
                raise ValueError(
                    f"a JPEG of {size[0]}x{size[1]} pixels; at most "
                    f"{max_width_px}x{max_height_px} are possible"
                )
        if length < 2:
            break
        at += 2 + length
    raise ValueError("a JPEG without a picture")


def _read_size(frame: bytes) -> tuple[int, int]:
    """Return width and height of the header of a frame."""
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3):
        raise ValueError("a JPEG of another kind than those that portraitd writes")
    return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
