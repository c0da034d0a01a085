"""Processor time of commands in fresh processes: start-up, and a clip from file to folders.

    python benchmarks/startup.py [--clip CLIP] [--model yunet=FILE] [--before PYTHONPATH]
        [--rounds 3]

Everything is user and system time of the whole tree of processes, the least of the rounds, which
alternate. ``process`` is timed on a clip of one second, which shows a face: in a new home, where
the networks are built from dlib's weights first (``cold_s``), and in one that has them
(``start_s``).

With ``--clip``, ``end_to_end_s`` is what that clip adds to ``process`` of two short ones, which
start every worker and a grouping: the time with warm workers. ``ffmpeg_s`` is a full decode by the
ffmpeg program in one thread.

``--before`` names the packages of another version, such as ``OLD/daemon`` of a second checkout; it
is measured in the same rounds.

Prints one JSON line for each version.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from portraitd.cli.demo import demo_photographs
from portraitd.media.opencv import cv2

HERE = Path(__file__).absolute().parents[1] / "daemon"


class Version:
    """A version of portraitd, with the least time of each thing that was measured.

    Args:
        packages: Its ``PYTHONPATH``.
        folder: Where its homes are made.
        models: Options of ``portraitd models add``.
    """

    def __init__(self, packages: str, folder: Path, models: list[list[str]]) -> None:
        self._environment = os.environ | {"PYTHONPATH": packages}
        self._folder = folder
        self._models = models
        self._seconds: dict[str, float] = {}

    def measure(self, short: list[Path], clip: Path | None) -> None:
        """Measure everything once more."""
        self._time("python_s", "-c", "pass")
        self._time("help_s", "-m", "portraitd", "--help")
        home = self._new_home()
        self._process("cold_s", home, short[0])
        for command in (("status",), ("status", "--json"), ("faces",)):
            self._time(f"{command[-1].strip('-')}_s", "-m", "portraitd", *command, "--home", home)
        self._process("start_s", self._with_networks_of(home), short[0])
        if clip:
            self._process("short_s", self._with_networks_of(home), *short)
            self._process("clip_s", self._with_networks_of(home), *short, clip)

    def result(self) -> dict[str, float]:
        """Return the least times, and the ratios."""
        found = dict(self._seconds)
        if "clip_s" in found:
            found["end_to_end_s"] = found["clip_s"] - found["short_s"]
        return {name: round(seconds, 3) for name, seconds in found.items()}

    def _process(self, name: str, home: Path, *clips: Path) -> None:
        self._time(name, "-m", "portraitd", "process", *clips, "--home", home)

    def _new_home(self) -> Path:
        home = Path(tempfile.mkdtemp(dir=self._folder))
        for model in self._models:
            self._run("-m", "portraitd", "models", "add", *model, "--home", home)
        return home

    def _with_networks_of(self, home: Path) -> Path:
        new = Path(tempfile.mkdtemp(dir=self._folder))
        shutil.copytree(home / "state" / "models", new / "state" / "models")
        return new

    def _time(self, name: str, *arguments: str | Path) -> None:
        taken_s = processor_s(self._run, *arguments)
        self._seconds[name] = min(taken_s, self._seconds.get(name, taken_s))

    def _run(self, *arguments: str | Path) -> None:
        # At their usual priority, workers would give way to whatever else runs.
        command = [sys.executable, *arguments]
        environment = self._environment | {"PORTRAITD_WORKERS__NICE": "0"}
        subprocess.run(
            command, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL
        )


def processor_s(run, *arguments) -> float:
    """Return the processor seconds of the processes that a call starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_short_clip(photograph: Path, clip: Path) -> Path:
    """Write a second of a photograph."""
    picture = cv2.resize(cv2.imread(str(photograph)), (480, 480))
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 10, (480, 480))
    for _ in range(10):
        writer.write(picture)
    writer.release()
    return clip


def decode(clip: Path) -> None:
    """Decode every frame with the ffmpeg program, in one thread."""
    command = ["ffmpeg", "-v", "quiet", "-threads", "1", "-i", str(clip), "-map", "0:v:0"]
    subprocess.run([*command, "-f", "null", "-"], check=True, stdin=subprocess.DEVNULL)


def main() -> None:
    """Measure this version, and another one if it was named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--model", dest="models", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--before", metavar="PYTHONPATH")
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    models = [[name, "--from", file] for name, _, file in (m.partition("=") for m in wanted.models)]
    with tempfile.TemporaryDirectory() as folder:
        short = [
            write_short_clip(photograph, Path(folder) / f"{photograph.stem}.mp4")
            for photograph in demo_photographs()
        ]
        packages = {"after": str(HERE)}
        if wanted.before:
            packages = {"before": wanted.before} | packages
        versions = {
            name: Version(path, Path(tempfile.mkdtemp(dir=folder)), models)
            for name, path in packages.items()
        }
        ffmpeg_s = []
        for _ in range(wanted.rounds):
            for version in versions.values():
                version.measure(short, wanted.clip)
            if wanted.clip and shutil.which("ffmpeg"):
                ffmpeg_s.append(processor_s(decode, wanted.clip))
        for name, version in versions.items():
            line = {"version": name, **version.result()}
            line["help_over_python_s"] = round(line["help_s"] - 2 * line["python_s"], 3)
            if ffmpeg_s:
                line["ffmpeg_s"] = round(min(ffmpeg_s), 3)
                line["of_ffmpeg"] = round(line["end_to_end_s"] / min(ffmpeg_s), 2)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
