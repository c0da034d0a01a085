"""Identify the owner of each folder, whatever it is called now and wherever it was moved."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from portraitd.model.edit import Placement
from portraitd.model.errors import PublishError
from portraitd.people.tree.folder_fs import (
    WrittenFile,
    digest,
    inode_of,
    open_folder,
)
from portraitd.people.tree.folder_state import (
    IGNORED_NAME,
    UNSORTED_NAME,
    FolderState,
    find_copied,
)
from portraitd.people.tree.manifest import (
    ROOT_MANIFEST,
    FolderIndex,
    FolderManifest,
    ManifestEntry,
    face_of,
    read_note,
)
from portraitd.people.tree.scan import SKIPPED_ERRORS, TreeScan, iter_locations
from portraitd.people.tree.tree_snapshot import TreeSnapshot

_PLACEMENTS = {UNSORTED_NAME: Placement.UNSORTED, IGNORED_NAME: Placement.IGNORED}


def read_root_manifest(root_fd: int, root: Path) -> FolderManifest:
    """Return the manifest that marks the root of the tree.

    Raises:
        PublishError: It is missing; this may be an empty folder where a share should be mounted.
    """
    manifest = read_note(root_fd, ROOT_MANIFEST)
    if manifest is None:
        raise PublishError(
            f"{root}: the marker {ROOT_MANIFEST} is missing; the share may not be mounted. "
            "If this is the right folder, run `portraitd init`"
        )
    return manifest


def assign_owners(scan: TreeScan, index: FolderIndex) -> TreeSnapshot:
    """Find the owner of each scanned folder.

    A manifest says whose a folder is; of a folder and its copies the original counts. Where the
    manifest is missing, or is another folder's, location and inode identify the folder.

    Args:
        index: Where each folder was after the last publish.
    """
    number_at = {at: number for number, at in index.items()}
    found: dict[int, list[FolderState]] = {}
    for folder in scan.folders[1:]:
        number = _read_number(folder, number_at)
        # What remains of a person who has no folder any more is a copy that a reviewer made.
        is_copy = folder.has_manifest and folder.inode != folder.manifest.inode
        if number is None:
            number = _PLACEMENTS.get(
                folder.location, number_at.get((folder.location, folder.inode))
            )
        elif is_copy and index and number not in index:
            continue
        if number is not None:
            found.setdefault(number, []).append(claim_folder(number, folder))
    owned = {number: min(several, key=_rank) for number, several in found.items()}
    locations = {folder.location for folder in owned.values()}
    others = [folder for folder in scan.folders[1:] if folder.location not in locations]
    copies = {folder.location for folder in others if folder.has_manifest}
    unowned = [
        folder
        for folder in [scan.folders[0], *others]
        if not folder.has_manifest and not _is_below(folder.location, copies)
    ]
    unreadable = frozenset(
        number
        for number, (location, _) in index.items()
        if number not in owned
        and (location in scan.unreadable or _is_below(location, scan.unreadable))
    )
    return TreeSnapshot(
        owned,
        tuple(unowned),
        missing=frozenset(index) - set(owned) - unreadable,
        is_partial=bool(scan.unreadable),
        unreadable=unreadable,
        uncounted=tuple(folder for folder in others if folder.has_manifest),
        too_deep=scan.too_deep,
    )


def claim_folder(number: int, folder: FolderState) -> FolderState:
    """Return a scanned folder as the one with this number, whatever its manifest says."""
    manifest, pictures = folder.manifest, dict(folder.pictures)
    manifest_number = manifest.person or _PLACEMENTS.get(manifest.label)
    has_manifest = folder.has_manifest and manifest_number == number
    if not has_manifest:
        # Another person's manifest says which of their portraits were moved here.
        for name, entry in manifest.files.items():
            face_id = face_of(entry.identity)
            if face_id is not None and name in folder.names:
                pictures[name] = face_id
        person = number if number > 0 else None
        manifest = FolderManifest(person, folder.name, folder.location, folder.inode)
    for name in folder.emptied & manifest.files.keys():
        # A power cut took the content: the file is portraitd's and has to be written again.
        manifest.files[name] = ManifestEntry("", WrittenFile(digest(b""), 0, 0))
    claimed = replace(
        folder, number=number, manifest=manifest, has_manifest=has_manifest, pictures=pictures
    )
    copied = find_copied(Counter(manifest.copies.values()), claimed.unlisted)
    return replace(claimed, copied=copied)


@contextmanager
def reopen_folder(folder: FolderState, root_fd: int) -> Iterator[int]:
    """Open a folder again, wherever a reviewer moved it since the scan; gives its descriptor.

    Raises:
        FileNotFoundError: If it is not in the tree any more.
    """
    with ExitStack() as stack:
        for location in _iter_candidates(folder, root_fd):
            try:
                fd = stack.enter_context(open_folder(location, root_fd))
            except OSError as error:
                if error.errno in SKIPPED_ERRORS:
                    continue
                raise
            if inode_of(fd) == folder.inode:
                yield fd
                return
    raise FileNotFoundError(errno.ENOENT, "the folder was moved away", folder.location)


def _read_number(folder: FolderState, number_at: Mapping[tuple[str, int], int]) -> int | None:
    """Return whose folder it is according to its own manifest, where that is plausible."""
    manifest = folder.manifest
    if not folder.has_manifest:
        return None
    if manifest.person is None:
        # Such a manifest is valid in its own place only: elsewhere it is a copy.
        in_place = folder.location == manifest.location
        return _PLACEMENTS.get(manifest.label) if in_place else None
    owner = number_at.get((folder.location, folder.inode))
    if owner is not None and owner != manifest.person and folder.inode != manifest.inode:
        # A reviewer moved one person's files, the manifest among them, into another's folder.
        return None
    return manifest.person


def _is_below(location: str, others: Collection[str]) -> bool:
    parents = location.split("/")
    return any("/".join(parents[:depth]) in others for depth in range(1, len(parents)))


def _rank(folder: FolderState) -> tuple[int, bool, str]:
    """Sort the original first, then a folder that lost its manifest, then copies."""
    is_original = folder.has_manifest and folder.inode == folder.manifest.inode
    rank = 0 if is_original else 2 if folder.has_manifest else 1
    return rank, not folder.is_unmoved, folder.location


def _iter_candidates(folder: FolderState, root_fd: int) -> Iterator[str]:
    yield folder.location
    yield from (at for at, inode in iter_locations(root_fd) if inode == folder.inode)
