"""The folders of a home."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from portraitd.config import Settings
from portraitd.model.errors import ConfigError, StoreError
from portraitd.store.database import FILE_NAME as DATABASE_NAME

_OF_THE_SETTINGS = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EEXIST,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EINVAL,
    }
)
"""Errors that another try does not change; others are those of a disk or a share."""


def make_home(settings: Settings, was_used: bool = False) -> None:
    """Create the folders of a home that do not exist yet.

    Args:
        settings: The home.
        was_used: Whether the shared folders must exist already.

    Raises:
        ConfigError: One of them cannot be created, and trying again does not help.
        StoreError: One of them cannot be created at the moment.
    """
    shared = {settings.home_dir, settings.inbox_dir, settings.people_dir}
    for folder, mode in (
        (settings.home_dir, 0o777),
        (settings.inbox_dir, 0o777),
        (settings.people_dir, 0o777),
        (settings.state_dir, 0o700),
        (settings.requests_dir, 0o700),
    ):
        if was_used and folder in shared:
            # Where it should be mounted, nothing must be created in its place.
            continue
        try:
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            text = f"cannot create {folder}: {error.strerror}"
            raise (ConfigError if error.errno in _OF_THE_SETTINGS else StoreError)(text) from error


def open_home(settings: Settings) -> None:
    """Create the folders of a new home; of one that was used, only those of the state.

    A folder that is missing later belongs to a share that is not mounted.

    Raises:
        ConfigError: As for ``make_home``.
        StoreError: As for ``make_home``; or systemd starts a service in an empty folder, where a
            share may not be mounted yet.
    """
    was_used = (settings.state_dir / DATABASE_NAME).exists()
    if not was_used and "NOTIFY_SOCKET" in os.environ and _is_empty(settings.home_dir):
        raise StoreError(
            f"{settings.home_dir} is empty: the share may not be mounted. If this is a new home, "
            "run `portraitd init`"
        )
    make_home(settings, was_used)


def _is_empty(folder: Path) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return True
