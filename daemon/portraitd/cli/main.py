"""The command line. Each command reads its settings the same way and says errors in one line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from portraitd import __version__
from portraitd.cli.operations_commands import backup, export, forget, repair_home, restore
from portraitd.cli.options import (
    EXIT_CONFIG,
    EXIT_FAILED_FILES,
    EXIT_LOCKED,
    EXIT_TROUBLE,
    EXIT_USAGE,
    reloader,
    with_settings,
)
from portraitd.cli.setup_commands import install_service, models
from portraitd.cli.worker_command import worker
from portraitd.config import Settings
from portraitd.model.errors import AlreadyRunning, ConfigError, PortraitdError, StoreError
from portraitd.model.media_file import FileState
from portraitd.service import log_setup
from portraitd.service.control_files import ControlRequest


class Commands(click.Group):
    """Commands whose reader may go away, as `head` does: for click that is an error, code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run one of them, and write its output to the end."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still in the buffer must go somewhere when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        return result


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="portraitd")
def commands() -> None:
    """Drop videos into a folder; find one folder of portraits per person."""


commands.add_command(install_service)
commands.add_command(models)
for operation in (backup, restore, forget, export):
    commands.add_command(operation)


def main() -> None:
    """Run a command, and turn what goes wrong into one line and an exit code."""
    try:
        # Outside of its standalone mode click returns what an Exit carries.
        sys.exit(commands(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        print("stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except ConfigError as error:
        _say_and_exit(error, EXIT_CONFIG)
    except AlreadyRunning as error:
        _say_and_exit(error, EXIT_LOCKED)
    except PortraitdError as error:
        _say_and_exit(error, EXIT_TROUBLE)


@commands.command()
@with_settings
def init(settings: Settings) -> None:
    """Make a home: inbox, people and state."""
    from portraitd.ingest.mounts import mark
    from portraitd.people.tree.people_tree import PeopleTree
    from portraitd.service.home import make_home
    from portraitd.store import Database, StoreLock

    make_home(settings)
    with suppress(OSError):
        mark(settings.inbox_dir)
    PeopleTree(settings.people_dir).create()
    with StoreLock(settings.state_dir):
        Database.open(settings.state_dir).close()
    click.echo(f"Drop videos into  {settings.inbox_dir}")
    click.echo(f"Find people in    {settings.people_dir}")
    click.echo(f"Start with        portraitd run --home {settings.home_dir}")


@commands.command()
@with_settings
@click.option("--until-idle", is_flag=True, help="End when there is nothing left to do.")
@click.option("--verbose", "-v", is_flag=True)
def run(settings: Settings, until_idle: bool, verbose: bool) -> None:
    """Run the service: watch the inbox, keep the people up to date."""
    from portraitd.service import supervisor

    log_setup.configure(verbose)
    supervisor.run(settings, reloader(), until_idle)


@commands.command()
@with_settings
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def process(settings: Settings, paths: tuple[Path, ...]) -> None:
    """Process files and folders now; ends when the people folders are fresh."""
    from portraitd.cli.progress import ProgressBar
    from portraitd.service import daemon

    log_setup.quiet()
    console = Console(stderr=True)
    with ProgressBar(console) as bar:
        named = daemon.process(settings, list(paths), bar.follow)
    failed = _print_summary(settings, named, console)
    if failed:
        raise click.exceptions.Exit(EXIT_FAILED_FILES)


@commands.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(settings: Settings, as_json: bool) -> None:
    """What is in the store, what is being worked on, what failed and why."""
    from portraitd.service.status import print_json, print_table, read_status

    found = read_status(settings)
    if as_json:
        print_json(found)
    else:
        print_table(found, Console())
    if not found.healthy:
        raise click.exceptions.Exit(EXIT_FAILED_FILES)


@commands.command()
@with_settings
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def explain(settings: Settings, paths: tuple[Path, ...]) -> None:
    """What became of a file, why, and what happens next."""
    from portraitd.cli.explain import explain as explained

    for path in paths:
        for line in explained(settings, path):
            click.echo(line)


@commands.command()
@with_settings
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl")
def faces(settings: Settings, form: str) -> None:
    """Print every face: where it was seen, and whose it is."""
    from portraitd.cli.listing import print_faces

    print_faces(settings, form, sys.stdout)


@commands.command()
@with_settings
def retry(settings: Settings) -> None:
    """Try failed files again, at the next turn of the service or of `process`."""
    import time

    from portraitd.store import Database, Files, SliceQueue, StoreLock

    if not settings.state_dir.is_dir():
        raise StoreError(f"{settings.state_dir}: nothing has been processed in this home yet")
    with StoreLock(settings.state_dir):
        database = Database.open(settings.state_dir)
        files = Files(database, settings.inbox_dir)
        count = SliceQueue(database, files).retry(time.time()) + files.retry(time.time())
        database.close()
    click.echo(f"{count} to try again; start `portraitd run`")


@commands.command()
@with_settings
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def regroup(settings: Settings, dry_run: bool) -> None:
    """Group all faces from the beginning, for instance with another --set grouping.eps=…"""
    from portraitd.cli.progress import ProgressBar
    from portraitd.clustering.dry_run import described, propose
    from portraitd.service import daemon

    for line in described(propose(settings)):
        click.echo(line)
    if not dry_run:
        log_setup.quiet()
        console = Console(stderr=True)
        with ProgressBar(console) as bar:
            daemon.process(settings, [], bar.follow)


@commands.command()
@with_settings
def rebuild(settings: Settings) -> None:
    """Look at every video again with the settings of now; names and corrections stay."""
    from portraitd.cli.client import ask
    from portraitd.cli.progress import ProgressBar
    from portraitd.service import daemon

    answer = ask(settings, ControlRequest("rebuild"))
    if answer is not None:
        click.echo(answer)
        return
    log_setup.quiet()
    with ProgressBar(Console(stderr=True)) as bar:
        daemon.process(settings, [], bar.follow, rebuild=True)


@commands.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def ledger(settings: Settings, as_json: bool) -> None:
    """What people did in the people folder, the oldest first."""
    from portraitd.cli.listing import print_ledger

    print_ledger(settings, as_json, sys.stdout)


@commands.command()
@with_settings
@click.argument("row", required=False, type=int)
def undo(settings: Settings, row: int | None) -> None:
    """Take back the last thing that was done in the people folder, or ROW of the ledger."""
    from portraitd.cli.client import ask, undo_here

    click.echo(ask(settings, ControlRequest("undo", row)) or undo_here(settings, row))


@commands.command()
@with_settings
def accept(settings: Settings) -> None:
    """Believe once that what is gone from the people folder was removed on purpose."""
    from portraitd.cli.client import ask

    click.echo(ask(settings, ControlRequest("accept"), or_leave=True))


@commands.command()
@with_settings
@click.option("--grouping", is_flag=True, help="Prove the grouping, and measure its thresholds.")
@click.option("--repair", is_flag=True, help="Set right what can be; the service must be stopped.")
def check(settings: Settings, grouping: bool, repair: bool) -> None:
    """Look whether this home and this installation are sound."""
    from portraitd.cli.check import findings, grouping_findings

    if repair:
        repair_home(settings)
        return
    found = list(grouping_findings(settings) if grouping else findings(settings))
    for finding in found:
        click.echo(f"{'ok  ' if finding.sound else 'BAD '} {finding.what}: {finding.detail}")
    if grouping:
        from portraitd.clustering.verification import curves, described

        click.echo("\n".join(described(curves(settings), settings)))
    if not all(finding.sound for finding in found):
        raise click.exceptions.Exit(EXIT_FAILED_FILES)


@commands.group()
def dataset() -> None:
    """Training sets of the people who have names."""


@dataset.command("build")
@with_settings
def build_dataset(settings: Settings) -> None:
    """Bring the training set up to date; only what changed is written."""
    from portraitd.cli import dataset_builds

    for line in dataset_builds.described(dataset_builds.build(settings, _say_frames)):
        click.echo(line)
    click.echo(f"report  {settings.dataset_dir / 'report' / 'index.html'}")


@dataset.command("check")
@with_settings
@click.option("--verbose", "-v", is_flag=True, help="Name every picture that would be dropped.")
def check_dataset(settings: Settings, verbose: bool) -> None:
    """Apply the loaders' own rules to the training set."""
    from portraitd.cli import dataset_builds

    found = dataset_builds.check(settings)
    for one in found:
        click.echo(dataset_builds.check_line(one))
        for line in one.problems + (one.dropped if verbose else one.dropped[:3]):
            click.echo(f"    {line}")
    if not all(one.sound for one in found):
        raise click.exceptions.Exit(EXIT_FAILED_FILES)


@dataset.command("watch")
@with_settings
@click.option("--every", "every_s", type=click.FloatRange(0.1), default=10.0, metavar="SECONDS")
def watch_dataset(settings: Settings, every_s: float) -> None:
    """Build the training set now, and again whenever people change, until stopped."""
    from portraitd.cli import dataset_builds

    for done in dataset_builds.watch(settings, every_s, _say_frames):
        for line in dataset_builds.described(done):
            click.echo(line)


@commands.command()
@with_settings
@click.option("--keep-log", is_flag=True, help="Show what the service logs.")
def demo(settings: Settings, keep_log: bool) -> None:
    """Make a short clip of two people, and run the whole path on it."""
    from portraitd.cli.demo import run_demo

    if keep_log:
        log_setup.configure()
    else:
        log_setup.quiet()
    run_demo(settings, Console())


commands.add_command(worker)


def _say_frames(done: int, ordered: int) -> None:
    """On a terminal, how far the cutting is."""
    if ordered and sys.stderr.isatty():
        end = "\n" if done == ordered else ""
        print(f"\rframes  {done:,} of {ordered:,} cut", end=end, file=sys.stderr, flush=True)


def _print_summary(settings: Settings, named: list[int], console: Console) -> int:
    """What came of the files that were named. Returns how many failed."""
    from portraitd.store import Database, Files, People
    from portraitd.store.files import display_path

    database = Database.open_to_read(settings.state_dir)
    try:
        files = Files(database, settings.inbox_dir)
        rows = [files.get(file_id) for file_id in named]
        grouping_run = People(database).last_grouping_run()
    finally:
        database.close()
    failed = [row for row in rows if row.state in (FileState.FAILED, FileState.GONE)]
    for row in rows:
        if row.reason:
            console.print(f"{row.state}: {display_path(row.path)}: {row.reason}", markup=False)
    counts = (
        f"{grouping_run.people} people, {grouping_run.faces} faces" if grouping_run else "no faces"
    )
    console.print(
        f"{len(rows) - len(failed)} of {len(rows)} files, {counts}: {settings.people_dir}",
        markup=False,
    )
    return len(failed)


def _say_and_exit(error: PortraitdError, code: int) -> None:
    print(f"portraitd: {error}", file=sys.stderr)
    sys.exit(code)
