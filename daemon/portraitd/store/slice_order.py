"""Which slice comes next: urgent ones first, fair between videos, and never the newest last."""

from __future__ import annotations

from portraitd.store.database import Database

SUSPECT_PRIORITY = -(1 << 62)
"""Priority of slices that may have ended the service; see ``files.SUSPECT_INTERRUPTIONS``."""


class SliceOrder:
    """Picks among the slices that wait.

    Slices of the highest priority go first. Among them every other pick goes to the newest
    video, so that what was just dropped does not wait behind a backlog; the others go to the
    video that has the fewest slices out, the oldest first. Each pick costs a few steps in an
    index, however many slices wait.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._newest_next = False

    def pick(self, suspects: bool = True) -> int | None:
        """The row of the next slice; None if none waits.

        Args:
            suspects: Whether it may be one with ``SUSPECT_PRIORITY``.
        """
        top = self._db.execute(
            "select max(priority) from slices where state = 'queued'"
        ).fetchone()[0]  # fmt: skip
        if top is None or (top == SUSPECT_PRIORITY and not suspects):
            return None
        if top == SUSPECT_PRIORITY:
            return self._least_interrupted()
        video_id = self._newest(top) if self._newest_next else self._least_served(top)
        self._newest_next = not self._newest_next
        row = self._db.execute(
            """
            select min(id) from slices where state = 'queued' and priority = ? and video_id = ?
            """,
            (top, video_id),
        ).fetchone()
        return int(row[0])

    def _least_interrupted(self) -> int:
        # So that one which ends the service each time keeps no other from its turn.
        row = self._db.execute(
            """
            select id from slices where state = 'queued' and priority = ?
            order by interruptions, id limit 1
            """,
            (SUSPECT_PRIORITY,),
        ).fetchone()
        return int(row[0])

    def _newest(self, priority: int) -> int:
        row = self._db.execute(
            "select max(video_id) from slices where state = 'queued' and priority = ?", (priority,)
        ).fetchone()
        return int(row[0])

    def _least_served(self, priority: int) -> int:
        """The oldest video that has nothing out; else the one with the fewest slices out."""
        row = self._db.execute(
            """
            with served as (
                select video_id, count(*) as slices from slices where state = 'running'
                group by video_id
            )
            select coalesce(
                (select video_id from slices where state = 'queued' and priority = ?1
                    and video_id not in (select video_id from served)
                    order by video_id limit 1),
                (select video_id from served
                    where exists (select 1 from slices where state = 'queued' and priority = ?1
                        and video_id = served.video_id)
                    order by slices, video_id limit 1))
            """,
            (priority,),
        ).fetchone()
        return int(row[0])
