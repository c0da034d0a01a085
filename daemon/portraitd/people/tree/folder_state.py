"""The observed state of one folder in the people tree.

A scan reads it, ``ownership`` adds whose folder it is, and everything after that works on this
one value: detecting edits, planning a publish, carrying the plan out, and the gallery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from portraitd.model.edit import Placement
from portraitd.people.names import folded, folder_name
from portraitd.people.tree.manifest import FolderManifest, face_of

UNSORTED_NAME = "_unsorted"
IGNORED_NAME = "_ignored"
"""Reviewers may put folders and portraits in here; they are kept but not shown."""

MONTAGE_NAME = "montage.jpg"

FolderKey = int | str
"""Where a portrait can be: a person's id, a ``Placement``, or the location of a folder that a
reviewer made."""


class PortraitFile(NamedTuple):
    """A picture of a face in a folder, under some name."""

    face: int
    name: str


# No slots: cached_property needs a dict.
@dataclass(frozen=True)
class FolderState:
    """A folder as it is on disk now, the observed state.

    Attributes:
        location: Path below the root; empty for the root.
        inode: Identifies the folder after a rename.
        names: All entries in order, except manifests, clutter and unfinished files.
        manifest: What portraitd last published here; empty if it published nothing.
        has_manifest: Whether the manifest was read from this folder. If it was deleted, or
            replaced by another person's, it has to be written again.
        pictures: Face of each picture that the manifest does not list and whose content says
            which face it shows, by name.
        unknown: Size in bytes of each other picture that the manifest does not list.
        emptied: Listed files without content, as a power cut leaves them.
        number: Whose folder: a person's id or a ``Placement``; None if portraitd does not own it.
        copied: Faces with no more unlisted pictures here than there were copies before. They are
            counted, because a copy can be renamed.
        pending: Files that the next publish leaves alone until a review has read what happened
            to them.
        is_move_reviewed: Whether a review has read the folder's present name and place.
    """

    location: str
    inode: int = 0
    names: tuple[str, ...] = ()
    manifest: FolderManifest = field(default_factory=FolderManifest)
    has_manifest: bool = False
    pictures: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    emptied: frozenset[str] = frozenset()
    number: int | None = None
    copied: frozenset[int] = frozenset()
    pending: frozenset[str] = frozenset()
    is_move_reviewed: bool = False

    @property
    def name(self) -> str:
        """The last part of the location."""
        return leaf_of(self.location)

    @property
    def given_name(self) -> str:
        """The name a reviewer gave the folder of a person; empty for ``person-0001``."""
        return "" if self.name == folder_name(self.number or 0, None) else self.name

    @property
    def key(self) -> FolderKey:
        """What a portrait in this folder is assigned to."""
        if self.number is not None:
            return self.number
        if not self.location:
            # Taken out of a folder and put into none.
            return Placement.UNSORTED
        return Placement.IGNORED if is_in_ignored(self.location) else self.location

    @property
    def published_location(self) -> str | None:
        """Where the folder's own manifest says it is; None if it has none."""
        return self.manifest.location if self.has_manifest else None

    @property
    def portraits(self) -> dict[str, int]:
        """Face of each portrait that the manifest lists, by file name."""
        faces = {name: face_of(entry.identity) for name, entry in self.manifest.files.items()}
        return {name: face for name, face in faces.items() if face is not None}

    @property
    def montage(self) -> str:
        """File name of the montage; empty if there is none."""
        return MONTAGE_NAME if MONTAGE_NAME in self.names else ""

    # Those below are for reading a snapshot; they do not follow later changes of the manifest.

    @cached_property
    def _listed(self) -> dict[str, int]:
        """As ``portraits``, which looks at every entry of the manifest each time."""
        return self.portraits

    @cached_property
    def folded_names(self) -> frozenset[str]:
        """The names of all entries as ``names.folded`` compares them."""
        return frozenset(folded(name) for name in self.names)

    @cached_property
    def portrait_names(self) -> dict[int, str]:
        """File of each listed portrait that is present, by face."""
        present = set(self.names)
        return {face: name for name, face in self._listed.items() if name in present and face}

    @cached_property
    def faces_in_place(self) -> frozenset[int]:
        """Faces whose portrait is present as the manifest lists it."""
        present = set(self.names)
        return frozenset(face for name, face in self._listed.items() if name in present)

    @cached_property
    def faces_missing(self) -> frozenset[int]:
        """Faces in the manifest whose portrait is not present."""
        return frozenset(self._listed.values()) - self.faces_in_place

    @cached_property
    def unlisted(self) -> frozenset[PortraitFile]:
        """Portraits that are present and not listed."""
        return frozenset(PortraitFile(face, name) for name, face in self.pictures.items())

    @cached_property
    def faces_unlisted(self) -> frozenset[int]:
        """Faces of the unlisted portraits."""
        return frozenset(one.face for one in self.unlisted)

    @property
    def is_unmoved(self) -> bool:
        """Whether the folder is where portraitd last put it, or accepted it."""
        return self.location == self.manifest.location

    @property
    def is_renamable(self) -> bool:
        """Whether portraitd may rename it: not if a reviewer named or moved it."""
        return self.manifest.person is not None and self.is_unmoved

    @property
    def is_removable(self) -> bool:
        """Whether portraitd may remove it: it made it, and nothing in it waits for a review."""
        return self.has_manifest and not self.pending

    @property
    def published(self) -> dict[str, str]:
        """Identity of the content last written by name, without the pending files."""
        return {
            name: entry.identity
            for name, entry in self.manifest.files.items()
            if name not in self.pending
        }

    def without_file(self, name: str) -> FolderState:
        """Return the state after a file was moved out of the folder."""
        return replace(self, names=tuple(one for one in self.names if one != name))

    def with_file(self, name: str) -> FolderState:
        """Return the state after a file was moved into the folder."""
        return replace(self, names=tuple(sorted([*self.names, name])))

    def with_copied(self, counts: Mapping[int, int]) -> FolderState:
        """Return the state with more faces known to be copied.

        Args:
            counts: How many copies of each face there were before.
        """
        return replace(self, copied=self.copied | find_copied(counts, self.unlisted))


def find_copied(counts: Mapping[int, int], pictures: Iterable[PortraitFile]) -> frozenset[int]:
    """Return the faces that have no more pictures than there were copies before."""
    now = Counter(one.face for one in pictures)
    return frozenset(face for face, count in now.items() if count <= counts.get(face, 0))


def is_in_ignored(location: str) -> bool:
    """Return whether a folder is below ``_ignored``, at any depth."""
    return location.startswith(f"{IGNORED_NAME}/")


def leaf_of(location: str) -> str:
    """Return the last part of a location."""
    return location.rpartition("/")[2]


def carry_location(location: str, old: str, new: str) -> str:
    """Return where a folder is after one around it was moved; the same if that one is not."""
    return new + location[len(old) :] if location.startswith(f"{old}/") else location
