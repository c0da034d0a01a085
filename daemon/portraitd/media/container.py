"""Why a file that no decoder wants is no video: said from its first bytes and its structure."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

HEAD_BYTES = 4096

SOUND = (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"fLaC")

OTHER_FILES = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x7fELF": "a program",
    b"%PDF": "a PDF document",
    b"GIF8": "a GIF animation",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"version https://git-lfs": "a Git LFS pointer, not the file it stands for",
}

PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]")

MOST_BOXES = 10_000

TOP_BOXES = frozenset(
    b"ftyp styp moov moof mdat free skip wide meta uuid sidx ssix mfra pdin prft emsg udta".split()
)

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


class Mp4Box(NamedTuple):
    """A box of an ISO base media file (ISO/IEC 14496-12): type, where it begins, how long."""

    kind: bytes
    start: int
    size: int
    header: int


def why_unreadable(fd: int) -> str:
    """What a file is, or what is wrong with it, in words for the person who dropped it."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, HEAD_BYTES, 0)
    if not head.strip(b"\0"):
        return "nothing but zeros: the copy was begun and never finished"
    if head[4:8] == b"ftyp":
        return _why_mp4(fd, size)
    return (
        _known_kind(head) or "damaged at its beginning, or of a kind that portraitd does not read"
    )


def _known_kind(head: bytes) -> str:
    """What else a file is, from its first bytes; empty if they say nothing."""
    if head.startswith(SOUND) or (head[:4] == b"RIFF" and head[8:12] == b"WAVE"):
        return "sound without pictures"
    if head.lstrip().startswith(PLAYLISTS) or b"<MPD" in head:
        return "a playlist that points to other files; drop the video itself"
    for signature, what in OTHER_FILES.items():
        if head.startswith(signature):
            return f"{what}, not a video or photo"
    return "text, not a video or photo" if _is_text(head) else ""


def mp4_boxes(fd: int, start: int, stop: int) -> Iterator[Mp4Box]:
    """The boxes that lie side by side in a stretch; one may claim to reach beyond it."""
    for _ in range(MOST_BOXES):
        header = os.pread(fd, 16, start)
        if start + 8 > stop or len(header) < 8:
            return
        size, kind = struct.unpack_from(">I4s", header)
        length = 8
        if size == 1 and len(header) == 16:
            size, length = struct.unpack_from(">Q", header, 8)[0], 16
        elif size == 0:
            size = stop - start
        if size < length:
            return
        yield Mp4Box(kind, start, size, length)
        start += size


def is_encrypted(fd: int) -> bool:
    """Whether an MP4 says that its pictures are encrypted: a frame of noise decodes at times."""
    boxes = list(mp4_boxes(fd, 0, os.fstat(fd).st_size))
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        boxes = [inner for box in boxes if box.kind == kind for inner in _content(fd, box)]
    return any(entry.kind == b"encv" for entry in boxes)


def missing_bytes(fd: int) -> int:
    """How many bytes an MP4 still lacks by its own account; 0 for a whole one, or another kind."""
    size = os.fstat(fd).st_size
    if os.pread(fd, 8, 0)[4:8] != b"ftyp":
        return 0
    ends = [box.start + box.size for box in _top_boxes(fd, size)]
    return max(0, max(ends, default=0) - size)


def unfinished(fd: int) -> str:
    """What a video that is still being copied lacks, in words; empty if nothing is known."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, HEAD_BYTES, 0)
    if not head.strip(b"\0"):
        return "it begins with nothing but zeros"
    if head[4:8] == b"ftyp":
        missing = missing_bytes(fd)
        kinds = {box.kind for box in _top_boxes(fd, size)}
        if not missing and not kinds & {b"moov", b"moof"}:
            return "its index, which comes last, is missing"
    elif head[:4] == b"RIFF" and len(head) >= 12:
        missing = struct.unpack_from("<I", head, 4)[0] + 8 - size
    elif head.startswith(EBML):
        missing = _matroska_end(head) - size
    else:
        return ""
    return f"{missing:,} bytes are missing at the end" if missing > 0 else ""


def _top_boxes(fd: int, size: int) -> Iterator[Mp4Box]:
    """The outermost boxes, up to the first that no MP4 has: what follows is something else."""
    return takewhile(lambda box: box.kind in TOP_BOXES, mp4_boxes(fd, 0, size))


def _matroska_end(head: bytes) -> int:
    """Where a Matroska or WebM file says that it ends; 0 where it does not say."""
    at = 4
    header = _ebml_number(head, at)
    if header is None or header.value is None:
        return 0
    at += header.length + header.value
    if head[at : at + 4] != SEGMENT:
        return 0
    segment = _ebml_number(head, at + 4)
    if segment is None or segment.value is None:
        return 0
    return at + 4 + segment.length + segment.value


class _EbmlNumber(NamedTuple):
    """A number of variable length (RFC 8794); ``value`` is None where it stands for unknown."""

    length: int
    value: int | None


def _ebml_number(head: bytes, at: int) -> _EbmlNumber | None:
    first = head[at] if at < len(head) else 0
    length = 9 - first.bit_length()
    if not first or len(head) < at + length:
        return None
    bits = (1 << (7 * length)) - 1
    value = int.from_bytes(head[at : at + length], "big") & bits
    return _EbmlNumber(length, None if value == bits else value)


def _why_mp4(fd: int, size: int) -> str:
    boxes = {box.kind: box for box in mp4_boxes(fd, 0, size)}
    missing = missing_bytes(fd)
    if missing:
        return f"cut off: {missing:,} bytes are missing at the end"
    if b"moov" not in boxes:
        return "cut off: its index, which comes last, is missing"
    if not _has_pictures(fd, boxes[b"moov"]):
        return "no pictures were found in it: only sound or text, or its index is damaged"
    return "its index is damaged, or its pictures are in a format that cannot be decoded"


def _has_pictures(fd: int, moov: Mp4Box) -> bool:
    """Whether one of the tracks says that it is video."""
    handlers = (
        handler
        for track in _inside(fd, moov, b"trak")
        for media in _inside(fd, track, b"mdia")
        for handler in _inside(fd, media, b"hdlr")
    )
    # A handler box: version and flags, four bytes of nothing, then what handles the track.
    return any(os.pread(fd, 4, box.start + box.header + 8) == b"vide" for box in handlers)


def _content(fd: int, box: Mp4Box) -> Iterator[Mp4Box]:
    """What lies in a box; that of sample descriptions counts them first."""
    counted = 8 if box.kind == b"stsd" else 0
    return mp4_boxes(fd, box.start + box.header + counted, box.start + box.size)


def _inside(fd: int, box: Mp4Box, kind: bytes) -> Iterator[Mp4Box]:
    """The boxes of one type directly inside another."""
    stop = box.start + box.size
    return (inner for inner in mp4_boxes(fd, box.start + box.header, stop) if inner.kind == kind)


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may be cut in two.
        return error.start >= len(head) - 4
    return True
