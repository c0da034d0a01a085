"""What a file that is no video is told to be."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from portraitd.media.container import is_encrypted, missing_bytes, mp4_boxes, why_unreadable
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
        kinds = [one.kind for one in mp4_boxes(file.fileno(), 0, os.fstat(file.fileno()).st_size)]

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
