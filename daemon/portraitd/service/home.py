"""The folders of a home: create them, and check that they are there and apart."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from portraitd.config import Settings
from portraitd.ingest.folder_overlap import FolderLocation
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

CONFIG_NAME = "config.toml"

_HOME_ENTRIES = (CONFIG_NAME, "inbox", "people", "state", "dataset")


def make_home(settings: Settings, was_used: bool = False) -> None:
    """Create the folders of a home that do not exist yet.

    Args:
        settings: The home.
        was_used: Whether the shared folders must exist already.

    Raises:
        ConfigError: One of them is in another one, or cannot be created, and trying again does
            not help.
        StoreError: One of them cannot be created at the moment.
    """
    shared = {settings.home_dir, settings.inbox_dir, settings.people_dir}
    check_folders(settings)
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
    was_used = os.path.lexists(settings.state_dir / DATABASE_NAME)
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


def require_home(settings: Settings) -> None:
    """Check that there is a home, so that a typing error in ``--home`` creates nothing.

    A home has one of its folders or its settings file; an empty folder may become one.

    Raises:
        ConfigError: There is none, or it cannot be read.
    """
    home = settings.home_dir
    try:
        if any(map(os.path.lexists, (settings.state_dir, settings.inbox_dir))):
            return
        entries = os.listdir(home)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"{home}: no such home folder; create it with "
            f"`portraitd init --home {shlex.quote(str(home))}`"
        ) from None
    except OSError as error:
        raise ConfigError(f"{home}: {error.strerror}") from error
    if entries and not set(entries) & set(_HOME_ENTRIES):
        raise ConfigError(
            f"{home}: not a home folder of portraitd; to make it one, run "
            f"`portraitd init --home {shlex.quote(str(home))}`"
        )


def check_folders(settings: Settings) -> None:
    """Check that no folder of a home is in another: its output would become its input.

    Links and bind mounts are followed.

    Raises:
        ConfigError: Names the two folders, and the settings that move them.
    """
    home = FolderLocation(settings.home_dir)
    located = [(name, path, FolderLocation(path)) for name, path in _name_folders(settings)]
    for name, path, location in located:
        if location.holds(home):
            raise ConfigError(
                f"paths.{name} = {path}: this folder contains the home folder {settings.home_dir}; "
                "choose a folder below the home, or outside"
            )
    for (name, path, location), (other, other_path, other_location) in combinations(located, 2):
        if location.overlaps(other_location):
            raise ConfigError(
                f"paths.{name} = {path} and paths.{other} = {other_path} are the same folder, or "
                "one is in the other; choose two that are apart"
            )


def find_own_folders(settings: Settings, folder: Path) -> list[Path]:
    """Return which of portraitd's own files and folders are below a folder, relative to it.

    Raises:
        ConfigError: The folder is in one of them, or shows one through a mount.
    """
    place = FolderLocation(folder)
    beside = FolderLocation(settings.home_dir / CONFIG_NAME)
    found = [path for path in [place.path_of(beside)] if path]
    for name, path in _name_folders(settings):
        own = FolderLocation(path)
        if name == "inbox":
            continue
        if own.holds(place):
            raise ConfigError(f"{folder}: portraitd's own files ({name}) are not processed")
        if below := place.path_of(own):
            found.append(below)
        elif place.overlaps(own):
            raise ConfigError(
                f"{folder}: {path} is mounted below it, and portraitd's own files ({name}) are "
                "not processed"
            )
    return found


def _name_folders(settings: Settings) -> Sequence[tuple[str, Path]]:
    return (
        ("inbox", settings.inbox_dir),
        ("people", settings.people_dir),
        ("state", settings.state_dir),
        ("dataset", settings.dataset_dir),
    )
