"""Remove the XMP packet from a portrait, to compare the image data that is left."""

from __future__ import annotations

XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"

SOI, APP1, SOS = b"\xff\xd8", 0xE1, 0xDA


def without_mark(jpeg: bytes) -> bytes:
    """Return a sound JPEG without its XMP packets."""
    assert jpeg.startswith(SOI)
    kept, at = [SOI], 2
    while jpeg[at + 1] != SOS:
        assert jpeg[at] == 0xFF
        stop = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] != APP1 or not jpeg.startswith(XMP_HEADER, at + 4):
            kept.append(jpeg[at:stop])
        at = stop
    return b"".join([*kept, jpeg[at:]])
