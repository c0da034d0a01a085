"""Reads the appearances of people, for the gallery and its tables.

Every query reads the view ``visible_faces``, which leaves out excluded faces.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.model.appearance import Clip
from portraitd.model.face import Embeddings, stack_embeddings
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.media_file import MediaKind
from portraitd.model.suggestion import GUESSED_PROBABILITY
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_rules, stored_spaces
from portraitd.store.files import INBOX, display_path
from portraitd.store.people import Unit
from portraitd.store.recordings import recording_time_of

LONGEST_STEP_S = 10.0

_PROCESSED_PREFIX = "processed/"
"""The folder into which portraitd moves files; not part of the name that people know."""


class RecordingCount(NamedTuple):
    """The faces of a person in one video or photo, counted.

    Attributes:
        checksum: Changes when a face of the person in it is added, removed or reassigned.
    """

    clip_id: int
    faces: int
    first_s: float
    last_s: float
    checksum: int


@dataclass(frozen=True, slots=True, eq=False)
class PersonFaces:
    """The faces of a person, by video and time.

    Attributes:
        ids, clip_ids, track_ids: Shape ``(n,)``; track 0 for none.
        times_s: Shape ``(n,)``.
    """

    ids: NDArray[np.int64]
    clip_ids: NDArray[np.int64]
    track_ids: NDArray[np.int64]
    times_s: NDArray[np.float64]


class UnsortedFace(NamedTuple):
    """A face without a person, and whom it may show.

    Attributes:
        person_id: Who it may be; 0 if it resembles no person.
        probability: That it is; 0 if it resembles no person.
    """

    face_id: int
    clip_id: int
    t_s: float
    person_id: int
    probability: float


class Appearances:
    """Reads the appearances of people."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def spaces(self) -> list[str]:
        """Return the embedding spaces of the faces; see ``stored_spaces``."""
        return stored_spaces(self._db)

    def rules(self) -> EmbeddingRules | None:
        """Return the numbers of the model that made the vectors, if they are known."""
        return stored_rules(self._db)

    def clips(self) -> dict[int, Clip]:
        """Return every video and photo, by id."""
        rows = self._db.execute(
            """
            select videos.*,
                (select path from files where files.video_id = videos.id
                 order by state = 'duplicate', id limit 1) as path,
                (select root from files where files.video_id = videos.id
                 order by state = 'duplicate', id limit 1) as root,
                (select total(sampled) from slices where video_id = videos.id) as sampled,
                (select max(ended_s) from slices where video_id = videos.id) as ended_s
            from videos where not is_reference
            """
        )
        clips = {}
        for row in rows:
            known = math.isfinite(row["duration_s"])
            duration_s = row["duration_s"] if known else row["ended_s"] or 0.0
            step_s = duration_s / row["sampled"] if row["sampled"] and duration_s else 1.0
            path = os.fsdecode(row["path"] or b"")
            name = display_path(Path(path))
            is_photo = row["kind"] == MediaKind.PHOTO
            clips[row["id"]] = Clip(
                row["id"],
                name.removeprefix(_PROCESSED_PREFIX) if row["path"] else f"video {row['id']}",
                is_photo,
                0.0 if is_photo else duration_s,
                0.0 if is_photo else min(step_s, LONGEST_STEP_S),
                row["added_at"],
                recording_time_of(row),
                path if row["root"] == INBOX else "",
            )
        return clips

    def count_by_person(self) -> dict[int, list[RecordingCount]]:
        """Return the counts of each person by recording, in one pass over an index."""
        rows = self._db.execute(
            """
            select person_id, video_id, count(*), min(t_s), max(t_s),
                sum(id * (1 + id % 31) + coalesce(track_id, 0))
            from visible_faces where person_id is not null
            group by person_id, video_id order by person_id, video_id
            """
        )
        return {
            person: [RecordingCount(*row[1:]) for row in group]
            for person, group in groupby(map(tuple, rows), lambda row: row[0])
        }

    def faces(self, person_id: int) -> PersonFaces:
        """Return every face of a person."""
        rows = self._db.execute(
            """
            select id, video_id, coalesce(track_id, 0), t_s from visible_faces
            where person_id = ? order by video_id, t_s, id
            """,
            (person_id,),
        ).fetchall()
        ids, clips, tracks, times = zip(*map(tuple, rows), strict=True) if rows else ((),) * 4
        return PersonFaces(
            np.array(ids, np.int64),
            np.array(clips, np.int64),
            np.array(tracks, np.int64),
            np.array(times, np.float64),
        )

    def unsorted_faces(self, face_ids: Collection[int]) -> list[UnsortedFace]:
        """Return those of some faces that have no person, and whom each may show, by id."""
        rows = self._db.execute(
            """
            select faces.id, faces.video_id, t_s, coalesce(near_misses.person_id, 0),
                coalesce(probability, 0.0)
            from visible_faces as faces left join near_misses
                on near_misses.track_id = faces.track_id and probability >= ?
            where faces.id in (select value from json_each(?)) and faces.person_id is null
            order by faces.id
            """,
            (GUESSED_PROBABILITY, json.dumps(sorted(face_ids))),
        )
        return [UnsortedFace(*row) for row in rows]

    def times(self) -> Iterator[tuple[int, int, list[float]]]:
        """Yield person, recording and the times of the faces, by person, recording and time."""
        rows = self._db.execute(
            """
            select person_id, video_id, t_s from visible_faces
            where person_id is not null order by person_id, video_id, t_s
            """
        )
        for (person, clip), group in groupby(map(tuple, rows), lambda row: row[:2]):
            yield person, clip, [row[2] for row in group]

    def times_in(self, clip_id: int) -> list[tuple[int, list[float]]]:
        """Return the times of the faces in one recording, by person."""
        rows = self._db.execute(
            """
            select person_id, t_s from visible_faces
            where video_id = ? and person_id is not null order by person_id, t_s
            """,
            (clip_id,),
        )
        return [
            (person, [row[1] for row in group])
            for person, group in groupby(map(tuple, rows), lambda row: row[0])
        ]

    def tracks(self, person_id: int) -> tuple[NDArray[np.int64], Embeddings]:
        """Return ids and mean embeddings, shape ``(n, d)``, of the tracks of a person."""
        rows = self._db.execute(
            """
            select id, embedding from tracks where id in
                (select track_id from visible_faces where person_id = ?) order by id
            """,
            (person_id,),
        ).fetchall()
        ids = np.array([row["id"] for row in rows], np.int64)
        return ids, stack_embeddings([row["embedding"] for row in rows])

    def count_since(self, last_id: int, unit: Unit) -> dict[int, int]:
        """Count the faces of each person after a face or track, in time linear in the new ones."""
        newer = {
            "faces": """
                select person_id, count(*) from visible_faces
                where id > ? and person_id is not null group by person_id
                """,
            "tracks": """
                select person_id, count(*) from visible_faces
                where track_id > ? and person_id is not null group by person_id
                """,
        }
        return dict(map(tuple, self._db.execute(newer[unit], (last_id,))))
