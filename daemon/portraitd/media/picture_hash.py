"""Hash the pictures of a file without its metadata, so that new tags leave the hash as it is.

Programs that manage photos write ratings, keywords and titles into the files. What they leave
alone is the coded picture: of a JPEG the tables and the scans, of a PNG the critical chunks, of
WebP and GIF the blocks with pictures, of HEIC and AVIF the items, of JPEG 2000 the codestream. Of
other photos the decoded picture is hashed, of a video the packets of its video stream. How a
picture is turned belongs to it: faces are stored where they are in the upright picture.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from portraitd.media.photo import PhotoFormat
from portraitd.model.face import Image

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MAX_BOXES = 10_000

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The end of a scan: neither a stuffed zero nor a restart marker."""

_PNG_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT")
_WEBP_PICTURE = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_JPEG_2000_PICTURE = (b"jp2h", b"jp2c")
_METADATA_ITEMS = (b"Exif", b"mime", b"uri ")


class _NotUnderstoodError(Exception):
    """The structure of a file is damaged or unknown: the decoded picture must do."""


def hash_photo(data: bytes, form: PhotoFormat, orientation: int, image: Image | None) -> str:
    """Return the hash of a photo's or animation's pictures.

    Args:
        data: The file.
        form: Its format.
        orientation: By its EXIF data, 1 to 8; 1 if the format has its own or there is none.
        image: The decoded picture, upright; None for an animation.

    Returns:
        64 hexadecimal digits; empty for an animation whose structure is not understood.
    """
    found = hashlib.sha256()
    try:
        parts = list(_coded_parts(data, form))
    except (_NotUnderstoodError, IndexError, ValueError):
        parts = []
    if parts:
        found.update(f"coded {form} {orientation} ".encode())
        for part in parts:
            found.update(part)
    elif image is not None:
        found.update(f"decoded {image.shape} ".encode())
        found.update(image.tobytes())
    else:
        return ""
    return found.hexdigest()


class VideoHash:
    """The hash of a video's packets."""

    def __init__(self) -> None:
        self._packets = hashlib.sha256()

    def update(self, packet: ReadableBuffer) -> None:
        """Add a packet, in the order of decoding."""
        self._packets.update(packet)

    def hexdigest(self, size_px: tuple[int, int], turn: tuple[int, ...]) -> str:
        """Return the hash.

        Args:
            size_px: Width and height of the first picture, upright, with square pixels.
            turn: The display matrix.
        """
        whole = self._packets.copy()
        whole.update(f" video {size_px} {turn}".encode())
        return whole.hexdigest()


def _coded_parts(data: bytes, form: PhotoFormat) -> Iterable[bytes | memoryview]:
    """Return what makes up the coded picture; nothing for a format that is not taken apart.

    Raises:
        _NotUnderstoodError: The structure is damaged or unknown.
    """
    if form is PhotoFormat.JPEG_2000 and data[4:8] != b"jP  ":
        return ()
    return _PARTS[form](data) if form in _PARTS else ()


def _jpeg_parts(data: bytes) -> Iterator[memoryview]:
    """Yield the segments of the first picture that are neither application data nor comments."""
    view, at = memoryview(data), 2
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            raise _NotUnderstoodError
        kind = data[at + 1]
        if kind == 0xFF:
            at += 1
            continue
        if kind == 0xD9:
            # A picture without its end is another one: it is said to be cut short.
            yield view[at : at + 2]
            return
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        # Adobe's segment says how colours are coded.
        is_adobe = kind == 0xEE and data[at + 4 : at + 9] == b"Adobe"
        if is_adobe or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
            yield view[at:stop]
        if kind == 0xDA:
            end = _MARKER.search(data, stop)
            at = end.start() if end else len(data)
            yield view[stop:at]
        else:
            at = stop


def _png_parts(data: bytes) -> Iterator[bytes | memoryview]:
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            return
        if kind in _PNG_PICTURE:
            if kind != b"IDAT":
                yield kind
            yield view[at + 8 : at + 8 + length]
        at += 12 + length


def _webp_parts(data: bytes) -> Iterator[bytes | memoryview]:
    view, at = memoryview(data), 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in _WEBP_PICTURE:
            yield kind
            yield view[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _gif_parts(data: bytes) -> Iterator[memoryview]:
    """Yield the screen, its colours, and each image with its timing; no comments, no XMP."""
    view = memoryview(data)
    at = 13 + _gif_colours_bytes(data[10])
    yield view[6:at]
    while at < len(data) and data[at] != 0x3B:
        start = at
        if data[at] == 0x2C:
            at += 10 + _gif_colours_bytes(data[at + 9]) + 1
        elif data[at] == 0x21:
            at += 2
        else:
            raise _NotUnderstoodError
        while data[at]:
            at += 1 + data[at]
        at += 1
        if data[start] == 0x2C or data[start + 1] == 0xF9:
            yield view[start:at]


def _gif_colours_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _jpeg_2000_parts(data: bytes) -> Iterator[memoryview]:
    for box in _boxes(data, 0, len(data)):
        if box.kind in _JPEG_2000_PICTURE:
            yield memoryview(data)[box.start : box.stop]


class _Box(NamedTuple):
    """A box of an ISO base media file, without its header."""

    kind: bytes
    start: int
    stop: int


def _boxes(data: bytes, at: int, stop: int) -> Iterator[_Box]:
    for _ in range(_MAX_BOXES):
        if at + 8 > stop:
            return
        size, kind, header = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = stop - at
        if size < header:
            raise _NotUnderstoodError
        yield _Box(kind, at + header, min(at + size, stop))
        at += size


def _heif_parts(data: bytes) -> Iterator[bytes | memoryview]:
    """Yield the properties of all pictures, and the coded data of each (ISO/IEC 23008-12)."""
    meta = next((box for box in _boxes(data, 0, len(data)) if box.kind == b"meta"), None)
    if meta is None:
        raise _NotUnderstoodError
    inside = {box.kind: box for box in _boxes(data, meta.start + 4, meta.stop)}
    if not {b"iinf", b"iloc", b"iprp"} <= inside.keys():
        raise _NotUnderstoodError
    view = memoryview(data)
    kinds = _item_kinds(data, inside[b"iinf"])
    idat = inside.get(b"idat", _Box(b"idat", 0, 0))
    yield view[inside[b"iprp"].start : inside[b"iprp"].stop]
    places = dict(_item_places(data, inside[b"iloc"], idat))
    left = 2 * len(data)
    for number, kind in sorted(kinds.items()):
        if kind in _METADATA_ITEMS or number not in places:
            continue
        yield kind
        for start, stop in places[number]:
            left -= stop - start
            # Extents that overlap many times would take too long.
            if left < 0:
                raise _NotUnderstoodError
            yield view[start:stop]


def _item_kinds(data: bytes, iinf: _Box) -> dict[int, bytes]:
    """Return the type of each item by its number."""
    at = iinf.start + (6 if data[iinf.start] == 0 else 8)
    kinds = {}
    for box in _boxes(data, at, iinf.stop):
        version = data[box.start]
        if box.kind != b"infe" or version < 2:
            raise _NotUnderstoodError
        length = 2 if version == 2 else 4
        start = box.start + 4
        number = int.from_bytes(data[start : start + length], "big")
        kinds[number] = data[start + length + 2 : start + length + 6]
    return kinds


def _item_places(
    data: bytes, iloc: _Box, idat: _Box
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield the number of each item, and start and stop of each of its extents in the file."""
    at, version = iloc.start, data[iloc.start]

    def number(length: int) -> int:
        nonlocal at
        at += length
        if at > iloc.stop:
            raise _NotUnderstoodError
        return int.from_bytes(data[at - length : at], "big")

    at += 4
    sizes = number(2)
    offset_bytes, length_bytes, base_bytes = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_bytes = sizes & 15 if version in (1, 2) else 0
    if not length_bytes:
        raise _NotUnderstoodError
    for _ in range(min(number(2 if version < 2 else 4), _MAX_BOXES)):
        item = number(2 if version < 2 else 4)
        method = number(2) & 15 if version in (1, 2) else 0
        number(2)
        base = number(base_bytes)
        if method > 1:
            raise _NotUnderstoodError
        if method == 1:
            base += idat.start
        extents = []
        for _ in range(min(number(2), _MAX_BOXES)):
            number(index_bytes)
            start = base + number(offset_bytes)
            extents.append((start, start + number(length_bytes)))
        yield item, extents


_PARTS: dict[PhotoFormat, Callable[[bytes], Iterator[bytes | memoryview]]] = {
    PhotoFormat.JPEG: _jpeg_parts,
    PhotoFormat.PNG: _png_parts,
    PhotoFormat.WEBP: _webp_parts,
    PhotoFormat.GIF: _gif_parts,
    PhotoFormat.JPEG_2000: _jpeg_2000_parts,
    PhotoFormat.HEIC: _heif_parts,
    PhotoFormat.AVIF: _heif_parts,
}
