"""What a file that is no video is told to be."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from portraitd.media.container import (
    MAX_BOXES,
    BoxReader,
    is_encrypted,
    missing_bytes,
    why_incomplete,
    why_unreadable,
)
from portraitd.media.video import probe
from portraitd.model.errors import UnreadableVideo
from portraitd.model.reasons import Reason, ReasonCode
from support.media import find_box, source_of, write_pattern_clip


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


FTYP = box(b"ftyp", b"isom\0\0\0\0")
SOUND_TRACK = box(b"trak", box(b"mdia", box(b"hdlr", b"\0" * 8 + b"soun" + b"\0" * 12)))
PICTURE_TRACK = box(b"trak", box(b"mdia", box(b"hdlr", b"\0" * 8 + b"vide" + b"\0" * 12)))


def other(kind: str) -> Reason:
    return Reason.of(ReasonCode.OTHER_FILE_TYPE, kind=kind)


CASES = {
    "zeros": (b"\0" * 5000, Reason.of(ReasonCode.ONLY_ZEROS)),
    "pdf": (b"%PDF-1.7 ...", other("a PDF document")),
    "large-file-pointer": (
        b"version https://git-lfs.github.com/spec/v1\n",
        other("a Git LFS pointer"),
    ),
    "mp3": (b"ID3\x04" + b"\x01" * 50, Reason.of(ReasonCode.SOUND_ONLY)),
    "text": ("Grüße".encode() * 100, Reason.of(ReasonCode.TEXT_FILE)),
    "text-cut-in-a-letter": (b"a" * 4095 + "ü".encode(), Reason.of(ReasonCode.TEXT_FILE)),
    "noise": (bytes(range(1, 256)) * 4, Reason.of(ReasonCode.UNKNOWN_FORMAT)),
    "begun": (FTYP, Reason.of(ReasonCode.INDEX_MISSING)),
    "half": (
        FTYP + box(b"mdat", b"x" * 900)[:500],
        Reason.of(ReasonCode.BYTES_MISSING, missing=408),
    ),
    "sound": (FTYP + box(b"moov", SOUND_TRACK), Reason.of(ReasonCode.NO_PICTURES)),
    "odd-pictures": (
        FTYP + box(b"moov", SOUND_TRACK + PICTURE_TRACK),
        Reason.of(ReasonCode.INDEX_DAMAGED),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_reason_says_what_it_is(tmp_path: Path, name: str) -> None:
    """In words for the person who dropped it."""
    content, reason = CASES[name]
    path = tmp_path / "dropped.mp4"
    path.write_bytes(content)

    with path.open("rb") as file:
        assert reason == why_unreadable(file.fileno())


def test_boxes_that_go_nowhere_end(tmp_path: Path) -> None:
    """A box smaller than its own header would be read for ever."""
    path = tmp_path / "loop.mp4"
    path.write_bytes(FTYP + struct.pack(">I4s", 3, b"free") + b"x" * 100)

    with path.open("rb") as file:
        reader = BoxReader(file.fileno())
        kinds = [one.kind for one in reader.boxes(0, reader.size)]

    assert [b"ftyp"] == kinds


def test_a_whole_file_misses_nothing(tmp_path: Path) -> None:
    """Neither one whose last box reaches to its end, nor one of another kind."""
    for content in (FTYP + box(b"moov"), FTYP + struct.pack(">I4s", 0, b"mdat") + b"x", b"text"):
        path = tmp_path / "whole.mp4"
        path.write_bytes(content)
        with path.open("rb") as file:
            assert 0 == missing_bytes(file.fileno())


def test_encrypted_pictures_are_known_as_such(tmp_path: Path) -> None:
    """By what the index says: to try is no proof, noise decodes at times."""
    plain = write_pattern_clip(tmp_path / "plain.mp4", 5)
    start, _ = find_box(plain.read_bytes(), "moov/trak/mdia/minf/stbl/stsd")
    data = bytearray(plain.read_bytes())
    assert b"mp4v" == data[start + 20 : start + 24]
    data[start + 20 : start + 24] = b"encv"
    encrypted = tmp_path / "encrypted.mp4"
    encrypted.write_bytes(data)

    with plain.open("rb") as file:
        assert not is_encrypted(file.fileno())
    with encrypted.open("rb") as file:
        assert is_encrypted(file.fileno())
    with pytest.raises(UnreadableVideo, match="the video is encrypted"):
        probe(source_of(encrypted))


def test_boxes_that_claim_each_other_are_read_once(tmp_path: Path) -> None:
    """9,000 tracks of 16 bytes each, whose content claims to be everything behind them."""
    claim = struct.pack(">I4sI4s", 16, b"trak", 0x7FFFFFFF, b"mdia")
    path = tmp_path / "claims.mp4"
    path.write_bytes(FTYP + box(b"moov", claim * 9000))
    began_s = time.process_time()

    with path.open("rb") as file:
        assert Reason.of(ReasonCode.NO_PICTURES) == why_unreadable(file.fileno())
        assert not is_encrypted(file.fileno())
        reader = BoxReader(file.fileno())
        assert [] == list(reader.below(0, reader.size, b"moov", b"trak", b"mdia", b"hdlr"))

    assert 0 == reader.left < MAX_BOXES
    # A minute and a half before.
    assert time.process_time() - began_s < 5.0


@pytest.mark.parametrize("size", [(1 << 63) - 1, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("kind", [b"mdat", b"moov", b"uuid"])
def test_a_box_may_claim_any_size(tmp_path: Path, kind: bytes, size: int) -> None:
    """More than a file can have, and more than an offset can be."""
    path = tmp_path / "claim.mp4"
    path.write_bytes(FTYP + struct.pack(">I4sQ", 1, kind, size))

    with path.open("rb") as file:
        assert size - 16 == missing_bytes(file.fileno())
        assert ReasonCode.BYTES_MISSING is why_incomplete(file.fileno()).code
        assert ReasonCode.BYTES_MISSING is why_unreadable(file.fileno()).code
        assert not is_encrypted(file.fileno())


@pytest.mark.parametrize("start", [b"\0\0\0\1\x67\x42\0\x0a", b"\0\0\0\1\x40\x01\x0c\x01"])
def test_a_raw_stream_is_not_read_as_boxes(tmp_path: Path, start: bytes) -> None:
    """H.264 and HEVC begin with what would be a box with a 64-bit size."""
    path = tmp_path / "stream.h264"
    path.write_bytes(start + b"\xff" * 100)

    with path.open("rb") as file:
        assert 0 == missing_bytes(file.fileno())
        assert not why_incomplete(file.fileno())
        assert Reason.of(ReasonCode.UNKNOWN_FORMAT) == why_unreadable(file.fileno())


def test_a_file_of_empty_boxes_is_looked_at_briefly(tmp_path: Path) -> None:
    """1,500 of them at once kept the service busy for longer than its watchdog allows."""
    path = tmp_path / "empty.mp4"
    path.write_bytes(FTYP + box(b"free") * 9990)
    began_s = time.process_time()

    with path.open("rb") as file:
        for _ in range(20):
            assert not why_incomplete(file.fileno())

    # 2 s before.
    assert time.process_time() - began_s < 0.5
