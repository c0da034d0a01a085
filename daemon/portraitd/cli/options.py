"""What every command shares: how it gets its settings, and what its exit code means."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from portraitd.config import Settings, load

# As sysexits.h has them where it has one; docs/operations.md explains each.
EXIT_FAILED_FILES = 1
EXIT_USAGE = 64
EXIT_TROUBLE = 74
EXIT_LOCKED = 75
EXIT_CONFIG = 78

_RELOAD = "portraitd.reload"


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --home, --config and --set, and hand it the settings they make."""

    @click.option("--home", type=click.Path(path_type=Path), help="Holds inbox, people and state.")
    @click.option("--config", type=click.Path(path_type=Path), help="Settings, in TOML.")
    @click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE")
    @wraps(command)
    def configured(
        home: Path | None, config: Path | None, assignments: tuple[str, ...], **rest: Any
    ) -> Any:
        click.get_current_context().meta[_RELOAD] = partial(load, home, config, assignments)
        return command(load(home, config, assignments), **rest)

    return configured


def reloader() -> Callable[[], Settings]:
    """Reads the settings of the running command again, from the same places."""
    again: Callable[[], Settings] = click.get_current_context().meta[_RELOAD]
    return again
