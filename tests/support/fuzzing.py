"""Good clips, damaged at random, through a real service with real workers.

In ``tests/``, ``python -m support.fuzzing 500 --seed 7`` prints what came of five hundred.
"""

from __future__ import annotations

import argparse
import random
import shutil
import struct
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
from PIL import Image as Pillow
from structlog.testing import capture_logs

from portraitd.config import Settings
from portraitd.model.media_file import FileState
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.stage import Now
from portraitd.service.daemon import open_service
from portraitd.service.wakeup import Doorbell
from support.heif import write_heic
from support.media import pattern, with_index_first, write_pattern_clip

EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

CONTROL = "good-"
"""Every so many files a good one lies between: it must be done, whoever dies beside it."""

CONTROL_EVERY = 25

Mutation = Callable[[bytearray, random.Random], bytearray]

WORKER_FAULTS = (
    ReasonCode.WORKER_DIED,
    ReasonCode.WORKER_EXITED,
    ReasonCode.WORKER_KILLED,
    ReasonCode.CPU_LIMIT,
    ReasonCode.OUT_OF_MEMORY,
    ReasonCode.TIMEOUT,
    ReasonCode.INVALID_RESULT,
)


def truncate(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data))]


def flip(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 4, 16, 64, 256))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def splice(data: bytearray, chance: random.Random) -> bytearray:
    """A piece of it lies over another."""
    start, size = _piece(data, chance)
    at = chance.randrange(len(data))
    data[at : at + size] = data[start : start + size]
    return data


def duplicate(data: bytearray, chance: random.Random) -> bytearray:
    start, size = _piece(data, chance)
    piece = data[start : start + size] * chance.choice((1, 2, 50))
    return data[:start] + piece + data[start:]


def remove(data: bytearray, chance: random.Random) -> bytearray:
    start, size = _piece(data, chance)
    del data[start : start + size]
    return data


def zero(data: bytearray, chance: random.Random) -> bytearray:
    start, size = _piece(data, chance)
    data[start : start + size] = bytes(len(data[start : start + size]))
    return data


def lie(data: bytearray, chance: random.Random) -> bytearray:
    """Fields near the words that name the parts of a container become extreme."""
    names = [b"moov", b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"stsd", b"stts", b"stsz", b"stsc",
             b"stco", b"avcC", b"esds", b"avih", b"strh", b"strf", b"idx1", b"LIST",
             b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75", b"\xff\xc0", b"\xff\xc4"]  # fmt: skip
    places = [at for name in names if (at := data.find(name)) >= 0] or [0]
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = max(0, chance.choice(places) + chance.randrange(-4, 96))
        if at + 4 <= len(data):
            struct.pack_into(chance.choice((">I", "<I")), data, at, chance.choice(EXTREMES))
    return data


MUTATIONS: tuple[Mutation, ...] = (truncate, flip, splice, duplicate, remove, zero, lie, lie)


def _piece(data: bytearray, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data))
    return start, min(chance.choice((1, 16, 512, 8192, 65536)), len(data) - start)


def good_clips(folder: Path, with_ffmpeg: bool = True) -> list[Path]:
    """Write whole files in the containers and formats that are dropped most, without people."""
    last = write_pattern_clip(folder / "last.mp4", 20, size_px=(160, 120))
    first = folder / "first.mp4"
    first.write_bytes(with_index_first(last.read_bytes()))
    avi = write_pattern_clip(folder / "clip.avi", 20, codec="MJPG", size_px=(160, 120))
    photo = folder / "photo.jpg"
    cv2.imwrite(str(photo), pattern(3, (320, 240)))
    picture = Pillow.fromarray(pattern(4, (320, 240)))
    pictures = [Pillow.fromarray(pattern(number, (160, 120))) for number in range(5)]
    picture.save(folder / "photo.png")
    picture.save(folder / "photo.webp")
    pictures[0].save(folder / "moving.gif", save_all=True, append_images=pictures[1:])
    clips = [last, first, avi, photo, *map(folder.joinpath, ("photo.png", "photo.webp"))]
    heic = folder / "photo.heic"
    heic.write_bytes(write_heic([[pattern(5, (320, 240))]]))
    clips += [folder / "moving.gif", heic]
    if with_ffmpeg and shutil.which("ffmpeg"):
        for name, codec in (("h264.mp4", "libx264"), ("vp9.webm", "libvpx-vp9"),
                            ("hevc.mkv", "libx265"), ("clip.ts", "mpeg2video"),
                            ("raw.h264", "libx264"), ("clip.wmv", "wmv2")):  # fmt: skip
            made = subprocess.run(
                ["ffmpeg", "-v", "quiet", "-f", "lavfi", "-i", "testsrc2=size=160x120:duration=2",
                 "-pix_fmt", "yuv420p", "-c:v", codec, folder / name], check=False,
            )  # fmt: skip
            if made.returncode == 0:
                clips.append(folder / name)
    return clips


def write_mutants(clips: list[Path], folder: Path, count: int, seed: int) -> None:
    """So many damaged copies, the same for the same seed, with good ones between."""
    for number in range(count):
        chance = random.Random(f"{seed}-{number}")
        clip = chance.choice(clips)
        data = bytearray(clip.read_bytes())
        names = []
        for mutation in chance.choices(MUTATIONS, k=chance.choice((1, 1, 1, 2, 3))):
            if data:
                data = mutation(data, chance)
                names.append(mutation.__name__)
        (folder / f"{number:05d}-{'-'.join(names)}{clip.suffix}").write_bytes(data)
        if number % CONTROL_EVERY == 0:
            # Pictures of its own: else it would be a duplicate.
            whole = folder / f"{CONTROL}{number:05d}.mp4"
            write_pattern_clip(whole, 21 + number // CONTROL_EVERY, size_px=(160, 120))


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        states: Files by state.
        reasons: Failed files by reason; numbers in it are left out.
        unaccepted: Name and what became of each file that ended as it must not.
        deaths: Name of each file whose worker died, and how often.
        seconds: For everything.
    """

    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unaccepted: dict[str, str] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def run(folder: Path, home: Path, limit_s: float) -> Outcome:
    """Drop everything in a folder on a service, and wait until it is idle."""
    settings = Settings.model_validate(
        {
            "home": home,
            "sampling": {"fps": 2.0},
            "encoder": {"kind": "dlib", "detector": "hog"},
            "detection": {"upsample": 0},
            "workers": {"count": 2, "nice": 0, "time_limit_s": 60.0},
        }
    )
    outcome, began_s = Outcome(), time.monotonic()
    doorbell = Doorbell()
    with capture_logs() as logs, open_service(settings, doorbell) as service:
        service.admission.leave_inbox()
        ids = service.admission.register([folder], time.time())
        while not service.idle:
            assert time.monotonic() - began_s < limit_s, "the service stands still"
            service.tick(Now.read())
            doorbell.wait(1.0)
        for file_id in ids:
            file = service.files.get(file_id)
            _judge(file.path.name, file.state, file.reason, outcome)
        videos = {
            known.video_id: known.path.name
            for known in map(service.files.get, ids)
            if known.state is not FileState.DUPLICATE
        }
        for line in logs:
            if line["event"] == "slice_lost":
                outcome.deaths[videos[line["video"]]] += 1
            elif line.get("reason_code") in WORKER_FAULTS and line["event"].startswith("file_"):
                outcome.deaths[line["path"]] += 1
    outcome.seconds = time.monotonic() - began_s
    return outcome


def _judge(name: str, state: FileState, reason: Reason, outcome: Outcome) -> None:
    outcome.states[state] += 1
    if state is FileState.FAILED:
        outcome.reasons["".join(sign for sign in reason.text if not sign.isdigit())] += 1
    accepted = state is FileState.DONE or (
        state in (FileState.FAILED, FileState.DUPLICATE) and bool(reason)
    )
    is_unexpected = reason.code is ReasonCode.UNEXPECTED_ERROR
    if not accepted or is_unexpected or (name.startswith(CONTROL) and state != "done"):
        outcome.unaccepted[name] = f"{state}: {reason}"


def main() -> None:
    """Print what came of so many mutants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="write the mutants here, and leave them")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        clips, mutants = Path(scratch) / "clips", asked.keep or Path(scratch) / "mutants"
        clips.mkdir()
        mutants.mkdir(parents=True, exist_ok=True)
        write_mutants(good_clips(clips), mutants, asked.count, asked.seed)
        outcome = run(mutants, Path(scratch) / "home", limit_s=max(600.0, 10.0 * asked.count))
    print(f"{asked.count} mutants, seed {asked.seed}: {outcome.seconds:.0f} s")
    print("states", dict(outcome.states))
    print("worker deaths", dict(outcome.deaths))
    print("not accepted", outcome.unaccepted)
    for reason, count in outcome.reasons.most_common():
        print(f"{count:6d}  {reason}")


if __name__ == "__main__":
    main()
