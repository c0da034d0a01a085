"""What decoding the sampled frames costs, against OpenCV and against the ffmpeg program.

    python benchmarks/decoding.py [CLIP …] [--fps 1]

Without clips, one is encoded for each codec. One JSON line per clip: processor seconds of one
thread, and whether the sampled frames are those of a full decode, byte by byte. OpenCV decodes
every frame and converts the sampled ones; the ffmpeg program (if it is installed) decodes every
frame and converts none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[1] / "tests"))

import numpy as np

from portraitd.media.decoder import open_video
from portraitd.media.frame_selection import select_frames
from portraitd.media.opencv import cv2
from portraitd.media.video import SampledFrames
from portraitd.model.media_file import MediaKind
from support.clips import ENCODINGS, write_clip
from support.media import source_of

ROUNDS = 3


def measure(clip: Path, fps: float) -> dict[str, object]:
    """Return the figures of one clip: the least of several rounds each."""
    ours = min(_seconds(lambda: _sampled(clip, fps)) for _ in range(ROUNDS))
    theirs = min(_seconds(lambda: _opencv(clip, fps)) for _ in range(ROUNDS))
    program = min(_ffmpeg_s(clip) for _ in range(ROUNDS))
    return {
        "clip": clip.name,
        "codec": _codec(clip),
        "portraitd_s": round(ours, 3),
        "opencv_s": round(theirs, 3),
        "ffmpeg_s": round(program, 3) if program else None,
        "of_opencv": round(ours / theirs, 2) if theirs else None,
        "of_ffmpeg": round(ours / program, 2) if program else None,
        "identical": is_identical(clip, fps),
    }


def is_identical(clip: Path, fps: float) -> bool:
    """Return whether the sampled frames are those of a full decode."""
    with clip.open("rb") as file, open_video(file.fileno()) as decoder:
        timeline = decoder.timeline()
        picked = select_frames(timeline.times_s, decoder.frame_s, fps, from_start=True)
        found = {
            int(timeline.keys[index]): _digest(frame.to_ndarray())
            for index, frame in decoder.frames(timeline, picked.tolist())
        }
        wanted = {int(timeline.keys[index]) for index in picked}
        full = {}
        for number, frame in enumerate(decoder.decode_all()):
            key = number if timeline.packets is None else frame.pts
            if key in wanted:
                full[key] = _digest(frame.to_ndarray())
    return full == found and len(full) == len(wanted)


def _sampled(clip: Path, fps: float) -> int:
    return sum(1 for _ in SampledFrames(source_of(clip), MediaKind.VIDEO, 0.0, math.inf, fps))


def _opencv(clip: Path, fps: float) -> int:
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    mark, count = -1, 0
    while capture.grab():
        now = math.floor(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 * fps)
        if now > mark:
            mark = now
            count += capture.retrieve()[0]
    capture.release()
    return count


def _ffmpeg_s(clip: Path) -> float:
    program = shutil.which("ffmpeg")
    if program is None:
        return 0.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [program, "-v", "quiet", "-threads", "1", "-i", str(clip), "-map", "0:v:0"]
    subprocess.run([*command, "-f", "null", "-"], check=False, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _codec(clip: Path) -> str:
    with clip.open("rb") as file, open_video(file.fileno()) as decoder:
        return decoder.codec


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _digest(image: np.ndarray) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def main() -> None:
    """Measure the clips that are named, or one for each codec."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--fps", type=float, default=1.0)
    wanted = parser.parse_args()
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with tempfile.TemporaryDirectory() as folder:
        clips = wanted.clips or [
            write_clip(Path(folder) / name.replace(" ", "-"), encoding, 250)
            for name, encoding in ENCODINGS.items()
        ]
        for clip in clips:
            print(json.dumps(measure(clip, wanted.fps)), flush=True)


if __name__ == "__main__":
    main()
