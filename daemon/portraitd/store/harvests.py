"""Harvests: people for whom frames are still to be searched, and the faces that were found."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import DetectedFace, SliceFaces, stack_embeddings
from portraitd.model.fingerprints import ERASED_MARGIN_S
from portraitd.model.media_file import MediaKind
from portraitd.model.track import TrackedFaces
from portraitd.store.database import Database
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.faces import FaceWriter


class HarvestSlice(NamedTuple):
    """A slice of a video with a track of a person.

    Attributes:
        stretches: Where a track of the person runs between two sampled frames.
    """

    slice_id: int
    video_id: int
    sha256: str
    start_s: float
    stop_s: float
    stretches: tuple[tuple[float, float], ...]

    @property
    def length_s(self) -> float:
        """Return the seconds of footage in the stretches."""
        return sum(stop_s - start_s for start_s, stop_s in self.stretches)


@dataclass(frozen=True, slots=True)
class HarvestedFrame:
    """All faces of a frame that is added to a slice, each with the face of its track before it.

    Attributes:
        neighbours: Id of a stored face for each detection: it gets its track and person.
    """

    video_id: int
    slice_id: int
    detections: Sequence[DetectedFace]
    neighbours: Sequence[int]


class HarvestStore:
    """Reads the tracks of people, and records what was found between their sampled frames."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._tombstones = Tombstones(database)
        self._face_writer = FaceWriter(database, self._tombstones)

    def ask_for(self, person_id: int, now_s: float) -> None:
        """Have frames searched for a person."""
        self._db.execute(
            "insert or ignore into harvests (person_id, asked_at) values (?, ?)", (person_id, now_s)
        )

    def next_person(self) -> int | None:
        """Return the person who has been waiting longest."""
        row = self._db.read_row(
            "select person_id from harvests order by asked_at, person_id limit 1"
        )
        return row and int(row["person_id"])

    def drop(self, person_id: int) -> None:
        """Forget that frames were to be searched for a person."""
        self._db.execute("delete from harvests where person_id = ?", (person_id,))

    def slices_with(self, person_id: int, max_gap_s: float) -> list[HarvestSlice]:
        """Return the slices of videos in which a track of a person continues.

        Those of different videos take turns.

        Args:
            person_id: The person.
            max_gap_s: Longest time between two faces of a track.
        """
        rows = self._db.execute(
            """
            with seen as (
                select faces.video_id, track_id, t_s, lag(t_s) over
                    (partition by track_id order by t_s, faces.id) as before_s
                from current_faces as faces
                where person_id = ? and hidden = 0 and track_id is not null)
            select slices.id, slices.video_id, sha256, slices.start_s, slices.stop_s,
                json_group_array(json_array(max(before_s, slices.start_s), min(t_s, slices.stop_s)))
                    as stretches,
                row_number() over (partition by slices.video_id order by slices.start_s) as turn
            from seen join slices on slices.video_id = seen.video_id
                and before_s < slices.stop_s and t_s > slices.start_s
            join videos on videos.id = slices.video_id
            where before_s < t_s and t_s - before_s <= ? and kind = ? and not frozen
                and videos.state = 'done'
            group by slices.id order by turn, slices.video_id
            """,
            (person_id, max_gap_s, MediaKind.VIDEO),
        )
        return [
            HarvestSlice(
                row["id"],
                row["video_id"],
                row["sha256"],
                row["start_s"],
                row["stop_s"],
                _merge(json.loads(row["stretches"])),
            )
            for row in rows
        ]

    def tracked_faces(self, video_id: int, start_s: float, stop_s: float) -> TrackedFaces:
        """Return the faces in a part of a video, by time.

        Harvested ones are listed without their track, so that what is found between sampled frames
        does not depend on what was found there before.
        """
        rows = self._db.execute(
            """
            select *, iif(harvested, null, track_id) as sampled_track from faces
            where video_id = ? and t_s between ? and ? order by t_s, id
            """,
            (video_id, start_s, stop_s),
        ).fetchall()
        return TrackedFaces(
            ids=_column(rows, "id"),
            times_s=np.array([row["t_s"] for row in rows], np.float64),
            boxes=np.array(
                [
                    [row["box_left"], row["box_top"], row["box_right"], row["box_bottom"]]
                    for row in rows
                ],
                np.float64,
            ).reshape(-1, 4),
            embeddings=stack_embeddings([row["embedding"] for row in rows]),
            tracks=_column(rows, "sampled_track"),
            persons=_column(rows, "person_id"),
            hidden=_column(rows, "hidden"),
        )

    def is_erased_near(self, video_id: int, t_s: float) -> bool:
        """Return whether a face was erased around this time of a video."""
        return any(
            self._tombstones.has_moment(sha256, t_s, ERASED_MARGIN_S)
            for sha256 in self._face_writer.contents(video_id)
        )

    def record(
        self, person_id: int, frames: Sequence[HarvestedFrame], encoder: str, now_s: float
    ) -> int:
        """Store the faces of frames, and end the harvest of a person, in one transaction.

        Returns:
            The number of frames that were stored. One is left out if a face in it was erased, or if
            its neighbour no longer exists.
        """
        stored = 0
        with self._db.transaction():
            for frame in frames:
                stored += self._add(frame, encoder, now_s)
            self.drop(person_id)
        return stored

    def _add(self, frame: HarvestedFrame, encoder: str, now_s: float) -> bool:
        slices = self._db.execute("select 1 from slices where id = ?", (frame.slice_id,))
        if slices.fetchone() is None:
            return False
        last = self._db.execute("select coalesce(max(id), 0) from faces").fetchone()[0]
        found = SliceFaces(frame.detections, 1, 1, None, 0.0)
        self._face_writer.add(frame.video_id, frame.slice_id, found, encoder, now_s)
        rows = self._db.execute("select id from faces where id > ? order by id", (last,)).fetchall()
        linked = 0
        if len(rows) == len(frame.neighbours):
            for row, neighbour in zip(rows, frame.neighbours, strict=True):
                linked += self._db.execute(
                    """
                    update faces set harvested = 1, (track_id, person_id, hidden) =
                        (select track_id, person_id, hidden from faces as beside where id = ?1)
                    where id = ?2 and exists (select 1 from faces as beside where id = ?1
                        and track_id is not null and encoder = faces.encoder)
                    """,
                    (neighbour, row["id"]),
                ).rowcount
        if linked == len(frame.neighbours):
            return True
        self._db.execute("delete from faces where id > ?", (last,))
        return False


def count_harvested(database: Database) -> int:
    """Return how many faces were found in frames that were searched in addition."""
    return int(database.read_row("select count(*) as n from faces where harvested")["n"])


def _column(rows: Sequence[sqlite3.Row], name: str) -> NDArray[np.int64]:
    return np.array([row[name] or 0 for row in rows], np.int64)


def _merge(stretches: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return stretches by time, those that overlap as one."""
    found: list[tuple[float, float]] = []
    for start_s, stop_s in sorted(map(tuple, stretches)):
        if found and start_s < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop_s))
        else:
            found.append((start_s, stop_s))
    return tuple(found)
