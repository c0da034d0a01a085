"""What stands in the way until somebody acts: written by a room, shown by ``status``."""

from __future__ import annotations

from portraitd.store.database import Database


class Troubles:
    """One reason a room at most; none when all is well."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def note(self, room: str, reason: str, now_s: float) -> bool:
        """A room cannot go on. Returns whether that is news."""
        if self.all().get(room) == reason:
            return False
        self._db.execute(
            """
            insert into troubles values (?, ?, ?) on conflict (room) do update set
                reason = excluded.reason, since = excluded.since
            """,
            (room, reason, now_s),
        )
        return True

    def clear(self, room: str) -> bool:
        """A room goes on. Returns whether anything had stood in its way."""
        return self._db.execute("delete from troubles where room = ?", (room,)).rowcount > 0

    def all(self) -> dict[str, str]:
        """The reason by room."""
        rows = self._db.execute("select room, reason from troubles order by room")
        return {row["room"]: row["reason"] for row in rows}
