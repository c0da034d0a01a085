"""What became of a file, for whoever asks why."""

from __future__ import annotations

from dataclasses import dataclass

from portraitd.store.database import Database


@dataclass(frozen=True, slots=True)
class Step:
    """A file came to a state.

    Attributes:
        at_s: Seconds since 1970.
        state, reason: As in ``files``.
        size: Of the file then, in bytes.
    """

    at_s: float
    state: str
    reason: str
    size: int


@dataclass(frozen=True, slots=True)
class ContentHistory:
    """What is known of the content of a file, and how far it has got.

    Attributes:
        sha256: Hexadecimal.
        kind: ``video`` or ``photo``.
        duration_s: As declared; infinite where that cannot be believed.
        width_px, height_px: Of the upright frame.
        slices, slices_done, slices_running: How many.
        attempts: Of the slice that was tried most often.
        trouble: Why a slice was lost last; empty if none was.
        faces: Found so far.
    """

    sha256: str
    kind: str
    duration_s: float
    width_px: int
    height_px: int
    slices: int
    slices_done: int
    slices_running: int
    attempts: int
    blocked: str
    faces: int


class History:
    """Reads the steps of files and the state of their contents."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of_file(self, file_id: int) -> list[Step]:
        """What became of a file, the oldest first."""
        rows = self._db.execute(
            "select at, state, reason, size from file_steps where file_id = ? order by id",
            (file_id,),
        )
        return [Step(row["at"], row["state"], row["reason"], row["size"]) for row in rows]

    def of_content(self, video_id: int) -> ContentHistory | None:
        """How far a content has got; None if it was forgotten."""
        row = self._db.execute(
            """
            select videos.*,
                (select count(*) from faces where video_id = videos.id) as faces,
                count(slices.id) as slices,
                count(slices.id) filter (where slices.state = 'done') as slices_done,
                count(slices.id) filter (where slices.state = 'running') as slices_running,
                coalesce(max(slices.attempts), 0) as attempts,
                coalesce(max(slices.reason), '') as trouble
            from videos left join slices on slices.video_id = videos.id
            where videos.id = ? group by videos.id
            """,
            (video_id,),
        ).fetchone()
        if row is None:
            return None
        return ContentHistory(**{name: row[name] for name in ContentHistory.__slots__})

    def ready_before(self, file_id: int) -> int:
        """How many files are looked into before this one."""
        row = self._db.execute(
            "select count(*) from files where state = 'ready' and id < ?", (file_id,)
        ).fetchone()
        return int(row[0])
