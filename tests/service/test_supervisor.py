"""The running service as operators see it: health, reloaded settings, metrics, a stop in time."""

from __future__ import annotations

import json
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.config import Settings
from portraitd.model.errors import NotMedia
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.service.active_settings import differences
from portraitd.service.health import FILE_NAME
from portraitd.service.supervisor import Supervisor
from support.executors import HeldExecutor
from support.home import Home
from support.pictures import YUNET_FILE
from support.processes import Daemon, make_home, portraitd, wait_until


@pytest.fixture
def home(tmp_path: Path, nobody: Path) -> Home:
    """A home in which a clip without a face was worked on."""
    home = Home(tmp_path / "home")
    home.drop(nobody, "nobody.mp4")
    home.run()
    return home


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
        service.grouping._blocked = Reason.of(ReasonCode.GROUPING_FAILED, error="no memory")
        supervisor.after_tick(service, home.now)
        home.steady_s += 100.0
        supervisor.after_tick(service, home.now)
        blocked = json.loads((home.settings.state_dir / FILE_NAME).read_bytes())

    assert "" == calm["blocked"]
    assert ("grouping failed: no memory", "grouping_failed", since_s) == (
        blocked["blocked"],
        blocked["blocked_code"],
        blocked["blocked_since_s"],
    )
    assert home.now.wall_s == blocked["at_s"]


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_reload_finishes_what_runs_and_begins_nothing(tmp_path: Path, is_answered: bool) -> None:
    """No worker is killed, no attempt is counted; a job that never ends is not waited for."""
    home, executor, requested = Home(tmp_path / "home"), HeldExecutor(), [True]
    sections = home.settings.model_dump()
    changed = Settings.model_validate(sections | {"inbox": {**sections["inbox"], "scan_s": 7.0}})
    home.drop(b"no photo", "first.png")
    with home.opened(executor=executor) as service:
        supervisor = Supervisor(home.settings, lambda: changed, lambda: bool(requested))
        while not executor.jobs:
            home.tick(service)
        assert not supervisor.after_tick(service, home.now)
        requested.clear()
        home.drop(b"nor this", "late.png")
        for _ in range(10):
            home.tick(service)
            assert not supervisor.after_tick(service, home.now)
        assert 1 == len(executor.jobs)
        if is_answered:
            executor.fail(NotMedia("text"))
            home.tick(service)
        else:
            home.steady_s += home.settings.workers.time_limit_s
        assert supervisor.after_tick(service, home.now)
        service.release()

    attempts = {row["path"]: row["attempts"] for row in home.rows("files")}
    assert 0 == attempts[b"late.png"]
    assert ("failed" if is_answered else "ready") == home.states()["first.png"]
    assert is_answered or 0 == attempts[b"first.png"]


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
    """Valid to read, but the service cannot work with them: the old ones stay."""
    config = daemon.home / "config.toml"
    good = config.read_text()
    started, refused = (daemon.events().count(x) for x in ("service_started", "reload_failed"))
    config.write_text(f'{good}\n[paths]\npeople = "/proc/nowhere"\n')
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("reload_failed", times=refused + 1)
    config.write_text(good.replace("[encoder]\n", '[encoder]\nembedder = "arcface"\n'))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("reload_failed", times=refused + 2)
    daemon.wait_for("service_started", times=started + 1)
    config.write_text(good)

    *_, first, second = [x for x in daemon.log if x["event"] == "reload_failed"]
    assert ("/proc/nowhere" in first["reason"], "unchanged") == (True, first["active_settings"])
    assert ("arcface" in second["reason"], "previous") == (True, second["active_settings"])


def test_figures_of_a_running_service_are_there_until_it_stops(daemon: Daemon) -> None:
    """Then they are gone, and the exit code is 0."""
    target = daemon.home.parent / "p.prom"
    wait_until(target.exists, "the figures are written")

    assert 0 == daemon.stop()
    assert not target.exists()
    assert 0 == daemon_process_of(daemon.home)
    assert len(daemon.text.splitlines()) == len(daemon.log), "the journal holds JSON only"


def daemon_process_of(home: Path) -> int:
    """As ``portraitd status`` says."""
    found = json.loads(portraitd("status", "--json", "--home", home).stdout)
    return int(found["service"]["process"])


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


@pytest.mark.media
@pytest.mark.skipif(not YUNET_FILE.exists(), reason="the model is not here")
def test_a_running_service_takes_up_a_model_that_is_added(
    tmp_path: Path, photographs: list[Path]
) -> None:
    """By itself, in the same process; the next photo is searched with it."""
    home = make_home(tmp_path / "home")
    config = home / "config.toml"
    assert {"detector": "hog"} == tomllib.loads(config.read_text())["encoder"]
    config.write_text(config.read_text().replace('"hog"', '"auto"'))
    with Daemon(home) as daemon:
        daemon.wait_for("service_started")
        added = portraitd("models", "add", "yunet", "--from", YUNET_FILE, "--home", home)
        daemon.wait_for("service_started", times=2)
        (line,) = (line for line in daemon.log if line["event"] == "models_changed")
        (home / "inbox" / "photo.jpg").write_bytes(photographs[1].read_bytes())
        daemon.wait_for("video_done")
        (face,) = map(json.loads, portraitd("faces", "--home", home).stdout.splitlines())

        assert "finds faces with yunet" in added.stdout and "within a minute" in added.stdout
        assert [["dlib", "mmod"], ["dlib", "yunet"]] == [line["before"], line["after"]]
        assert daemon.process.pid == daemon.status()["service"]["process"]
        # YuNet's scores end at 1.
        assert 0.8 < face["score"] <= 1.0
