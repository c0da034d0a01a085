"""Notices about what reviewers did: written when the tree is read, shown by pages and commands."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import replace

from portraitd.model.reasons import ReasonCode
from portraitd.model.review_notice import LASTING, NOTICE_DAYS, ReviewNotice
from portraitd.store.database import Database

MAX_NOTICES = 100

_DAY_S = 86_400.0


class ReviewNotices:
    """Keeps the newest notices; at most one of a code per location."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def is_full(self) -> bool:
        """Whether a new notice takes the place of the oldest."""
        return len(self.newest()) >= MAX_NOTICES

    def find_new(self, notices: Iterable[ReviewNotice]) -> list[ReviewNotice]:
        """Return the notices that are not recorded, or say something else than those that are."""
        known = {one.key: one.facts for one in self.newest()}
        return [one for one in notices if known.get(one.key) != one.facts]

    def record(self, notices: Iterable[ReviewNotice], now_s: float) -> list[ReviewNotice]:
        """Record notices. Return those that are new, or say something else than before."""
        new = self.find_new(notices)
        if not new:
            return []
        with self._db.transaction():
            self._db.executemany(
                "insert or replace into review_notices (code, location, facts, at) "
                "values (?, ?, ?, ?)",
                [(one.code, one.location, json.dumps(dict(one.facts)), now_s) for one in new],
            )
            self._db.execute(
                """
                delete from review_notices where (code, location) not in
                    (select code, location from review_notices
                        order by code = ? desc, at desc limit ?)
                """,
                (ReasonCode.PORTRAITS_DISAPPEARED, MAX_NOTICES),
            )
        return [replace(one, at=now_s) for one in new]

    def clear(self, code: ReasonCode, location: str) -> bool:
        """Remove a notice that is not true any more. Return whether there was one."""
        removed = self._db.execute(
            "delete from review_notices where code = ? and location = ?", (code, location)
        )
        return removed.rowcount > 0

    def keep_only(
        self, current: Iterable[ReviewNotice], codes: Collection[ReasonCode] = LASTING
    ) -> None:
        """Remove the notices with these codes that are not among the current ones."""
        kept = {one.key for one in current}
        for one in self.newest():
            if one.code in codes and one.key not in kept:
                self.clear(one.code, one.location)

    def expire(self, now_s: float) -> None:
        """Remove notices about single actions that are older than ``NOTICE_DAYS``."""
        for one in self.newest():
            is_over = one.code not in (*LASTING, ReasonCode.PORTRAITS_DISAPPEARED)
            if is_over and one.at < now_s - NOTICE_DAYS * _DAY_S:
                self.clear(one.code, one.location)

    def has(self, code: ReasonCode) -> bool:
        """Return whether there is a notice with this code."""
        row = self._db.execute("select 1 from review_notices where code = ? limit 1", (code,))
        return row.fetchone() is not None

    def newest(self, limit: int = MAX_NOTICES) -> tuple[ReviewNotice, ...]:
        """Return the newest notices, the newest first."""
        rows = self._db.execute(
            "select * from review_notices order by at desc, code, location limit ?", (limit,)
        )
        return tuple(
            ReviewNotice(
                ReasonCode(row["code"]),
                row["location"],
                tuple(sorted(json.loads(row["facts"]).items())),
                row["at"],
            )
            for row in rows
        )
