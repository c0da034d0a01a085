"""Commands for whoever sets it up: the service, and models that it may use."""

from __future__ import annotations

from pathlib import Path

import click

from portraitd.cli.options import with_settings
from portraitd.config import Settings, load


@click.command("install-service")
@click.option("--home", type=click.Path(path_type=Path), help="Holds inbox and people.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings, in TOML.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE")
@click.option("--print", "asked", is_flag=True, required=True, help="The only thing it does.")
@click.option("--unit", "unit_alone", is_flag=True, help="The unit alone, for a file.")
def install_service(
    home: Path | None,
    config: Path | None,
    assignments: tuple[str, ...],
    asked: bool,
    unit_alone: bool,
) -> None:
    """Print what makes it a systemd service: user, folders, settings, unit and shares."""
    from portraitd.cli.install import described, planned, unit

    existing = config if config and config.exists() else None
    plan = planned(load(home, existing, assignments), config)
    click.echo(unit(plan) if unit_alone else "\n".join(described(plan)), nl=not unit_alone)


@click.group()
def models() -> None:
    """Models that portraitd may use and does not bring."""


@models.command("list")
@with_settings
def list_models(settings: Settings) -> None:
    """What can be added, and what was."""
    from portraitd.faces.models import zoo

    for model in zoo.MODELS.values():
        state = "added" if zoo.is_added(model, settings.models_dir) else "not added"
        click.echo(f"{model.name}  {state}  {model.size:,} bytes  {model.licence}")
        click.echo(f"    {model.purpose}")


@models.command("add")
@with_settings
@click.argument("name")
@click.option("--from", "from_file", type=click.Path(path_type=Path), help="Fetch nothing.")
@click.option("--url", help="Fetch it from another place; its hash must be the same.")
def add_model(settings: Settings, name: str, from_file: Path | None, url: str | None) -> None:
    """Fetch a model once, or take it from a file; its SHA-256 is checked."""
    from portraitd.faces.models import zoo

    place = zoo.add(zoo.model(name), settings.models_dir, from_file, url)
    click.echo(f"added {place}")


@models.command("remove")
@with_settings
@click.argument("name")
def remove_model(settings: Settings, name: str) -> None:
    """Remove a model that was added."""
    from portraitd.faces.models import zoo

    removed = zoo.remove(zoo.model(name), settings.models_dir)
    click.echo(f"removed {name}" if removed else f"{name} was not there")
