"""Options and exit codes that all commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from portraitd.config import Settings

# As in sysexits.h where it has a code; docs/operations.md explains each.
EXIT_FAILED_FILES = 1
EXIT_USAGE = 64
EXIT_UNUSABLE = 65
EXIT_UNAVAILABLE = 74
EXIT_LOCKED = 75
EXIT_CONFIG = 78

_RELOAD = "portraitd.reload"

HOME_DEFAULT = "~/portraits"
CONFIG_DEFAULT = "HOME/config.toml, or else /etc/portraitd/config.toml"

Command = Callable[..., Any]


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
            type=click.Path(path_type=Path),
            help=f"Home folder, which holds inbox/, people/ and state/.  [default: {home}]",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
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
    command: Command, home: str = HOME_DEFAULT, acts_as_owner: bool = True
) -> Command:
    """Give a command --home, --config and --set, and pass it the settings they result in.

    Args:
        command: The command.
        home: The default to show in the help.
        acts_as_owner: Whether root's command acts as the owner of the state.
    """

    @settings_options(home)
    @wraps(command)
    def configured(
        home: Path | None, config: Path | None, assignments: tuple[str, ...], **rest: Any
    ) -> Any:
        # Imported here: pydantic takes longer to load than `portraitd --help` takes to print.
        from portraitd.config import load
        from portraitd.store.state_owner import become_owner

        click.get_current_context().meta[_RELOAD] = partial(load, home, config, assignments)
        settings = load(home, config, assignments)
        if acts_as_owner:
            become_owner(settings.state_dir)
        return command(settings, **rest)

    return configured


def reloader() -> Callable[[], Settings]:
    """Return a function that reads the settings of the running command again."""
    again: Callable[[], Settings] = click.get_current_context().meta[_RELOAD]
    return again
