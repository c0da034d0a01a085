"""Read the edits in the people tree for a command, while no service does.

A command that depends on names reads the tree first, because a reviewer may have renamed folders.
It records the edits and publishes nothing; the service does that when it starts.
"""

from __future__ import annotations

import time

from portraitd.config import Settings
from portraitd.model.errors import AlreadyRunning, PublishError, StoreError, TreeInUse
from portraitd.model.reasons import NO_REASON, Reason
from portraitd.model.stage import Now
from portraitd.people.review import MIN_GAP_S, Review
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service.people_lease import hold_people_tree
from portraitd.service.share_probe import require_share
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.database import Database, StoreLock
from portraitd.store.tree_stores import TreeStores


def read_tree(settings: Settings, *, waits: bool = True) -> Reason:
    """Record what reviewers did since the tree was published; does nothing if a service runs.

    As for the service, two readings must agree. They are ``review.settle_s`` apart only if the
    tree was changed within that time; otherwise they follow each other at once.

    Args:
        settings: The home.
        waits: Whether to wait for the second reading; if not, edits as recent as that are left
            for later.

    Returns:
        Why the tree could not be read; ``NO_REASON`` if it was, or a service does it.
    """
    try:
        require_share(settings.people_dir)
        # Before the lease, whose file changes the root.
        changed_s = PeopleTree(settings.people_dir).find_last_change()
        with (
            StoreLock(settings.state_dir),
            Database.open(settings.state_dir) as database,
            hold_people_tree(settings, database.name, waits=waits),
        ):
            _read(settings, database, changed_s, waits)
    except AlreadyRunning:
        return NO_REASON
    except (PublishError, StoreError, TreeInUse) as error:
        return error.reason
    return NO_REASON


def _read(settings: Settings, database: Database, changed_s: float, waits: bool) -> None:
    tree = PeopleTree(settings.people_dir, store=database.name)
    stores = TreeStores.of(database)
    recorder = EditRecorder(
        database, stores.ledger, stores.publications, settings.review.unit == "track"
    )
    review = Review(tree, recorder, stores, settings.review)
    settle_s, now_s = settings.review.settle_s, time.time()
    review.tick(Now(now_s, 0.0))
    if not review.pending:
        return
    # The clock of a file server may be ahead.
    if now_s - changed_s < settle_s:
        if not waits:
            return
        time.sleep(settle_s)
    # As though the time between had passed: the tree has been unchanged for as long.
    review.tick(Now(time.time(), max(settle_s, MIN_GAP_S)))
