"""Files of portraitd's own beside the folders of people: pages, data, tables.

The rules are those of the tree: what is as it was wanted is not written, what is written is
written beside and renamed, what a human changed stays. A note in each folder remembers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from portraitd.model.errors import PublishError
from portraitd.people.tree.folder_fs import (
    OWN_PREFIX,
    opened,
    opened_root,
    read_regular,
    set_mode,
    sweep,
)
from portraitd.people.tree.inventory import root_note
from portraitd.people.tree.manifest import FolderManifest, read_note
from portraitd.people.tree.plan import plan_files
from portraitd.people.tree.plan_executor import Carrier, Modes
from portraitd.people.tree.scan import names_in

ROOT = "."
"""The root of the tree, as a location."""

_NO_FOLDER = -2
"""What plans for a shelf carry in place of a person's number."""


@dataclass(frozen=True, slots=True)
class Shelved:
    """What was done: files written and files removed."""

    written: int
    removed: int


class OwnedFiles:
    """Keeps files in folders of the tree that belong to nobody.

    Two shelves with different owners may keep files in one folder; neither touches the other's.

    Args:
        root: The root of the tree; not made here.
        owner: A word for whose files these are.
    """

    def __init__(self, root: Path, owner: str, modes: Modes | None = None) -> None:
        self._root = root
        self._note_name = f"{OWN_PREFIX}{owner}"
        self._modes = modes or Modes()

    def put(
        self, location: str, wanted: Mapping[str, str], content: Callable[[str], bytes]
    ) -> Shelved:
        """Make a folder hold these files, and no others of this owner.

        Args:
            location: The folder's path below the root, or ``ROOT``. Made if it is missing.
            wanted: Identity of the content by name; equal identities mean equal content.
            content: What a file is to hold; asked only for those that are written.

        Raises:
            PublishError: The folder cannot be read or written, or the tree's marker is missing.
        """
        try:
            with opened_root(self._root) as root_fd:
                root_note(root_fd, self._root)
                self._make(root_fd, location)
                with opened(location, root_fd) as fd:
                    if location != ROOT:
                        # What an interrupted write left; in the root the tree looks after that.
                        sweep(fd)
                    return self._put(root_fd, fd, wanted, content)
        except OSError as error:
            where = error.filename if isinstance(error.filename, str) else ""
            place = self._root / location / where
            raise PublishError(f"{place}: {error.strerror or error}") from error

    def _put(
        self, root_fd: int, fd: int, wanted: Mapping[str, str], content: Callable[[str], bytes]
    ) -> Shelved:
        note = read_note(read_regular(fd, self._note_name)) or FolderManifest(None, "", "", 0)
        carrier = Carrier(root_fd, {}, self._modes, lambda step: content(step.name))
        published = {name: record.identity for name, record in note.files.items()}
        present = carrier.listing(fd, note, names_in(fd))
        steps = plan_files(_NO_FOLDER, wanted, published, present)
        if steps:
            carrier.change(fd, self._note_name, note, steps)
        return Shelved(carrier.written, carrier.removed)

    def _make(self, root_fd: int, location: str) -> None:
        path = ""
        for part in location.split("/"):
            path = f"{path}/{part}" if path else part
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700, dir_fd=root_fd)
                with opened(path, root_fd) as fd:
                    set_mode(fd, self._modes.folder)
