"""``portraitd run``, ``process`` and ``demo``: commands that do the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import (
    EXIT_FAILED_FILES,
    PathArgument,
    reloader,
    settings_options,
    with_settings,
)

if TYPE_CHECKING:
    from rich.console import Console

    from portraitd.config import Settings


def _configure_log(context: click.Context, option: click.Parameter, is_verbose: bool) -> None:
    from portraitd.service import log_setup

    log_setup.configure(is_verbose)


@click.command()
@with_settings
@click.option("--until-idle", is_flag=True, help="Exit when there is nothing left to do.")
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    # Before the settings are read: what is wrong with them is logged, too.
    is_eager=True,
    callback=_configure_log,
    expose_value=False,
    help="Log debug messages as well.",
)
def run(settings: Settings, until_idle: bool) -> None:
    """Run the service.

    It watches the inbox, finds faces, groups them into people, and keeps the folders of people/
    up to date until it is stopped. SIGHUP makes it reload its settings.
    """
    from portraitd.service.stderr_capture import capture_stderr

    with capture_stderr():
        # Imported here: a logger that a module keeps writes to where standard error was then.
        from portraitd.service import supervisor

        supervisor.run(settings, reloader(), until_idle)


@click.command()
@with_settings
@click.argument("paths", nargs=-1, required=True, type=PathArgument(opens=False))
def process(settings: Settings, paths: tuple[Path, ...]) -> None:
    """Process files now, without the service.

    PATHS are videos, photos and folders of them, anywhere on this machine. The command shows its
    progress and exits when people/ is up to date.
    """
    from portraitd.cli.console import make_console
    from portraitd.cli.progress import ProgressBar
    from portraitd.service import daemon, log_setup

    log_setup.quiet()
    console = make_console(stderr=True)
    with ProgressBar(console) as bar:
        named = daemon.process(settings, list(paths), bar.follow)
    if _print_summary(settings, named, console):
        raise click.exceptions.Exit(EXIT_FAILED_FILES)


@click.command()
@settings_options("./portraitd-demo, a new folder")
@click.option("--keep-log", is_flag=True, help="Show what the service logs.")
def demo(
    home: Path | None, config: Path | None, assignments: tuple[str, ...], keep_log: bool
) -> None:
    """Run the whole pipeline on a generated clip.

    The clip shows two people. The home folder must be new or empty.
    """
    from portraitd.cli.console import make_console
    from portraitd.cli.demo import choose_home, run_demo
    from portraitd.config import load
    from portraitd.service import log_setup

    # Never the home of the environment or of a settings file: a service may work there.
    is_named = home is not None or any(one.startswith("home=") for one in assignments)
    settings = load(home if is_named else choose_home(), config, assignments)

    if keep_log:
        log_setup.configure()
    else:
        log_setup.quiet()
    run_demo(settings, make_console())


def _print_summary(settings: Settings, named: list[int], console: Console) -> int:
    """Print the result of the given files. Return how many of them failed."""
    from portraitd.model.media_file import FileState
    from portraitd.model.wording import counted
    from portraitd.store.database import Database
    from portraitd.store.files import Files, display_path
    from portraitd.store.people import People

    with Database.open_to_read(settings.state_dir) as database:
        files = Files(database, settings.inbox_dir)
        rows = [files.get(file_id) for file_id in named]
        grouping_run = People(database).last_grouping_run()
    failed = [row for row in rows if row.state in (FileState.FAILED, FileState.GONE)]
    for row in rows:
        if row.reason:
            console.print(f"{row.state}: {display_path(row.path)}: {row.reason}", markup=False)
    counts = (
        f"{counted(grouping_run.people, 'person', 'people')}, {counted(grouping_run.faces, 'face')}"
        if grouping_run
        else "no faces"
    )
    console.print(
        f"{len(rows) - len(failed)} of {counted(len(rows), 'file')}, {counts}: "
        f"{settings.people_dir}",
        markup=False,
    )
    return len(failed)
