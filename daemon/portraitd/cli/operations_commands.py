"""Commands for whoever runs the service: copies of the store, forgetting, access requests."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import click

from portraitd.cli.options import EXIT_FAILED_FILES, with_settings
from portraitd.config import Settings
from portraitd.model.errors import ConfigError, PublishError, StoreError

NAMES_SHOWN = 10


@click.command()
@with_settings
@click.argument("file", type=click.Path(path_type=Path))
def backup(settings: Settings, file: Path) -> None:
    """Copy the store to FILE, also while the service runs; the copy is checked."""
    from portraitd.store.maintenance.backup import back_up

    done = back_up(settings.state_dir, file, time.time())
    click.echo(f"{done.path}: {done.size:,} bytes, sound; {_counted(done.counts)}")
    click.echo("It holds faces: keep it where nobody else can read it.")


@click.command()
@with_settings
@click.argument("file", type=click.Path(path_type=Path))
def restore(settings: Settings, file: Path) -> None:
    """Put the copy in FILE in force. The service must be stopped; the old store is kept aside."""
    from portraitd.store import StoreLock
    from portraitd.store.maintenance.backup import restore as put_in_force

    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{settings.state_dir} cannot be made: {error.strerror}") from error
    with StoreLock(settings.state_dir):
        done = put_in_force(settings.state_dir, file, time.time())
    click.echo(f"restored; {_counted(done.counts)}")
    if done.aside:
        click.echo(f"the store that was in force before: {done.aside}")
    if done.forgotten:
        click.echo(f"{done.forgotten} faces had been forgotten since, and are again")
    click.echo("Start `portraitd run`: it groups anew and brings the people folders up to date.")


@click.group()
def forget() -> None:
    """Remove people or videos for good: no face of them stays anywhere in the home."""


@forget.command("person")
@with_settings
@click.argument("person", metavar="ID|NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget_person(settings: Settings, person: str, yes: bool) -> None:
    """Forget everybody of this name, or the person of this number."""
    _forget(settings, "person", person, yes)


@forget.command("video")
@with_settings
@click.argument("video", metavar="PATH|SHA256")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget_video(settings: Settings, video: str, yes: bool) -> None:
    """Forget a video or photo, and every face found in it."""
    _forget(settings, "video", video, yes)


@forget.command("before")
@with_settings
@click.argument("date")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget_before(settings: Settings, date: str, yes: bool) -> None:
    """Forget every video that was taken up before a DATE, such as 2026-03-31."""
    _forget(settings, "before", date, yes)


@click.group()
def export() -> None:
    """Write down what is kept, for somebody who asks."""


@export.command("person")
@with_settings
@click.argument("person", metavar="ID|NAME")
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, metavar="FILE.zip")
def export_person(settings: Settings, person: str, target: Path) -> None:
    """Everything that is kept about a person, as one zip file, for an access request."""
    from portraitd.cli.export import export_person as write_archive

    count = write_archive(settings, person, target, time.time())
    click.echo(f"{target}: {count} faces. It holds faces: send it to nobody but that person.")


def repair_home(settings: Settings) -> None:
    """Set right what can be, and say what cannot."""
    from portraitd.service import log_setup
    from portraitd.service.repair import faults, repair

    log_setup.quiet()
    wrong = faults(settings)
    for line in repair(settings, wrong):
        click.echo(f"repaired  {line}")
    left = faults(settings) if wrong else []
    for fault in left:
        click.echo(f"BAD       {fault.what}: {fault.detail}")
    if left:
        raise click.exceptions.Exit(EXIT_FAILED_FILES)
    click.echo("nothing is wrong" if not wrong else "nothing else is wrong")


def _forget(settings: Settings, kind: str, word: str, yes: bool) -> None:
    """Show what goes, ask, and do it: here, or by the service that runs."""
    from portraitd.cli.client import ask
    from portraitd.service.control_files import ControlRequest
    from portraitd.service.erasure_stage import REQUEST, find
    from portraitd.store import Database, Eraser

    with closing(Database.open_to_read(settings.state_dir)) as database:
        scope = find(Eraser(database), kind, word)
    if not scope:
        click.echo("nothing to forget")
        return
    _show(settings, scope.names, len(scope.face_ids), kind)
    if not yes:
        click.confirm("Forget it for good?", abort=True)
    answer = ask(settings, ControlRequest(REQUEST, words=(kind, word)))
    click.echo(answer) if answer is not None else _forget_here(settings, kind, word)


def _forget_here(settings: Settings, kind: str, word: str) -> None:
    from portraitd.service.erasure_stage import ErasureStage, Places, find, said
    from portraitd.store import Database, Eraser, StoreLock

    with StoreLock(settings.state_dir), closing(Database.open(settings.state_dir)) as database:
        eraser = Eraser(database)
        forgetter = ErasureStage(eraser, Places.of(settings), keep_days=0.0)
        # Once more: the service may have worked on between the question and the answer.
        scope = find(eraser, kind, word)
        forgetter.forget(scope, time.time())
        try:
            erased = forgetter.finish(time.time())
        except (PublishError, StoreError) as error:
            raise StoreError(
                f"{error}; the database holds it no more, the rest goes when the service starts"
            ) from error
    click.echo(said(scope))
    for path in [path for one in erased for path in one.left][:NAMES_SHOWN]:
        click.echo(f"left, as somebody put it there: {settings.people_dir / path}")
    click.echo("Start `portraitd run`: it groups anew and brings the folders up to date.")


def _show(settings: Settings, names: tuple[str, ...], faces: int, kind: str) -> None:
    """What goes, and what a person must see to themselves."""
    from portraitd.store.erasure.derived_files import copies
    from portraitd.store.maintenance.backup import listed

    for name in names[:NAMES_SHOWN]:
        click.echo(f"  {name}")
    if len(names) > NAMES_SHOWN:
        click.echo(f"  and {len(names) - NAMES_SHOWN} more")
    click.echo(f"{faces} faces go: from the database, the people folders, training sets, copies")
    for path in copies(settings.state_dir, old_stores=True):
        if path.name.startswith(("portraitd.sqlite3.old", "backup-before")):
            click.echo(f"and with them an older store that was put aside: {path}")
    for path in listed(settings.state_dir):
        click.echo(f"still holds them: {path}; restored, they are forgotten again")
    if kind != "person":
        click.echo("the files themselves stay where they were dropped; remove them there")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {table}" for table, count in counts.items())
