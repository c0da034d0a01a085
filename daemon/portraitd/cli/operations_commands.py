"""``portraitd backup``, ``restore``, ``forget`` and ``export``: commands for operators."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import PathArgument, with_settings, yes_option

if TYPE_CHECKING:
    from portraitd.config import Settings

NAMES_SHOWN = 10

SINGULARS = {"files": "file", "videos": "video", "faces": "face", "people": "person"}

_with_settings_as_caller = partial(with_settings, acts_as_owner=False)
"""The file that such a command reads or writes may be one that only root can."""


@click.command()
@_with_settings_as_caller
@click.argument("file", type=PathArgument())
def backup(settings: Settings, file: Path) -> None:
    """Back up the database to FILE.

    Works while the service runs. The copy is checked before it gets its name.
    """
    from portraitd.store.maintenance.backup import back_up

    done = back_up(settings.state_dir, file, time.time())
    click.echo(f"{done.path}: {done.size:,} bytes, checked; {_listed(done.counts)}")
    click.echo("It contains faces: keep it where only you can read it.")


@click.command()
@_with_settings_as_caller
@click.argument("file", type=PathArgument())
def restore(settings: Settings, file: Path) -> None:
    """Restore the database from FILE.

    The service must be stopped. The current database is kept as
    state/portraitd.sqlite3.old-….
    """
    from portraitd.model.errors import ConfigError
    from portraitd.model.wording import counted
    from portraitd.store.database import StoreLock
    from portraitd.store.maintenance.backup import restore as restore_database

    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create {settings.state_dir}: {error.strerror}") from error
    with StoreLock(settings.state_dir):
        done = restore_database(settings.state_dir, file, time.time())
    click.echo(f"restored; {_listed(done.counts)}")
    if done.previous:
        click.echo(f"previous database: {done.previous}")
    if done.erased:
        faces = counted(done.erased, "face")
        click.echo(f"{faces} erased since the backup were erased from it again")
    click.echo("Start `portraitd run`: it regroups all faces and updates people/.")


@click.group()
def forget() -> None:
    """Permanently erase a person or a video.

    Their faces are removed from the database, people/, training sets and caches.
    """


@forget.command("person")
@with_settings
@click.argument("person", metavar="ID|NAME")
@yes_option
def forget_person(settings: Settings, person: str, yes: bool) -> None:
    """Erase a person, by number or name.

    If several people have the name, all of them are erased.
    """
    _forget(settings, "person", person, yes)


@forget.command("video")
@with_settings
@click.argument("video", metavar="PATH|SHA256")
@yes_option
def forget_video(settings: Settings, video: str, yes: bool) -> None:
    """Erase a video or photo and all its faces.

    The file itself stays where it is.
    """
    _forget(settings, "video", video, yes)


@forget.command("before")
@with_settings
@click.argument("date")
@yes_option
def forget_before(settings: Settings, date: str, yes: bool) -> None:
    """Erase all videos added before DATE.

    DATE is a day or a time, such as 2026-03-31. The files themselves stay where they are.
    """
    _forget(settings, "before", date, yes)


@click.group()
def export() -> None:
    """Export the data kept about a person."""


@export.command("person")
@_with_settings_as_caller
@click.argument("person", metavar="ID|NAME")
@click.option(
    "--to",
    "target",
    type=PathArgument(),
    required=True,
    metavar="FILE.zip",
    help="The archive to write. Required.",
)
def export_person(settings: Settings, person: str, target: Path) -> None:
    """Export everything stored about a person.

    Writes one zip file, for instance for a subject access request.
    """
    from portraitd.cli.export import export_person as write_archive
    from portraitd.model.wording import counted

    count = write_archive(settings, person, target, time.time())
    click.echo(f"{target}: {counted(count, 'face')}. Send it to that person only.")


def _forget(settings: Settings, kind: str, word: str, yes: bool) -> None:
    """Show what will be erased, ask for confirmation, and erase it here or in the service."""
    from portraitd.cli.client import ask
    from portraitd.cli.people_reading import read_people
    from portraitd.service.control_files import ControlRequest
    from portraitd.service.erasure_stage import REQUEST, find
    from portraitd.store.database import Database
    from portraitd.store.erasure.eraser import Eraser

    read_people(settings)
    with Database.open_to_read(settings.state_dir) as database:
        scope = find(Eraser(database), kind, word)
    if not scope:
        click.echo("nothing to erase")
        return
    _show(settings, scope.names, len(scope.face_ids), kind)
    if not yes:
        click.confirm("Erase permanently?", abort=True)
    answer = ask(settings, ControlRequest(REQUEST, arguments=(kind, word)))
    click.echo(answer) if answer is not None else _forget_here(settings, kind, word)


def _forget_here(settings: Settings, kind: str, word: str) -> None:
    from portraitd.model.errors import PublishError, StoreError
    from portraitd.service.erasure_stage import ErasureStage, describe, describe_rest, find
    from portraitd.service.people_lease import hold_people_tree
    from portraitd.store.database import Database, StoreLock
    from portraitd.store.erasure.eraser import Eraser

    with (
        StoreLock(settings.state_dir),
        Database.open(settings.state_dir) as database,
        hold_people_tree(settings, database.name),
    ):
        eraser = Eraser(database)
        erasure_stage = ErasureStage(eraser, settings)
        # Again: a service may have run between the question and the answer.
        scope = find(eraser, kind, word)
        erasure_stage.erase(scope, time.time())
        try:
            done = erasure_stage.finish(time.time())
        except (PublishError, StoreError) as error:
            raise StoreError(
                f"{error}; the database is clean, the rest is erased when the service starts"
            ) from error
    for line in (describe(scope), *describe_rest(done, scope, settings)):
        click.echo(line)
    click.echo("Start `portraitd run`: it regroups all faces and updates people/.")


def _show(settings: Settings, names: tuple[str, ...], faces: int, kind: str) -> None:
    """Print what will be erased, and what the operator has to remove."""
    from portraitd.model.wording import counted, escape_unprintable
    from portraitd.store.erasure.derived_files import copies
    from portraitd.store.maintenance.backup import list_backups

    for name in names[:NAMES_SHOWN]:
        click.echo(f"  {escape_unprintable(name)}")
    if len(names) > NAMES_SHOWN:
        click.echo(f"  and {len(names) - NAMES_SHOWN} more")
    click.echo(
        f"{counted(faces, 'face')} will be erased from the database, people/, training sets "
        "and caches"
    )
    for path in copies(settings.state_dir, old_stores=True):
        if path.name.startswith(("portraitd.sqlite3.old", "backup-before")):
            click.echo(f"older database that will be removed as well: {path}")
    for path in list_backups(settings.state_dir):
        click.echo(f"backup that still contains them: {path} (a restore erases them again)")
    if kind != "person":
        click.echo("the dropped files stay where they are; remove them yourself")


def _listed(counts: dict[str, int]) -> str:
    from portraitd.model.wording import counted

    return ", ".join(
        counted(count, SINGULARS.get(table, table), table) for table, count in counts.items()
    )
