"""Find the files by which reviewers say until when a person agrees to be in training sets.

Such a file is in the folder of the person. Only its name counts: portraitd never opens, writes,
moves or removes it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from portraitd.people.tree.folder_fs import open_folder
from portraitd.people.tree.folder_state import FolderState
from portraitd.people.tree.reference_pictures import list_person_folders
from portraitd.people.tree.scan import SKIPPED_ERRORS
from portraitd.people.tree.tree_snapshot import TreeSnapshot

_CONSENT = re.compile(r"consent(?![a-z]).*\.(pdf|txt)", re.IGNORECASE | re.DOTALL)
_UNTIL = re.compile(
    r"consent[ _-]+until[ _-]+(\d{4}-\d{2}-\d{2})\.(pdf|txt)", re.IGNORECASE | re.ASCII
)


class FolderConsent(NamedTuple):
    """A file about the consent of a person.

    Attributes:
        person_id: Whose folder it is in.
        name: Name of the file.
        until: The last day of the consent; None if the name says none.
    """

    person_id: int
    name: str
    until: date | None


def read_consent_name(name: str) -> tuple[bool, date | None]:
    """Return whether a name is that of a consent, and its last day; None if it says none."""
    if not _CONSENT.fullmatch(name):
        return False, None
    found = _UNTIL.fullmatch(name)
    if found is None:
        return True, None
    try:
        return True, date.fromisoformat(found[1])
    except ValueError:
        # Such as February 30.
        return True, None


def find_consents(snapshot: TreeSnapshot, root_fd: int) -> tuple[FolderConsent, ...]:
    """Return the consents in a tree that was read just now, also those of folders inside folders.

    Args:
        snapshot: The tree.
        root_fd: Its root.
    """
    return tuple(
        FolderConsent(person_id, name, until)
        for folder, person_id, _ in list_person_folders(snapshot)
        if person_id is not None
        for name, until in _list_in(folder, root_fd)
    )


def _list_in(folder: FolderState, root_fd: int) -> Iterator[tuple[str, date | None]]:
    read = {name: read_consent_name(name) for name in folder.names}
    named = [(name, until) for name, (is_consent, until) in read.items() if is_consent]
    if not named:
        return
    try:
        with open_folder(folder.location, root_fd) as fd:
            for name, until in named:
                # A folder or a link of that name says nothing.
                if stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                    yield name, until
    except OSError as error:
        if error.errno not in SKIPPED_ERRORS:
            raise
