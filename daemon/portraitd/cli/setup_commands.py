"""``portraitd init``, ``install-service`` and ``models``: commands that set a home up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import settings_options, with_settings

if TYPE_CHECKING:
    from portraitd.config import Settings


@click.command()
@with_settings
def init(settings: Settings) -> None:
    """Create the home folder.

    Creates inbox/, people/ and state/ where they do not exist, and marks the first two so that
    portraitd notices when a share is not mounted.
    """
    from contextlib import suppress

    from portraitd.ingest.mounts import mark
    from portraitd.people.tree.people_tree import PeopleTree
    from portraitd.service.home import make_home
    from portraitd.store.database import Database, StoreLock

    make_home(settings)
    with suppress(OSError):
        mark(settings.inbox_dir)
    PeopleTree(settings.people_dir).create()
    with StoreLock(settings.state_dir):
        Database.open(settings.state_dir).close()
    click.echo(f"Drop videos into  {settings.inbox_dir}")
    click.echo(f"Find people in    {settings.people_dir}")
    click.echo(f"Start with        portraitd run --home {settings.home_dir}")


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


@click.group()
def models() -> None:
    """List and download optional models."""


@models.command("list")
@with_settings
def list_models(settings: Settings) -> None:
    """List the optional models."""
    from portraitd.faces.models import model_registry

    for model in model_registry.optional_models():
        state = "added" if model_registry.is_added(model, settings.models_dir) else "not added"
        click.echo(f"{model.name}  {state}  {model.size_bytes:,} bytes  {model.licence}")
        click.echo(f"    {model.purpose}")


@models.command("add")
@with_settings
@click.argument("name")
@click.option(
    "--from",
    "from_file",
    type=click.Path(path_type=Path),
    help="Read the model from this file instead of downloading it.",
)
@click.option("--url", help="Download it from this address; the SHA-256 must be the same.")
def add_model(settings: Settings, name: str, from_file: Path | None, url: str | None) -> None:
    """Download a model and check its SHA-256."""
    from portraitd.faces.models import model_registry

    place = model_registry.add_model(
        model_registry.find_model(name), settings.models_dir, from_file, url
    )
    click.echo(f"added {place}")


@models.command("remove")
@with_settings
@click.argument("name")
def remove_model(settings: Settings, name: str) -> None:
    """Remove a model that was added."""
    from portraitd.faces.models import model_registry

    removed = model_registry.remove_model(model_registry.find_model(name), settings.models_dir)
    click.echo(f"removed {name}" if removed else f"{name} was not added")
