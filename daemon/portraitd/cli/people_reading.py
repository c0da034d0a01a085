"""Read the people tree before a command that depends on names."""

from __future__ import annotations

from contextlib import suppress

import click

from portraitd.config import Settings
from portraitd.model.errors import PublishError, StoreError
from portraitd.model.wording import escape_unprintable
from portraitd.people.recorded_state import read_recorded_state
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service.health import lock_holder
from portraitd.service.share_probe import require_share
from portraitd.store.database import Database
from portraitd.store.tree_stores import TreeStores


def read_people(settings: Settings, *, waits: bool = True) -> None:
    """Read the edits in people/ while no service runs, and say so if that is not possible.

    Args:
        settings: The home.
        waits: Whether to wait for an edit that may go on; see ``read_tree``.
    """
    if lock_holder(settings.state_dir) or not _is_edited(settings):
        return
    # Imported here: the review loads what takes longer than printing the status.
    from portraitd.service import log_setup
    from portraitd.service.tree_reading import read_tree

    log_setup.quiet()
    reason = read_tree(settings, waits=waits)
    if reason:
        text = escape_unprintable(reason.text)
        click.echo(f"note: edits in people/ were not read: {text}", err=True)


def _is_edited(settings: Settings) -> bool:
    """Return whether there is something to read in the tree, or to say about it.

    A store that cannot be read fails the command that needs it.
    """
    with suppress(StoreError), Database.open_to_read(settings.state_dir) as database:
        stores = TreeStores.of(database)
        if not stores.publications.last().grouping_run_id:
            return False
        tree = PeopleTree(settings.people_dir, store=database.name)
        try:
            require_share(settings.people_dir)
            return tree.differs(read_recorded_state(stores))
        except (PublishError, StoreError):
            return True
    return False
