"""How things stand: what is being worked on, what waits, what failed."""

from __future__ import annotations

import os
from pathlib import Path

from portraitd.store.database import Database
from portraitd.store.files import display_path


class QueueStats:
    """What people who wait for their videos want to know."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def running(self, limit: int) -> list[tuple[str, float]]:
        """The files that are being looked through, and the share of each that is done, 0 to 1."""
        rows = self._db.execute(
            """
            select path, avg(slices.state in ('done', 'failed')) as share
            from slices join files on files.video_id = slices.video_id
            where files.state = 'encoding' and exists
                (select 1 from slices as begun
                 where begun.video_id = slices.video_id and begun.state <> 'queued')
            group by files.id order by files.id limit ?
            """,
            (limit,),
        )
        return [(_name(row["path"]), row["share"]) for row in rows]

    def waiting(self, limit: int) -> tuple[list[tuple[str, str]], int]:
        """Files whose turn has not come, the oldest first, and how many there are.

        With each what it waits for, if that is not just its turn.
        """
        condition = """
            state in ('waiting', 'ready', 'probing') or state = 'encoding' and not exists
                (select 1 from slices
                 where slices.video_id = files.video_id and slices.state <> 'queued')
            """
        return self._files(condition, limit)

    def failed(self, limit: int) -> tuple[list[tuple[str, str]], int]:
        """Files that could not be processed and why, the newest first, and how many there are."""
        return self._files("state = 'failed'", limit, newest_first=True)

    def _files(
        self, condition: str, limit: int, newest_first: bool = False
    ) -> tuple[list[tuple[str, str]], int]:
        # The conditions are the two above; nothing from outside becomes SQL.
        total = self._db.execute(f"select count(*) from files where {condition}").fetchone()[0]  # noqa: S608
        order = "changed_at desc, id desc" if newest_first else "id"
        rows = self._db.execute(
            f"select path, reason from files where {condition} order by {order} limit ?",  # noqa: S608
            (limit,),
        )
        return [(_name(row["path"]), row["reason"]) for row in rows], total


def _name(path: bytes) -> str:
    return display_path(Path(os.fsdecode(path)))
