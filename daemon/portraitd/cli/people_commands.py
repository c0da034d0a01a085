"""``portraitd people``: bring pictures of people who are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import PathArgument, with_settings

if TYPE_CHECKING:
    from portraitd.config import Settings
    from portraitd.people.references.reference_import import ImportedPicture

_REASONS = {
    "there": "is there already",
    "no_picture": "not taken: no picture by its name",
    "no_file": "not taken: not a file that can be read",
    "too_large": "not taken: too large",
    "no_name": "not taken: its folder or file does not have the name of a person",
    "too_many": "not taken: there are enough pictures of this person",
}


@click.group()
def people() -> None:
    """Import pictures of known people."""


@people.command("import")
@with_settings
@click.argument("folder", type=PathArgument())
@click.option("--dry-run", is_flag=True, help="Copy nothing; show what would be copied.")
def import_pictures(settings: Settings, folder: Path, dry_run: bool) -> None:
    """Copy pictures of known people into people/.

    FOLDER holds one folder per person, or pictures named after them: Anna.jpg, Anna_2.jpg. Each
    picture should show one face. It is read when portraitd runs, and recognised from then on.
    """
    from portraitd.model.errors import ConfigError
    from portraitd.people.references.reference_import import Outcome, import_references
    from portraitd.people.tree.people_tree import PeopleTree

    PeopleTree(settings.people_dir).create()
    pictures = import_references(folder, settings.people_dir, dry_run=dry_run)
    for picture in pictures:
        click.echo(_described(picture))
    taken = [picture for picture in pictures if picture.outcome is Outcome.TAKEN]
    if not taken and not any(picture.outcome is Outcome.THERE for picture in pictures):
        raise ConfigError(f"{folder} contains no picture that could be taken")
    names = {picture.name for picture in taken}
    click.echo(_summarised(len(taken), len(names), dry_run=dry_run))


def _described(picture: ImportedPicture) -> str:
    from portraitd.model.wording import escape_unprintable

    source = escape_unprintable(picture.source)
    if picture.target:
        return f"{source} -> people/{escape_unprintable(picture.target)}"
    return f"{source}: {_REASONS[picture.outcome]}"


def _summarised(pictures: int, people: int, *, dry_run: bool) -> str:
    from portraitd.model.wording import counted

    verb = "would be taken" if dry_run else "taken"
    who = counted(people, "person", "people")
    return f"{counted(pictures, 'picture')} of {who} {verb}"
