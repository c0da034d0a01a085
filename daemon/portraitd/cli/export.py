"""``portraitd export person``: everything that is kept about one person, for that person."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from portraitd.config import Settings
from portraitd.model.errors import ConfigError, StoreError
from portraitd.store import Database, Eraser, Faces, Ledger
from portraitd.store.erasure.derived_files import private
from portraitd.store.files import display_path

ABOUT = """\
What is in this archive

It holds everything that portraitd keeps about {names}, as of {day}.

portraits/    {faces} pictures, each cut from a video or photo around a face
faces.csv     for each of them: from which file it is, at which second, where in the picture
faces.json    the same, with the embedding: 128 numbers computed from the face. Programs compare
              them to tell whether two faces are one person; nobody can see a face in them.
said.csv      what people did about them in the people folders: when, what, and names they gave

The videos and photos themselves are not kept by portraitd and are not in here.
"""

COLUMNS = ("face", "source", "sha256", "t_s", "left", "top", "right", "bottom", "portrait")

SAID = ("at", "what", "name", "faces", "taken_back")


def export_person(settings: Settings, word: str, target: Path, now_s: float) -> int:
    """Write an archive of everything that is kept about a person.

    Args:
        settings: Which home.
        word: The person's number or name.
        target: A zip file; one that is there is not replaced.
        now_s: When, to be said in it.

    Returns:
        How many faces are in it.

    Raises:
        ConfigError: There is nobody like that, or the file is there already.
        StoreError: The store cannot be read, or the file not be written.
    """
    if target.exists():
        raise ConfigError(f"{target}: is there already; name another file")
    with closing(Database.open_to_read(settings.state_dir)) as database:
        scope = Eraser(database).person(word)
        faces = Faces(database)
        wanted = frozenset(scope.face_ids)
        rows = list(_rows(faces, wanted))
        said = list(_said(Ledger(database), frozenset(scope.person_ids)))
        about = ABOUT.format(
            names=", ".join(scope.names),
            day=datetime.fromtimestamp(now_s, UTC).date(),
            faces=len(rows),
        )
        beside = target.with_name(f".{target.name}.new")
        try:
            with (
                open(beside, "wb", opener=private) as file,
                zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            ):
                archive.writestr("README.txt", about)
                archive.writestr("faces.csv", _as_csv(rows, COLUMNS))
                archive.writestr("faces.json", json.dumps(rows, ensure_ascii=False, indent=1))
                archive.writestr("said.csv", _as_csv(said, SAID))
                for row in rows:
                    archive.writestr(row["portrait"], faces.portrait(row["face"]))
            beside.replace(target)
        except OSError as error:
            raise StoreError(f"{error.filename or target}: {error.strerror}") from error
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
    return len(rows)


def _rows(faces: Faces, wanted: frozenset[int]) -> Iterator[dict[str, Any]]:
    for face in faces.listing():
        if face.id in wanted:
            place = dict(zip(("left", "top", "right", "bottom"), face.box, strict=True))
            yield {
                "face": face.id,
                "source": display_path(os.fsencode(face.source)),
                "sha256": face.sha256,
                "t_s": round(face.t_s, 3),
                **place,
                "portrait": f"portraits/{face.id:06d}.jpg",
                "embedding": faces.embeddings_of([face.id])[0].tolist(),
            }


def _said(ledger: Ledger, people: frozenset[int]) -> Iterator[dict[str, Any]]:
    for row in ledger.rows():
        if people & {row.person_id, row.into_id}:
            yield {
                "at": datetime.fromtimestamp(row.at, UTC).isoformat(timespec="seconds"),
                "what": row.kind,
                "name": row.name or "",
                "faces": row.faces,
                "taken_back": "yes" if row.is_undone else "",
            }


def _as_csv(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
