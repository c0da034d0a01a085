"""Edits as a file manager makes them, as functions to be called with a tree."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

Do = Callable[[Path], object]


def move(*names: str, to: str) -> Do:
    def do(root: Path) -> None:
        (root / to).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / name).rename(root / to / Path(name).name)

    return do


def rename(old: str, new: str) -> Do:
    return lambda root: (root / old).rename(root / new)


def delete(*names: str) -> Do:
    def do(root: Path) -> None:
        for name in names:
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return do


def copy(name: str, to: str) -> Do:
    def do(root: Path) -> None:
        path = root / name
        shutil.copytree(path, root / to) if path.is_dir() else shutil.copy(path, root / to)

    return do


def all_of(*edits: Do) -> Do:
    def do(root: Path) -> None:
        for edit in edits:
            edit(root)

    return do
