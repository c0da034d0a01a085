"""Stages that are blocked until the operator acts: written by a stage, shown by ``status``."""

from __future__ import annotations

from portraitd.model.reasons import Reason
from portraitd.store.database import Database
from portraitd.store.files import reason_of


class BlockedStages:
    """Keeps the reason of each blocked stage; at most one per stage."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record(self, stage: str, reason: Reason, now_s: float) -> bool:
        """Record that a stage is blocked. Return whether its reason is new."""
        if self.all().get(stage) == reason:
            return False
        self._db.execute(
            """
            insert into blocked_stages (stage, reason, reason_code, since) values (?, ?, ?, ?)
            on conflict (stage) do update set
                reason = excluded.reason, reason_code = excluded.reason_code,
                since = excluded.since
            """,
            (stage, reason.text, reason.code, now_s),
        )
        return True

    def clear(self, stage: str) -> bool:
        """Record that a stage is not blocked. Return whether it was."""
        return self._db.execute("delete from blocked_stages where stage = ?", (stage,)).rowcount > 0

    def all(self) -> dict[str, Reason]:
        """Return the reason of each blocked stage."""
        rows = self._db.execute(
            "select stage, reason, reason_code from blocked_stages order by stage"
        )
        return {row["stage"]: reason_of(row) for row in rows}
