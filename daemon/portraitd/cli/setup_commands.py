"""``portraitd init``, ``install-service``, ``uninstall-service``: commands that set a home up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import settings_options, with_settings, yes_option

if TYPE_CHECKING:
    from portraitd.cli.install import Installation
    from portraitd.config import Settings


@click.command()
@partial(with_settings, needs_home=False)
def init(settings: Settings) -> None:
    """Create the home folder.

    Creates inbox/, people/ and state/ where they do not exist, and marks the first two so that
    portraitd notices when a share is not mounted.
    """
    from contextlib import suppress

    from portraitd.cli.model_advice import describe_missing
    from portraitd.ingest.mounts import mark
    from portraitd.people.tree.people_tree import PeopleTree
    from portraitd.service.home import make_home
    from portraitd.service.model_overview import list_missing
    from portraitd.store.database import Database, StoreLock
    from portraitd.store.files import Files

    make_home(settings)
    token = None
    with suppress(OSError):
        token = mark(settings.inbox_dir)
    PeopleTree(settings.people_dir).create()
    with StoreLock(settings.state_dir), Database.open(settings.state_dir) as database:
        if token:
            Files(database, settings.inbox_dir).record_marker(token)
    click.echo(f"Drop videos into  {settings.inbox_dir}")
    click.echo(f"Find people in    {settings.people_dir}")
    click.echo(f"Start with        portraitd run --home {settings.home_dir}")
    if advice := describe_missing(list_missing(settings)):
        click.echo(f"{advice} --home {settings.home_dir}")


_PRINT = click.option("--print", "prints", is_flag=True, help="Print the script; change nothing.")
_OF_USER = click.option(
    "--user", "of_user", is_flag=True, help="For your own user only; needs no root."
)


@click.command("install-service")
@settings_options("/srv/portraits", "/etc/portraitd/config.toml")
@_PRINT
@click.option("--unit", "unit_alone", is_flag=True, help="Print only the systemd unit.")
@click.option("--samba", "shares_alone", is_flag=True, help="Print only the Samba shares.")
@click.option(
    "--reviewer",
    "reviewers",
    multiple=True,
    metavar="USER",
    help="User who may drop files and review: is added to the group. Repeatable.",
)
@_OF_USER
@yes_option
def install_service(
    home: Path | None,
    config: Path | None,
    assignments: tuple[str, ...],
    prints: bool,
    unit_alone: bool,
    shares_alone: bool,
    reviewers: tuple[str, ...],
    of_user: bool,
    yes: bool,
) -> None:
    """Install portraitd as a systemd service.

    Creates a user, folders, settings and the unit, and starts the service. Asks first. Replaces
    the unit; anything else that exists is kept. Without --home, the state of the service is in
    /var/lib/portraitd.
    """
    from portraitd.cli.install import (
        plan_user_installation,
        render_shares,
        render_unit,
        render_user_unit,
    )
    from portraitd.cli.service_scripts import list_installation, list_user_installation
    from portraitd.config import load

    if of_user:
        settings = load(home, config, assignments)
        given = config.absolute() if config else None
        plan = plan_user_installation(settings)
        unit, lines = render_user_unit(plan, given), list_user_installation(plan, given)
    else:
        plan = _plan_for_root(home, config, assignments)
        unit, lines = render_unit(plan), list_installation(plan, reviewers)
    if unit_alone:
        click.echo(unit, nl=False)
    elif shares_alone:
        click.echo(render_shares(plan))
    elif prints:
        click.echo("\n".join(lines))
    else:
        click.echo(f"Home folder:  {plan.home}")
        click.echo(f"Program:      {plan.program}")
        _confirm_and_run("Install the service", lines, of_user, yes)
        click.echo(f"The service runs. Drop videos into {plan.inbox}")


@click.command("uninstall-service")
@settings_options("/srv/portraits", "/etc/portraitd/config.toml")
@_PRINT
@_OF_USER
@yes_option
def uninstall_service(
    home: Path | None,
    config: Path | None,
    assignments: tuple[str, ...],
    prints: bool,
    of_user: bool,
    yes: bool,
) -> None:
    """Remove the systemd service.

    Stops it and removes the unit. Faces, people, settings and the user stay; --print says how to
    remove those, too.
    """
    from portraitd.cli.install import plan_user_installation
    from portraitd.cli.service_scripts import list_removal, list_user_removal
    from portraitd.config import load

    if of_user:
        lines = list_user_removal(plan_user_installation(load(home, config, assignments)))
    else:
        lines = list_removal(_plan_for_root(home, config, assignments))
    if prints:
        click.echo("\n".join(lines))
        return
    _confirm_and_run("Remove the service", lines, of_user, yes)
    click.echo("The service is removed. Faces, people and settings stay; see --print.")


def _plan_for_root(
    home: Path | None, config: Path | None, assignments: tuple[str, ...]
) -> Installation:
    """Return the installation that root makes; its settings file need not exist yet."""
    from portraitd.cli.install import plan_installation
    from portraitd.config import load

    existing = config if config and config.exists() else None
    return plan_installation(load(home, existing, assignments), config)


def _confirm_and_run(question: str, lines: Iterator[str], of_user: bool, yes: bool) -> None:
    """Run a script if the person at the terminal agrees.

    Raises:
        click.UsageError: Only root can do this, or there is no terminal to confirm at.
    """
    from portraitd.cli.service_scripts import run_script

    if not of_user and os.geteuid() != 0:
        raise click.UsageError(
            "only root can do this; run it with sudo, or with --print to read it"
        )
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("no terminal to confirm at; add --yes, or --print to read it")
        click.confirm(f"{question}? (--print shows every step)", abort=True)
    run_script(lines)
