"""What the libraries for photos raise."""

from __future__ import annotations

import struct
import zlib

from PIL import Image as Pillow

DAMAGED = (
    OSError, EOFError, ValueError, SyntaxError, TypeError, AttributeError, LookupError,
    ArithmeticError, AssertionError, RuntimeError, struct.error, zlib.error,
    Pillow.DecompressionBombError,
)  # fmt: skip
"""What Pillow and libheif raise for damaged files. Memory that runs out is not among them."""
