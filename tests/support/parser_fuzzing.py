"""Foreign bytes, through every parser that the service runs in its own process.

In ``tests/``, ``python -m support.parser_fuzzing 100000 --seed 7`` prints what came of them.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from portraitd.ingest import stability
from portraitd.media import container, jpeg, xmp
from portraitd.model.face import Box
from portraitd.model.person import PublishedFace
from portraitd.people.tree.manifest import FolderManifest, read_manifest
from support.fuzzing import EXTREMES, MUTATIONS

SLOW_S = 1.0
"""Processor time of all parsers for one input; the service has some thousand of them in a turn."""

MAX_BYTES = 200_000

FILE_PARSERS: tuple[Callable[[int], object], ...] = (
    container.why_unreadable,
    container.why_incomplete,
    container.missing_bytes,
    container.is_cut_short,
    container.is_encrypted,
    container.declared_s,
    stability.why_incomplete,
)
"""Given the descriptor of a file."""

BYTE_PARSERS: tuple[Callable[[bytes], object], ...] = (
    read_manifest,
    lambda data: xmp.read_mark(io.BytesIO(data)),
    lambda data: jpeg.read_size(io.BytesIO(data)),
    lambda data: xmp.with_mark(data, FACE, "Ann", "store"),
)

FACE = PublishedFace(
    face_id=7,
    box=Box(10, 10, 60, 60),
    area=Box(0, 0, 100, 100),
    score=1.0,
    source="clip.mp4",
    sha256="ab" * 32,
    t_s=1.5,
)


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        values: How often each parser gave which kind of value.
        failures: Input, parser and exception, of those that raised one.
        slow: Input and processor time of those that took long.
    """

    values: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[bytes, str, str]] = field(default_factory=list)
    slow: list[tuple[bytes, float]] = field(default_factory=list)


def box(kind: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(content) if size is None else size, kind) + content


def seeds(media: Sequence[Path] = ()) -> list[bytes]:
    """Return what inputs are made of: beginnings of media, and structures that parsers follow."""
    ftyp = box(b"ftyp", b"isom\0\0\0\0")
    track = box(b"trak", box(b"mdia", box(b"hdlr", b"\0" * 8 + b"vide" + b"\0" * 12)))
    encrypted = box(b"stsd", b"\0" * 8 + box(b"encv", b"\0" * 70))
    for kind in (b"stbl", b"minf", b"mdia", b"trak"):
        encrypted = box(kind, encrypted)
    picture = b"\xff\xd8\xff\xe0\x00\x04JF\xff\xc0\x00\x0b\x08\x00\x64\x00\x64\x01\x01\x11\x00"
    whole = picture + b"\xff\xda\x00\x02xx\xff\xd9"
    asf = container.ASF_HEADER + container.ASF_PROPERTIES + bytes(range(100))
    note = FolderManifest(person=3, label="Ann", location="Ann", inode=7, copies={"a.jpg": 5})
    return [
        ftyp + box(b"moov", track) + box(b"mdat", b"x" * 50),
        ftyp + box(b"moov", encrypted),
        ftyp + box(b"moov", track * 20, size=0x7FFFFFFF),
        ftyp + struct.pack(">I4sQ", 1, b"mdat", 1 << 63),
        b"\0\0\0\1\x67\x42\0\x0a" + bytes(range(200)),
        b"RIFF" + struct.pack("<I", 5000) + b"AVI LIST" + bytes(100),
        b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01\x18\x53\x80\x67\x01" + bytes(range(7)),
        b"FLV\x01\x05" + b"\x00\x08filesize\x00" + struct.pack(">d", 1e300),
        asf,
        whole,
        xmp.with_mark(whole, FACE, "Ann", "store"),
        note.to_bytes(),
        b'{"person": 1e999, "inode": 1e999, "files": {"a": [[[[]]]]}}',
        b"[" * 10_000,
        b'{"a":' * 5000,
        *(path.read_bytes()[:MAX_BYTES] for path in media),
    ]


def make_input(originals: Sequence[bytes], chance: random.Random) -> bytes:
    """Return a damaged original, two put together, or noise."""
    data = bytearray(chance.choice(originals))
    if chance.random() < 0.1:
        data += chance.choice(originals)
    if chance.random() < 0.02:
        data = bytearray(chance.randbytes(chance.randrange(2000)))
    for mutation in chance.choices(MUTATIONS, k=chance.choice((0, 1, 1, 2, 3))):
        if data:
            data = mutation(data, chance)
    for _ in range(chance.choice((0, 0, 1, 2))):
        # Sizes are numbers of four or eight bytes, anywhere.
        if len(data) >= 8:
            number = chance.choice((*EXTREMES, 1 << 63, (1 << 64) - 1, (1 << 63) - 1))
            kind = ">Q" if number >> 32 else chance.choice((">I", "<I"))
            struct.pack_into(kind, data, chance.randrange(len(data) - 7), number)
    return bytes(data[:MAX_BYTES])


def run(count: int, seed: int, originals: Sequence[bytes]) -> Outcome:
    """Give so many inputs to every parser."""
    outcome = Outcome()
    fd = os.memfd_create("input")
    try:
        for number in range(count):
            data = make_input(originals, random.Random(f"{seed}-{number}"))
            os.ftruncate(fd, 0)
            os.pwrite(fd, data, 0)
            began_s = time.process_time()
            for parse_file in FILE_PARSERS:
                _parse(parse_file.__qualname__, partial(parse_file, fd), data, outcome)
            for place, parse in enumerate(BYTE_PARSERS):
                _parse(f"bytes-{place}", partial(parse, data), data, outcome)
            used_s = time.process_time() - began_s
            if used_s > SLOW_S:
                outcome.slow.append((data, used_s))
    finally:
        os.close(fd)
    return outcome


def _parse(name: str, parse: Callable[[], object], data: bytes, outcome: Outcome) -> None:
    try:
        value = parse()
    except Exception as error:
        outcome.failures.append((data, name, repr(error)))
        return
    kind = getattr(value, "code", None) or type(value).__name__
    outcome.values[f"{name}: {kind}"] += 1


def main() -> None:
    """Print what came of so many inputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--media", type=Path, nargs="*", default=[])
    asked = parser.parse_args()
    began_s = time.process_time()
    outcome = run(asked.count, asked.seed, seeds(asked.media))
    print(f"{asked.count} inputs, seed {asked.seed}: {time.process_time() - began_s:.0f} s")
    for name, count in sorted(outcome.values.items()):
        print(f"{count:8d}  {name}")
    print("exceptions", len(outcome.failures), "slow", len(outcome.slow))
    for data, name, error in outcome.failures[:10]:
        print(name, error, data[:80])


if __name__ == "__main__":
    main()
