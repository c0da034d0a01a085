"""Read the people tree before a command that depends on names."""

from __future__ import annotations

import click

from portraitd.config import Settings
from portraitd.model.wording import escape_unprintable
from portraitd.service import log_setup
from portraitd.service.tree_reading import read_tree


def read_people(settings: Settings, *, waits: bool = True) -> None:
    """Read the edits in people/ while no service runs, and say so if that is not possible.

    Args:
        settings: The home.
        waits: Whether to wait for an edit that may go on; see ``read_tree``.
    """
    log_setup.quiet()
    reason = read_tree(settings, waits=waits)
    if reason:
        text = escape_unprintable(reason.text)
        click.echo(f"note: edits in people/ were not read: {text}", err=True)
