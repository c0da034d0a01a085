"""What whoever runs the service sees of it: figures, health, new settings, a quiet log."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from portraitd.config import Settings
from portraitd.model.media_file import FileState
from portraitd.service.health import (
    FILE_NAME,
    SIZE,
    Health,
    lock_holder,
    read_heartbeat,
    write_heartbeat,
)
from portraitd.service.log_setup import MAX_REMEMBERED, RepeatFilter
from portraitd.service.metrics import MetricsFile
from portraitd.service.status import read_status
from portraitd.service.supervisor import Supervisor, differences
from portraitd.store.database import StoreLock
from support.clock import at
from support.daemon import Daemon, make_home, portraitd
from support.home import Home
from support.processes import wait_until

# --- The log.


def test_the_same_complaint_is_made_once_a_minute() -> None:
    """Then it says how often it was held back; other facts are another line."""
    now = [0.0]
    log = RepeatFilter(lambda: now[0])
    line = {"event": "blocked", "level": "error", "reason": "disk full", "timestamp": "a"}

    assert 0 == log.check(line)
    assert [None, None] == [log.check({**line, "timestamp": t}) for t in "bc"]
    assert 0 == log.check({**line, "reason": "share away"})
    now[0] = 60.0
    assert 2 == log.check(line)
    assert 5 == log.counts["blocked"]


def test_what_happened_is_said_each_time() -> None:
    """Two starts within a minute are two starts."""
    log = RepeatFilter(lambda: 0.0)

    assert [0, 0] == [log.check({"event": "started", "level": "info"}) for _ in range(2)]


def test_what_was_said_is_remembered_within_bounds() -> None:
    """A hundred thousand files are a hundred thousand lines, and no leak."""
    log = RepeatFilter(lambda: 0.0)
    for number in range(MAX_REMEMBERED + 50):
        assert 0 == log.check({"event": "file_failed", "level": "error", "path": str(number)})

    assert MAX_REMEMBERED == len(log._windows)


# --- Health.


def test_health_is_heard_from_the_process_that_holds_the_lock(tmp_path: Path) -> None:
    """What an earlier one said does not count, and looking takes no lock."""
    write_heartbeat(tmp_path, Health(1, 5.0, "disk full", 4.0))
    assert Health(0, 0.0) == read_heartbeat(tmp_path)
    with StoreLock(tmp_path):
        mine = lock_holder(tmp_path / "lock")
        assert Health(mine, 0.0) == read_heartbeat(tmp_path)
        write_heartbeat(tmp_path, Health(mine, 5.0, "disk full", 4.0))
        assert Health(mine, 5.0, "disk full", 4.0) == read_heartbeat(tmp_path)
    assert 0 == lock_holder(tmp_path / "lock")


def test_health_never_needs_more_room(tmp_path: Path) -> None:
    """However long the reason."""
    for reason in ("", "x" * 10_000, 'é\n"' * 400):
        write_heartbeat(tmp_path, Health(1, 5.0, reason))
        data = (tmp_path / FILE_NAME).read_bytes()
        assert SIZE == len(data)
        assert reason.startswith(json.loads(data)["blocked"])


# --- Metrics.


@pytest.fixture
def home(tmp_path: Path, nobody: Path) -> Home:
    """A home in which a clip without a face was worked on."""
    home = Home(tmp_path / "home", metrics={"textfile": tmp_path / "portraitd.prom"})
    home.drop(nobody, "nobody.mp4")
    home.run()
    return home


LINE = re.compile(r'portraitd_[a-z_]+(\{[a-z]+="[^"\\\n]*"\})? [-+0-9.e]+')


def test_figures_have_the_form_that_the_exporter_reads(home: Home, tmp_path: Path) -> None:
    """Each name has a help and a type, base units at its end, and values that are numbers."""
    MetricsFile(home.settings, lambda now: read_status(home.settings).snapshot).write(at(0.0), 1.5)
    text = (tmp_path / "portraitd.prom").read_text()
    lines = text.splitlines()
    types = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE"))
    helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
    values = [line for line in lines if not line.startswith("#")]

    assert text.endswith("\n")
    assert [] == [line for line in values if not LINE.fullmatch(line)]
    assert helped == types.keys() == {re.split(r"[{ ]", line)[0] for line in values}
    for name, kind in types.items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(ms|mb|kb|minutes|percent|count)$", name), name
    assert 'portraitd_files{state="done"} 1.0' in values
    assert "portraitd_blocked_seconds 1.5" in values
    assert ["portraitd.prom"] == [path.name for path in tmp_path.glob("*.prom*")]


def test_figures_are_written_no_more_often_than_asked(home: Home, tmp_path: Path) -> None:
    """And they go with the service."""
    figures = MetricsFile(home.settings, lambda now: read_status(home.settings).snapshot)
    target = tmp_path / "portraitd.prom"
    figures.write(at(0.0), 0.0)
    target.unlink()
    figures.write(at(14.9), 0.0)
    assert not target.exists()
    figures.write(at(15.0), 0.0)
    assert target.exists()
    figures.remove()
    assert not target.exists()


def test_figures_that_cannot_be_written_stop_nothing(home: Home, tmp_path: Path) -> None:
    """The folder is missing: a line in the log, and the service goes on."""
    elsewhere = Home(tmp_path / "home", metrics={"textfile": tmp_path / "gone" / "p.prom"})
    MetricsFile(elsewhere.settings, lambda now: read_status(home.settings).snapshot).write(
        at(0.0), 0.0
    )

    assert not (tmp_path / "gone").exists()


def test_every_state_has_a_figure(home: Home, tmp_path: Path) -> None:
    """Also those in which there is nothing, so that no alert misses a series."""
    MetricsFile(home.settings, lambda now: read_status(home.settings).snapshot).write(at(0.0), 0.0)
    lines = (tmp_path / "portraitd.prom").read_text().splitlines()

    for state in FileState:
        assert f'portraitd_files{{state="{state}"}} {float(state == FileState.DONE)}' in lines


# --- New settings.


def test_differences_name_each_key_with_both_values() -> None:
    """By its whole name; what is equal is not named."""
    before, after = Settings(), Settings.model_validate({"grouping": {"eps": 0.4}, "home": "/h"})

    assert {
        "home": ["~/portraits", "/h"],
        "grouping.eps": [None, 0.4],
    } == differences(before, after)


def test_a_blocked_service_says_so_until_it_is_not(home: Home) -> None:
    """In the health file: why, and since when."""
    supervisor = Supervisor(home.settings, Settings, lambda: False)
    with home.opened() as service:
        supervisor.after_tick(service, home.now)
        calm = json.loads((home.settings.state_dir / FILE_NAME).read_bytes())
        since_s = home.now.wall_s
        service.grouping._blocked = "the grouping failed"
        supervisor.after_tick(service, home.now)
        home.steady_s += 100.0
        supervisor.after_tick(service, home.now)
        blocked = json.loads((home.settings.state_dir / FILE_NAME).read_bytes())

    assert "" == calm["blocked"]
    assert ("the grouping failed", since_s) == (blocked["blocked"], blocked["blocked_since_s"])
    assert home.now.wall_s == blocked["at_s"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that writes figures."""
    folder = tmp_path_factory.mktemp("reloaded")
    home = make_home(folder / "home")
    config = home / "config.toml"
    config.write_text(config.read_text() + f'[metrics]\ntextfile = "{folder}/p.prom"\n')
    with Daemon(home) as daemon:
        daemon.wait_for("service_started")
        yield daemon


def test_a_signal_puts_new_settings_in_force(daemon: Daemon, nobody: Path) -> None:
    """In the same process; the log names the difference; work goes on."""
    config = daemon.home / "config.toml"
    config.write_text(config.read_text().replace("scan_s = 1.0", "scan_s = 0.5"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("service_started", times=2)
    (line,) = (line for line in daemon.log if line["event"] == "reloaded")
    (daemon.home / "inbox" / "nobody.mp4").write_bytes(nobody.read_bytes())
    daemon.wait_for("video_done")

    assert {"inbox.scan_s": [1.0, 0.5]} == line["changed"]
    assert daemon.process.pid == daemon.status()["service"]["process"]


def test_wrong_settings_are_refused_and_the_old_ones_stay(daemon: Daemon) -> None:
    """One line that names the key; and the same file twice is no reload."""
    config = daemon.home / "config.toml"
    good = config.read_text()
    started = daemon.events().count("service_started")
    config.write_text(good.replace("scan_s = 0.5", 'scan_s = "often"'))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("reload_failed")
    config.write_text(good)
    times = daemon.events().count("reloaded")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("reloaded", times=times + 1)
    (line,) = (line for line in daemon.log if line["event"] == "reload_failed")

    assert "inbox.scan_s = 'often'" in line["reason"]
    assert started == daemon.events().count("service_started")


def test_settings_that_cannot_be_put_in_force_are_taken_back(daemon: Daemon) -> None:
    """Valid to read, but the folder cannot be made: the service begins anew with the old ones."""
    config = daemon.home / "config.toml"
    good = config.read_text()
    started = daemon.events().count("service_started")
    config.write_text(f'{good}\n[paths]\npeople = "/proc/nowhere"\n')
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("service_started", times=started + 1)
    config.write_text(good)

    assert "/proc/nowhere" in [x for x in daemon.log if x["event"] == "reload_failed"][-1]["reason"]


def test_a_running_service_forgets_what_a_command_asks(daemon: Daemon) -> None:
    """The command shows what goes, waits for the service and says what it did."""
    wait_until(lambda: daemon.status()["files"] == {"done": 1}, "the clip is done")
    answer = portraitd("forget", "video", "nobody.mp4", "--yes", "--home", daemon.home)

    assert 0 == answer.returncode, answer.stderr
    assert "1 video and 0 faces erased" in answer.stdout
    assert {"forgotten": 1} == daemon.status()["files"]


def test_figures_of_a_running_service_are_there_until_it_stops(daemon: Daemon) -> None:
    """Then they are gone, and the exit code is 0."""
    target = daemon.home.parent / "p.prom"
    wait_until(target.exists, "the figures are written")

    assert 0 == daemon.stop()
    assert not target.exists()
    assert 0 == daemon_process_of(daemon.home)


def daemon_process_of(home: Path) -> int:
    """As ``portraitd status`` says."""
    found = json.loads(portraitd("status", "--json", "--home", home).stdout)
    return int(found["service"]["process"])


def test_a_backup_beside_a_running_store_opens(home: Home, tmp_path: Path) -> None:
    """The command, with its copy looked through by SQLite itself."""
    with home.opened():
        answer = portraitd("backup", tmp_path / "b.sqlite3", "--home", home.settings.home_dir)
        refused = portraitd("restore", tmp_path / "b.sqlite3", "--home", home.settings.home_dir)

    assert 0 == answer.returncode, answer.stderr
    assert "1 videos" in answer.stdout
    assert 75 == refused.returncode
    with closing(sqlite3.connect(tmp_path / "b.sqlite3")) as db:
        assert ("ok",) == db.execute("pragma integrity_check").fetchone()
    restored = portraitd("restore", tmp_path / "b.sqlite3", "--home", home.settings.home_dir)
    assert 0 == restored.returncode, restored.stderr
    assert "portraitd.sqlite3.old-" in restored.stdout


def test_a_stop_while_settings_are_taken_up_is_a_stop(tmp_path: Path) -> None:
    """It comes between the service of before and the one that begins anew."""
    home = make_home(tmp_path / "home")
    with Daemon(home) as daemon:
        daemon.wait_for("service_started")
        config = home / "config.toml"
        config.write_text(config.read_text().replace("scan_s = 1.0", "scan_s = 0.5"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("reloaded")
        daemon.process.send_signal(signal.SIGTERM)

        assert 0 == daemon.process.wait(60)
