"""Find the folders of people and their portraits, whatever the folders are called now."""

from __future__ import annotations

from pathlib import Path

from portraitd.model.edit import Placement
from portraitd.model.errors import PublishError
from portraitd.people.tree.folder_fs import open_root
from portraitd.people.tree.folder_state import FolderState, is_in_ignored
from portraitd.people.tree.ownership import assign_owners, read_root_manifest
from portraitd.people.tree.scan import ScanCache, scan_tree


def find_person_folders(root: Path, cache: ScanCache) -> dict[int, FolderState]:
    """Return the folder of every person who is not ignored, by the person's id.

    See ``find_folders``.
    """
    folders = find_folders(root, cache)
    folders.pop(Placement.UNSORTED, None)
    return folders


def find_folders(root: Path, cache: ScanCache) -> dict[int, FolderState]:
    """Return the folders of all people who are not ignored, and of ``Placement.UNSORTED``.

    Args:
        root: Root of the tree.
        cache: What the last scan read; files that have not changed are not read again.

    Raises:
        PublishError: The tree cannot be read.
    """
    try:
        with open_root(root) as root_fd:
            manifest = read_root_manifest(root_fd, root)
            cache.store = manifest.store
            snapshot = assign_owners(scan_tree(root_fd, cache), manifest.folders)
    except OSError as error:
        raise PublishError(f"{root}: {error.strerror or error}") from error
    return {
        number: folder
        for number, folder in snapshot.owned.items()
        if number >= Placement.UNSORTED and not is_in_ignored(folder.location)
    }
