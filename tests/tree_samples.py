"""Small people trees, and what lies in them on disk."""

from __future__ import annotations

import os
from pathlib import Path

from portraitd.model import Box, PersonFolder, PublishedFace

Snapshot = dict[str, tuple[int, bytes]]


def face(number: int) -> PublishedFace:
    box, area = Box(70, 100, 170, 200), Box(0, 0, 240, 300)
    return PublishedFace(number, box, area, 0.9, "clip.mp4", "5" * 64, float(number))


def person(number: int, *faces: int, name: str | None = None) -> PersonFolder:
    return PersonFolder(number, name, tuple(face(one) for one in faces))


def jpeg_of(face_id: int) -> bytes:
    return f"portrait {face_id}".encode()


def refuse(face_id: int) -> bytes:
    raise AssertionError(f"face {face_id} was asked for without need")


def snapshot(root: Path) -> Snapshot:
    """Time and content of every file, by path."""
    return {
        os.fspath(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def visible(root: Path) -> list[str]:
    return sorted(
        os.fspath(path.relative_to(root))
        for path in root.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
