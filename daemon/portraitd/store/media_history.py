"""Read the history of a file: its states, their reasons, and the progress of its content."""

from __future__ import annotations

from dataclasses import dataclass

from portraitd.model.reasons import NO_REASON, Reason
from portraitd.model.recording_time import RecordingDate
from portraitd.store.database import Database
from portraitd.store.files import reason_of
from portraitd.store.recordings import recording_time_of


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a file's state.

    Attributes:
        at_s: Seconds since 1970.
        state, reason: As in ``files``.
        size: Size of the file at that time, in bytes.
    """

    at_s: float
    state: str
    reason: Reason
    size: int


@dataclass(frozen=True, slots=True)
class ContentHistory:
    """The content of a file, and how much of it is processed.

    Attributes:
        sha256: Hexadecimal, of the content that was read first.
        kind: ``video`` or ``photo``.
        duration_s: As declared; infinite if that is not valid.
        width_px, height_px: Size of the upright frame.
        slices, slices_done, slices_running: Number of slices.
        attempts: Attempts of the slice that was tried most often.
        failure: Why the last attempt failed; ``NO_REASON`` if none did.
        faces: Faces found so far.
        date: When the recording was made or, if unknown, when it was dropped.
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
    failure: Reason
    faces: int
    date: RecordingDate


class History:
    """Reads the state changes of files and the progress of their contents."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of_file(self, file_id: int) -> list[Step]:
        """Return the state changes of a file, the oldest first."""
        rows = self._db.execute(
            "select * from file_steps where file_id = ? order by id",
            (file_id,),
        )
        return [Step(row["at"], row["state"], reason_of(row), row["size"]) for row in rows]

    def of_content(self, video_id: int) -> ContentHistory | None:
        """Return the progress of a content; None if it was erased."""
        row = self._db.execute(
            """
            select videos.*,
                (select count(*) from faces where video_id = videos.id) as faces,
                count(slices.id) as slices,
                count(slices.id) filter (where slices.state = 'done') as slices_done,
                count(slices.id) filter (where slices.state = 'running') as slices_running,
                coalesce(max(slices.attempts), 0) as attempts
            from videos left join slices on slices.video_id = videos.id
            where videos.id = ? group by videos.id
            """,
            (video_id,),
        ).fetchone()
        if row is None:
            return None
        failed = self._db.execute(
            """
            select reason, reason_code from slices where video_id = ? and reason <> ''
            order by attempts desc, id desc limit 1
            """,
            (video_id,),
        ).fetchone()
        names = set(ContentHistory.__slots__) - {"failure", "date"}
        return ContentHistory(
            **{name: row[name] for name in names},
            failure=reason_of(failed) if failed else NO_REASON,
            date=RecordingDate.of(recording_time_of(row), row["added_at"]),
        )

    def ready_before(self, file_id: int) -> int:
        """Return how many files are probed before this one."""
        row = self._db.execute(
            "select count(*) from files where state = 'ready' and id < ?", (file_id,)
        ).fetchone()
        return int(row[0])
