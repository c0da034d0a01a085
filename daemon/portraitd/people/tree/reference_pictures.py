"""Find the reference pictures: pictures of reviewers' own, in a folder that says who they show.

portraitd reads such a picture and never writes, moves or removes it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from portraitd.model.ignored_names import is_ignored
from portraitd.model.media_file import Stamp
from portraitd.model.reasons import ReasonCode
from portraitd.model.review_notice import ReviewNotice
from portraitd.people.names import name_in, safe_name
from portraitd.people.tree.folder_fs import open_folder
from portraitd.people.tree.folder_state import FolderState
from portraitd.people.tree.scan import SKIPPED_ERRORS
from portraitd.people.tree.tree_snapshot import TreeSnapshot

REFERENCE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif", ".bmp", ".tif", ".tiff",
)  # fmt: skip

MAX_REFERENCES_PER_FOLDER = 20
MAX_REFERENCES = 20_000
MAX_REFERENCE_BYTES = 64 << 20


def is_picture_name(name: str) -> bool:
    """Return whether a file of this name may be a picture of a reviewer's own."""
    return name.lower().endswith(REFERENCE_SUFFIXES) and not is_ignored(name)


def stamp_picture(fd: int, name: str) -> Stamp | None:
    """Return the stamp of a file; None if it is missing, too large or not a regular file.

    Raises:
        OSError: The folder cannot be read at all.
    """
    try:
        facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in SKIPPED_ERRORS:
            raise
        return None
    is_usable = stat.S_ISREG(facts.st_mode) and facts.st_size <= MAX_REFERENCE_BYTES
    return Stamp.of(facts) if is_usable else None


class ReferencePlace(NamedTuple):
    """A reference picture, and the folder that says who it shows.

    Attributes:
        stamp: The file as it is now.
        location: The folder, below the root of the tree.
        person_id: Whose folder it is; None if it belongs to no person yet.
        name: Name of the folder, as a name of a person.
    """

    stamp: Stamp
    location: str
    person_id: int | None
    name: str


@dataclass(frozen=True, slots=True)
class ReferenceScan:
    """The reference pictures in a tree.

    Attributes:
        pictures: By path below the root.
        notices: What cannot be a reference although it looks like one.
        unreadable: Locations of folders that could not be read: what is in them is not missing.
    """

    pictures: dict[str, ReferencePlace] = field(default_factory=dict)
    notices: list[ReviewNotice] = field(default_factory=list)
    unreadable: Collection[str] = ()


def find_references(
    snapshot: TreeSnapshot, root_fd: int, unreadable: Collection[str] = ()
) -> ReferenceScan:
    """Return the reference pictures in a tree that was read just now.

    Args:
        snapshot: The tree.
        root_fd: Its root.
        unreadable: Locations of folders that could not be read.
    """
    found = ReferenceScan(unreadable=unreadable)
    for folder, person_id, name in list_person_folders(snapshot):
        names = _list_pictures(folder)
        if not names or len(found.pictures) >= MAX_REFERENCES:
            continue
        if not name:
            notice = ReviewNotice.of(ReasonCode.REFERENCE_WITHOUT_NAME, folder.location)
            found.notices.append(notice)
            continue
        try:
            stamps = _stamp_files(root_fd, folder.location, names)
        except OSError as error:
            if error.errno not in SKIPPED_ERRORS:
                raise
            continue
        for file_name, stamp in stamps[:MAX_REFERENCES_PER_FOLDER]:
            place = ReferencePlace(stamp, folder.location, person_id, name)
            found.pictures[f"{folder.location}/{file_name}"] = place
        if len(stamps) > MAX_REFERENCES_PER_FOLDER:
            notice = ReviewNotice.of(
                ReasonCode.TOO_MANY_REFERENCES, folder.location, n=MAX_REFERENCES_PER_FOLDER
            )
            found.notices.append(notice)
    return found


def list_person_folders(snapshot: TreeSnapshot) -> Iterator[tuple[FolderState, int | None, str]]:
    """Yield the folders in which a picture can be a reference, with the person and the name."""
    people = {folder.location: number for number, folder in snapshot.owned.items() if number > 0}
    for number, folder in sorted(snapshot.owned.items()):
        if number > 0:
            yield folder, number, safe_name(folder.name)
    for folder in sorted(snapshot.unowned, key=lambda one: one.location):
        # The root, the folders for cards, _unsorted and _ignored.
        if not folder.location or folder.location.startswith("_"):
            continue
        # A folder within a person's is about that person, for instance after a merge.
        parts = folder.location.split("/")
        around = ["/".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1)]
        owner = next((people[location] for location in around if location in people), None)
        yield folder, owner, safe_name(folder.name) if owner else name_in(folder.name)


def _list_pictures(folder: FolderState) -> list[str]:
    """Return the pictures in a folder that are not portraits of portraitd, nor copies of them."""
    manifest = folder.manifest
    return [
        name
        for name in folder.names
        # First what is true of nearly all of them.
        if name not in manifest.files
        and is_picture_name(name)
        and name not in manifest.copies
        and name not in folder.pictures
    ]


def _stamp_files(root_fd: int, location: str, names: Collection[str]) -> list[tuple[str, Stamp]]:
    """Return the regular files among some names, without those that are too large."""
    with open_folder(location, root_fd) as fd:
        return [(name, stamp) for name in names if (stamp := stamp_picture(fd, name)) is not None]
