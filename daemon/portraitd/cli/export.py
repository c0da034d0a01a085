"""``portraitd export person``: everything stored about one person, for that person."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from portraitd.cli.people_reading import read_people
from portraitd.config import Settings
from portraitd.media.fs import replacing
from portraitd.model.errors import ConfigError, StoreError
from portraitd.model.wording import counted, escape_unprintable, make_spreadsheet_cell
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.faces import Faces
from portraitd.store.files import display_path

ABOUT = """\
What is in this archive

Everything that portraitd stores about {names}, as of {day}.

portraits/    {portraits}, each cut from a video or photo around a face
faces.csv     for each of them: the file, the second, and the place in the picture
faces.json    the same, with the embedding: numbers computed from the face. Programs compare
              them to decide whether two faces belong to the same person; the face cannot be seen
              in them.
edits.csv     what reviewers did in the folders of people/: when, what, and the names they gave

portraitd does not store the videos and photos themselves; they are not in this archive.
"""

COLUMNS = ("face", "source", "sha256", "t_s", "left", "top", "right", "bottom", "portrait")

EDIT_COLUMNS = ("at", "what", "name", "faces", "undone")


def export_person(settings: Settings, word: str, target: Path, now_s: float) -> int:
    """Write an archive of everything that is stored about a person.

    Args:
        settings: The home.
        word: The person's number or name.
        target: The zip file to write; an existing file is not replaced.
        now_s: The current time, for the text in the archive.

    Returns:
        The number of faces in the archive.

    Raises:
        ConfigError: The person does not exist, or the file exists already.
        StoreError: The store cannot be read, or the file cannot be written.
    """
    if target.exists():
        raise ConfigError(f"{target} exists already; choose another file")
    read_people(settings)
    with Database.open_to_read(settings.state_dir) as database:
        scope = Eraser(database).person(word)
        faces = Faces(database)
        wanted = frozenset(scope.face_ids)
        rows = list(_rows(faces, wanted))
        edits = list(_edits(Ledger(database), frozenset(scope.person_ids)))
        about = ABOUT.format(
            names=escape_unprintable(", ".join(scope.names)),
            day=datetime.fromtimestamp(now_s, UTC).date(),
            portraits=counted(len(rows), "picture"),
        )
        try:
            with (
                replacing(target) as unfinished,
                zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive,
            ):
                archive.writestr("README.txt", about)
                archive.writestr("faces.csv", _as_csv(rows, COLUMNS))
                archive.writestr("faces.json", json.dumps(rows, ensure_ascii=False, indent=1))
                archive.writestr("edits.csv", _as_csv(edits, EDIT_COLUMNS))
                for row in rows:
                    archive.writestr(row["portrait"], faces.portrait(row["face"]))
        except OSError as error:
            raise StoreError(f"{error.filename or target}: {error.strerror}") from error
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


def _edits(ledger: Ledger, people: frozenset[int]) -> Iterator[dict[str, Any]]:
    for row in ledger.summaries():
        if people & {row.person_id, row.into_id}:
            yield {
                "at": datetime.fromtimestamp(row.at, UTC).isoformat(timespec="seconds"),
                "what": row.kind,
                "name": row.name or "",
                "faces": row.faces,
                "undone": "yes" if row.is_undone else "",
            }


def _as_csv(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: make_spreadsheet_cell(value) for key, value in row.items()})
    return out.getvalue()
