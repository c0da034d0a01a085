"""``portraitd undo``, ``accept``, ``retry``, ``regroup`` and ``rebuild``: commands that correct."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from portraitd.cli.options import MAX_NUMBER, WholeRange, with_settings

if TYPE_CHECKING:
    from portraitd.config import Settings


@click.command()
@with_settings
@click.argument("entry", required=False, type=WholeRange(1, MAX_NUMBER))
def undo(settings: Settings, entry: int | None) -> None:
    """Undo the last edit made in people/.

    Or the edit with the number ENTRY, as `portraitd ledger` lists it. An undo can be undone.
    """
    from portraitd.cli.client import ask, undo_here
    from portraitd.cli.people_reading import read_people
    from portraitd.service.control_files import ControlRequest

    read_people(settings)
    click.echo(ask(settings, ControlRequest("undo", entry)) or undo_here(settings, entry))


@click.command()
@with_settings
@click.option("--put-back", "puts_back", is_flag=True, help="Write the missing portraits again.")
def accept(settings: Settings, puts_back: bool) -> None:
    """Confirm that the missing portraits were deleted.

    Run it when many portraits disappeared at once from people/, and they were in fact deleted on
    purpose; with --put-back if they were not. It also confirms that videos are to be erased for
    their age (privacy.keep_days), when portraitd waits for that.
    """
    from portraitd.cli.client import ask
    from portraitd.service.control import PUT_BACK
    from portraitd.service.control_files import ControlRequest

    request = ControlRequest(PUT_BACK if puts_back else "accept")
    click.echo(ask(settings, request, or_queue=True))


@click.command()
@with_settings
def retry(settings: Settings) -> None:
    """Retry the files that failed.

    If the service runs, it retries them at once, otherwise when it starts.
    """
    import time

    from portraitd.cli.client import ask
    from portraitd.model.wording import counted
    from portraitd.service.control_files import ControlRequest
    from portraitd.store.database import Database, StoreLock
    from portraitd.store.files import Files
    from portraitd.store.slices import SliceQueue

    answer = ask(settings, ControlRequest("retry"))
    if answer is not None:
        click.echo(answer)
        return
    with StoreLock(settings.state_dir), Database.open(settings.state_dir) as database:
        files = Files(database, settings.inbox_dir)
        count = SliceQueue(database, files).retry(time.time()) + files.retry(time.time())
    click.echo(f"{counted(count, 'file')} to retry; start `portraitd run`")


@click.command()
@with_settings
@click.argument("paths", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Dismiss every file that failed.")
def dismiss(settings: Settings, paths: tuple[str, ...], everything: bool) -> None:
    """Remove failed files from the list.

    They count as ignored. Give PATHS as `portraitd status` lists them. A dismissed file is
    processed again if it changes.
    """
    import time

    from portraitd.cli.client import ask
    from portraitd.model.errors import ConfigError
    from portraitd.service.control import DISMISS, describe_dismissed
    from portraitd.service.control_files import ControlRequest
    from portraitd.store.database import Database, StoreLock
    from portraitd.store.files import Files

    if everything == bool(paths):
        raise ConfigError("name the files to dismiss, or give --all")
    answer = ask(settings, ControlRequest(DISMISS, arguments=paths))
    if answer is None:
        with StoreLock(settings.state_dir), Database.open(settings.state_dir) as database:
            dismissed = Files(database, settings.inbox_dir).dismiss(paths, time.time())
        answer = describe_dismissed(len(dismissed))
    click.echo(answer)


@click.command()
@with_settings
@click.option("--dry-run", is_flag=True, help="Only print what would change.")
def regroup(settings: Settings, dry_run: bool) -> None:
    """Regroup all faces from scratch.

    For instance with another threshold: --set grouping.linkage=0.5. Names and corrections are
    kept. Without --dry-run, the service must be stopped.
    """
    from portraitd.cli.console import make_console
    from portraitd.cli.people_reading import read_people
    from portraitd.cli.progress import ProgressBar
    from portraitd.clustering.dry_run import describe_proposal, propose
    from portraitd.service import daemon, log_setup

    read_people(settings)
    for line in describe_proposal(propose(settings)):
        click.echo(line)
    if not dry_run:
        log_setup.quiet()
        with ProgressBar(make_console(stderr=True)) as bar:
            daemon.process(settings, [], bar.follow)


@click.command()
@with_settings
def rebuild(settings: Settings) -> None:
    """Reprocess every video with the current settings.

    Names and corrections are kept. The old people stay visible until the last video is done. If
    the service runs, it does the work.
    """
    from portraitd.cli.client import ask, require_same_settings
    from portraitd.cli.console import make_console
    from portraitd.cli.progress import ProgressBar
    from portraitd.service import daemon, log_setup
    from portraitd.service.control_files import ControlRequest

    require_same_settings(settings)
    answer = ask(settings, ControlRequest("rebuild"))
    if answer is not None:
        click.echo(answer)
        return
    log_setup.quiet()
    with ProgressBar(make_console(stderr=True)) as bar:
        daemon.process(settings, [], bar.follow, rebuild=True)
