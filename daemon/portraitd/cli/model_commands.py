"""``portraitd models``: list, add, use, try and remove the models that find and recognise faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import (
    EXIT_FAILED_FILES,
    FiniteRange,
    PathArgument,
    WholeRange,
    with_settings,
)

if TYPE_CHECKING:
    from portraitd.config import Settings
    from portraitd.faces.models.cards import ModelCard

USUAL_PIXELS = 127.5
MAX_PIXELS = 65_535


@click.group()
def models() -> None:
    """List, add and compare models that find and recognise faces."""


@models.command("list")
@with_settings
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_models(settings: Settings, as_json: bool) -> None:
    """List the models: what each is, and which ones are in use."""
    from portraitd.cli.model_listing import describe_model, model_facts
    from portraitd.service.model_overview import list_models as list_all

    for listed in list_all(settings):
        if as_json:
            click.echo(json.dumps(model_facts(listed), ensure_ascii=False))
        else:
            click.echo("\n".join(describe_model(listed)))


@models.command("add")
@with_settings
@click.argument("name")
@click.option(
    "--from",
    "from_file",
    type=PathArgument(),
    help="Read the model from this file or folder instead of downloading it.",
)
@click.option("--url", help="Download it from this address; the SHA-256 must be the same.")
@click.option("--bgr", is_flag=True, help="arcface: the input is blue, green, red.")
@click.option(
    "--mean",
    type=FiniteRange(-MAX_PIXELS, MAX_PIXELS),
    default=USUAL_PIXELS,
    show_default=True,
    help="arcface: what is subtracted from the pixels, which are 0 to 255.",
)
@click.option(
    "--scale",
    type=FiniteRange(0, MAX_PIXELS, min_open=True),
    default=USUAL_PIXELS,
    show_default=True,
    help="arcface: what the pixels are divided by afterwards.",
)
def add_model(
    settings: Settings,
    name: str,
    from_file: Path | None,
    url: str | None,
    bgr: bool,
    mean: float,
    scale: float,
) -> None:
    """Add a model: download it and check its SHA-256.

    NAME is a model of `portraitd models list`; `recommended`, for yunet and mobilefacenet; or
    `arcface`, for an ONNX file of your own with an input of (n, 3, 112, 112) and an output of 64
    to 1024 numbers. An interrupted download continues when you run the command again.
    """
    from portraitd.faces.models.cards import RECOMMENDED
    from portraitd.faces.models.user_models import ARCFACE
    from portraitd.service.model_overview import find_card

    is_usual = not bgr and mean == scale == USUAL_PIXELS
    if name == ARCFACE:
        if from_file is None or url is not None:
            raise click.UsageError("arcface is a file of your own: use --from FILE.")
        _add_own(settings, from_file, bgr, mean, scale)
        return
    if not is_usual:
        raise click.UsageError("--bgr, --mean and --scale are for arcface only.")
    if name != "recommended":
        _add_one(settings, find_card(name, settings), from_file, url)
    elif url is not None:
        raise click.UsageError("--url is for one model: add yunet and mobilefacenet one by one.")
    else:
        for card in RECOMMENDED:
            _add_one(
                settings, card, from_file, None, "portraitd models add recommended --from FOLDER"
            )
    _print_use(settings)


@models.command("use")
@with_settings
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only print what the next grouping would change.")
def use_model(settings: Settings, name: str, dry_run: bool) -> None:
    """Use a model from now on.

    Stored faces change over to another embedding model from their portraits, in the background;
    people, names and corrections stay. The model must have been added.
    """
    from portraitd.service import model_use

    if dry_run:
        from portraitd.clustering.dry_run import describe_proposal

        click.echo("\n".join(describe_proposal(model_use.propose_model(settings, name))))
        return
    model_use.use_model(settings, name)
    _print_use(settings)


@models.command("try")
@with_settings
@click.argument("name")
@click.option(
    "--sample",
    type=WholeRange(10, 20_000),
    default=1000,
    show_default=True,
    help="How many faces to compare, at most.",
)
def try_model(settings: Settings, name: str, sample: int) -> None:
    """Compare a model with the one in use on your own people.

    Portraits of people whom you named or corrected are embedded with the model. Nothing is
    changed.
    """
    from portraitd.cli.model_listing import describe_trial
    from portraitd.service.model_trial import try_model as run_trial

    trial = run_trial(settings, name, sample)
    if trial is None:
        click.echo(
            "There is nothing to compare by yet: name at least two people, one of them with two "
            "portraits, and run this command again."
        )
        raise click.exceptions.Exit(EXIT_FAILED_FILES)
    click.echo("\n".join(describe_trial(trial)))


@models.command("remove")
@with_settings
@click.argument("name")
def remove_model(settings: Settings, name: str) -> None:
    """Remove a model that was added.

    A model that the stored faces were embedded with cannot be removed.
    """
    from portraitd.faces.models import model_registry
    from portraitd.faces.models.cards import INSTALLED
    from portraitd.faces.models.user_models import ARCFACE, read_user_card
    from portraitd.service.model_overview import find_card, require_unneeded

    if name == ARCFACE and read_user_card(settings.models_dir) is None:
        click.echo(f"{name} was not added")
        return
    card = find_card(name, settings)
    if card.name not in INSTALLED:
        require_unneeded(card, settings)
    removed = model_registry.remove_model(card, settings.models_dir)
    click.echo(f"removed {name}" if removed else f"{name} was not added")


def _add_one(
    settings: Settings,
    card: ModelCard,
    from_file: Path | None,
    url: str | None,
    offline_command: str = "",
) -> None:
    from portraitd.faces.models import model_registry

    was_there = model_registry.is_intact(card, settings.models_dir)
    place = model_registry.add_model(card, settings.models_dir, from_file, url, offline_command)
    size = f"{card.size_bytes / 1e6:.1f} MB"
    click.echo(f"{card.name} is there already" if was_there else f"added {place} ({size})")


def _add_own(settings: Settings, file: Path, is_bgr: bool, mean: float, scale: float) -> None:
    from portraitd.service.own_model import add_own_model

    card = add_own_model(settings, file, is_bgr=is_bgr, pixel_mean=mean, pixel_scale=scale)
    place = settings.models_dir / card.file.name
    click.echo(f"added {place} ({card.size_bytes / 1e6:.1f} MB, {card.embedding_size} numbers)")
    click.echo(
        "Compare it with `portraitd models try arcface`, and use it with "
        "`portraitd models use arcface`."
    )


def _print_use(settings: Settings) -> None:
    """Say what the added models change, and when."""
    from portraitd.model.errors import ConfigError
    from portraitd.service.health import read_heartbeat
    from portraitd.service.model_overview import find_models_in_use

    try:
        used = find_models_in_use(settings)
    except ConfigError as error:
        # The model is there all the same.
        click.echo(f"The settings need another model: {error}")
        return
    is_running = read_heartbeat(settings.state_dir).process
    when = "within a minute" if is_running else "when it runs next"
    click.echo(
        f"The service finds faces with {used.detector} and recognises them with "
        f"{used.target or used.embedder}, {when}."
    )
    if used.target:
        click.echo(
            f"Stored faces change over from {used.embedder} to {used.target} in the background; "
            "people, names and corrections stay."
        )
