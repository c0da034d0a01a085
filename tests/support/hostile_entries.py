"""Entries that no one but an attacker, or a faulty program, puts into a folder."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

NAMES = ["2 5", "%d.jpg", "-rf %d", "con %d", "ü\u0308 %d.jpg", " %d .jpg", ".%d.jpg", "%d\n.jpg"]


KINDS = ("link", "loop", "folder", "pipe", "huge", "empty", "text", "mark")


def put_hostile(
    folder: Path, choice: random.Random, number: int, kinds: Sequence[str] = KINDS
) -> Path:
    """Put a link, a folder, a pipe, a huge or an empty file into a folder; return what was put.

    Args:
        choice: Decides what.
        number: Makes the name unique.
        kinds: What it may be.
    """
    name = choice.choice(NAMES).replace("%d", f"hostile {number}")
    path = folder / name
    if os.path.lexists(path):
        path = folder / f"hostile {number}"
    what = choice.choice(kinds)
    if what == "link":
        path.symlink_to("/etc/passwd")
    elif what == "loop":
        path.symlink_to(path.name)
    elif what == "folder":
        path.mkdir()
        (path / "inside").write_bytes(b"hostile")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "huge":
        with path.open("wb") as file:
            file.truncate(20 << 30)
    else:
        content = {"empty": b"", "text": b"hostile"}.get(what, b"portraitd card x same:1,2")
        path.write_bytes(content)
    return path
