"""The data of training sets, their permanent class numbers, and their splits."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from portraitd.faces.models.cards import DLIB, EmbedderCard
from portraitd.model.face import Box, Embeddings, FrameTimes, Landmarks, stack_embeddings
from portraitd.model.fingerprints import make_video_key
from portraitd.model.media_file import FileState, MediaKind, Source
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_embedder
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.files import Files
from portraitd.store.frame_times import FrameTimeStore
from portraitd.store.recordings import recording_time_of
from portraitd.store.video_lookup import find_video

ClassKind = Literal["person", "unknown"]

# Defines which faces must be unrecognisable in a training set, whatever else is in their frame:
# an SQL condition on a row of `faces`.
HIDDEN = "(hidden <> 0 or person_id in (select id from people where ignored))"

# Defines which people may be in a training set: an SQL condition on a row of `people`.
ELIGIBLE = "(not ignored)"


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class and its current person.

    Attributes:
        id: From 0; never reused for another person.
        kind: Whether it is the class of a person or of all unknown faces.
        person_id: The last person; None for ``unknown`` and for an erased person.
        name: The last recorded name.
    """

    id: int
    kind: ClassKind
    person_id: int | None
    name: str


class NamedPerson(NamedTuple):
    """A person who may be in a training set."""

    id: int
    name: str | None


@dataclass(frozen=True, slots=True)
class DatasetFace:
    """A face as training sets need it, without its embedding.

    Attributes:
        size_px: As in ``model.face.Quality``, like the next three.
        hidden: Excluded or ignored: it must be unrecognisable in every image of a set.
        is_harvested: Whether its frame was searched to fill a coverage card.
    """

    id: int
    video_id: int
    t_s: float
    box: Box
    score: float
    size_px: float
    sharpness: float
    frontal: float
    confidence: float
    landmarks: Landmarks | None
    track_id: int | None
    person_id: int | None
    hidden: bool
    is_harvested: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """A video or photo with processed faces.

    Attributes:
        sources: Where its content is or was, existing files first.
        slices: Start and end of each of its slices, in seconds.
        year: When it was recorded; None if the file does not say.
    """

    id: int
    sha256: str
    kind: MediaKind
    fps: float
    duration_s: float
    width_px: int
    height_px: int
    sources: tuple[Source, ...]
    slices: tuple[tuple[float, float], ...]
    year: int | None = None


class ClassRegistration(NamedTuple):
    """The new classes and splits of a plan, to be recorded permanently.

    Attributes:
        new_classes: Number and kind.
        holders: Class, person (None for unknown faces) and name, where these changed.
        splits: New splits, by key.
    """

    new_classes: Sequence[tuple[int, ClassKind]]
    holders: Sequence[tuple[int, int | None, str]]
    splits: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.new_classes or self.holders or self.splits)


class DatasetStore:
    """Reads the data of training sets; records classes, which are append-only, and splits."""

    def __init__(self, database: Database, files: Files) -> None:
        self._db = database
        self._files = files
        self._tombstones = Tombstones(database)
        self._times = FrameTimeStore(database)

    def fingerprint(self) -> str:
        """Return a text that changes whenever a training set may have to change."""
        row = self._db.execute(
            f"""
            select (select coalesce(max(id), 0) from grouping_runs) as grouping_run,
                (select count(*) from people) as people,
                (select count(*) from erasures where finished_at is not null) as forgotten,
                (select coalesce(sum(id), 0) from current_faces where {HIDDEN}) as hidden,
                (select coalesce(max(id), 0) from split_edits) as split_edit,
                (select coalesce(max(id), 0) from faces where harvested) as harvested
            """  # noqa: S608
        ).fetchone()
        names = self._db.execute(
            f"select id, name from people where name is not null and {ELIGIBLE} order by id"  # noqa: S608
        )
        who = ";".join(f"{name['id']}={name['name']}" for name in names)
        forgotten = f" {row['forgotten']} forgotten" if row["forgotten"] else ""
        edited = f" split edit {row['split_edit']}" if row["split_edit"] else ""
        harvested = f" harvested {row['harvested']}" if row["harvested"] else ""
        return (
            f"{row['grouping_run']} {row['people']} {row['hidden']}{forgotten}{edited}{harvested} "
            f"{who}"
        )

    def persons(self, named_only: bool) -> list[NamedPerson]:
        """Return the people who may be in a set and have a face, by id."""
        rows = self._db.execute(
            f"""
            select id, name from people
            where (name is not null or not ?) and {ELIGIBLE}
                and exists
                    (select 1 from current_faces where person_id = people.id and not {HIDDEN})
            order by id
            """,  # noqa: S608
            (named_only,),
        )
        return [NamedPerson(row["id"], row["name"]) for row in rows]

    def merged_people(self) -> dict[int, int]:
        """Return for each person who was merged who they are now."""
        rows = self._db.execute("select id, merged_into from people where merged_into is not null")
        into = {row["id"]: row["merged_into"] for row in rows}
        found = {}
        for one in into:
            now = one
            while now in into:
                now = into[now]
            found[one] = now
        return found

    def classes(self) -> list[ClassRow]:
        """Return all classes, by number."""
        rows = self._db.execute(
            """
            select classes.id, kind, person_id, name from classes
            join class_holders on class_holders.id =
                (select max(id) from class_holders where class_id = classes.id)
            order by classes.id
            """
        )
        return [ClassRow(row["id"], row["kind"], row["person_id"], row["name"]) for row in rows]

    def splits(self) -> dict[str, str]:
        """Return every stored split, by key."""
        return {row["key"]: row["split"] for row in self._db.execute("select * from splits")}

    def moved_splits(self) -> dict[str, str]:
        """Return the splits that the user chose for whole recordings, by key."""
        rows = self._db.execute(
            """
            select key, split from split_edits as last
            where kind = 'move' and split <> ''
                and id = (select max(id) from split_edits where key = last.key and kind = 'move')
            """
        )
        return {row["key"]: row["split"] for row in rows}

    def find(self, word: str) -> Recording:
        """Return a video or photo by its path or the start of its SHA-256.

        Raises:
            ConfigError: No video, or more than one, matches.
        """
        return self.recording(find_video(self._db, word))

    def move_recording(self, sha256: str, split: str, now_s: float) -> None:
        """Record that a whole recording belongs to a split; empty for the assigned one."""
        with self._db.transaction():
            self._db.execute(
                "insert into split_edits (kind, key, split, made_at) values ('move', ?, ?, ?)",
                (make_video_key(sha256), split, now_s),
            )

    def reset_splits(self, now_s: float) -> int:
        """Forget every assigned split, so that the next set assigns all again.

        What the user moved stays.

        Returns:
            The number of recordings that had a split.
        """
        with self._db.transaction():
            count = self._db.execute(
                "select count(*) from splits where substr(key, 1, 6) = 'video '"
            ).fetchone()[0]
            self._db.execute("delete from splits")
            self._db.execute(
                "insert into split_edits (kind, key, split, made_at) values ('rebuild', '', '', ?)",
                (now_s,),
            )
        return int(count)

    def register(self, registration: ClassRegistration, now_s: float) -> None:
        """Record new classes, names and splits in one transaction.

        Raises:
            StoreError: A class or key exists already; then nothing is recorded.
        """
        with self._db.transaction():
            self._db.executemany(
                "insert into classes values (?, ?, ?)",
                [(number, kind, now_s) for number, kind in registration.new_classes],
            )
            self._db.executemany(
                "insert into class_holders (class_id, person_id, name, since) values (?, ?, ?, ?)",
                [(*holder, now_s) for holder in registration.holders],
            )
            self._db.executemany(
                "insert into splits values (?, ?, ?)",
                [(key, split, now_s) for key, split in registration.splits.items()],
            )

    def faces_in_recordings_of(self, person_ids: Sequence[int]) -> Iterator[DatasetFace]:
        """Return all faces of the recordings with these people, by recording and time."""
        rows = self._db.execute(
            f"""
            select *, {HIDDEN} as is_hidden from current_faces
            where video_id in (select video_id from current_faces
                where person_id in (select value from json_each(?)))
            order by video_id, t_s, id
            """,  # noqa: S608
            (json.dumps(list(person_ids)),),
        )
        return map(_face, rows)

    def faces_of(self, video_id: int) -> Iterator[DatasetFace]:
        """Return all faces of a recording, by time."""
        rows = self._db.execute(
            f"""
            select *, {HIDDEN} as is_hidden from current_faces where video_id = ?
            order by t_s, id
            """,  # noqa: S608
            (video_id,),
        )
        return map(_face, rows.fetchall())

    def frame_times(self, recording: Recording) -> FrameTimes | None:
        """Return the time of each frame of a recording; None if they were not read."""
        return self._times.find(recording.id, recording.sha256)

    def record_frame_times(self, recording: Recording, times_s: FrameTimes) -> None:
        """Record the time of each frame of a recording."""
        self._times.record(recording.id, recording.sha256, times_s)

    def embedder(self) -> EmbedderCard:
        """Return the card of the model that made the vectors; dlib's while there are none."""
        return stored_embedder(self._db) or DLIB

    def embeddings_of(self, face_ids: Sequence[int]) -> Embeddings:
        """Return the embeddings of faces, in this order, shape ``(len(face_ids), d)``."""
        found = [
            self._db.execute(
                "select embedding from current_faces where id = ?", (face_id,)
            ).fetchone()
            for face_id in face_ids
        ]
        return stack_embeddings([row["embedding"] for row in found])

    def portrait(self, face_id: int) -> tuple[Box, bytes]:
        """Return the part of the frame that the portrait of a face shows, and its JPEG.

        Raises:
            KeyError: The face has no portrait.
        """
        row = self._db.execute("select * from portraits where face_id = ?", (face_id,)).fetchone()
        if row is None:
            raise KeyError(face_id)
        area = Box(row["area_left"], row["area_top"], row["area_right"], row["area_bottom"])
        return area, bytes(row["jpeg"])

    def recording(self, video_id: int) -> Recording:
        """Return a video or photo.

        Raises:
            KeyError: It does not exist; for instance, it was erased.
        """
        row = self._db.execute("select * from videos where id = ?", (video_id,)).fetchone()
        if row is None:
            raise KeyError(video_id)
        slices = self._db.execute(
            "select start_s, stop_s from slices where video_id = ? order by start_s", (video_id,)
        )
        names = self._files.of_video(video_id)
        names.sort(key=lambda known: known.state is FileState.GONE)
        recorded = recording_time_of(row)
        return Recording(
            id=row["id"],
            sha256=row["sha256"],
            kind=MediaKind(row["kind"]),
            fps=row["fps"],
            duration_s=row["duration_s"],
            width_px=row["width_px"],
            height_px=row["height_px"],
            sources=tuple(self._files.source(known) for known in names),
            slices=tuple((row["start_s"], row["stop_s"]) for row in slices),
            year=recorded.year if recorded else None,
        )

    def finished_videos(self) -> list[int]:
        """Return the ids of completely processed videos, without photos."""
        rows = self._db.execute(
            """
            select id from videos where kind = 'video' and state = 'done' and replaces is null
            order by id
            """
        )
        return [row["id"] for row in rows]

    def face_times(self, video_id: int) -> list[float]:
        """Return the times of all faces in a recording, ascending."""
        rows = self._db.execute(
            "select distinct t_s from current_faces where video_id = ? order by t_s", (video_id,)
        )
        return [row["t_s"] for row in rows]

    def is_erased_near(self, sha256: str, t_s: float, within_s: float) -> bool:
        """Return whether a person was erased who was visible near this time of a recording.

        Their box was erased as well, so the face cannot be blurred.
        """
        contents = self._db.execute(
            """
            select 'pictures ' || picture_hash from videos
            where sha256 = ? and picture_hash <> ''
            """,
            (sha256,),
        )
        keys = [sha256, *(row[0] for row in contents.fetchall())]
        return any(self._tombstones.has_moment(key, t_s, within_s) for key in keys)

    def content_hashes(self) -> set[str]:
        """Return the SHA-256 of every recording."""
        return {row["sha256"] for row in self._db.execute("select sha256 from videos")}


def _face(row: sqlite3.Row) -> DatasetFace:
    points = np.frombuffer(row["landmarks"], "<f4").reshape(-1, 2) if row["landmarks"] else None
    return DatasetFace(
        id=row["id"],
        video_id=row["video_id"],
        t_s=row["t_s"],
        box=Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"]),
        score=row["score"],
        size_px=row["size_px"],
        sharpness=row["sharpness"],
        frontal=row["frontal"],
        confidence=row["confidence"],
        landmarks=None if points is None else tuple((float(x), float(y)) for x, y in points),
        track_id=row["track_id"],
        person_id=row["person_id"],
        hidden=bool(row["is_hidden"]),
        is_harvested=bool(row["harvested"]),
    )
