"""How the service ends at its start: each code tells systemd whether another start can help."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from portraitd.cli import options
from portraitd.config import Settings
from portraitd.model.errors import ConfigError, StillBlocked, StoreError
from portraitd.model.reasons import ReasonCode
from portraitd.model.stage import Now
from portraitd.service.daemon import GIVE_UP_S, GiveUpTimer
from portraitd.service.home import make_home as make_folders
from portraitd.service.home import open_home
from portraitd.store.database import FILE_NAME, Database, StoreLock
from support.cli_runner import RunCommand, make_runner
from support.home import Home
from support.mounts import mounting
from support.processes import make_home

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> RunCommand:
    return make_runner(monkeypatch, capsys, tmp_path)


def damage(state: Path) -> None:
    (state / FILE_NAME).write_bytes(b"no database" * 1000)


def make_newer(state: Path) -> None:
    with Database.open(state) as database:
        database.execute("pragma user_version = 999")


def take_the_place_of_the_lock(state: Path) -> None:
    (state / "lock").mkdir()


@pytest.mark.parametrize(
    ("spoil", "exit_code"),
    [
        (damage, options.EXIT_UNUSABLE),
        (make_newer, options.EXIT_UNUSABLE),
        (take_the_place_of_the_lock, options.EXIT_UNAVAILABLE),
    ],
)
def test_what_is_wrong_with_the_state_decides_the_exit_code(
    tmp_path: Path, run: RunCommand, spoil: Callable[[Path], None], exit_code: int
) -> None:
    """Another start does not repair a database; it may find the machine repaired."""
    home = make_home(tmp_path / "home")
    (home / "state").mkdir(mode=0o700, exist_ok=True)
    spoil(home / "state")

    assert exit_code == run("run", "--home", home).returncode


def test_a_home_in_use_and_wrong_settings_have_codes_of_their_own(
    tmp_path: Path, run: RunCommand
) -> None:
    """The first passes when the other process ends: it is retried."""
    home = make_home(tmp_path / "home")
    (home / "state").mkdir(mode=0o700, exist_ok=True)
    with StoreLock(home / "state"):
        assert options.EXIT_LOCKED == run("run", "--home", home).returncode
    wrong = run("run", "--home", home, "--set", "grouping.eps=wide")

    assert options.EXIT_CONFIG == wrong.returncode
    assert options.EXIT_USAGE == run("run", "--home", home, "--no-such-option").returncode


def test_a_share_that_is_mounted_late_is_waited_for(
    tmp_path: Path, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd starts the service in an empty folder: no second home is made there."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))

    assert options.EXIT_UNAVAILABLE == run("run", "--home", home, "--until-idle").returncode
    assert [] == os.listdir(home)


def test_the_folders_of_a_used_home_are_not_made_again(tmp_path: Path) -> None:
    """What is missing is on a share; of the state, which is local, nothing may be missing."""
    settings = Settings.model_validate({"home": tmp_path / "home"})
    open_home(settings)
    Database.open(settings.state_dir).close()
    settings.people_dir.rmdir()
    settings.inbox_dir.rmdir()
    settings.requests_dir.rmdir()

    open_home(settings)

    assert ["state"] == os.listdir(settings.home_dir)
    assert settings.requests_dir.is_dir()
    make_folders(settings)
    assert {"inbox", "people", "state"} == set(os.listdir(settings.home_dir))


def test_a_folder_that_cannot_be_made_now_is_not_a_wrong_setting(tmp_path: Path) -> None:
    """A disk that is full for a while, and a path that can never be one."""
    with mounting(tmp_path) as mount:
        full = mount("full", "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "tmpfs")
        with pytest.raises(StoreError, match=r"cannot create .*full/home: No space left"):
            make_folders(Settings.model_validate({"home": full / "home"}))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot create .*file/home: Not a directory"):
        make_folders(Settings.model_validate({"home": tmp_path / "file" / "home"}))


def test_a_command_that_is_to_end_gives_up_on_what_stays_blocked(tmp_path: Path) -> None:
    """What passes by itself is waited for longer; every success begins the time again."""
    home = Home(tmp_path / "home")
    with home.opened() as service:
        home.tick(service)
        timer = GiveUpTimer()
        timer.check(service, Now(0.0, 0.0))
        away = home.inbox.rename(tmp_path / "away")
        home.steady_s += 20.0
        home.tick(service)
        assert service.is_stuck
        timer.check(service, Now(0.0, 10.0))
        timer.check(service, Now(0.0, 9.0 + GIVE_UP_S))
        with pytest.raises(StillBlocked, match=r"gave up after 60 s: .*inbox: ") as given_up:
            timer.check(service, Now(0.0, 10.0 + GIVE_UP_S))
        away.rename(home.inbox)
        home.steady_s += 20.0
        home.tick(service)
        timer.check(service, Now(0.0, 1e6))

    assert ReasonCode.INBOX_UNAVAILABLE is given_up.value.reason.code


def test_the_document_lists_every_exit_code() -> None:
    """And says of each with which the service can end whether systemd retries."""
    rows = re.findall(r"^\| (\d+) \| .*\| ([\w ]*)\|$", OPERATIONS.read_text(), re.MULTILINE)
    defined = {value for name, value in vars(options).items() if name.startswith("EXIT_")}

    assert {int(code) for code, _ in rows} == defined | {0, 130}
    assert {options.EXIT_USAGE, options.EXIT_UNUSABLE, options.EXIT_CONFIG} == {
        int(code) for code, systemd in rows if systemd.strip() == "does not retry"
    }
    assert {options.EXIT_INTERNAL, options.EXIT_UNAVAILABLE, options.EXIT_LOCKED} == {
        int(code) for code, systemd in rows if systemd.strip() == "retries"
    }
