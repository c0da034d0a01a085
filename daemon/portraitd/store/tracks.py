"""Tracks of faces: which videos still need them, and what a grouping reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Embeddings, stack_embeddings
from portraitd.model.face_quality import QualityRule
from portraitd.model.media_file import VideoState
from portraitd.model.reasons import Reason
from portraitd.model.track import TrackSummaries, VideoFaces
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.faces import CHUNK

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TrackRows:
    """All tracks, by rising id.

    Attributes:
        ids: Shape ``(k,)``.
        faces: Shape ``(k,)``; how many faces each has.
        quality: Shape ``(k,)``; of its best face.
        variances: Shape ``(k,)``; mean squared distance of its faces from their mean.
        persons: Shape ``(k,)``; the person of its best face, 0 for none.
        videos: Shape ``(k,)``; the video of each.
    """

    ids: Indices
    faces: Indices
    quality: Floats
    variances: Floats
    persons: Indices
    videos: Indices


HAS_BOX = "hidden <> 4"
"""No drawn box counts in its place: an SQL condition on a row of ``faces``."""


class TrackStore:
    """Reads and records the tracks of videos."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._ledger = Ledger(database)

    def untracked(self, without: Collection[int] = (), space: str = "") -> int | None:
        """Return a video whose slices are all finished and whose faces have no tracks yet.

        Args:
            without: Videos not to return.
            space: Only videos whose faces are all of this embedding space; empty for any.
        """
        row = self._db.read_row(
            """
            select id from videos where tracked = 0 and state <> 'queued'
                and id not in (select value from json_each(?))
                and (? = '' or not exists (
                    select 1 from faces where video_id = videos.id and encoder <> ?))
            order by id limit 1
            """,
            (json.dumps(sorted(without)), space, space),
        )
        return row and int(row["id"])

    def partly_processed(
        self, without: Collection[int] = (), space: str = "", least_s: float = 0.0
    ) -> int | None:
        """Return a video that is still being processed and deserves tracks already.

        Its faces without tracks are at least as many as those with tracks, so that a long
        video gets new tracks a few times, not with every slice.

        Args:
            without: Videos not to return.
            space: As for ``untracked``.
            least_s: How much of it must be done.
        """
        row = self._db.execute(
            """
            with running as (select distinct video_id from slices where state = 'running')
            select id from running join videos on videos.id = video_id
            where videos.state = 'queued' and replaces is null
                and id not in (select value from json_each(?1))
                and (select total(ended_s - start_s) from slices
                    where video_id = videos.id and state = 'done') >= ?2
                and (select count(*) > 0 and 2 * count(track_id) <= count(*)
                    and min(?3 in ('', encoder)) from faces where video_id = videos.id)
            order by id limit 1
            """,
            (json.dumps(sorted(without)), least_s, space),
        ).fetchone()
        return row and int(row["id"])

    def record_failure(self, video_id: int, reason: Reason) -> None:
        """Record why the faces of a video have no tracks; it stays untracked."""
        self._db.execute(
            "update videos set reason = ?, reason_code = ? where id = ? and tracked = 0",
            (reason.text, reason.code, video_id),
        )
        self._db.execute(
            """
            update files set reason = ?, reason_code = ? where video_id = ? and state = 'done'
            """,
            (reason.text, reason.code, video_id),
        )

    def faces_of(self, video_id: int, quality: QualityRule) -> tuple[Indices, VideoFaces]:
        """Return the ids of a video's faces, and what tracking needs of them.

        Args:
            video_id: The video.
            quality: Of the model that made the embeddings.
        """
        rows = self._db.execute(
            f"select * from faces where video_id = ? and {HAS_BOX} order by t_s, id",  # noqa: S608
            (video_id,),
        ).fetchall()
        columns = {
            name: np.array([row[name] for row in rows], np.float64)
            for name in ("t_s", "size_px", "sharpness", "frontal", "confidence")
        }
        boxes = [
            [row["box_left"], row["box_top"], row["box_right"], row["box_bottom"]] for row in rows
        ]
        vectors = stack_embeddings([row["embedding"] for row in rows])
        return np.array([row["id"] for row in rows], np.int64), VideoFaces(
            times_s=columns["t_s"],
            boxes=np.array(boxes, np.float64).reshape(-1, 4),
            embeddings=vectors,
            quality=quality.measure(
                columns["size_px"],
                columns["sharpness"],
                columns["frontal"],
                columns["confidence"],
                vectors,
            ),
        )

    def hide_replaced(self, video_id: int) -> None:
        """Leave the faces out of tracking that drawn boxes replace; see the ``Ledger``."""
        self._ledger.hide_replaced(video_id)

    def constraints_of(self, video_id: int, face_ids: Indices) -> tuple[Indices, Flags]:
        """Return which faces of a video may share no track; see ``Ledger.track_constraints``."""
        return self._ledger.track_constraints(video_id, face_ids)

    def record(
        self,
        video_id: int,
        face_ids: Indices,
        tracks: Indices,
        found: TrackSummaries,
        cannot_link: Indices,
        ranks: Indices | None = None,
    ) -> bool:
        """Replace the tracks of a video in one transaction.

        Those of a video that is still being processed are replaced again when it is done.

        Args:
            video_id: The video.
            face_ids: Shape ``(n,)``; the faces they were made of.
            tracks: Shape ``(n,)``; the track of each, from 0.
            found: What each track is like.
            cannot_link: Shape ``(m, 2)``; pairs of tracks that were seen in one frame.
            ranks: Shape ``(n,)``; as ``tracks.representatives`` gives them; without, the best face
                represents its track.

        Returns:
            False if the video's faces are no longer the same: then nothing is stored.
        """
        with self._db.transaction():
            present = self._db.execute(
                f"select id from faces where video_id = ? and {HAS_BOX} order by t_s, id",  # noqa: S608
                (video_id,),
            )
            present_ids = [row["id"] for row in present]
            is_partial = self._is_being_processed(video_id)
            if present_ids != face_ids.tolist() and not (
                # Another slice was finished in the meantime.
                is_partial and set(face_ids.tolist()) <= set(present_ids)
            ):
                return False
            self._db.execute("delete from tracks where video_id = ?", (video_id,))
            ids = [
                self._db.execute(
                    """
                    insert into tracks (video_id, faces, quality, best_face_id, variance, embedding)
                    values (?, ?, ?, ?, ?, ?)
                    """,
                    (
                        video_id,
                        int(found.faces[number]),
                        float(found.quality[number]),
                        int(face_ids[found.best[number]]),
                        float(found.variances[number]),
                        found.embeddings[number].astype("<f4").tobytes(),
                    ),
                ).lastrowid
                for number in range(len(found.faces))
            ]
            self._db.executemany(
                "update faces set track_id = ? where id = ?",
                [
                    (ids[track], face)
                    for track, face in zip(tracks.tolist(), face_ids.tolist(), strict=True)
                ],
            )
            self._db.executemany(
                "insert into cannot_link values (?, ?)",
                [(ids[lower], ids[higher]) for lower, higher in cannot_link.tolist()],
            )
            if ranks is None:
                ranks = np.full(len(face_ids), -1)
                ranks[found.best] = 0
            self._db.executemany(
                "update faces set rank = ? where id = ?",
                [
                    (rank if rank >= 0 else None, face)
                    for rank, face in zip(ranks.tolist(), face_ids.tolist(), strict=True)
                ],
            )
            # A video that is being reprocessed gets its corrections when it replaces the old one.
            if not self._is_being_reprocessed(video_id):
                self.reapply_corrections(video_id)
            if not is_partial:
                self._db.execute("update videos set tracked = 1 where id = ?", (video_id,))
            return True

    def reapply_corrections(self, video_id: int) -> None:
        """Apply the corrections of a video to its new tracks, in the caller's transaction."""
        self._spread_persons(video_id)
        self._ledger.reapply(video_id)

    def _spread_persons(self, video_id: int) -> None:
        """Give faces without a person the person of the others in their track.

        After reprocessing, not every face was matched. In a new video no face has a person.
        """
        self._db.execute(
            """
            update faces set person_id = (
                select other.person_id from faces as other
                where other.track_id = faces.track_id and other.person_id is not null
                group by other.person_id order by count(*) desc, other.person_id limit 1)
            where video_id = ? and person_id is null
                and exists (select 1 from faces as any_one
                    where any_one.video_id = ? and any_one.person_id is not null)
            """,
            (video_id, video_id),
        )

    def _is_being_processed(self, video_id: int) -> bool:
        row = self._db.execute("select state from videos where id = ?", (video_id,)).fetchone()
        return row is not None and row["state"] == VideoState.QUEUED

    def _is_being_reprocessed(self, video_id: int) -> bool:
        row = self._db.execute("select replaces from videos where id = ?", (video_id,)).fetchone()
        return row is not None and row["replaces"] is not None

    def rows(self) -> TrackRows:
        """Return what a grouping needs of every track."""
        rows = self._db.execute(
            """
            select tracks.id, faces, quality, variance, coalesce(person_id, 0) as person,
                tracks.video_id as video
            from grouped_tracks as tracks join faces as best on best.id = best_face_id
            order by tracks.id
            """
        ).fetchall()
        return TrackRows(
            ids=np.array([row["id"] for row in rows], np.int64),
            faces=np.array([row["faces"] for row in rows], np.int64),
            quality=np.array([row["quality"] for row in rows], np.float64),
            variances=np.array([row["variance"] for row in rows], np.float64),
            persons=np.array([row["person"] for row in rows], np.int64),
            videos=np.array([row["video"] for row in rows], np.int64),
        )

    def ids(self) -> Indices:
        """Return the ids of all tracks, also of those that take no part in grouping."""
        rows = self._db.execute("select id from tracks order by id")
        return np.array([row["id"] for row in rows], np.int64)

    def cannot_link(self) -> Indices:
        """Return pairs of tracks that were seen in one frame, shape ``(m, 2)``, lower id first."""
        rows = self._db.execute("select * from cannot_link order by lower_id, higher_id").fetchall()
        return np.array([tuple(row) for row in rows], np.int64).reshape(-1, 2)

    def embeddings(
        self, after_id: int, embedding_size: int
    ) -> Iterator[tuple[Indices, Embeddings]]:
        """Yield ids and mean embeddings of the tracks after one, some thousand at a time.

        Args:
            after_id: The last track that is known already.
            embedding_size: Tracks with vectors of another size are left out: they belong to
                videos that could not be read again with the current model.
        """
        cursor = self._db.execute(
            "select id, embedding from tracks where id > ? and length(embedding) = ? order by id",
            (after_id, 4 * embedding_size),
        )
        while rows := cursor.fetchmany(CHUNK):
            ids = np.array([row["id"] for row in rows], np.int64)
            yield ids, stack_embeddings([row["embedding"] for row in rows])

    def next_after(self, track_id: int, embedding_size: int) -> tuple[int, Embeddings] | None:
        """Return id and mean embedding, shape ``(d,)``, of the first track after one."""
        row = self._db.execute(
            """
            select id, embedding from tracks where id > ? and length(embedding) = ?
            order by id limit 1
            """,
            (track_id, 4 * embedding_size),
        ).fetchone()
        return row and (int(row["id"]), np.frombuffer(row["embedding"], "<f4"))

    def last_id(self) -> int:
        """Return the highest id that a track ever had; 0 if there was none."""
        row = self._db.execute("select seq from sqlite_sequence where name = 'tracks'").fetchone()
        return int(row["seq"]) if row else 0
