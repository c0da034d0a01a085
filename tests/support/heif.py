"""HEIC photos as phones write them: tiles, rotation and mirroring; no encoder of HEIC is needed.

HEVC pictures from PyAV in the boxes of ISO/IEC 23008-12.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def write_heic(
    tiles: Sequence[Sequence[Picture]],
    *,
    turns: int = 0,
    mirror_axis: int | None = None,
    pix_fmt: str = "yuv420p",
) -> bytes:
    """Return a HEIC file.

    Args:
        tiles: Rows of RGB pictures of one size; a single one is stored without a grid.
        turns: Quarter turns to the left that a reader makes (``irot``).
        mirror_axis: 0 to exchange top and bottom, 1 left and right (``imir``).
        pix_fmt: ``yuv420p10le`` for ten bits.
    """
    rows, columns = len(tiles), len(tiles[0])
    height, width = tiles[0][0].shape[:2]
    coded = [_encode(tile, pix_fmt) for row in tiles for tile in row]
    count = len(coded)
    items = [(number + 1, b"hvc1", data) for number, (_, data) in enumerate(coded)]
    is_grid = count > 1
    if is_grid:
        grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, columns * width, rows * height)
        items.append((count + 1, b"grid", grid))
    properties = [_box(b"hvcC", coded[0][0]), _size_box(width, height)]
    properties.append(_size_box(columns * width, rows * height))
    shown = [3]
    if turns:
        properties.append(_box(b"irot", bytes([turns])))
        shown.append(0x80 | len(properties))
    if mirror_axis is not None:
        properties.append(_box(b"imir", bytes([mirror_axis])))
        shown.append(0x80 | len(properties))
    of_item = {number + 1: [0x81, 2] for number in range(count)}
    main = count + 1 if is_grid else 1
    of_item[main] = [*([] if is_grid else [0x81]), *shown]
    return _file(items, main, properties, of_item, range(1, count + 1) if is_grid else ())


def _encode(picture: Picture, pix_fmt: str) -> tuple[bytes, bytes]:
    """Return the decoder configuration and the coded picture."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx265", rate=1, options={"x265-params": "log-level=none:keyint=1", "crf": "8"}
        )
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = pix_fmt
        container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        [stream] = container.streams.video
        packet = next(container.demux(stream))
        return bytes(stream.codec_context.extradata or b""), bytes(packet)


def _file(
    items: Sequence[tuple[int, bytes, bytes]],
    main: int,
    properties: Sequence[bytes],
    of_item: dict[int, list[int]],
    tiles: Sequence[int],
) -> bytes:
    start = _box(b"ftyp", b"heic\0\0\0\0mif1heic")
    # The places of the items depend on the length of the index, which does not depend on them.
    length = len(_index(items, main, properties, of_item, tiles, 0))
    index = _index(items, main, properties, of_item, tiles, len(start) + length + 8)
    return start + index + _box(b"mdat", b"".join(data for _, _, data in items))


def _index(
    items: Sequence[tuple[int, bytes, bytes]],
    main: int,
    properties: Sequence[bytes],
    of_item: dict[int, list[int]],
    tiles: Sequence[int],
    at: int,
) -> bytes:
    entries = b"".join(
        _full_box(b"infe", struct.pack(">HH", number, 0) + kind + b"\0", version=2)
        for number, kind, _ in items
    )
    places = b""
    for number, _, data in items:
        places += struct.pack(">HHHII", number, 0, 1, at, len(data))
        at += len(data)
    used = b"".join(
        struct.pack(">HB", number, len(indexes)) + bytes(indexes)
        for number, indexes in sorted(of_item.items())
    )
    parts = [
        _full_box(b"hdlr", b"\0\0\0\0pict" + b"\0" * 13),
        _full_box(b"pitm", struct.pack(">H", main)),
        _full_box(b"iinf", struct.pack(">H", len(items)) + entries),
        _box(
            b"iprp",
            _box(b"ipco", b"".join(properties))
            + _full_box(b"ipma", struct.pack(">I", len(of_item)) + used),
        ),
        _full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + places),
    ]
    if tiles:
        refers = struct.pack(f">HH{len(tiles)}H", main, len(tiles), *tiles)
        parts.append(_full_box(b"iref", _box(b"dimg", refers)))
    return _full_box(b"meta", b"".join(parts))


def _size_box(width: int, height: int) -> bytes:
    return _full_box(b"ispe", struct.pack(">II", width, height))


def _full_box(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24) + content)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
