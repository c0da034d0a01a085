"""Queue of videos to reprocess: the new faces are kept beside the old until all are ready.

A video that is reprocessed gets a second row in ``videos``, with its own slices, faces and
tracks, which names the video it will replace. Until the last one is done, none of it is counted,
grouped or shown. Then all replace the old ones in one transaction. Work continues from these rows
after a crash, and the people tree is never half-empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from portraitd.model.media_file import MediaFacts, MediaKind
from portraitd.store.corrections.face_fingerprints import STEP_SQL, match_rows
from portraitd.store.database import Database
from portraitd.store.files import Files, KnownFile
from portraitd.store.slices import cut

if TYPE_CHECKING:
    from portraitd.store.tracks import TrackStore


class ReprocessCounts(NamedTuple):
    """How many videos are reprocessed, and how many are not.

    Attributes:
        skipped: Videos whose file is missing or, at the end, that could not be reprocessed and
            were frozen.
    """

    videos: int
    skipped: int


def count_reprocessed(database: Database) -> tuple[int, int]:
    """Return how many videos were reprocessed, and how many are to be; (0, 0) for none."""
    row = database.read_row(
        """
        select count(*) as n, total(state <> 'queued' and tracked) as done
        from videos where replaces is not null
        """
    )
    return int(row["done"]), int(row["n"])


class ReprocessQueue:
    """Queues videos for reprocessing, and replaces the old faces at the end."""

    def __init__(self, database: Database, files: Files, tracks: TrackStore) -> None:
        self._db = database
        self._files = files
        self._tracks = tracks

    def begin(
        self, is_unchanged: Callable[[KnownFile], bool], slice_s: float, now_s: float
    ) -> ReprocessCounts:
        """Queue every video whose file is still there; a run that is not finished is dropped.

        Args:
            is_unchanged: Returns whether a file is still the one that was read.
            slice_s: Seconds of footage in a slice.
            now_s: When.
        """
        with self._db.transaction():
            self._db.execute("delete from videos where replaces is not null")
            videos = self._db.execute("select * from videos where state <> 'queued'").fetchall()
            present = [
                video
                for video in videos
                if any(map(is_unchanged, self._files.of_video(video["id"])))
            ]
            for video in present:
                self._queue(video["id"], slice_s, now_s)
        return ReprocessCounts(len(present), len(videos) - len(present))

    def progress(self) -> tuple[int, int]:
        """See ``count_reprocessed``."""
        return count_reprocessed(self._db)

    def retry_other_encoders(self, encoder: str, slice_s: float, now_s: float) -> int:
        """Queue videos again that were processed with another encoder. Return how many."""
        with self._db.transaction():
            rows = self._db.execute(
                """
                select distinct videos.replaces from videos join faces on video_id = videos.id
                where videos.replaces is not null and encoder <> ?
                """,
                (encoder,),
            ).fetchall()
            for row in rows:
                self._db.execute("delete from videos where replaces = ?", (row["replaces"],))
                self._queue(row["replaces"], slice_s, now_s)
        return len(rows)

    def replace(self) -> ReprocessCounts:
        """Replace the old faces by the new ones, and have everything grouped from scratch.

        Faces that are matched keep their person. A video that could not be reprocessed stays as
        it is; it is frozen if its embeddings cannot be compared with the new ones.
        """
        with self._db.transaction():
            done = self._db.execute(
                "select * from videos where replaces is not null and state = 'done'"
            ).fetchall()
            for video in done:
                self._replace(video["id"], video["replaces"])
            self._db.execute("delete from videos where replaces is not null")
            replaced = {video["replaces"] for video in done}
            frozen = self._freeze(replaced)
            # The current grouping is of faces that were replaced, so every face is new to it. The
            # pages must not call them new.
            self._db.execute("update grouping_runs set parameters = '', snapshot = ''")
            self._db.execute("delete from gallery_versions")
        return ReprocessCounts(len(done), frozen)

    def _queue(self, video_id: int, slice_s: float, now_s: float) -> None:
        new = self._db.execute(
            """
            insert into videos (sha256, kind, duration_s, fps, width_px, height_px, state,
                added_at, replaces, is_reference)
            select 'again ' || sha256, kind, duration_s, fps, width_px, height_px, 'queued', ?, id,
                is_reference
            from videos where id = ? returning *,
                (select content_size from videos as old where old.id = videos.replaces) as size
            """,
            (now_s, video_id),
        ).fetchone()
        facts = MediaFacts(
            new["sha256"],
            MediaKind(new["kind"]),
            new["duration_s"],
            new["fps"],
            new["width_px"],
            new["height_px"],
        )
        self._db.executemany(
            "insert into slices (video_id, start_s, stop_s, state) values (?, ?, ?, 'queued')",
            [
                (new["id"], start, stop)
                for start, stop in cut(facts, slice_s, new["size"] or math.inf)
            ],
        )

    def _replace(self, new_id: int, old_id: int) -> None:
        self._hand_over_people(new_id, old_id)
        drawn = self._keep_drawn(new_id, old_id)
        # This deletes their faces and portraits as well.
        self._db.execute("delete from slices where video_id = ?", (old_id,))
        self._db.execute("delete from tracks where video_id = ?", (old_id,))
        for statement in (
            "update slices set video_id = ? where video_id = ?",
            "update faces set video_id = ? where video_id = ?",
            "update tracks set video_id = ? where video_id = ?",
        ):
            self._db.execute(statement, (old_id, new_id))
        self._db.execute(
            """
            update videos set (state, reason, reason_code, finished_at, tracked, frozen) = (
                select state, reason, reason_code, finished_at, ?, 0
                from videos as new where new.id = ?)
            where id = ?
            """,
            (not drawn, new_id, old_id),
        )
        self._db.execute("delete from videos where id = ?", (new_id,))
        self._db.execute(
            """
            update files set state = 'done', reason = '', reason_code = ''
            where video_id = ? and state = 'failed'
            """,
            (old_id,),
        )
        self._tracks.reapply_corrections(old_id)

    def _keep_drawn(self, new_id: int, old_id: int) -> int:
        """Keep the faces whose boxes a person drew: no detector finds them. Return how many."""
        return self._db.execute(
            """
            update faces set track_id = null, rank = null, slice_id = (
                select id from slices where video_id = ? and start_s <= faces.t_s
                order by start_s desc limit 1)
            where video_id = ? and is_drawn
            """,
            (new_id, old_id),
        ).rowcount

    def _hand_over_people(self, new_id: int, old_id: int) -> None:
        old, new = (
            self._db.execute(
                f"""
                select faces.*, {STEP_SQL} as step_s from faces
                join videos on videos.id = video_id where video_id = ? order by faces.id
                """,  # noqa: S608 - a constant
                (video_id,),
            ).fetchall()
            for video_id in (old_id, new_id)
        )
        found = match_rows(old, new)
        self._db.executemany(
            "update faces set person_id = ? where id = ?",
            [
                (before["person_id"], new[at]["id"])
                for before, at in zip(old, found, strict=True)
                if at >= 0 and before["person_id"] is not None
            ],
        )

    def _freeze(self, replaced: set[int]) -> int:
        """Exclude videos from grouping whose embeddings cannot be compared. Return how many."""
        encoders = {
            row["encoder"]: row["video_id"]
            for video_id in replaced
            for row in self._db.execute(
                "select encoder, video_id from faces where video_id = ? limit 1", (video_id,)
            )
        }
        if len(encoders) != 1:
            return 0
        self._db.execute(
            """
            update videos set frozen = exists (
                select 1 from faces where video_id = videos.id and encoder <> ?)
            """,
            tuple(encoders),
        )
        row = self._db.execute("select count(*) from videos where frozen").fetchone()
        return int(row[0])
