"""Which edits a review has read, so that a publish does not cover up the others.

Reviewers go on working between a review and the publish that follows it. A publish leaves what they
did meanwhile as it is until the next review.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from portraitd.people.tree.folder_state import FolderKey, FolderState, PortraitFile
from portraitd.people.tree.tree_snapshot import TreeSnapshot


@dataclass(frozen=True, slots=True)
class AcknowledgedEdits:
    """The differences between manifests and folders that a review has seen.

    Attributes:
        missing_portraits: Folder and face of each listed portrait that was missing.
        unlisted: Location and portrait of each that no manifest listed. By location, because the
            folder may become a person's before the publish.
        missing_folders: Numbers of the folders that were missing.
        moved: Folder and location of each folder that was not where its manifest says.
        withheld: Faces that a publish leaves alone wherever they are: whether their portraits were
            deleted is not decided.
    """

    missing_portraits: frozenset[tuple[FolderKey, int]] = frozenset()
    unlisted: frozenset[tuple[str, PortraitFile]] = frozenset()
    missing_folders: frozenset[int] = frozenset()
    moved: frozenset[tuple[FolderKey | None, str]] = frozenset()
    withheld: frozenset[int] = frozenset()

    @classmethod
    def of(cls, snapshot: TreeSnapshot) -> AcknowledgedEdits:
        """Return all differences in a snapshot."""
        folders = snapshot.folders
        return cls(
            frozenset((folder.key, face) for folder in folders for face in folder.faces_missing),
            frozenset((folder.location, one) for folder in folders for one in folder.unlisted),
            snapshot.missing,
            frozenset(
                (folder.key, folder.location)
                for folder in folders
                if folder.published_location not in (None, folder.location)
            ),
        )

    def withholding(self, faces: frozenset[int], restored: Collection[int]) -> AcknowledgedEdits:
        """Return the same without these faces, and of the missing folders only the restored."""
        return AcknowledgedEdits(
            frozenset(one for one in self.missing_portraits if one[1] not in faces),
            frozenset(one for one in self.unlisted if one[1].face not in faces),
            self.missing_folders & frozenset(restored),
            self.moved,
            faces,
        )

    def find_pending(self, snapshot: TreeSnapshot, key_of: Mapping[int, FolderKey]) -> set[int]:
        """Return the faces whose portraits reviewers moved or deleted since the review.

        Args:
            snapshot: The tree now.
            key_of: The folder each face is desired in.
        """
        folders = snapshot.folders
        in_place = {face for folder in folders for face in folder.faces_in_place}
        missing: dict[int, set[FolderKey]] = {}
        unlisted: dict[int, list[FolderState]] = {}
        for folder in folders:
            for face in folder.faces_missing:
                missing.setdefault(face, set()).add(folder.key)
            for face in folder.faces_unlisted:
                unlisted.setdefault(face, []).append(folder)
        pending = set(self.withheld)
        for face in (missing.keys() | unlisted.keys()) - in_place:
            keys, found_in = missing.get(face, set()), unlisted.get(face, [])
            if any(folder.key in keys for folder in found_in):
                # It was renamed within its folder.
                continue
            is_new = any((key, face) not in self.missing_portraits for key in keys)
            # An earlier publish left a portrait that was never listed and is where it belongs.
            is_new |= any(
                (folder.location, one) not in self.unlisted
                for folder in found_in
                if keys or folder.key != key_of.get(face)
                for one in folder.unlisted
                if one.face == face
            )
            if is_new:
                pending.add(face)
        return pending
