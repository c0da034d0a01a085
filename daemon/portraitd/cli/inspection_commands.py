"""``portraitd status``, ``explain``, ``faces``, ``ledger`` and ``check``: commands that look."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import EXIT_FAILED_FILES, PathArgument, with_settings

if TYPE_CHECKING:
    from portraitd.config import Settings


@click.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def status(settings: Settings, as_json: bool) -> None:
    """Show what is queued, running and failed, and why.

    Exits with status 1 while a stage is blocked.
    """
    from portraitd.cli.people_reading import read_people
    from portraitd.cli.status_output import print_json, print_table
    from portraitd.service.status import read_status

    read_people(settings, waits=False)
    found = read_status(settings)
    if as_json:
        print_json(found)
    else:
        from portraitd.cli.console import make_console

        print_table(found, make_console())
    if not found.healthy:
        raise click.exceptions.Exit(EXIT_FAILED_FILES)


@click.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per path.")
@click.argument("paths", nargs=-1, required=True, type=PathArgument(opens=False))
def explain(settings: Settings, paths: tuple[Path, ...], as_json: bool) -> None:
    """Explain what happened to a file, and what is next.

    PATHS may be relative to the inbox. Works while the service runs.
    """
    from portraitd.cli.explain import explain as explained
    from portraitd.model.wording import escape_unprintable

    for path in paths:
        explanation = explained(settings, path)
        if as_json:
            click.echo(json.dumps(explanation.as_json(), ensure_ascii=False))
        else:
            click.echo("\n".join(map(escape_unprintable, explanation.lines())))


@click.command()
@with_settings
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="One JSON object per line, or CSV with a header.",
)
def faces(settings: Settings, form: str) -> None:
    """List all faces as JSON lines or CSV.

    Each face comes with its file, time, box, track, person and portrait.
    """
    from portraitd.cli.listing import print_faces

    print_faces(settings, form, sys.stdout)


@click.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def ledger(settings: Settings, as_json: bool) -> None:
    """List the edits made in people/, oldest first.

    `portraitd undo` takes the number of an entry.
    """
    from portraitd.cli.listing import print_ledger

    print_ledger(settings, as_json, sys.stdout)


@click.command()
@partial(with_settings, needs_home=False)
@click.option(
    "--grouping",
    is_flag=True,
    help="Compare the current grouping with scikit-learn, and measure the thresholds on your data.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Repair what can be repaired. The service must be stopped.",
)
def check(settings: Settings, grouping: bool, repair: bool) -> None:
    """Check the home folder and the installation.

    Exits with status 1 if there is a problem.
    """
    from portraitd.cli.check import findings, grouping_findings

    if repair:
        _repair(settings)
        return
    found = list(grouping_findings(settings) if grouping else findings(settings))
    for finding in found:
        click.echo(f"{'ok  ' if finding.sound else 'BAD '} {finding.what}: {finding.detail}")
    if grouping:
        from portraitd.clustering.verification import describe_distances, measure_pair_distances

        click.echo("\n".join(describe_distances(measure_pair_distances(settings))))
    if not all(finding.sound for finding in found):
        raise click.exceptions.Exit(EXIT_FAILED_FILES)


def _repair(settings: Settings) -> None:
    """Repair what can be repaired, and print what cannot."""
    from portraitd.service import log_setup
    from portraitd.service.repair import faults, repair

    log_setup.quiet()
    found = faults(settings)
    for line in repair(settings, found):
        click.echo(f"repaired  {line}")
    left = faults(settings) if found else []
    for fault in left:
        click.echo(f"BAD       {fault.what}: {fault.detail}")
    if left:
        raise click.exceptions.Exit(EXIT_FAILED_FILES)
    click.echo("no further problems found" if found else "no problems found")
