"""The whole tree at one moment: the observed state of every folder, with its owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from portraitd.people.tree.folder_state import FolderKey, FolderState, PortraitFile

Copies = frozenset[tuple[FolderKey, PortraitFile]]
"""Copies of portraits, each with the folder it is in."""


@dataclass(frozen=True, slots=True)
class TreeSnapshot:
    """The tree at one moment. Folders that are copies of a person's folder do not count.

    Attributes:
        owned: Portraitd's own folders by number: a person's id or a ``Placement``.
        unowned: The root, and folders that reviewers made.
        missing: Numbers of the folders that were there after the last publish and are not now.
        is_partial: Whether some folder cannot be read. It may hold what is missing elsewhere, so
            nothing counts as deleted.
        unreadable: Numbers of the folders that are in one that cannot be read. They are not
            missing.
        uncounted: Folders with a manifest that are not the one it was written for: copies. Each
            before those inside it.
        too_deep: Locations of folders whose own folders are not scanned.
    """

    owned: Mapping[int, FolderState] = field(default_factory=dict)
    unowned: tuple[FolderState, ...] = ()
    missing: frozenset[int] = frozenset()
    is_partial: bool = False
    unreadable: frozenset[int] = frozenset()
    uncounted: tuple[FolderState, ...] = ()
    too_deep: frozenset[str] = frozenset()

    @property
    def folders(self) -> tuple[FolderState, ...]:
        """The owned folders, and the others that hold portraits."""
        return *self.owned.values(), *(folder for folder in self.unowned if folder.pictures)

    def evidence(self) -> tuple[object, ...]:
        """Return everything that edits are detected from; equal if nothing of it changed."""
        facts = [
            (
                folder.location,
                folder.key,
                folder.published_location,
                folder.faces_in_place,
                folder.faces_missing,
                folder.unlisted,
                folder.copied,
            )
            for folder in self.folders
        ]
        return tuple(facts), self.missing, self.is_partial

    def with_copies(self, copies: Copies) -> TreeSnapshot:
        """Return the snapshot in which these portraits are known to be copies."""
        counts: dict[FolderKey, Counter[int]] = {}
        for key, one in copies:
            counts.setdefault(key, Counter())[one.face] += 1
        return replace(
            self,
            owned={
                number: folder.with_copied(counts.get(number, {}))
                for number, folder in self.owned.items()
            },
            unowned=tuple(
                folder.with_copied(counts.get(folder.key, {})) for folder in self.unowned
            ),
        )


def find_copies(snapshot: TreeSnapshot, before: Copies) -> Copies:
    """Return the portraits that are copies: the original is still in its place.

    Args:
        snapshot: The tree now.
        before: The copies at the last look. A copy remains one for as long as it is there, even
            when the original is moved away from it.
    """
    in_place = {face for folder in snapshot.folders for face in folder.faces_in_place}
    return frozenset(
        (folder.key, one)
        for folder in snapshot.with_copies(before).folders
        for one in folder.unlisted
        if one.face in in_place or one.face in folder.copied or (folder.key, one) in before
    )


def find_unsaved_copies(snapshot: TreeSnapshot, copies: Copies) -> Copies:
    """Return the copies that the manifest of their folder does not mention yet."""
    return frozenset(
        (folder.key, one)
        for folder in snapshot.owned.values()
        for one in folder.unlisted
        if (folder.key, one) in copies and one.name not in folder.manifest.copies
    )
