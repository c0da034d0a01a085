"""Every command, in wrong or hostile homes and in any terminal: no traceback, all printable."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import structlog

from portraitd.cli.main import commands, main
from support.cli_runner import CommandResult, RunCommand, make_runner
from support.home import Home
from support.processes import CONFIG, environment, portraitd

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202ecod\u2066.exe\x9b31m\u2028"
"""Retitles a terminal, clears it, and reverses text."""

RAW = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)

DOCUMENTED_CODES = {0, 1, 64, 65, 74, 75, 78}

NEEDS_NO_HOME = {"init", "install-service", "uninstall-service", "demo", "worker", "check"}

ARGUMENTS = {
    "entry": [],
    "paths": [f"{{inbox}}/{HOSTILE}.mp4"],
    "form": ["coco"],
    "file": ["{tmp}/backup.sqlite3"],
    "folder": ["{tmp}/known"],
    "picture": ["{tmp}/nobody.jpg"],
    "person": ["1"],
    "video": [HOSTILE],
    "date": ["2020-01-01"],
    "name": ["yunet"],
    "old": ["spring"],
    "new": [],
    "address": ["tcp://127.0.0.1:9"],
}
"""What a command is given for an argument of this name."""

OPTIONS = {
    "export person": ["--to", "{tmp}/export.zip"],
    "install-service": ["--print"],
    "uninstall-service": ["--print"],
    "forget person": ["--yes"],
    "forget video": ["--yes"],
    "forget before": ["--yes"],
    "models add": ["--from", "{tmp}/nowhere"],
    "run": ["--until-idle"],
}

LASTING = {"demo", "worker", "dataset watch"}
"""Commands that need packages, other machines, or a signal to end."""

SLOW = {"check", "rebuild", "regroup", "run", "process", "dataset build"}
"""Commands that start workers; in ``tests/service/test_home.py``, ``process`` stands for them."""


def leaves(
    group: click.Group = commands, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that can be run, by the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(leaves())

RUN = sorted(COMMANDS.keys() - LASTING)

RUN_MARKED = [pytest.param(one, marks=pytest.mark.slow if one in SLOW else ()) for one in RUN]


def call(words: str, home: Path | str, tmp_path: Path) -> list[str]:
    """Return a whole command line for a command."""
    given = [
        one.format(tmp=tmp_path, inbox=Path(home) / "inbox")
        for parameter in COMMANDS[words].params
        if isinstance(parameter, click.Argument)
        for one in ARGUMENTS[str(parameter.name)]
    ]
    options = [one.format(tmp=tmp_path) for one in OPTIONS.get(words, [])]
    takes_home = any(one.name == "home" for one in COMMANDS[words].params)
    return [*words.split(), *given, *options, *(["--home", str(home)] if takes_home else [])]


def assert_orderly(answer: CommandResult) -> None:
    """It ended as documented, and printed nothing that a terminal obeys."""
    both = answer.stdout + answer.stderr
    assert "Traceback" not in both, both
    assert [] == RAW.findall(both), both
    assert answer.returncode in DOCUMENTED_CODES


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[RunCommand]:
    """Run a command in this process, as a user without a home folder."""
    yield make_runner(monkeypatch, capsys, tmp_path)
    # A service configures the log of its process, and its stream is closed by now.
    structlog.reset_defaults()


@pytest.mark.parametrize("words", sorted(COMMANDS.keys() - NEEDS_NO_HOME))
def test_a_home_that_does_not_exist_is_not_created(
    here: RunCommand, tmp_path: Path, words: str
) -> None:
    """One line names ``init``, with a code that systemd does not retry."""
    home = tmp_path / f"typo {HOSTILE}"
    answer = here(*call(words, home, tmp_path))

    assert_orderly(answer)
    assert 78 == answer.returncode
    assert "portraitd init --home" in answer.stderr
    assert 1 == len(answer.stderr.splitlines())
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["run", "process", "restore", "models add"])
def test_a_folder_of_something_else_does_not_become_a_home(
    here: RunCommand, tmp_path: Path, words: str
) -> None:
    """A typing error may name a folder that exists."""
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.flac").touch()
    answer = here(*call(words, tmp_path / "music", tmp_path))

    assert 78 == answer.returncode
    assert "not a home folder of portraitd" in answer.stderr
    assert ["song.flac"] == os.listdir(tmp_path / "music")


@pytest.mark.parametrize("words", sorted(COMMANDS))
@pytest.mark.parametrize("option", ["--home", "--config"])
def test_an_empty_path_is_not_the_working_directory(
    here: RunCommand, tmp_path: Path, words: str, option: str
) -> None:
    """As an unset variable in a script gives it."""
    if all(option not in one.opts for one in COMMANDS[words].params):
        pytest.skip("it has no such option")
    answer = here(*call(words, tmp_path, tmp_path), option, "")

    assert_orderly(answer)
    assert 64 == answer.returncode
    assert f"Invalid value for '{option}': a path must not be empty" in answer.stderr


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, two_found: Home) -> Home:
    """A home with names that attack a terminal: of files, of people, and of the home itself."""
    folder = tmp_path_factory.mktemp("hostile") / f"home {HOSTILE}"
    shutil.copytree(two_found.settings.home_dir, folder)
    (folder / "config.toml").write_text(CONFIG)
    home = Home(folder, grouping={"method": "people"})
    home.steady_s = 1000.0
    for name in (f"{HOSTILE}.mp4", "=cmd()\n.mp4", os.fsdecode(b"\xff\xfe\x1b[0m.jpg")):
        home.drop(b"text\n" * 50, name)
    home.drop((home.inbox / "clip.mp4").read_bytes() + b"\0", f"=HYPERLINK({HOSTILE}).mp4")
    (home.people / "person-0001").rename(home.people / f"=1+1 {HOSTILE}")
    home.run()
    home.steady_s += 100.0
    home.run()
    return home


@pytest.mark.parametrize("words", RUN_MARKED)
def test_names_cannot_attack_a_terminal(
    hostile: Home, here: RunCommand, tmp_path: Path, words: str
) -> None:
    """Of the home, of files and of people."""
    shutil.copytree(hostile.settings.home_dir, home := tmp_path / hostile.settings.home_dir.name)
    variants = {"faces": ["--format", "csv"], "status": ["--json"], "ledger": ["--json"]}

    for more in ([], variants.get(words, [])):
        answer = here(*call(words, home, tmp_path), *more)
        assert_orderly(answer)
    if words == "explain":
        assert_orderly(here("explain", "--home", home, *sorted((home / "inbox").iterdir())))


EVERY_LINE = """
import os, pkgutil, sys
from contextlib import suppress
from importlib import import_module
import rich, structlog
from portraitd import cli, people, service, store
from portraitd.cli.main import main

# Before the rights are dropped: Python itself may be where only root can read it.
for package in (cli, people, service, store, rich):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__") and ".remote" not in module.name:
            with suppress(ImportError):
                import_module(module.name)
lines = open(sys.argv[1], errors="surrogateescape").read().split("\\1")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for line in lines:
    sys.argv = ["portraitd", *line.split("\\2")]
    code = "none"
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    structlog.reset_defaults()
    print(f"\\2{code}", file=sys.stderr, end="\\1")
"""
"""Runs many command lines in one process, which has loaded everything once."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_permissions_gets_one_line(hostile: Home, memory_path: Path) -> None:
    """The home of another user: closed, or open except for what the service keeps to itself."""
    words = [one for one in RUN if one not in NEEDS_NO_HOME]
    homes = [memory_path / name for name in ("closed", "open")]
    for home, mode in zip(homes, (0o700, 0o755), strict=True):
        shutil.copytree(hostile.settings.home_dir, home)
        for folder, _, names in os.walk(home):
            for name in names:
                (Path(folder) / name).chmod(0o600)
        (home / "config.toml").chmod(0o644)
        (home / "state").chmod(0o700)
        home.chmod(mode)
    memory_path.chmod(0o711)
    calls = [(one, home) for home in homes for one in words]
    lines = memory_path / "lines"
    lines.write_text(
        "\1".join("\2".join(call(one, home, memory_path)) for one, home in calls),
        errors="surrogateescape",
    )

    answer = subprocess.run(
        [sys.executable, "-c", EVERY_LINE, lines],
        capture_output=True, text=True, check=False, cwd="/",
        env=environment(HOME="/nonexistent"),
    )  # fmt: skip

    answers = answer.stderr.split("\1")
    assert [""] == answers[len(calls) :], answer.stderr
    for (one, home), text in zip(calls, answers, strict=False):
        said, _, code = text.rpartition("\2")
        where = f"{one} in {home}: {said}"
        assert "Traceback" not in said, where
        assert [] == RAW.findall(said), where
        if one == "dataset list" and home.name == "open":
            # Nothing that it reads is closed, and there is no version.
            assert (text, code) == ("\2" + "0", "0"), where
            continue
        assert code in ("74", "78"), f"{where} {code}"
        assert 1 == len([line for line in said.splitlines() if "scanning" not in line]), where


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_is_not_utf_8_shows_everything(
    hostile: Home, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Also names that its encoding lacks; JSON stays JSON."""
    monkeypatch.setenv("HOME", "/nonexistent")
    for words, *options in (["status"], ["status", "--json"], ["faces"], ["ledger"]):
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        line = [words, *options, "--home", str(hostile.settings.home_dir)]
        monkeypatch.setattr(sys, "argv", ["portraitd", *line])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (None, "") == (ended.value.code, written(err))
        text = written(out)
        assert [] == RAW.findall(text)
        if words in ("faces", "status") and "{" in text:
            lines = [text] if words == "status" else text.splitlines()
            assert "cod" in str([json.loads(line) for line in lines])


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(stream.encoding)


def test_a_table_of_faces_holds_no_formula(hostile: Home, here: RunCommand, tmp_path: Path) -> None:
    """Neither the file nor the name nor the folder; nor in an export."""
    home = hostile.settings.home_dir
    shown = here("faces", "--format", "csv", "--home", home).stdout
    here("export", "person", "1", "--to", tmp_path / "e.zip", "--home", home)
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        tables = [shown, *(archive.read(f"{one}.csv").decode() for one in ("faces", "edits"))]

    cells = [cell for table in tables for row in csv.reader(io.StringIO(table)) for cell in row]
    assert [] == [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))]
    assert any(cell.startswith("'=1+1") for cell in cells)


@pytest.mark.parametrize("words", ["restore", "backup", "models add", "export person", "status"])
def test_no_command_waits_at_a_pipe(here: RunCommand, tmp_path: Path, words: str) -> None:
    """Reading from a pipe without a writer would block for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    option = {"models add": "--from", "export person": "--to", "status": "--config"}.get(words)
    given = {"models add": ["yunet"], "export person": ["1"]}.get(words, [])

    answer = here(*words.split(), *given, *([option] if option else []), pipe, "--home", tmp_path)

    assert_orderly(answer)
    assert 64 == answer.returncode
    assert "is a pipe; name a file" in answer.stderr


def test_a_locale_without_utf_8_changes_no_name_on_disk(tmp_path: Path) -> None:
    """Only what is printed is in the encoding of the terminal."""
    home = tmp_path / "Zoë 王"
    answer = portraitd("init", "--home", home, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")

    assert 0 == answer.returncode, answer.stderr
    assert (home / "inbox").is_dir()
    assert r"Zo\u00eb \u738b" in answer.stdout
    assert answer.stdout.isascii()
