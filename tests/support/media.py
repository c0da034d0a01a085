"""Files to drop: the clip of two people, patterns, and damaged or unusual files.

ffmpeg is not needed. OpenCV writes plain clips; what it cannot write (uneven times, an index at
the start, a rotated picture) is made by editing the boxes of an MP4 file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from portraitd.media.jpeg import encode_jpeg
from portraitd.model.face import Image
from portraitd.model.media_file import Source, Stamp

PATTERN_PX = (64, 48)


def source_of(path: Path) -> Source:
    """Return a file as the inbox would register it now."""
    facts = path.stat()
    return Source(path, Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ino))


def pattern(number: int, size_px: tuple[int, int] = PATTERN_PX) -> Image:
    """Return a picture without a face; each number looks different."""
    width, height = size_px
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    picture = np.stack(
        [across * 255 // width, down * 255 // height, (across + down + 7 * number) % 256], axis=2
    )
    left = 4 * number % max(1, width - 12)
    picture[height // 3 : height // 3 + 12, left : left + 12] = (number * 37 % 256, 255, 0)
    return picture.astype(np.uint8)


def write_pattern_clip(
    path: Path,
    frames: int,
    fps: float = 10.0,
    codec: str = "mp4v",
    size_px: tuple[int, int] = PATTERN_PX,
) -> Path:
    """Write a clip without faces."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size_px)
    assert writer.isOpened(), path
    for number in range(frames):
        writer.write(pattern(number, size_px))
    writer.release()
    return path


def as_jpeg(photograph: Path) -> bytes:
    """Return the same picture as another file: a person is seen a second time."""
    image = cv2.imread(str(photograph))
    assert image is not None
    return encode_jpeg(image, 95)


def without_face() -> bytes:
    """Return a picture that shows nobody, as a JPEG."""
    return encode_jpeg(pattern(1, (320, 240)), 95)


def boxes(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield the MP4 boxes of a range: kind, offset and size, including the header."""
    stop = len(data) if stop is None else stop
    while start + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", data, start)
        yield kind, start, size
        start += size


def find_box(data: bytes, path: str) -> tuple[int, int]:
    """Return offset and size of a box, such as ``moov/trak/mdia/minf/stbl/stts``."""
    start, stop, at = 0, len(data), (0, len(data))
    for name in path.split("/"):
        at = next(
            (offset, size)
            for kind, offset, size in boxes(data, start, stop)
            if kind == name.encode()
        )
        start, stop = at[0] + 8, at[0] + at[1]
    return at


STTS = "moov/trak/mdia/minf/stbl/stts"


def with_frame_times(data: bytes, durations: Sequence[int], timescale: int = 1000) -> bytes:
    """Return the same frames, each shown for the given number of milliseconds.

    The index must come last in the file, as OpenCV writes it.
    """
    total = sum(durations)
    table = struct.pack(">II", 0, len(durations)) + b"".join(
        struct.pack(">II", 1, duration) for duration in durations
    )
    offset, size = find_box(data, STTS)
    grown = struct.pack(">I4s", 8 + len(table), b"stts") + table
    changed = bytearray(data[:offset] + grown + data[offset + size :])
    parts = STTS.split("/")
    for depth in range(1, len(parts)):
        at, old = find_box(data, "/".join(parts[:depth]))
        struct.pack_into(">I", changed, at, old + len(grown) - size)
    # Version 0 heads: flags, created, modified, then timescale and duration.
    at, _ = find_box(changed, "moov/trak/mdia/mdhd")
    struct.pack_into(">II", changed, at + 20, timescale, total)
    at, _ = find_box(changed, "moov/mvhd")
    movie_scale = struct.unpack_from(">I", changed, at + 20)[0]
    struct.pack_into(">I", changed, at + 24, total * movie_scale // timescale)
    at, _ = find_box(changed, "moov/trak/tkhd")
    struct.pack_into(">I", changed, at + 28, total * movie_scale // timescale)
    # The list of edits still names the old length: make it one that players skip.
    at, _ = find_box(changed, "moov/trak/edts")
    changed[at + 4 : at + 8] = b"free"
    return bytes(changed)


def with_index_first(data: bytes) -> bytes:
    """Return the same clip with its index at the start, so that a truncated copy still plays."""
    kinds = {kind: (offset, size) for kind, offset, size in boxes(data)}
    (moov_at, moov_size), (_, head_size) = kinds[b"moov"], kinds[b"ftyp"]
    moov = bytearray(data[moov_at : moov_at + moov_size])
    at, _ = find_box(moov, "moov/trak/mdia/minf/stbl/stco")
    count = struct.unpack_from(">I", moov, at + 12)[0]
    for index in range(count):
        place = at + 16 + 4 * index
        struct.pack_into(">I", moov, place, struct.unpack_from(">I", moov, place)[0] + moov_size)
    return data[:head_size] + bytes(moov) + data[head_size:moov_at]


def turned_right(data: bytes) -> bytes:
    """Return the same clip, marked as rotated by 90 degrees clockwise."""
    changed = bytearray(data)
    at, _ = find_box(data, "moov/trak/tkhd")
    struct.pack_into(">9i", changed, at + 48, 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    return bytes(changed)


def without_picture(data: bytes) -> bytes:
    """Return the same container with its only track declared as sound."""
    changed = bytearray(data)
    at, _ = find_box(data, "moov/trak/mdia/hdlr")
    changed[at + 16 : at + 20] = b"soun"
    return bytes(changed)


def sound_wave(seconds: float = 1.0) -> bytes:
    """Return a WAV file with a tone."""
    rate = 8000
    samples = [round(9000 * math.sin(index / 3)) for index in range(round(rate * seconds))]
    body = struct.pack(f"<{len(samples)}h", *samples)
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _text(data: bytes) -> bytes:
    return b"hello, this is not a video\n" * 400


BAD_CONTENTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "empty"),
    "text": (_text, "a text file, not a video or photo"),
    "truncated": (lambda data: data[: len(data) // 2], "incomplete"),
    "sound-wave": (lambda data: sound_wave(), "an audio file without video"),
    "sound-track": (without_picture, "an audio file without video"),
    "photo-cut-off": (
        lambda data: b"\xff\xd8\xff\xe0" + b"\0" * 40,
        "the JPEG photo could not be decoded",
    ),
}
"""By name: how to make the file from a good MP4 clip, and what the reason for its failure says."""
