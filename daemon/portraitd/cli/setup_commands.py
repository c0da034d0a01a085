"""``portraitd init`` and ``install-service``: commands that set a home up."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import settings_options, with_settings

if TYPE_CHECKING:
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


@click.command("install-service")
@settings_options("/srv/portraits", "/etc/portraitd/config.toml")
@click.option(
    "--print",
    "prints",
    is_flag=True,
    required=True,
    help="Required: print the instructions. Nothing is installed.",
)
@click.option("--unit", "unit_alone", is_flag=True, help="Print only the systemd unit.")
def install_service(
    home: Path | None,
    config: Path | None,
    assignments: tuple[str, ...],
    prints: bool,
    unit_alone: bool,
) -> None:
    """Print systemd, user and Samba set-up.

    Without --home, the state of the service is in /var/lib/portraitd.
    """
    from portraitd.cli.install import list_steps, plan_installation, render_unit
    from portraitd.config import load

    existing = config if config and config.exists() else None
    plan = plan_installation(load(home, existing, assignments), config)
    click.echo(render_unit(plan) if unit_alone else "\n".join(list_steps(plan)), nl=not unit_alone)
