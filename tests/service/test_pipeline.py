"""One tick of the service: what it logs about errors, and when the next tick is due."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from portraitd.datasets.set_erasure import lock_builds
from portraitd.model.errors import StoreError
from portraitd.model.stage import Now, Stage
from portraitd.people.tree.lease import LEASE_NAME
from portraitd.service.erasure_stage import ErasureStage
from portraitd.store.database import Database
from portraitd.store.erasure.eraser import Eraser
from support.home import START_S, Home, assert_sound, person_folders
from support.tree import Snapshot, snapshot

MARKER = ".portraitd-root"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, grouping={"method": "dbscan", "min_samples": 1})


def blocked_events(logs: list[EventDict]) -> list[str]:
    """Return the events about blocked stages, in order."""
    return [line["event"] for line in logs if line["event"] in ("blocked", "recovered")]


def test_every_stage_is_ticked(home: Home) -> None:
    """What the service holds by name is in its tuple, as it is or guarded by its share."""
    with home.opened() as service:
        named = {type(part) for part in vars(service).values() if isinstance(part, Stage)}
        ticked = {type(getattr(stage, "_stage", stage)) for stage in service.stages}

    assert named <= ticked
    assert {"ControlStage", "RemoteWorkerRecorder"} == {kind.__name__ for kind in ticked - named}


def test_a_stage_that_fails_stops_no_other(home: Home, photographs: list[Path]) -> None:
    """The first stages raise at every tick; the tree is still kept up to date by the others."""

    class Failing(Stage):
        def tick(self, now: Now) -> None:
            raise StoreError("disk full")

    home.drop(photographs[0], "a.jpg")
    with home.opened() as service, capture_logs() as logs:
        service.stages = (Failing(), *service.stages)
        for _ in range(20):
            home.tick(service)
        assert "disk full" == str(service.blocked)
        assert not service.idle

    assert ["blocked"] == blocked_events(logs)
    assert 1 == len(person_folders(home.people))


def test_a_people_tree_that_is_away_is_said_once_a_minute(
    home: Home, photographs: list[Path]
) -> None:
    """And that it is back, when it is back: not while the service holds its breath."""
    home.drop(photographs[0], "a.jpg")
    with home.opened() as service, capture_logs() as logs:
        (home.people / MARKER).rename(home.people.with_name("away"))
        for _ in range(100):
            home.tick(service)
        assert ["blocked"] * 2 == blocked_events(logs)
        assert not service.idle
        assert [] == person_folders(home.people)
        home.people.with_name("away").rename(home.people / MARKER)
        home.run_until_idle(service)

    assert ["blocked", "blocked", "recovered"] == blocked_events(logs)
    assert 1 == len(person_folders(home.people))
    assert_sound(home.settings)


def test_work_goes_on_while_the_people_tree_is_away(home: Home, photographs: list[Path]) -> None:
    """Faces are found; they are shown when there is a place to show them."""
    home.drop(photographs[0], "a.jpg")
    with home.opened() as service:
        (home.people / MARKER).rename(home.people.with_name("away"))
        for _ in range(20):
            home.tick(service)
        home.drop(photographs[1], "b.jpg")
        for _ in range(20):
            home.tick(service)

    assert {"a.jpg": "done", "b.jpg": "done"} == home.states()
    assert 2 == len(home.rows("people"))


def test_a_share_that_comes_back_after_a_clock_set_back_is_used(
    home: Home, photographs: list[Path]
) -> None:
    """The pause after a failure is seconds, whatever the wall clock does."""
    home.drop(photographs[0], "a.jpg")
    with home.opened() as service:
        (home.people / MARKER).rename(home.people.with_name("away"))
        for _ in range(12):
            home.tick(service)
        home.people.with_name("away").rename(home.people / MARKER)
        for _ in range(20):
            home.steady_s += 1.0
            service.tick(Now(START_S - 7200.0 + home.steady_s, home.steady_s))

    assert 1 == len(person_folders(home.people))


class Repeating(Stage):
    """Writes two batches in two ticks: as a scan of a large inbox does. The second one fails."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.is_full = True
        self.defers_now = False

    @property
    def defers(self) -> bool:
        return self.defers_now

    def tick(self, now: Now) -> None:
        is_second = int(now.steady_s) % 2 == 0
        if is_second and self.is_full:
            self.defers_now = True
            raise StoreError("full")
        self._db.execute("insert into people (name, created_at) values ('Ann', 1.0)")
        self.defers_now &= not is_second


def test_what_was_written_before_does_not_end_a_block(home: Home) -> None:
    """On a disk that is nearly full the first batch fits each time; what failed is the second."""
    with home.opened() as service, capture_logs() as logs:
        stage = Repeating(service.database)
        service.stages = (*service.stages, stage)
        blocked = []
        for turn in range(24):
            stage.is_full = turn < 20
            home.tick(service)
            blocked.append(bool(service.blocked))

    assert [False] + 20 * [True] + 3 * [False] == blocked
    assert ["blocked", "recovered"] == blocked_events(logs)


def test_an_erasure_that_waits_for_a_grouping_run_does_not_end_its_block(
    home: Home, photographs: list[Path]
) -> None:
    """It has tried nothing."""
    home.drop(photographs[0], "a.jpg")
    is_busy = False
    with home.opened() as service, capture_logs() as logs:
        home.run_until_idle(service)
        eraser = Eraser(service.database)
        stage = ErasureStage(eraser, home.settings, lambda: is_busy)
        service.stages = (stage,)
        stage.erase(eraser.video("a.jpg"), 1.0)
        with lock_builds(home.settings.state_dir):
            home.tick(service)
        assert service.blocked
        is_busy = True
        home.tick(service)
        assert service.blocked
        is_busy = False
        home.tick(service)
        assert not service.blocked

    assert ["blocked", "recovered"] == blocked_events(logs)


def test_a_service_with_nothing_to_do_is_idle(home: Home) -> None:
    """But not before it has looked."""
    with home.opened() as service:
        assert not service.idle

        home.tick(service)

        assert service.idle


def test_an_idle_tick_asks_the_store_nothing_twice(home: Home, photographs: list[Path]) -> None:
    """Not even two stages the same; the claims of the next job are transactions."""
    home.drop(photographs[0], "a.jpg")
    asked: list[str] = []
    with home.opened() as service:
        home.run_until_idle(service)
        home.tick(service)
        service.database._connection.set_trace_callback(asked.append)
        home.tick(service)
        assert service.idle
        service.database._connection.set_trace_callback(None)

    times = Counter(asked)
    assert {"begin immediate", "commit"} == {sql for sql, count in times.items() if count > 1}
    assert times.total() <= 25


def test_nothing_is_idle_while_a_file_settles(home: Home, photographs: list[Path]) -> None:
    """Nor while it is on its way to faces, to people and to a folder."""
    home.drop(photographs[0], "a.jpg")
    seen = []
    with home.opened() as service:
        while not service.idle:
            home.tick(service)
            seen.append(len(list(home.people.glob("*/montage.jpg"))))

    assert 1 == seen[-1]
    assert {0} == set(seen[:-1])


def test_an_idle_service_sleeps_until_the_next_scan(home: Home, photographs: list[Path]) -> None:
    """And looks every second while a file settles."""
    with home.opened() as service:
        home.tick(service)
        assert 10.0 == service.next_tick_s(home.now)
        home.drop(photographs[0], "a.jpg")
        home.tick(service)

        assert 1.0 == service.next_tick_s(home.now)


def test_a_ring_between_two_looks_is_not_forgotten(home: Home, photographs: list[Path]) -> None:
    """Looking once a second is enough, but it must be looked."""
    with home.opened() as service:
        home.tick(service)
        home.drop(photographs[0], "a.jpg")
        soon = Now(home.now.wall_s + 0.3, home.now.steady_s + 0.3)
        service.tick(soon, woken=True)
        assert {} == home.states()

        assert service.next_tick_s(soon) <= 1.0
        later = Now(soon.wall_s + 0.7, soon.steady_s + 0.7)
        service.tick(later, woken=False)

    assert {"a.jpg": "waiting"} == home.states()


def test_the_share_says_how_things_stand(home: Home, photographs: list[Path]) -> None:
    """From the first tick on, while there is work, and when it is done."""
    with home.opened() as service:
        home.tick(service)
        assert "Up to date" in (home.people / "STATUS.html").read_text()
        assert (home.people / "index.html").exists()
        home.drop(photographs[0], "a.jpg")
        home.drop(b"no media", "b.mp4")
        home.tick(service)
        assert "Finding faces" in (home.people / "STATUS.html").read_text()
        home.run_until_idle(service)

    status = (home.people / "STATUS.html").read_text()
    assert "Up to date" in status
    assert "b.mp4" in status
    assert "a.jpg" not in status
    table = (home.people / "gallery/appearances.csv").read_text("utf-8-sig")
    row = "1,person-0001,a.jpg,0.000,0.000,00:00:00.000,00:00:00.000,1"
    assert [f"{row},2001-09-09T01:46:45Z,dropped"] == table.splitlines()[1:]
    assert_sound(home.settings)


def test_what_says_nothing_new_is_not_written(home: Home, photographs: list[Path]) -> None:
    """An idle service leaves the share alone, however often it ticks, and so does a restart."""
    home.drop(photographs[0], "a.jpg")
    with home.opened() as service:
        home.run_until_idle(service)
        before = shown(home)
        for _ in range(30):
            home.tick(service)
    with home.opened() as service:
        home.run_until_idle(service)

    assert before == shown(home)


def shown(home: Home) -> Snapshot:
    """The tree without the lease, which belongs to the process."""
    tree = snapshot(home.people)
    del tree[LEASE_NAME]
    return tree
