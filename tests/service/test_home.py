"""The folders of a home: apart from each other, and not read by ``process``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from portraitd.config import Settings, load
from portraitd.model.errors import ConfigError
from portraitd.service.daemon import open_service
from portraitd.service.home import check_folders, find_own_folders, make_home, require_home
from portraitd.service.wakeup import Doorbell
from support.cli_runner import RunCommand, make_runner, stderr_of
from support.home import Home
from support.processes import CONFIG


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> RunCommand:
    """Run a command in this process, as a user without a home folder."""
    return make_runner(monkeypatch, capsys, tmp_path)


NOTES = "notes.mp4"


def settings_of(home: Path, **paths: str) -> Settings:
    return load(home, assignments=[f"paths.{name}={path}" for name, path in paths.items()])


IN_EACH_OTHER = [
    {"inbox": "people"},
    {"people": "inbox/people"},
    {"inbox": "people/new"},
    {"dataset": "inbox"},
    {"dataset": "inbox/set"},
    {"state": "people/state"},
    {"state": "dataset"},
    {"inbox": "."},
    {"people": ".."},
    {"inbox": "/"},
    {"inbox": "inbox/../people"},
    {"people": "link"},
    {"people": "link/deeper"},
]


@pytest.mark.parametrize("paths", IN_EACH_OTHER, ids=str)
def test_folders_in_each_other_are_refused(
    tmp_path: Path, here: RunCommand, paths: dict[str, str]
) -> None:
    """By ``init`` before anything is made, and at each start."""
    home = tmp_path / "home"
    (home / "inbox").mkdir(parents=True)
    (home / "link").symlink_to("inbox")
    before = sorted(home.rglob("*"))
    settings = settings_of(home, **paths)

    with pytest.raises(ConfigError, match=r"paths\.(inbox|people|dataset|state) = "):
        make_home(settings)
    with pytest.raises(ConfigError), open_service(settings, Doorbell()):
        pass
    options = [
        option for name, path in paths.items() for option in ("--set", f"paths.{name}={path}")
    ]
    checked = here("check", "--home", home, *options)
    assert "BAD  folders: paths." in checked.stdout
    for command in ("init", "run"):
        answer = here(command, "--home", home, *options)
        assert 78 == answer.returncode, answer.stderr
        assert 1 == len(stderr_of(answer).splitlines())
    assert before == sorted(home.rglob("*"))


@pytest.mark.parametrize(
    "paths",
    [{}, {"inbox": "inbox-2", "people": "inbox"}, {"state": "../state"}, {"people": "a/b/people"}],
    ids=str,
)
def test_folders_beside_each_other_are_accepted(tmp_path: Path, paths: dict[str, str]) -> None:
    """Also outside of the home."""
    check_folders(settings_of(tmp_path / "home", **paths))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_the_same_folder_under_two_names_is_refused(tmp_path: Path) -> None:
    """A bind mount: no path and no link says so."""
    for name in ("inbox/album", "people"):
        (tmp_path / "home" / name).mkdir(parents=True)
    mount = f'mount --bind {tmp_path}/home/inbox/album {tmp_path}/home/people && exec "$@"'

    answer = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh",
         sys.executable, "-m", "portraitd", "init", "--home", tmp_path / "home"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 78 == answer.returncode, answer.stderr
    assert "are the same folder, or one is in the other" in answer.stderr


@pytest.mark.parametrize(
    ("entries", "is_home"),
    [
        ([], True),
        (["inbox", "music"], True),
        (["config.toml"], True),
        (["music"], False),
        ([".bashrc"], False),
    ],
)
def test_a_home_is_known_by_what_is_in_it(
    tmp_path: Path, entries: list[str], is_home: bool
) -> None:
    """An empty folder may become one."""
    for name in entries:
        path = tmp_path / name
        path.touch() if path.suffix else path.mkdir()

    if is_home:
        require_home(load(tmp_path))
    else:
        with pytest.raises(ConfigError, match=r"not a home folder.*portraitd init --home"):
            require_home(load(tmp_path))


def test_own_folders_are_left_out_of_what_is_processed(tmp_path: Path) -> None:
    """Below a folder that was named; it is an error to name one of them, or a file in it."""
    settings = settings_of(tmp_path / "home", dataset="../elsewhere/set")
    make_home(settings)
    (tmp_path / "link").symlink_to(tmp_path / "home/people")

    own = ["config.toml", "people", "state"]
    assert own == [str(path) for path in find_own_folders(settings, tmp_path / "home")]
    around = [*(f"home/{name}" for name in own), "elsewhere/set"]
    assert around == [str(path) for path in find_own_folders(settings, tmp_path)]
    assert [] == find_own_folders(settings, tmp_path / "home/inbox")
    for name in ("home/people", "home/state/x.mp4", "elsewhere/set", "link", "link/Ann/1.jpg"):
        with pytest.raises(ConfigError, match="portraitd's own files"):
            find_own_folders(settings, tmp_path / name)


def test_process_works_on_the_named_home_and_reads_nothing_of_its_own(
    tmp_path: Path, here: RunCommand, two_found: Home
) -> None:
    """Although the settings file of the service names other folders."""
    home, service = tmp_path / "home", tmp_path / "srv"
    shutil.copytree(two_found.settings.home_dir, home)
    (home / "inbox" / "clip.mp4").unlink()
    (home / f"\x1b[2J\u202e{NOTES}").write_text("no video")
    config = tmp_path / "etc.toml"
    config.write_text(
        f'home = "{service}"\n{CONFIG}[paths]\ninbox = "{service}/inbox"\n'
        f'people = "{service}/people"\nstate = "{tmp_path}/lib"\n'
    )
    assert 0 == here("init", "--config", config).returncode
    of_service = [*service.rglob("*"), *(tmp_path / "lib").iterdir()]
    before = {path: path.stat().st_mtime_ns for path in of_service}
    options = ("--config", config, "--home", home)
    found = here("faces", *options).stdout

    named = here("process", home / "people", *options)
    around = here("process", home, *options)
    shown = here("status", *options)

    assert 78 == named.returncode
    assert "portraitd's own files (people) are not processed" in stderr_of(named)
    assert 1 == around.returncode, around.stderr
    assert f"failed: \\x1b[2J\\u202e{NOTES}" in stderr_of(around)
    assert set() == {"\x1b", "\u202e"} & {*around.stderr, *shown.stdout}
    assert "0 of 1 file" in around.stderr
    assert 11 <= len(found.splitlines())
    assert found == here("faces", *options).stdout
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert f"home      {home}\n" in shown.stdout
    assert f"settings  {config}\n" in shown.stdout
