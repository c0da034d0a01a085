"""What files that show faces are known by when they must be found again."""

from __future__ import annotations

import hashlib

ENDING_BYTES = 1024
"""The last bytes of a portrait: words that are written into a picture later stand before them."""


def hash_ending(data: bytes) -> bytes:
    """SHA-256 of the last bytes of a file; a picture cannot be made from it."""
    return hashlib.sha256(data[-ENDING_BYTES:]).digest()


def content_stem(sha256: str) -> str:
    """What the name of every picture of a video or photo begins with, in training sets."""
    return f"{sha256[:12]}-"


def split_key_parts(sha256: str) -> tuple[str, str]:
    """What the keys of all sides (train, val) hold that belong to a video or photo.

    They are ``video HASH``, ``stretch HASH start`` and ``track`` with the name of a picture.
    """
    return f" {sha256}", f"track {content_stem(sha256)}"


def frame_stem(sha256: str, t_s: float) -> str:
    """The name of a frame: the same in every home that saw it."""
    return f"{content_stem(sha256)}{round(t_s * 1000):09d}"
