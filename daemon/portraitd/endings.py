"""What a portrait's file is known by when it must be found again under another name."""

from __future__ import annotations

import hashlib

ENDING_BYTES = 1024
"""Its last bytes: words that are written into a picture later stand in front of them."""


def ending_of(data: bytes) -> bytes:
    """SHA-256 of the last bytes of a file; a picture cannot be made from it."""
    return hashlib.sha256(data[-ENDING_BYTES:]).digest()
