"""Looking for pieces of faces, and for names, in every byte of a folder."""

from __future__ import annotations

import os
import zipfile
from contextlib import closing
from pathlib import Path

from support.home import Home, connect

SLIVER = 24
"""Bytes per sliver: the same 24 bytes of an embedding or a picture do not occur by chance."""


def secrets_of(home: Home, condition: str) -> set[bytes]:
    """Slivers of the embeddings, means and pictures of faces, as the store holds them now."""
    found = set()
    with closing(connect(home.settings.state_dir)) as db:
        for row in db.execute(
            "select faces.embedding as one, jpeg, tracks.embedding as mean from faces "
            "join portraits on face_id = faces.id left join tracks on tracks.id = track_id "
            f"where {condition}"
        ):
            jpeg = row["jpeg"]
            blobs = [row["one"], row["mean"] or row["one"]]
            found |= {blob[at : at + SLIVER] for blob in blobs for at in (0, 200, 480)}
            found |= {jpeg[at : at + SLIVER] for at in (len(jpeg) // 2, len(jpeg) - 400)}
    return found


def slivers_of_file(path: Path) -> set[bytes]:
    """Slivers of a picture file."""
    data = path.read_bytes()
    # Not of its end: below, pictures of one scene are alike. Nor what is mere filling.
    found = {data[at : at + SLIVER] for at in (len(data) // 2, len(data) // 3)}
    return {sliver for sliver in found if len(set(sliver)) > SLIVER // 2}


def traces(folder: Path, secrets: set[bytes]) -> dict[str, int]:
    """How many of these slivers each file below a folder holds, packed or not, or its name."""
    found = {}
    for path in folder.rglob("*"):
        where = os.fspath(path.relative_to(folder))
        count = sum(secret in os.fsencode(where) for secret in secrets)
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    data += b"".join(archive.read(name) for name in archive.namelist())
            count += sum(secret in data for secret in secrets)
        if count:
            found[where] = count
    return found


def surviving(home: Home, secrets: set[bytes]) -> dict[str, int]:
    """Traces outside the inbox: files that people dropped are theirs to remove."""
    found = traces(home.settings.home_dir, secrets)
    return {path: count for path, count in found.items() if not path.startswith("inbox/")}
