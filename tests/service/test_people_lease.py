"""Commands of a home without a service leave alone the tree on which another home's works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from portraitd.cli import options
from portraitd.people.tree.lease import LEASE_NAME
from portraitd.store.database import FILE_NAME
from support.cli_runner import RunCommand, make_runner
from support.home import Home
from support.tree import snapshot

COMMANDS = (
    ("forget", "video", "clip.mp4", "--yes"),
    ("undo",),
    ("accept",),
    ("dataset", "build"),
    ("check", "--repair"),
)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> RunCommand:
    return make_runner(monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_of_a_copied_home_is_refused(
    tmp_path: Path, run: RunCommand, two_found: Home, command: tuple[str, ...]
) -> None:
    """By the message that names the other one; neither the tree nor the database is changed."""
    for home in ("first", "copy"):
        shutil.copytree(two_found.settings.state_dir, tmp_path / home / "state")
    first = Home(tmp_path / "first")
    shutil.copytree(two_found.people, first.people, dirs_exist_ok=True)
    copy = tmp_path / "copy"
    (copy / "config.toml").write_text(f'[paths]\npeople = "{first.people}"\n')
    (copy / "inbox").mkdir()
    with first.opened() as service:
        first.tick(service)
        before = snapshot(first.people), (copy / "state" / FILE_NAME).read_bytes()
        refused = run(*command, "--home", copy)
        after = snapshot(first.people), (copy / "state" / FILE_NAME).read_bytes()

    assert options.EXIT_UNAVAILABLE == refused.returncode
    assert f"home {first.settings.home_dir}" in refused.stderr
    assert before == after
    assert not list((copy / "state" / "requests").glob("*"))


def test_a_command_gives_the_lease_back(tmp_path: Path, run: RunCommand, two_found: Home) -> None:
    """So the service can start at once."""
    shutil.copytree(two_found.settings.home_dir, tmp_path / "home")

    assert 0 == run("forget", "video", "clip.mp4", "--yes", "--home", tmp_path / "home").returncode
    assert not (tmp_path / "home" / "people" / LEASE_NAME).exists()
