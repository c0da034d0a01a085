"""Vectors of another embedding model: kept beside those in use, until every face has one.

Then all faces change over in one transaction. People, names, corrections, class numbers and splits
stay: they belong to faces, not to vectors. A face that arrives later with an old vector is changed
over in the same way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Box, Embeddings, FoundFace, Landmarks, StoredPortrait
from portraitd.model.face_quality import QualityRule
from portraitd.model.media_file import MediaKind
from portraitd.model.track import TrackSummaries, VideoFaces
from portraitd.store.database import Database
from portraitd.store.tracks import TrackStore

Summarise = Callable[[VideoFaces, NDArray[np.int64]], TrackSummaries]
"""Describes the tracks of a video, given the track of each face from 0."""


class ChangeOverProgress(NamedTuple):
    """How many faces have a vector of the new model, and how many need one.

    Attributes:
        done: Faces with a vector, or that cannot be given one.
        total: Faces with a vector of another model.
    """

    done: int
    total: int


class PortraitBatch(NamedTuple):
    """Some faces, and what their vectors are computed from."""

    face_ids: list[int]
    portraits: list[StoredPortrait]


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Faces of one slice of a file whose portraits could not do.

    Attributes:
        video_id: The recording.
        kind: Whether it is a video or a photo.
        start_s: Start of the slice.
        frames: For each time, rising, the ids of its faces and the faces.
    """

    video_id: int
    kind: MediaKind
    start_s: float
    frames: list[tuple[float, list[int], list[FoundFace]]]

    @property
    def face_ids(self) -> list[int]:
        """Return the ids of the faces in the order of ``frames``."""
        return [face_id for _, face_ids, _ in self.frames for face_id in face_ids]


class Reembedding:
    """Reads what has to be embedded, records vectors, and changes over.

    Args:
        database: The store.
        space: The embedding space that all faces shall have.
    """

    def __init__(self, database: Database, space: str) -> None:
        self._db = database
        self._space = space

    @property
    def needed(self) -> bool:
        """Return whether a face has a vector of another model."""
        # Both ends of an index: all in between are the same if these are.
        ends = {
            self._db.read_row(f"select {end}(encoder) from faces")[0]  # noqa: S608
            for end in ("min", "max")
        }
        return bool(ends - {self._space, None})

    def progress(self) -> ChangeOverProgress:
        """Return how far it is."""
        row = self._db.execute(
            """
            select count(*) as total, total(space is not null
                and (reembedded.embedding is not null or tried = 2)) as done
            from faces left join reembedded on face_id = faces.id and space = ?
            where encoder <> ?
            """,
            (self._space, self._space),
        ).fetchone()
        return ChangeOverProgress(int(row["done"]), int(row["total"]))

    def forget_other_spaces(self) -> None:
        """Drop the vectors of a change-over to another model that was not finished."""
        with self._db.transaction():
            self._db.execute("delete from reembedded where space <> ?", (self._space,))

    def portraits(self, count: int, without: Sequence[int] = ()) -> PortraitBatch:
        """Return faces whose portraits were not tried yet.

        Args:
            count: Largest number.
            without: Faces that are out already: the lowest ids that were not recorded.
        """
        after = max(without, default=0)
        rows = self._db.execute(
            """
            select faces.*, area_left, area_top, area_right, area_bottom, jpeg
            from faces left join portraits on portraits.face_id = faces.id
            where encoder <> ? and faces.id > ? and not exists (
                select 1 from reembedded where face_id = faces.id and space = ?)
            order by faces.id limit ?
            """,
            (self._space, after, self._space, count),
        ).fetchall()
        return PortraitBatch(
            [row["id"] for row in rows],
            [to_portrait(row) for row in rows],
        )

    def next_in_file(self) -> FileBatch | None:
        """Return the faces of a slice whose portraits could not do; None if there are none."""
        first = self._db.execute(
            """
            select slice_id from faces join reembedded on face_id = faces.id
            where space = ? and encoder <> ? and reembedded.embedding is null and tried = 1
            limit 1
            """,
            (self._space, self._space),
        ).fetchone()
        if first is None:
            return None
        rows = self._db.execute(
            """
            select faces.*, videos.kind, slices.start_s from faces
            join slices on slices.id = slice_id join videos on videos.id = faces.video_id
            join reembedded on face_id = faces.id
            where slice_id = ? and space = ? and reembedded.embedding is null and tried = 1
            order by t_s, faces.id
            """,
            (first["slice_id"], self._space),
        ).fetchall()
        frames: list[tuple[float, list[int], list[FoundFace]]] = []
        for row in rows:
            if not frames or frames[-1][0] != row["t_s"]:
                frames.append((row["t_s"], [], []))
            frames[-1][1].append(row["id"])
            frames[-1][2].append(_found_face(row))
        first_row = rows[0]
        kind = MediaKind(first_row["kind"])
        return FileBatch(first_row["video_id"], kind, first_row["start_s"], frames)

    def record(self, face_ids: Sequence[int], vectors: Embeddings, *, from_file: bool) -> None:
        """Keep new vectors; a row of NaN says that there is none.

        Args:
            face_ids: The faces; those that were erased meanwhile are left out.
            vectors: Shape ``(len(face_ids), d)``.
            from_file: Whether the file was read, not the portrait.
        """
        with self._db.transaction():
            self._db.executemany(
                """
                insert or replace into reembedded (face_id, space, tried, embedding)
                select id, ?, ?, ? from faces where id = ?
                """,
                [
                    (
                        self._space,
                        2 if from_file else 1,
                        vector.astype("<f4").tobytes() if np.isfinite(vector).all() else None,
                        face_id,
                    )
                    for face_id, vector in zip(face_ids, vectors, strict=True)
                ],
            )

    def give_up(self, face_ids: Sequence[int]) -> None:
        """Record that neither the portraits nor the file can give vectors of these faces."""
        size = len(face_ids)
        self.record(face_ids, np.full((size, 1), np.nan, np.float32), from_file=True)

    def change_over(self, quality: QualityRule, summarise: Summarise) -> int:
        """Replace the vectors in use, and have everything grouped from scratch.

        Tracks keep their faces and their people. A recording with a face that could not be given
        a vector is frozen: it stays as it is, and takes no part in grouping.

        Args:
            quality: Rates how well a face identifies its person, with the new vectors.
            summarise: Describes the tracks of a video in the new space.

        Returns:
            How many faces changed over.
        """
        with self._db.transaction():
            videos = [
                row["video_id"]
                for row in self._db.execute(
                    "select distinct video_id from faces where encoder <> ?", (self._space,)
                )
            ]
            frozen = {
                row["video_id"]
                for row in self._db.execute(
                    """
                    select distinct video_id from faces left join reembedded
                        on face_id = faces.id and space = ?
                    where encoder <> ? and reembedded.embedding is null
                    """,
                    (self._space, self._space),
                )
            }
            changed = 0
            for video_id in videos:
                if video_id not in frozen:
                    changed += self._change_video(video_id, quality, summarise)
            self._db.execute("delete from reembedded")
            self._db.execute(
                """
                update videos set frozen = exists (
                    select 1 from faces where video_id = videos.id and encoder <> ?)
                """,
                (self._space,),
            )
            # Every distance is another one. The pages must not call anybody new for that.
            self._db.execute("update grouping_runs set parameters = '', snapshot = ''")
            self._db.execute("delete from gallery_versions")
        return changed

    def _change_video(self, video_id: int, quality: QualityRule, summarise: Summarise) -> int:
        changed = self._db.execute(
            """
            update faces set encoder = ?, embedding = (
                select embedding from reembedded where face_id = faces.id)
            where video_id = ? and encoder <> ?
            """,
            (self._space, video_id, self._space),
        ).rowcount
        face_ids, faces = TrackStore(self._db).faces_of(video_id, quality)
        tracks = {
            row["id"]: row["track_id"]
            for row in self._db.execute(
                "select id, track_id from faces where video_id = ?", (video_id,)
            )
        }
        of_face = np.array([tracks[face_id] or 0 for face_id in face_ids.tolist()], np.int64)
        # Without tracks yet, or with some of a recording that is still being read.
        if len(of_face) and of_face.all():
            track_ids, numbers = np.unique(of_face, return_inverse=True)
            found = summarise(faces, numbers)
            self._db.executemany(
                "update tracks set embedding = ?, variance = ?, quality = ? where id = ?",
                [
                    (
                        found.embeddings[at].astype("<f4").tobytes(),
                        float(found.variances[at]),
                        float(found.quality[at]),
                        track_id,
                    )
                    for at, track_id in enumerate(track_ids.tolist())
                ],
            )
        return int(changed)


def to_portrait(row: sqlite3.Row) -> StoredPortrait:
    """Return a face with its portrait; without one, its picture is empty."""
    area = Box(row["area_left"], row["area_top"], row["area_right"], row["area_bottom"])
    return StoredPortrait(_found_face(row), area, bytes(row["jpeg"] or b""))


def _found_face(row: sqlite3.Row) -> FoundFace:
    box = Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])
    return FoundFace(box, _landmarks(row["landmarks"]))


def _landmarks(packed: bytes | None) -> Landmarks | None:
    if packed is None:
        return None
    points = np.frombuffer(packed, "<f4").reshape(-1, 2).tolist()
    return tuple((float(x), float(y)) for x, y in points)
