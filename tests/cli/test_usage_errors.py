"""Mistakes on the command line or in a settings file are reported in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cli_runner import RunCommand, make_runner, stderr_of


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> RunCommand:
    """Run a command in this process, as a user without a home folder."""
    return make_runner(monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("grouping.epz=0.4", "grouping.epz: unknown setting"),
        ("groping.eps=0.4", "groping: unknown setting"),
        ("grouping.eps=big", "grouping.eps = 'big'"),
        ("grouping.eps=-1", "grouping.eps = -1"),
        ("grouping=1", "grouping = 1"),
        ("grouping.eps", "write section.key=value"),
        ("home=5", "home"),
    ],
)
def test_a_wrong_setting_is_one_line_and_code_78(
    here: RunCommand, tmp_path: Path, assignment: str, line: str
) -> None:
    """Before anything is created; systemd does not restart the service."""
    answer = here("run", "--set", assignment)

    assert 78 == answer.returncode, answer.stderr
    assert line in stderr_of(answer)
    assert 1 == len(answer.stderr.splitlines())
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "line"), [("[inbox\n", "config.toml"), ("[inbox]\nquite_s = 1\n", "inbox.quite_s")]
)
def test_a_wrong_config_file_is_one_line_and_code_78(
    here: RunCommand, tmp_path: Path, content: str, line: str
) -> None:
    """With the name of the file or the key."""
    (tmp_path / "config.toml").write_text(content)

    answer = here("status", "--home", tmp_path)

    assert 78 == answer.returncode
    assert line in stderr_of(answer)


def test_a_missing_config_file_is_named(here: RunCommand, tmp_path: Path) -> None:
    """A file given on the command line must exist."""
    answer = here("status", "--config", tmp_path / "none.toml")

    assert 78 == answer.returncode
    assert "none.toml: no such settings file" in stderr_of(answer)


@pytest.mark.parametrize("arguments", [["no-such-command"], ["process"], ["run", "--no-such"]])
def test_a_wrong_command_line_is_code_64(here: RunCommand, arguments: list[str]) -> None:
    """With the usage."""
    answer = here(*arguments)

    assert 64 == answer.returncode
    assert "Usage" in stderr_of(answer)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "-h"], ["--version"]])
def test_asking_for_help_is_no_error(here: RunCommand, arguments: list[str]) -> None:
    """It needs no home folder."""
    answer = here(*arguments)

    assert 0 == answer.returncode
    assert "portraitd" in answer.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["undo", "\u00b2"],
        ["undo", "\u0661"],
        ["undo", "0"],
        ["undo", "9" * 30],
        ["models", "try", "sface", "--sample", "\u0661\u0661"],
        ["models", "add", "arcface", "--mean", "nan"],
        ["models", "add", "arcface", "--scale", "inf"],
        ["dataset", "watch", "--every", "1e400"],
    ],
    ids=" ".join,
)
def test_an_unusual_number_is_code_64(here: RunCommand, arguments: list[str]) -> None:
    """Digits of other scripts, infinity, and more than the database can hold."""
    answer = here(*arguments)

    assert 64 == answer.returncode
    assert "Invalid value" in stderr_of(answer)
