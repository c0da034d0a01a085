"""The help texts: complete on a terminal of 80 columns, and printed at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from portraitd.cli.main import SECTIONS, commands

WIDTH = 80


def all_commands(
    group: click.Group = commands, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that call it; the group itself first."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(all_commands())


def rendered(path: tuple[str, ...]) -> str:
    """Return the help of a command as a terminal of 80 columns shows it."""
    context = None
    for depth in range(len(path) + 1):
        context = click.Context(
            ALL[path[:depth]],
            parent=context,
            info_name=path[depth - 1] if depth else "portraitd",
            terminal_width=WIDTH,
            max_content_width=WIDTH,
            **ALL[path[:depth]].context_settings,
        )
    assert context is not None
    return context.command.get_help(context)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_no_line_of_help_is_cut_or_too_wide(path: tuple[str, ...]) -> None:
    """Click ends a summary that does not fit with three dots."""
    lines = rendered(path).splitlines()

    assert [] == [line for line in lines if line.endswith("...") and "Usage:" not in line]
    assert [] == [line for line in lines if len(line) > WIDTH]


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_option_is_explained(path: tuple[str, ...]) -> None:
    """A command in a sentence that starts with a verb; an option with a help text."""
    command = ALL[path]
    summary = (command.help or "").partition("\n")[0]
    options = [one for one in command.params if isinstance(one, click.Option)]

    assert summary.endswith("."), summary
    assert summary[:1].isupper()
    assert summary in " ".join(rendered(path).split())
    assert [] == [one.opts for one in options if not (one.help or "").endswith((".", "]"))]


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("status", "~/portraits"),
        ("status", "HOME/config.toml, or else /etc/portraitd/config.toml"),
        ("install-service", "/srv/portraits"),
        ("demo", "./portraitd-demo, a new folder"),
        ("faces", "jsonl"),
        ("dataset watch", "10.0"),
        ("worker", "one per core"),
        ("worker", "~/.cache/portraitd-worker"),
    ],
)
def test_defaults_are_shown(path: str, default: str) -> None:
    """Also of options whose default depends on the settings or on the machine."""
    assert f"[default: {default}" in " ".join(rendered(tuple(path.split())).split())


def test_every_default_in_click_is_shown() -> None:
    """Except those of flags and of options that are empty unless given."""
    hidden = [
        (path, option.opts)
        for path, command in ALL.items()
        for option in command.params
        if isinstance(option, click.Option)
        and isinstance(option.default, str | int | float)
        and option.default
        and not option.is_flag
        and not option.show_default
    ]

    assert [] == hidden


def test_the_help_lists_every_command_once() -> None:
    """By section, in the order of use."""
    text = rendered(())

    for entry in (entry for entries in SECTIONS.values() for entry in entries):
        assert 1 == text.count(f"\n  {entry.name}  "), entry.name
    headings = [text.index(f"\n{name}:\n") for name in SECTIONS]
    assert sorted(headings) == headings


def test_the_help_says_of_a_command_what_the_command_says() -> None:
    """The help of all commands is printed without importing them."""
    listed = {(e.name,): e.summary for entries in SECTIONS.values() for e in entries}
    own = {path: (ALL[path].help or "").partition("\n")[0] for path in ALL if len(path) == 1}

    assert own == listed


def test_help_loads_none_of_the_libraries_that_take_time() -> None:
    """``portraitd --help`` prints at once; commands import what they need."""
    code = (
        "import sys; from portraitd.cli.main import commands\n"
        "commands(['--help'], standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    loaded = {name.partition(".")[0] for name in answer.stderr.split()}
    assert "Usage:" in answer.stdout
    assert set() == loaded & {"pydantic", "numpy", "rich", "structlog", "sqlite3", "watchdog"}
