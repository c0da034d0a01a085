"""Explain from its first bytes and its structure why a file cannot be decoded, or is incomplete."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from portraitd.model.reasons import NO_REASON, Reason, ReasonCode

HEAD_BYTES = 4096

AUDIO_SIGNATURES = (
    b"ID3", b"\xff\xfa", b"\xff\xfb", b"\xff\xf2", b"\xff\xf3", b"\xff\xfc", b"\xff\xfd",
    b"\xff\xf1", b"\xff\xf9", b"fLaC", b"\x0b\x77", b"\x7f\xfe\x80\x01", b".snd", b".ra\xfd",
    b"caff", b"wvpk", b"TTA1", b"MAC ", b"#!AMR", b"MPCK", b"MP+", b"DSD ", b"MThd",
)  # fmt: skip
"""First bytes of MP3, MP2, AAC, FLAC, AC-3, DTS, AU, RealAudio, CAF, WavPack, TTA, Monkey's Audio,
AMR, Musepack, DSD and MIDI."""

OTHER_SIGNATURES = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x7fELF": "a program",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"version https://git-lfs": "a Git LFS pointer",
}

UNSUPPORTED_SIGNATURES = {
    b".RMF": "RealMedia",
    b"FWS": "Flash (SWF)",
    b"CWS": "Flash (SWF)",
    b"\0\0\0\0\x01\xbc": "GXF",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"8BPS": "Photoshop (PSD)",
    b"v/1\x01": "OpenEXR",
    b"SDPX": "DPX",
    b"XPDS": "DPX",
    b"#?RADIANCE": "Radiance HDR",
}
"""Videos and pictures that no decoder here reads."""

PLAYLIST_SIGNATURES = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]")

MAX_BOXES = 10_000
"""Headers of boxes that are read of one file, wherever they are. A recording in fragments may have
more; what is behind them is not known then."""

MAX_BOXES_WHILE_WAITING = 2_000
"""The same, for the service itself, which looks at each file that is incomplete again and again."""

_WINDOW_BYTES = 4096

TOP_BOXES = frozenset(
    b"ftyp styp moov moof mdat free skip wide meta uuid sidx ssix mfra pdin prft emsg udta".split()
)
"""Boxes at the top level whose sizes are believed. An unknown box proves nothing."""

VIDEO_BRANDS = (
    b"isom", b"iso", b"mp4", b"mp7", b"avc", b"qt  ", b"3g", b"M4V", b"MSNV", b"f4v", b"F4V",
    b"dash", b"hvc", b"hev", b"av01", b"NDX", b"mmp4", b"XAVC", b"CAEP", b"pana", b"niko", b"cmf",
)  # fmt: skip
"""Starts of brands whose files hold an index (``moov`` or ``moof``): without it they are not whole.
Pictures (HEIC, AVIF) and brands that are not listed may do without."""

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


class Mp4Box(NamedTuple):
    """A box of an ISO base media file (ISO/IEC 14496-12): type, offset, size, header size."""

    kind: bytes
    start: int
    size: int
    header: int


def why_unreadable(fd: int) -> Reason:
    """Return what a file is, or what is wrong with it."""
    head = os.pread(fd, HEAD_BYTES, 0)
    if not head.strip(b"\0"):
        return Reason.of(ReasonCode.ONLY_ZEROS)
    if head[4:8] == b"ftyp":
        return _why_mp4(fd)
    return _known_kind(head) or Reason.of(ReasonCode.UNKNOWN_FORMAT)


def _known_kind(head: bytes) -> Reason:
    """Return what else a file is, from its first bytes; ``NO_REASON`` if they match nothing."""
    is_form = (head[:4], head[8:12]) in (
        (b"RIFF", b"WAVE"), (b"RF64", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC"),
    )  # fmt: skip
    if is_form or head.startswith(AUDIO_SIGNATURES):
        return Reason.of(ReasonCode.SOUND_ONLY)
    for signature, kind in UNSUPPORTED_SIGNATURES.items():
        if head.startswith(signature):
            return Reason.of(ReasonCode.UNSUPPORTED_FORMAT, format=kind)
    if head.lstrip().startswith(PLAYLIST_SIGNATURES) or b"<MPD" in head:
        return Reason.of(ReasonCode.PLAYLIST)
    for signature, kind in OTHER_SIGNATURES.items():
        if head.startswith(signature):
            return Reason.of(ReasonCode.OTHER_FILE_TYPE, kind=kind)
    return Reason.of(ReasonCode.TEXT_FILE) if _is_text(head) else NO_REASON


class BoxReader:
    """Reads the boxes of an ISO base media file, a limited number in all.

    Sizes are claims: a box may say that it extends beyond its parent, or beyond the file, and so
    contain what others contain. The limit is for the file, not for a level.

    Args:
        fd: The file.
        limit: How many headers to read.

    Attributes:
        size: Size of the file.
        left: How many headers may still be read.
    """

    def __init__(self, fd: int, limit: int = MAX_BOXES) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size
        self.left = limit
        self._window, self._window_start = b"", 0

    def read(self, start: int, length: int) -> bytes:
        """Return a few bytes; fewer at the end of the file, none behind it."""
        if not 0 <= start < self.size:
            return b""
        at = start - self._window_start
        if not 0 <= at <= len(self._window) - length:
            self._window = os.pread(self._fd, _WINDOW_BYTES, start)
            self._window_start, at = start, 0
        return self._window[at : at + length]

    def boxes(self, start: int, stop: int) -> Iterator[Mp4Box]:
        """Yield the consecutive boxes of a byte range; the last may claim to extend beyond it."""
        stop = min(stop, self.size)
        while self.left > 0 and 0 <= start <= stop - 8:
            self.left -= 1
            header = self.read(start, 16)
            if len(header) < 8:
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

    def inside(self, box: Mp4Box, *kinds: bytes) -> Iterator[Mp4Box]:
        """Yield the boxes that are reached from a box through boxes of these types."""
        # A sample description box starts with the number of its entries.
        count_bytes = 8 if box.kind == b"stsd" else 0
        yield from self.below(box.start + box.header + count_bytes, box.start + box.size, *kinds)

    def below(self, start: int, stop: int, kind: bytes, *kinds: bytes) -> Iterator[Mp4Box]:
        """Yield the boxes of a byte range that are reached through boxes of these types."""
        for box in self.boxes(start, stop):
            if box.kind != kind:
                continue
            if kinds:
                # Not beyond this range, whatever it claims.
                size = min(box.size, stop - box.start)
                yield from self.inside(box._replace(size=size), *kinds)
            else:
                yield box


def is_encrypted(fd: int) -> bool:
    """Return whether an MP4 declares encrypted video, which can decode to noise."""
    reader = BoxReader(fd)
    way = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"encv")
    return any(True for _ in reader.below(0, reader.size, *way))


def missing_bytes(fd: int) -> int:
    """Return how many bytes an MP4 declares beyond its end; 0 if it is complete or not an MP4."""
    if os.pread(fd, 8, 0)[4:8] != b"ftyp":
        return 0
    return _top_boxes(BoxReader(fd)).missing


def is_cut_short(fd: int) -> bool:
    """Return whether the end of a video is missing, as its container declares its size."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, HEAD_BYTES, 0)
    if head[4:8] == b"ftyp":
        return missing_bytes(fd) > 0
    if head.startswith(ASF_HEADER):
        return _asf_header(head).size > size
    if head[:3] == b"FLV":
        return _flv_size(head) > size
    return why_incomplete(fd).code is ReasonCode.BYTES_MISSING


def declared_s(fd: int) -> float:
    """Return the duration that an ASF file declares; 0 for others, whose duration FFmpeg tells."""
    head = os.pread(fd, HEAD_BYTES, 0)
    return _asf_header(head).duration_s if head.startswith(ASF_HEADER) else 0.0


class _AsfHeader(NamedTuple):
    size: int
    duration_s: float


def _asf_header(head: bytes) -> _AsfHeader:
    """Return the file properties of an ASF file; zeros where it declares none."""
    at = head.find(ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return _AsfHeader(0, 0.0)
    size, duration, preroll_ms, flags = struct.unpack_from("<40xQ16xQ8xQI", head, at)
    # A recording that was sent while it was made does not know its end.
    is_broadcast = flags & 1
    duration_s = duration / 1e7 - preroll_ms / 1e3
    return _AsfHeader(0, 0.0) if is_broadcast else _AsfHeader(size, max(0.0, duration_s))


def _flv_size(head: bytes) -> int:
    """Return the file size in the metadata of an FLV file; 0 if there is none."""
    at = head.find(b"\x00\x08filesize\x00")
    if at < 0 or len(head) < at + 19:
        return 0
    size = struct.unpack_from(">d", head, at + 11)[0]
    return int(size) if 0 < size < 1 << 62 else 0


def why_incomplete(fd: int) -> Reason:
    """Return what a file that is still being copied lacks; ``NO_REASON`` if nothing is known.

    What cannot be checked is not claimed: a box, a brand or a format that is unknown here may be
    whole as it is.
    """
    size = os.fstat(fd).st_size
    head = os.pread(fd, HEAD_BYTES, 0)
    if not head.strip(b"\0"):
        return Reason.of(ReasonCode.ONLY_ZEROS)
    if head[4:8] == b"ftyp":
        boxes = _top_boxes(BoxReader(fd, MAX_BOXES_WHILE_WAITING))
        missing = boxes.missing
        if not missing and head[8:12].startswith(VIDEO_BRANDS) and boxes.lack_index:
            return Reason.of(ReasonCode.INDEX_MISSING)
    elif head[:4] == b"RIFF" and len(head) >= 12:
        missing = struct.unpack_from("<I", head, 4)[0] + 8 - size
        # The byte that makes the length even is left out by some programs.
        missing = 0 if missing == 1 else missing
    elif head.startswith(EBML):
        missing = _matroska_end(head) - size
    else:
        return NO_REASON
    return _bytes_missing(missing) if missing > 0 else NO_REASON


class _TopBoxes(NamedTuple):
    """The top-level boxes of a file, up to the first unknown one.

    Attributes:
        kinds: Their types.
        missing: How many bytes they declare beyond the end of the file.
        is_all: Whether no other box can follow them in the file.
    """

    kinds: frozenset[bytes]
    missing: int
    is_all: bool

    @property
    def lack_index(self) -> bool:
        """Return whether there certainly is no index yet."""
        return self.is_all and not self.kinds & {b"moov", b"moof"}


def _top_boxes(reader: BoxReader) -> _TopBoxes:
    kinds: set[bytes] = set()
    end = 0
    for box in reader.boxes(0, reader.size):
        if box.kind not in TOP_BOXES:
            return _TopBoxes(frozenset(kinds), max(0, end - reader.size), False)
        kinds.add(box.kind)
        end = max(end, box.start + box.size)
    return _TopBoxes(frozenset(kinds), max(0, end - reader.size), reader.left > 0)


def _matroska_end(head: bytes) -> int:
    """Return the declared size of a Matroska or WebM file; 0 if it declares none."""
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
    """A number of variable length (RFC 8794); ``value`` is None if it stands for unknown."""

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


def _bytes_missing(missing: int) -> Reason:
    return Reason.of(ReasonCode.BYTES_MISSING, missing=missing)


def _why_mp4(fd: int) -> Reason:
    missing = missing_bytes(fd)
    if missing:
        return _bytes_missing(missing)
    reader = BoxReader(fd)
    index = next(reader.below(0, reader.size, b"moov"), None)
    if index is None:
        return Reason.of(ReasonCode.INDEX_MISSING)
    handlers = reader.inside(index, b"trak", b"mdia", b"hdlr")
    # A handler box: version and flags, four reserved bytes, then the type of the handler.
    if not any(reader.read(box.start + box.header + 8, 4) == b"vide" for box in handlers):
        return Reason.of(ReasonCode.NO_PICTURES)
    return Reason.of(ReasonCode.INDEX_DAMAGED)


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may be cut at the end of the head.
        return error.start >= len(head) - 4
    return True
