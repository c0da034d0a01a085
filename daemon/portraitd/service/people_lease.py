"""The lease on the people tree of a home: for the service, and for commands without a service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from portraitd.config import Settings
from portraitd.ingest.mounts import is_on_share
from portraitd.model.errors import TreeInUse
from portraitd.model.reasons import NO_REASON, Reason
from portraitd.model.stage import Now
from portraitd.people.tree.lease import CONFIRM_S, TreeLease
from portraitd.service.share_probe import require_share

POLL_S = 0.2


def make_people_lease(
    settings: Settings, store: str, probe: Callable[[], Reason] = lambda: NO_REASON
) -> TreeLease:
    """Return a lease on the people tree of a home, which is not held yet.

    Args:
        settings: The home.
        store: The name of its database.
        probe: Returns why the share must not be touched.
    """
    return TreeLease(
        settings.people_dir,
        store,
        settings.home_dir,
        lambda: is_on_share(settings.people_dir),
        probe,
    )


def take(lease: TreeLease) -> None:
    """Try to get a lease. On a share it is certain only after some seconds, which this waits."""
    deadline_s = time.monotonic() + CONFIRM_S + 2 * POLL_S
    lease.tick(Now.read())
    while lease.is_taking_over and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
        lease.tick(Now.read())


@contextmanager
def hold_people_tree(settings: Settings, store: str, *, waits: bool = True) -> Iterator[None]:
    """Hold the lease until the block ends: for a command of a home whose service does not run.

    The service of a copied home may work on the same tree.

    Args:
        settings: The home.
        store: The name of its database.
        waits: Whether to wait until the lease on a share is certain.

    Raises:
        StoreError: The share does not respond.
        TreeInUse: Another portraitd works on the tree, or ended there a moment ago.
    """
    require_share(settings.people_dir)
    lease = make_people_lease(settings, store)
    try:
        take(lease) if waits else lease.tick(Now.read())
        if lease.blocked:
            raise TreeInUse(lease.blocked)
        yield
    finally:
        lease.give_up()
