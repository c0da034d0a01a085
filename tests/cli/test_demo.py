"""The demo makes a home of its own, and touches no other one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portraitd.cli.demo import choose_home
from support.cli_runner import RunCommand, make_runner, stderr_of
from support.home import Home


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> RunCommand:
    """Run a command in this process, as a user without a home folder."""
    return make_runner(monkeypatch, capsys, tmp_path)


def everything_in(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("how", ["option", "assignment", "inbox"])
def test_the_demo_leaves_nothing_in_a_home_that_is_in_use(
    here: RunCommand, tmp_path: Path, how: str
) -> None:
    """Whether a service runs there or not."""
    home = Home(tmp_path / "home")
    new = tmp_path / "new"
    options = {
        "option": ["--home", str(home.settings.home_dir)],
        "assignment": ["--set", f"home={home.settings.home_dir}"],
        "inbox": ["--home", str(new), "--set", f"paths.state={home.settings.state_dir}"],
    }
    with home.opened():
        before = everything_in(tmp_path)
        answer = here("demo", *options[how])

        assert 78 == answer.returncode
        assert "is not empty; the demo needs a new folder" in stderr_of(answer)
        assert before == everything_in(tmp_path)


def test_the_home_of_the_demo_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not exist yet, not even as a broken link."""
    monkeypatch.chdir(tmp_path)
    assert tmp_path / "portraitd-demo" == choose_home()
    (tmp_path / "portraitd-demo").symlink_to("nowhere")
    (tmp_path / "portraitd-demo-2").mkdir()

    assert tmp_path / "portraitd-demo-3" == choose_home()


def test_the_demo_does_not_take_its_home_from_the_environment(
    here: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may work there; a wrong setting ends this demo before it begins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORTRAITD_HOME", str(tmp_path / "service"))
    monkeypatch.setenv("PORTRAITD_PATHS__STATE", str(tmp_path / "state"))
    (tmp_path / "portraitd-demo-2").mkdir()
    (tmp_path / "portraitd-demo").symlink_to(tmp_path / "portraitd-demo-2")

    answer = here("demo", "--set", "paths.inbox=people")

    assert 78 == answer.returncode
    assert f"paths.inbox = {tmp_path}/portraitd-demo-3/people" in stderr_of(answer)
    assert ["portraitd-demo", "portraitd-demo-2"] == sorted(os.listdir(tmp_path))
