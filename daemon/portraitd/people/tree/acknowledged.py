"""What of people's edits has been read, so that a publish does not cover up the rest.

Between a reading and the publish that follows it people go on working. What they did meanwhile
is left as it is until the next reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portraitd.people.tree.tree_snapshot import Home, Lying, SeenHome, TreeSnapshot


@dataclass(frozen=True, slots=True)
class AcknowledgedEdits:
    """The differences between notes and tree that a reading has seen.

    Attributes:
        absent: Folder and face of each portrait that was missing.
        arrived: Location and portrait of each that lay where no note had it. The folder may
            become a person's before the publish.
        gone: Folders that were missing.
        moved: Number and location of folders that did not lie where their note said.
    """

    absent: frozenset[tuple[Home, int]] = frozenset()
    arrived: frozenset[tuple[str, Lying]] = frozenset()
    gone: frozenset[int] = frozenset()
    moved: frozenset[tuple[Home, str]] = frozenset()

    @classmethod
    def of(cls, scene: TreeSnapshot) -> AcknowledgedEdits:
        """Everything there is to see in a scene."""
        return cls(
            frozenset((home.home, face) for home in scene.homes for face in home.absent),
            frozenset((home.location, one) for home in scene.homes for one in home.pictures),
            scene.gone,
            frozenset(
                (home.home, home.location)
                for home in scene.homes
                if home.noted_at not in (None, home.location)
            ),
        )

    def unread(self, scene: TreeSnapshot, home_of: Mapping[int, Home]) -> set[int]:
        """The faces whose portraits people moved or took away since.

        Args:
            scene: The tree as it is now.
            home_of: Where each face is wanted.
        """
        now = AcknowledgedEdits.of(scene)
        shown = {face for home in scene.homes for face in home.shown}
        noted: dict[int, set[Home]] = {}
        for home, face in now.absent:
            noted.setdefault(face, set()).add(home)
        arrived: dict[int, list[SeenHome]] = {}
        for seen in scene.homes:
            for face in seen.arrived:
                arrived.setdefault(face, []).append(seen)
        unread = set()
        for face in (noted.keys() | arrived.keys()) - shown:
            homes, lies_in = noted.get(face, set()), arrived.get(face, [])
            if any(seen.home in homes for seen in lies_in):
                # It was renamed where it lay.
                continue
            news = any((home, face) not in self.absent for home in homes)
            # What was never noted, and lies where it is wanted, an earlier publish left there.
            news |= any(
                (seen.location, one) not in self.arrived
                for seen in lies_in
                if homes or seen.home != home_of.get(face)
                for one in seen.pictures
                if one.face == face
            )
            if news:
                unread.add(face)
        return unread
