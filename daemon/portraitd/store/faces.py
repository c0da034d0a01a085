"""Faces: written as workers found them; read for grouping, the people tree and scripts."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from portraitd.faces.reference_face import find_main_face
from portraitd.model.edit import Hidden
from portraitd.model.errors import StoreError
from portraitd.model.face import Box, Embeddings, SliceFaces, stack_embeddings
from portraitd.model.face_quality import portrait_rank
from portraitd.model.recording_time import RecordingDate
from portraitd.model.track import l2_normalised
from portraitd.store.columns import integer_column, number_column
from portraitd.store.corrections.face_fingerprints import CONTENTS_SQL, without_reference_key
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_spaces
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.recordings import recording_time_of

if TYPE_CHECKING:
    from portraitd.model.track import Floats, Indices

CHUNK = 4096


@dataclass(frozen=True, slots=True)
class StoredFace:
    """A face, where it was seen, and its person; the box is clipped to the frame.

    Attributes:
        sha256: Hash of what the file contains now.
        date: When the recording was made or, if unknown, when it was dropped.
    """

    id: int
    source: Path
    sha256: str
    date: RecordingDate
    t_s: float
    box: Box
    score: float
    track_id: int | None
    person_id: int | None
    name: str | None


class FaceWriter:
    """Stores the faces that workers found, without those that were erased.

    Args:
        database: Where they go.
        tombstones: What was erased.
    """

    def __init__(self, database: Database, tombstones: Tombstones) -> None:
        self._db = database
        self._tombstones = tombstones

    def add(
        self, video_id: int, slice_id: int, result: SliceFaces, encoder: str, now_s: float
    ) -> list[int]:
        """Store the faces of one slice, within the caller's transaction. Return their ids.

        Args:
            video_id: The video or photo.
            slice_id: The slice of it.
            result: What a worker found there.
            encoder: The embedding space.
            now_s: The time.
        """
        video = self._db.execute("select * from videos where id = ?", (video_id,)).fetchone()
        size_px, detections = (video["width_px"], video["height_px"]), list(result.detections)
        hidden = Hidden.REFERENCE if video["is_reference"] else Hidden.NO
        if hidden is Hidden.REFERENCE:
            # Other people in the picture were not meant: nothing is stored about them.
            main = find_main_face([one.face.box for one in detections])
            detections = [] if main is None else [detections[main]]
        for sha256 in self.contents(video_id):
            detections = self._tombstones.without_erased(sha256, size_px, detections)
        face_ids = []
        for detection in detections:
            face, portrait = detection.face, detection.portrait
            face_id = self._db.execute(
                """
                insert into faces (video_id, slice_id, t_s, box_left, box_top, box_right,
                    box_bottom, score, landmarks, size_px, sharpness, frontal, confidence,
                    encoder, embedding, added_at, hidden)
                values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                (
                    video_id,
                    slice_id,
                    detection.t_s,
                    *face.box,
                    face.score,
                    _packed(face.landmarks),
                    face.quality.size_px,
                    face.quality.sharpness,
                    face.quality.frontal,
                    face.quality.confidence,
                    encoder,
                    face.embedding.astype("<f4").tobytes(),
                    now_s,
                    hidden,
                ),
            ).lastrowid
            self._db.execute(
                "insert into portraits values (?, ?, ?, ?, ?, ?)",
                (face_id, *portrait.area, portrait.jpeg),
            )
            face_ids.append(int(face_id or 0))
        return face_ids

    def contents(self, video_id: int) -> list[str]:
        """Return the SHA-256 of a video and of its partial copies.

        Of a reference picture, also that of the same picture in the inbox.
        """
        contents = [row[0] for row in self._db.execute(CONTENTS_SQL, (video_id,))]
        plain = [without_reference_key(one) for one in contents]
        return [*contents, *(one for one in plain if one not in contents)]


class Faces:
    """Reads the faces of all videos."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def count(self) -> int:
        """Return how many faces are stored, without those of reference pictures."""
        row = self._db.execute(
            """
            select (select count(*) from faces) - (select count(*) from faces
                where video_id in (select id from videos where is_reference))
            """
        ).fetchone()
        return int(row[0])

    def spaces(self) -> list[str]:
        """Return the embedding spaces of the faces; see ``stored_spaces``."""
        return stored_spaces(self._db)

    def ids(self) -> Indices:
        """Return the ids of all faces that take part in grouping, rising."""
        rows = self._db.execute("select id from grouped_faces order by id").fetchall()
        return integer_column(row["id"] for row in rows)

    def persons(self) -> Indices:
        """Return the person of every face in the order of ``ids``; 0 for none."""
        rows = self._db.execute("select coalesce(person_id, 0) as p from grouped_faces order by id")
        return integer_column(row["p"] for row in rows)

    def persons_of(self, face_ids: Iterable[int]) -> dict[int, int | None]:
        """Return the person of each of these faces, without those that do not exist."""
        found = {}
        for face_id in face_ids:
            row = self._db.execute(
                "select person_id from faces where id = ?", (face_id,)
            ).fetchone()
            if row:
                found[face_id] = row["person_id"]
        return found

    def tracks(self) -> Indices:
        """Return the track of every face in the order of ``ids``; 0 while it has none."""
        rows = self._db.execute(
            "select coalesce(track_id, 0) as t from grouped_faces order by id"
        ).fetchall()
        return integer_column(row["t"] for row in rows)

    def embeddings(self) -> Iterator[Embeddings]:
        """Yield all embeddings in the order of ``ids``, some thousand rows at a time."""
        cursor = self._db.execute("select embedding from grouped_faces order by id")
        while rows := cursor.fetchmany(CHUNK):
            yield _matrix(rows)

    def embeddings_of(self, face_ids: list[int]) -> Embeddings:
        """Return embeddings, shape ``(len(face_ids), d)``, in the order of ``face_ids``."""
        return _matrix(self._in_order("embedding", face_ids))

    def neighbour_distances(self, vector_length: float) -> Floats:
        """Return the distances between consecutive faces of a track: surely the same person.

        Args:
            vector_length: The length that vectors are scaled to first.
        """
        rows = self._db.execute(
            """
            select track_id, embedding from faces
            where track_id in (select id from tracks where faces > 1)
            order by track_id, t_s
            """
        )
        distances = []
        before: tuple[int, list[float]] | None = None
        for row in rows:
            vector = l2_normalised(_matrix([row]), vector_length)[0].tolist()
            if before and before[0] == row["track_id"]:
                distances.append(math.dist(vector, before[1]))
            before = (row["track_id"], vector)
        return number_column(distances)

    def portrait(self, face_id: int) -> bytes:
        """Return the portrait of a face as JPEG.

        Raises:
            KeyError: The face does not exist.
        """
        row = self._db.execute(
            "select jpeg from portraits where face_id = ?", (face_id,)
        ).fetchone()
        if row is None:
            raise KeyError(face_id)
        return bytes(row["jpeg"])

    def portrait_rank(self, face_ids: list[int]) -> Floats:
        """Return how well each face represents its person in a picture, shape ``(n,)``."""
        rows = self._in_order("size_px, sharpness, frontal, confidence", face_ids)
        return portrait_rank(
            *(
                number_column(row[measure] for row in rows)
                for measure in ("size_px", "sharpness", "frontal", "confidence")
            )
        )

    def _in_order(
        self,
        columns: Literal["embedding", "size_px, sharpness, frontal, confidence"],
        ids: list[int],
    ) -> list[sqlite3.Row]:
        """Return columns of some faces in the order of ``ids``, however many there are.

        Raises:
            StoreError: One of them is not in the store.
        """
        rows = self._db.execute(
            f"""
            select {columns} from json_each(?) as wanted join faces on faces.id = wanted.value
            order by wanted.key
            """,  # noqa: S608 - constants
            (json.dumps(ids),),
        ).fetchall()
        if len(rows) != len(ids):
            raise StoreError(f"{len(ids) - len(rows)} of {len(ids)} faces are not in the store")
        return rows

    def listing(self) -> Iterator[StoredFace]:
        """Yield every face, by source and time."""
        rows = self._db.execute(
            """
            select faces.*, width_px, height_px, people.name, path, videos.added_at as dropped_at,
                recorded_at, recorded_offset_min,
                coalesce(nullif(content_sha256, ''), videos.sha256) as sha256
            from faces join videos on videos.id = faces.video_id
            left join files on files.id = (
                select id from files where files.video_id = videos.id
                order by state = 'duplicate', id limit 1)
            left join people on people.id = faces.person_id
            where videos.replaces is null and not videos.is_reference
            order by faces.video_id, faces.t_s, faces.id
            """
        )
        for row in rows:
            yield StoredFace(
                id=row["id"],
                source=Path(os.fsdecode(row["path"] or b"")),
                sha256=row["sha256"],
                date=RecordingDate.of(recording_time_of(row), row["dropped_at"]),
                t_s=row["t_s"],
                box=_box(row).clipped(row["width_px"], row["height_px"]),
                score=row["score"],
                track_id=row["track_id"],
                person_id=row["person_id"],
                name=row["name"],
            )


def _box(row: sqlite3.Row) -> Box:
    return Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])


def _matrix(rows: list[sqlite3.Row]) -> Embeddings:
    return stack_embeddings([row["embedding"] for row in rows])


def _packed(landmarks: Sequence[tuple[float, float]] | None) -> bytes | None:
    if landmarks is None:
        return None
    return b"".join(struct.pack("<2f", *point) for point in landmarks)
