"""Options and exit codes that all commands share."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from portraitd.config import Settings

# As in sysexits.h where it has a code; docs/operations.md explains each.
EXIT_FAILED_FILES = 1
EXIT_INTERNAL = 1
EXIT_USAGE = 64
EXIT_UNUSABLE = 65
EXIT_UNAVAILABLE = 74
EXIT_LOCKED = 75
EXIT_CONFIG = 78

MAX_NUMBER = (1 << 63) - 1
"""The largest number of a ledger entry that SQLite can hold."""

DAY_S = 86_400

_RELOAD = "portraitd.reload"

HOME_DEFAULT = "~/portraits"
CONFIG_DEFAULT = "HOME/config.toml, or else /etc/portraitd/config.toml"

Command = Callable[..., Any]

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


class PathArgument(click.Path):
    """A path on the command line. An empty one is an error, not the working directory.

    Args:
        opens: Whether the command opens the file; then a pipe is refused, which could block it.
    """

    def __init__(self, opens: bool = True) -> None:
        super().__init__(readable=False, path_type=Path)
        self._opens = opens

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path.

        Raises:
            click.BadParameter: It is empty, or a pipe that the shell did not open.
        """
        if not os.fspath(value):
            self.fail("a path must not be empty", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if self._opens and not path.is_relative_to("/dev/fd"):
            with suppress(OSError):
                if stat.S_ISFIFO(os.stat(path).st_mode):
                    self.fail(f"{path} is a pipe; name a file", param, ctx)
        return path


class WholeRange(click.IntRange):
    """A whole number with limits, in the digits 0 to 9; Python reads those of other scripts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number.

        Raises:
            click.BadParameter: It is not a whole number, or outside of the limits.
        """
        if not str(value).isascii():
            self.fail(f"{value!r} is not a whole number", param, ctx)
        return super().convert(value, param, ctx)


class FiniteRange(click.FloatRange):
    """A number with limits; infinity and NaN, which pass the limits of click, are errors."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number.

        Raises:
            click.BadParameter: It is not a number, not finite, or outside of the limits.
        """
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def settings_options(
    home: str = HOME_DEFAULT, config: str = CONFIG_DEFAULT
) -> Callable[[Command], Command]:
    """Return a decorator that gives a command the options --home, --config and --set.

    Args:
        home, config: The defaults to show in the help.
    """
    options = (
        click.option(
            "--home",
            type=PathArgument(),
            help=f"Home folder, which holds inbox/, people/ and state/.  [default: {home}]",
        ),
        click.option(
            "--config",
            type=PathArgument(),
            help=f"Settings file.  [default: {config}]",
        ),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Override a setting for this run, e.g. grouping.eps=0.4. Repeatable.",
        ),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def with_settings(
    command: Command,
    home: str = HOME_DEFAULT,
    needs_home: bool = True,
    acts_as_owner: bool = True,
) -> Command:
    """Give a command --home, --config and --set, and pass it the settings they result in.

    Args:
        command: The command.
        home: The default to show in the help.
        needs_home: Whether it is an error if the home does not exist.
        acts_as_owner: Whether root's command acts as the owner of the state.
    """

    @settings_options(home)
    @wraps(command)
    def configured(
        home: Path | None, config: Path | None, assignments: tuple[str, ...], **rest: Any
    ) -> Any:
        # Imported here: pydantic takes longer to load than `portraitd --help` takes to print.
        from portraitd.config import load
        from portraitd.service.home import require_home
        from portraitd.store.state_owner import become_owner

        click.get_current_context().meta[_RELOAD] = partial(load, home, config, assignments)
        settings = load(home, config, assignments)
        if acts_as_owner:
            become_owner(settings.state_dir)
        if needs_home:
            require_home(settings)
        return command(settings, **rest)

    return configured


def reloader() -> Callable[[], Settings]:
    """Return a function that reads the settings of the running command again."""
    again: Callable[[], Settings] = click.get_current_context().meta[_RELOAD]
    return again
