"""File systems that a test mounts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Mount = Callable[..., Path]
"""Mounts something on a folder of this name, with these arguments; returns the folder."""


@contextmanager
def mounting(above: Path) -> Iterator[Mount]:
    """Give a function that mounts on folders below one; they are unmounted at the end."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounting needs root")
    mounted: list[Path] = []

    def carry_out(name: str, *arguments: str) -> Path:
        folder = above / name
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", *arguments, str(folder)], check=True, capture_output=True)
        mounted.append(folder)
        return folder

    try:
        yield carry_out
    finally:
        for folder in reversed(mounted):
            subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
