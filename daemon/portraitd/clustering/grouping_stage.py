"""Decide when to group faces into people again, and record the result."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog

from portraitd.clustering.grouping_methods import GroupingMethod
from portraitd.config import GroupingSettings
from portraitd.model.errors import code_of, is_of_machine
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.store.people import People

log = structlog.get_logger(stage="grouping")

BACK_OFF_S = 60.0

MIN_WAIT_S = 60.0
GROUPING_SHARE = 0.02
"""While faces are encoded, groupings take at most this share of the time, and people still appear
soon: a new face waits at least a minute, and at most ``max_wait_s``."""


def is_due(
    newest_s: float, oldest_s: float, now_s: float, working: bool, settle_s: float, wait_s: float
) -> bool:
    """Return whether to regroup: new faces have settled, or have waited ``wait_s``."""
    settled = not working and not 0 <= now_s - newest_s < settle_s
    return settled or now_s - oldest_s >= wait_s


def longest_wait_s(last_run_s: float, pace: GroupingSettings) -> float:
    """Return how long a new face waits for a grouping while others are encoded.

    Args:
        last_run_s: How long the last grouping took; 0 if there was none.
        pace: The settings.
    """
    return min(pace.max_wait_s, max(MIN_WAIT_S, last_run_s / GROUPING_SHARE))


class GroupingStage(Stage):
    """Groups all stored faces in a worker, and records the person of each.

    Args:
        people: Where the result is recorded.
        method: How faces are grouped.
        wake: Called, from any thread, when a result has arrived.
        pace: When to group: ``settle_s`` seconds after the last new face if nothing is left to
            encode; while faces are encoded, see ``longest_wait_s``.
        is_working: Returns whether more faces are being encoded.
    """

    phase = "grouping"
    updates_tree = True

    def __init__(
        self,
        people: People,
        method: GroupingMethod,
        wake: Callable[[], None],
        pace: GroupingSettings,
        is_working: Callable[[], bool] = lambda: False,
    ) -> None:
        self._people = people
        self._method = method
        self._wake = wake
        self._pace = pace
        self._running: Future[Any] | None = None
        self._began_s = 0.0
        self._is_working = is_working
        self._back_off = BackOff(BACK_OFF_S)
        self._stale_since_s: float | None = None
        self._is_forced = False
        self._blocked = NO_REASON
        self._was_forced = False

    def force(self) -> None:
        """Group everything from scratch at the next tick, whether it is due or not."""
        self._is_forced = True

    @property
    def pending(self) -> bool:
        """Return whether faces or edits are waiting for a grouping."""
        return self._is_forced or self._running is not None or self._method.arrivals().stale

    @property
    def blocked(self) -> Reason:
        """Return why the last grouping failed; empty if it did not."""
        return self._blocked

    @property
    def running(self) -> bool:
        """Return whether a worker is grouping now."""
        return self._running is not None

    @property
    def is_computing(self) -> bool:
        """Return whether a worker has not finished the grouping yet."""
        return self._running is not None and not self._running.done()

    def tick(self, now: Now) -> None:
        """Submit a grouping if it is due, and record a result that has arrived."""
        if self._running is None and self._is_due(now):
            self._began_s = now.wall_s
            self._stale_since_s = None
            self._was_forced = self._is_forced
            last = None if self._is_forced else self._people.last_grouping_run()
            self._running = self._method.begin(last)
            self._is_forced = False
            self._running.add_done_callback(lambda _: self._wake())
        if self._running is not None and self._running.done():
            if self._method.is_superseded():
                self._discard()
            else:
                self._record(self._running, now)
            self._running = None

    def _discard(self) -> None:
        """Drop a result that would undo edits made while the grouping was running."""
        last = self._people.last_grouping_run()
        self._method.clean_up(last.snapshot if last else "")
        self._is_forced |= self._was_forced
        log.info("grouping_superseded")

    def release(self) -> None:
        """Drop the running grouping; the current people are kept."""
        self._running = None

    def _is_due(self, now: Now) -> bool:
        if not self._back_off.ready(now):
            return False
        now_s, working = now.wall_s, self._is_working()
        new = self._method.arrivals()
        if self._is_forced and not working:
            return True
        if not new.stale:
            self._stale_since_s = None
            return False
        if self._stale_since_s is None or now_s < self._stale_since_s:
            self._stale_since_s = now_s
        # New tracks of old videos wait from the time they were added; otherwise a database whose
        # tracks are being built would be grouped at every tick.
        oldest_s = max(new.oldest_s, self._stale_since_s)
        last = self._people.last_grouping_run()
        wait_s = longest_wait_s(last.seconds if last else 0.0, self._pace)
        return is_due(new.newest_s, oldest_s, now_s, working, self._pace.settle_s, wait_s)

    def _record(self, done: Future[Any], now: Now) -> None:
        try:
            grouped = self._method.finish(done.result())
            grouping_run = self._people.record(grouped, now.wall_s - self._began_s, now.wall_s)
        except Exception as error:
            if is_of_machine(error):
                raise
            # The current people are kept; the next tick after the pause tries again.
            self._back_off.start(now)
            self._blocked = Reason.of(ReasonCode.GROUPING_FAILED, error=error)
            log.error(
                "grouping_failed",
                reason=f"{type(error).__name__}: {error}",
                reason_code=code_of(error),
            )
            last = self._people.last_grouping_run()
            self._method.clean_up(last.snapshot if last else "")
            return
        self._method.clean_up(grouping_run.snapshot)
        self._blocked = NO_REASON
        say = log.error if grouping_run.names_lost or grouping_run.violations else log.info
        say(
            "grouping_finished",
            grouping_run=grouping_run.id,
            faces=grouping_run.faces,
            tracks=grouping_run.tracks,
            people=grouping_run.people,
            unassigned=grouping_run.unassigned,
            churn=grouping_run.churn,
            names_lost=grouping_run.names_lost,
            cannot_link_violations=grouping_run.violations,
            violations_by_user_edits=grouping_run.forced,
            seconds=round(grouping_run.seconds, 2),
        )
