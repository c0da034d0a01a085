"""``portraitd dataset``: build, check, split, freeze and watch training sets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import (
    DAY_S,
    EXIT_FAILED_FILES,
    FiniteRange,
    PathArgument,
    with_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

    from portraitd.config import Settings


@click.group()
def dataset() -> None:
    """Build and check training sets."""


@dataset.command("build")
@with_settings
def build_dataset(settings: Settings) -> None:
    """Build the training set, or update it.

    Only what changed is written. If the service runs, it does the work.
    """
    from portraitd.cli import dataset_builds

    for line in dataset_builds.format_summary(
        dataset_builds.build_dataset(settings, _print_progress)
    ):
        click.echo(line)
    click.echo(f"report  {settings.dataset_dir / 'report' / 'index.html'}")


@dataset.command("check")
@with_settings
@click.option("--verbose", "-v", is_flag=True, help="List every image that would be dropped.")
def check_dataset(settings: Settings, verbose: bool) -> None:
    """Check the training set by the rules of its loaders.

    Exits with status 1 if a loader would drop an image.
    """
    from portraitd.cli import dataset_builds

    found = dataset_builds.check_dataset(settings)
    for one in found:
        click.echo(dataset_builds.format_check_line(one))
        for line in one.problems + (one.dropped if verbose else one.dropped[:3]):
            click.echo(f"    {line}")
    if not all(one.is_valid for one in found):
        raise click.exceptions.Exit(EXIT_FAILED_FILES)


@dataset.command("split")
@with_settings
@click.option("--show", is_flag=True, help="Show who and what is in which split. The default.")
@click.option(
    "--move",
    "moves",
    multiple=True,
    nargs=2,
    type=(str, click.Choice(["train", "val", "test", "auto"])),
    metavar="RECORDING train|val|test|auto",
    help="Put a video or photo, given by path or SHA-256, into a split; auto undoes that.",
)
@click.option("--rebuild", is_flag=True, help="Forget all splits but those that you moved.")
@click.option("--json", "as_json", is_flag=True, help="Show the splits as JSON.")
def split_dataset(
    settings: Settings, show: bool, moves: tuple[tuple[str, str], ...], rebuild: bool, as_json: bool
) -> None:
    """Show or change what is in train, val and test.

    A split is permanent, because a model that saw a picture must not be tested with it. What you
    move stays where you put it. --rebuild assigns everything else again at the next build.
    """
    import json

    from portraitd.cli import dataset_splits

    for word, split in moves:
        click.echo(dataset_splits.move(settings, word, split))
    if rebuild:
        click.echo(dataset_splits.rebuild(settings))
    if show or as_json or not (moves or rebuild):
        found = dataset_splits.read_overview(settings)
        if as_json:
            click.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=1))
            return
        for line in dataset_splits.format_overview(found):
            click.echo(line)


@dataset.command("harvest")
@with_settings
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only show the card and what would be searched.")
def harvest_faces(settings: Settings, name: str, dry_run: bool) -> None:
    """Look for faces that the card of person NAME lacks.

    Searches the frames between the sampled ones of that person's tracks, and adds the faces that
    fill thin and empty cells of the card in the report. NAME can be a number. If the service runs,
    it does the work.
    """
    from portraitd.cli import dataset_harvests

    if dry_run:
        for line in dataset_harvests.preview(settings, name):
            click.echo(line)
        return
    click.echo(dataset_harvests.harvest(settings, name))


@dataset.command("freeze")
@with_settings
@click.argument("name")
def freeze_dataset(settings: Settings, name: str) -> None:
    """Keep a copy of the training set as version NAME.

    The version has hashes, settings, the class table and a datasheet. No build changes it.
    """
    from portraitd.cli import dataset_versions

    click.echo(dataset_versions.format_version(dataset_versions.freeze(settings, name)))


@dataset.command("list")
@with_settings
@click.option("--verify", is_flag=True, help="Compare every file with its hash.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_datasets(settings: Settings, verify: bool, as_json: bool) -> None:
    """List the versions of the training set.

    With --verify, exits with status 1 if a file of a version was changed or removed.
    """
    import json

    from portraitd.cli import dataset_versions

    versions = dataset_versions.read_versions(settings)
    changed = {
        one.name: dataset_versions.verify(settings, one) if verify else [] for one in versions
    }
    if as_json:
        entries = [
            one.as_json()
            | {
                "changed": changed[one.name],
                "expired_consents": dataset_versions.find_expired(one),
            }
            for one in versions
        ]
        click.echo(json.dumps(entries, ensure_ascii=False, indent=1))
    else:
        for one in versions:
            click.echo(dataset_versions.format_version(one))
            for path in changed[one.name]:
                click.echo(f"    changed or removed: {path}")
    if any(changed.values()):
        raise click.exceptions.Exit(EXIT_FAILED_FILES)


@dataset.command("compare")
@with_settings
@click.argument("old")
@click.argument("new", required=False, default="")
def compare_datasets(settings: Settings, old: str, new: str) -> None:
    """Compare version OLD with version NEW, or with the current set."""
    from portraitd.cli import dataset_versions

    for line in dataset_versions.format_comparison(dataset_versions.compare(settings, old, new)):
        click.echo(line)


@dataset.command("import")
@with_settings
@click.argument("form", type=click.Choice(["cvat", "coco"]))
@click.argument("file", type=PathArgument())
@click.option("--dry-run", is_flag=True, help="Only print what would be recorded.")
@click.option(
    "--recording",
    metavar="RECORDING",
    help="The video or photo that FILE is about, by path or SHA-256.",
)
@click.option("--delete-missing", is_flag=True, help="Delete faces without a box in any case.")
@click.option("--verbose", "-v", is_flag=True, help="List everything that does not match.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_dataset(
    settings: Settings,
    form: str,
    file: Path,
    dry_run: bool,
    recording: str | None,
    delete_missing: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Record boxes and labels that were corrected in CVAT.

    FILE is XML of "CVAT for video 1.1" or "CVAT for images 1.1", JSON of COCO, or a zip archive
    with it. Moved boxes, new faces, deleted faces and changed labels become edits, which can be
    undone. What does not match is listed and changes nothing.
    """
    import json

    from portraitd.cli import dataset_imports

    plan = dataset_imports.plan_import(settings, form, file, recording, delete_missing)
    answer = "" if dry_run else dataset_imports.record(settings, plan.edits)
    if as_json:
        found = dataset_imports.plan_as_json(plan) | {"answer": answer}
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for line in dataset_imports.format_plan(plan, verbose):
        click.echo(line)
    if answer:
        click.echo(answer)


@dataset.command("watch")
@with_settings
@click.option(
    "--every",
    "every_s",
    type=FiniteRange(0.1, DAY_S),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to check whether people have changed.",
)
def watch_dataset(settings: Settings, every_s: float) -> None:
    """Build the training set whenever people change.

    Runs until it is stopped.
    """
    from portraitd.cli import dataset_builds

    for done in dataset_builds.watch_dataset(settings, every_s, _print_progress):
        for line in dataset_builds.format_summary(done):
            click.echo(line)


def _print_progress(done: int, ordered: int) -> None:
    """On a terminal, print how many frames were cut."""
    from portraitd.service.safe_output import unguarded

    terminal = unguarded(sys.stderr)
    if ordered and terminal.isatty():
        end = "\n" if done == ordered else ""
        print(f"\rframes  {done:,} of {ordered:,} cut", end=end, file=terminal, flush=True)
