"""What is kept for some days is erased after them, but not because a clock is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portraitd.model.reasons import NO_REASON, ReasonCode
from portraitd.model.stage import Now
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service.clock_check import MAX_GAP_S, is_synchronised
from portraitd.service.erasure_stage import MANY_VIDEOS, STAGE, ErasureStage
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.database import FILE_NAME, Database
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.maintenance.backup import back_up, restore
from support.home import Home
from support.store import Store, video_facts

DAY_S = 86_400.0

START_S = 1_600_000_000.0


class Kept:
    """A home that keeps videos for ten days, and its retention; one video a day is added."""

    def __init__(self, folder: Path, days: int = 8) -> None:
        self.home = Home(folder, privacy={"keep_days": 10.0})
        self.state_dir = self.home.settings.state_dir
        self.database = Database.open(self.state_dir)
        self.store = Store(self.database)
        self.is_synchronised = False
        PeopleTree(self.home.people, store=self.database.name).create()
        for day in range(days):
            self.add(f"day {day}.mp4", START_S + day * DAY_S)
        self.restart()

    def add(self, name: str, now_s: float, sha256: str = "") -> None:
        file = self.store.file(name)
        facts = video_facts(sha256=sha256 or f"sha of {name}")
        self.store.slice_queue.admit(file, facts, 60.0, now_s)
        self.database.execute("update files set changed_at = ?", (now_s,))

    def restart(self) -> None:
        """Start the service again."""
        self.stage = ErasureStage(
            Eraser(self.database),
            self.home.settings,
            blocked_stages=BlockedStages(self.database),
            clock_is_synchronised=lambda: self.is_synchronised,
        )

    def tick(self, day: float, steady_day: float | None = None) -> ReasonCode:
        """Tick on a day; return why retention waits."""
        steady_s = (day if steady_day is None else steady_day) * DAY_S
        self.stage.tick(Now(START_S + day * DAY_S, steady_s))
        return self.stage.blocked.code

    def left(self) -> int:
        return int(self.database.execute("select count(*) from videos").fetchone()[0])


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    found = Kept(tmp_path / "home")
    yield found
    found.database.close()


def test_each_day_what_is_due_is_erased(kept: Kept) -> None:
    """While the clock goes on as before, nobody is asked, however few videos there are."""
    left = []
    for day in range(8, 19):
        assert NO_REASON.code is kept.tick(day + 0.5)
        left.append(kept.left())

    assert [8, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0] == left


@pytest.mark.parametrize("days_off", [-3000.0, 20.0, 400.0, 4000.0])
def test_a_clock_that_jumps_erases_nothing(kept: Kept, days_off: float) -> None:
    """For seconds, and for days; also if the service starts while it is wrong."""
    kept.tick(8.0)
    kept.tick(8.1 + days_off, 8.1)
    kept.tick(9.5 + days_off, 9.5)
    assert 8 == kept.left()
    kept.restart()
    reason = kept.tick(9.6 + days_off, 0.0)

    assert 8 == kept.left()
    if days_off > 0:
        assert ReasonCode.RETENTION_CLOCK is reason
        assert STAGE in BlockedStages(kept.database).all()
    # It is set right, and the service goes on as if nothing had been.
    kept.restart()
    assert NO_REASON.code is kept.tick(10.5, 0.0)
    assert 7 == kept.left()
    assert {} == BlockedStages(kept.database).all()


def test_a_clock_that_the_kernel_calls_synchronised_is_right(kept: Kept) -> None:
    """After a long time off, a few are erased; for more than a fifth somebody is asked."""
    kept.tick(8.0)
    kept.restart()
    kept.add("new.mp4", START_S + 100 * DAY_S)
    for day in range(40):
        kept.add(f"later {day}.mp4", START_S + 100 * DAY_S)
    assert ReasonCode.RETENTION_CLOCK is kept.tick(101.0, 0.0)
    kept.is_synchronised = True
    assert NO_REASON.code is kept.tick(101.1, 0.1)
    assert 41 == kept.left()

    kept.restart()
    assert ReasonCode.RETENTION_MANY is kept.tick(400.0, 0.0)
    assert 41 == kept.left()


def test_many_at_once_wait_until_they_are_accepted(tmp_path: Path) -> None:
    """As when the setting is new, or has lost a digit; then they are erased, once."""
    kept = Kept(tmp_path / "home", 0)
    for number in range(MANY_VIDEOS):
        kept.add(f"{number}.mp4", START_S)
    kept.add("new.mp4", START_S + 11 * DAY_S)
    assert not kept.stage.accept()
    assert ReasonCode.RETENTION_MANY is kept.tick(11.5)
    assert MANY_VIDEOS + 1 == kept.left()
    assert kept.stage.accept()

    assert NO_REASON.code is kept.tick(11.6)
    assert 1 == kept.left()
    assert not kept.stage.accept()
    kept.database.close()


def test_an_accept_that_was_queued_is_obeyed_at_the_next_start(kept: Kept) -> None:
    """The new service has not looked yet when it reads the request."""
    kept.tick(8.0)
    kept.restart()
    assert ReasonCode.RETENTION_CLOCK is kept.tick(50.0, 0.0)
    kept.restart()
    assert kept.stage.accept()

    assert NO_REASON.code is kept.tick(50.0, 0.0)
    assert 0 == kept.left()


def test_what_retention_erased_says_so_and_can_be_dropped_again(kept: Kept) -> None:
    """It was nobody's word. The file that stays in the inbox is not read again by itself."""
    kept.tick(10.5)
    (row,) = kept.database.execute("select * from files where state = 'forgotten'").fetchall()
    kept.add("again.mp4", START_S + 10.6 * DAY_S, "sha of day 0.mp4")
    kept.tick(11.0)

    assert ("expired", b"day 0.mp4") == (row["reason_code"], row["path"])
    assert "because it is older than 10 days" in row["reason"]
    states = {
        row["path"]: row["state"]
        for row in kept.database.execute("select path, state from files").fetchall()
    }
    assert ("encoding", "forgotten") == (states[b"again.mp4"], states[b"day 0.mp4"])
    assert 0 == kept.database.execute("select count(*) from tombstones").fetchone()[0]


def test_a_restored_backup_brings_nothing_back(kept: Kept, tmp_path: Path) -> None:
    """What was erased for its age since is erased again, whatever the clock says then."""
    kept.tick(8.0)
    back_up(kept.state_dir, tmp_path / "b.sqlite3", 1.0)
    kept.tick(12.5)
    assert 5 == kept.left()
    kept.database.close()
    restore(kept.state_dir, tmp_path / "b.sqlite3", START_S + 13 * DAY_S)
    kept.database = Database.open(kept.state_dir)

    assert (kept.state_dir / FILE_NAME).exists()
    assert 5 == kept.left()


def test_a_damaged_record_is_no_record(kept: Kept) -> None:
    """The store says when it was last used; that a service did not run for long may be true."""
    kept.tick(8.0)
    for content in (b"", b"[]", b'{"clock_s": NaN, "forgotten_before_s": 0}', b"\xff"):
        (kept.state_dir / "retention.json").write_bytes(content)
        kept.restart()
        assert ReasonCode.RETENTION_CLOCK is kept.tick(9.0 + 2 * MAX_GAP_S / DAY_S, 0.0)
    assert 8 == kept.left()


def test_the_kernel_can_be_asked() -> None:
    """The answer depends on the machine; it is one."""
    ask: Callable[[], bool] = is_synchronised

    assert ask() in (True, False)
