"""Write ratings, keywords and dates into files, as programs that manage photos do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool is not installed"
)
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

RATED = ("-XMP:Rating=4", "-XMP:Subject=beach")


def write_tags(path: Path, *tags: str, keeps_original: bool = False) -> Path:
    """Write tags into a file; exiftool replaces it by another one."""
    options = () if keeps_original else ("-overwrite_original",)
    subprocess.run(["exiftool", "-q", *options, *tags, path], check=True)
    return path


def remux(source: Path, target: Path, *options: str) -> Path:
    """Copy the streams of a video into another container."""
    target.unlink(missing_ok=True)
    command = ["ffmpeg", "-v", "error", "-i", source, "-map", "0", "-c", "copy", *options, target]
    subprocess.run(command, check=True)
    return target
