"""Names and hashes by which files that show faces are found again, for instance to erase them."""

from __future__ import annotations

import hashlib

ENDING_BYTES = 1024
"""How many bytes at the end of a portrait are hashed: metadata written later is before them."""


def hash_ending(data: bytes) -> bytes:
    """Return the SHA-256 of the last bytes of a file, from which no picture can be restored."""
    return hashlib.sha256(data[-ENDING_BYTES:]).digest()


def content_stem(sha256: str) -> str:
    """Return the beginning of the names of all pictures of a video or photo in training sets."""
    return f"{sha256[:12]}-"


def split_key_parts(sha256: str) -> tuple[str, str]:
    """Return substrings, one of which is in every split key of a video or photo.

    Split keys are ``video HASH``, ``stretch HASH start`` and ``track`` with the name of a picture.
    """
    return f" {sha256}", f"track {content_stem(sha256)}"


def frame_stem(sha256: str, t_s: float) -> str:
    """Return the name of a frame, which is the same in every home."""
    return f"{content_stem(sha256)}{round(t_s * 1000):09d}"
