"""What stands in the way until somebody acts: written by a stage, shown by ``status``."""

from __future__ import annotations

from portraitd.store.database import Database


class BlockedStages:
    """One reason a stage at most; none when all is well."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def note(self, stage: str, reason: str, now_s: float) -> bool:
        """A stage cannot go on. Returns whether that is news."""
        if self.all().get(stage) == reason:
            return False
        self._db.execute(
            """
            insert into blocked_stages values (?, ?, ?) on conflict (stage) do update set
                reason = excluded.reason, since = excluded.since
            """,
            (stage, reason, now_s),
        )
        return True

    def clear(self, stage: str) -> bool:
        """A stage goes on. Returns whether anything had stood in its way."""
        return self._db.execute("delete from blocked_stages where stage = ?", (stage,)).rowcount > 0

    def all(self) -> dict[str, str]:
        """The reason by stage."""
        rows = self._db.execute("select stage, reason from blocked_stages order by stage")
        return {row["stage"]: row["reason"] for row in rows}
