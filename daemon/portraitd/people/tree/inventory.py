"""Whose each folder is, whatever it is called by now and wherever it lies."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from portraitd.model.edit import Placement
from portraitd.model.errors import PublishError
from portraitd.people.tree.folder_fs import (
    Written,
    digest,
    identity,
    is_as_written,
    opened,
    read_regular,
)
from portraitd.people.tree.manifest import (
    ROOT_NOTE,
    FolderManifest,
    ManifestEntry,
    face_of,
    read_note,
)
from portraitd.people.tree.plan import (
    IGNORED_NAME,
    UNSORTED_NAME,
    Owner,
    SeenFolder,
)
from portraitd.people.tree.scan import NOT_OURS, Folder, Ground, locations

_OWN = {UNSORTED_NAME: Placement.UNSORTED, IGNORED_NAME: Placement.IGNORED}

Homes = Mapping[int, tuple[str, int]]
"""Where each folder lay after the last publish, and its inode, by its number."""


@dataclass(frozen=True, slots=True)
class FolderLocation:
    """One of portraitd's folders, and what lies in it.

    Attributes:
        number: Whose: a person's id, ``Placement.UNSORTED`` or ``Placement.IGNORED``.
        has_note: Whether its own note lies in it; a note that a human deleted, or replaced by
            another person's, has to be written anew.
        pictures: As in ``Folder``.
    """

    number: int
    location: str
    inode: int
    note: FolderManifest
    has_note: bool
    names: tuple[str, ...]
    pictures: Mapping[str, int]

    @property
    def name(self) -> str:
        return self.location.rpartition("/")[2]

    @property
    def portraits(self) -> dict[str, int]:
        """The face of each portrait that the note lists, by the file's name."""
        faces = {name: face_of(one.identity) for name, one in self.note.files.items()}
        return {name: face for name, face in faces.items() if face is not None}

    @property
    def is_settled(self) -> bool:
        """Whether it lies where portraitd last put it, or left it."""
        return self.location == self.note.name


@dataclass(frozen=True, slots=True)
class Survey:
    """The tree, each folder with its owner.

    Attributes:
        places: Portraitd's own folders by number: a person's id, ``Placement.UNSORTED`` or ``Placement.IGNORED``.
        nobodys: The root, and folders that people made.
        copies: Locations of folders that are a copy of one of ours: nobody's, and without meaning.
        gone: Numbers of the folders that were there after the last publish and are not.
        is_partial: Whether one of ours may lie where we may not look.
    """

    places: Mapping[int, FolderLocation]
    nobodys: tuple[Folder, ...]
    copies: frozenset[str]
    gone: frozenset[int]
    is_partial: bool


class Listing(Mapping[str, Owner]):
    """Whose each file is, found out only for those that are asked for."""

    def __init__(self, names: Sequence[str], owner_of: Callable[[str], Owner]) -> None:
        self._names = dict.fromkeys(names)
        self._owner_of = owner_of

    def __getitem__(self, name: str) -> Owner:
        if name not in self._names:
            raise KeyError(name)
        return self._owner_of(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def root_note(root_fd: int, root: Path) -> FolderManifest:
    """The note that marks the root of the tree.

    Raises:
        PublishError: It is missing; this may be an empty folder where a share should be.
    """
    note = read_note(read_regular(root_fd, ROOT_NOTE))
    if note is None:
        raise PublishError(
            f"{root}: the marker {ROOT_NOTE} is missing; the share may be away. "
            "If this is the right folder, run `portraitd init`"
        )
    return note


def surveyed(ground: Ground, homes: Homes) -> Survey:
    """Find the owner of each folder.

    A note says whose a folder is. Of a folder and its copies the original counts. Where the note
    is gone, or is another folder's, the folder is known by its name and inode.
    """
    lay_at = {home: number for number, home in homes.items()}
    found: dict[int, list[FolderLocation]] = {}
    for folder in ground.folders[1:]:
        number = _noted(folder, lay_at)
        # What is left of somebody who has no folder any more is a copy that a human made.
        is_copy = folder.note is not None and folder.inode != folder.note.inode
        if number is None:
            number = _OWN.get(folder.location, lay_at.get((folder.location, folder.inode)))
        elif is_copy and homes and number not in homes:
            continue
        if number is not None:
            found.setdefault(number, []).append(placed(number, folder))
    places = {number: min(several, key=_strangeness) for number, several in found.items()}
    ours = {place.location for place in places.values()}
    others = [folder for folder in ground.folders[1:] if folder.location not in ours]
    copies = {folder.location for folder in others if folder.note}
    nobodys = [
        folder
        for folder in [ground.folders[0], *others]
        if not folder.note and not _is_below(folder.location, copies)
    ]
    lain_at = {at for at, _ in homes.values()}
    is_partial = any(at in lain_at for at in ground.closed)
    return Survey(
        places, tuple(nobodys), frozenset(copies), frozenset(homes) - set(places), is_partial
    )


def _noted(folder: Folder, lay_at: Mapping[tuple[str, int], int]) -> int | None:
    """Whose folder it is, as far as its own note can be believed."""
    note = folder.note
    if note is None:
        return None
    if note.person is None:
        # A note of nobody is good in its own place alone: elsewhere it is a copy.
        return _OWN.get(note.label) if folder.location == note.name else None
    owner = lay_at.get((folder.location, folder.inode))
    if owner is not None and owner != note.person and folder.inode != note.inode:
        # A human moved one person's files, the note among them, into another's folder.
        return None
    return note.person


def placed(number: int, folder: Folder) -> FolderLocation:
    """A folder as the one of this number, whatever its note says."""
    note, pictures = folder.note, dict(folder.pictures)
    has_note = note is not None and (note.person or _OWN.get(note.label)) == number
    if note is None or not has_note:
        # Another person's note says what of theirs was moved here.
        for name, record in note.files.items() if note else ():
            face_id = face_of(record.identity)
            if face_id is not None and name in folder.names:
                pictures[name] = face_id
        person = number if number > 0 else None
        note = FolderManifest(person, folder.name, folder.location, folder.inode)
    for name in folder.emptied & note.files.keys():
        # A power cut took the content: ours still, and of no use to anybody.
        note.files[name] = ManifestEntry("", Written(digest(b""), 0, 0))
    names = folder.names
    return FolderLocation(number, folder.location, folder.inode, note, has_note, names, pictures)


def _is_below(location: str, others: Collection[str]) -> bool:
    parents = location.split("/")
    return any("/".join(parents[:depth]) in others for depth in range(1, len(parents)))


def _strangeness(place: FolderLocation) -> tuple[int, bool, str]:
    """Least for the original of a folder, more where its note is lost, most for its copies."""
    is_original = place.has_note and place.inode == place.note.inode
    rank = 0 if is_original else 2 if place.has_note else 1
    return rank, not place.is_settled, place.location


def as_seen(place: FolderLocation, root_fd: int, *, is_heard: bool) -> SeenFolder:
    """A place as the plan wants it."""

    def owner_of(name: str) -> Owner:
        record = place.note.files.get(name)
        if record is None:
            return Owner.THEIRS
        with reopened(place, root_fd) as fd:
            same = is_as_written(fd, name, record.written)
        return Owner.OURS if same else Owner.THEIRS

    return SeenFolder(
        location=place.location,
        label=place.note.label,
        renamable=place.note.person is not None and place.is_settled,
        removable=place.has_note,
        published={name: record.identity for name, record in place.note.files.items()},
        present=Listing(place.names, owner_of),
        is_heard=is_heard,
    )


@contextmanager
def reopened(place: FolderLocation, root_fd: int) -> Iterator[int]:
    """The descriptor of a place, wherever a human moved it since it was found.

    Raises:
        FileNotFoundError: If it is nowhere in the tree any more.
    """
    with ExitStack() as stack:
        for location in _candidates(place, root_fd):
            try:
                fd = stack.enter_context(opened(location, root_fd))
            except OSError as error:
                if error.errno in NOT_OURS:
                    continue
                raise
            if identity(fd) == place.inode:
                yield fd
                return
    raise FileNotFoundError(errno.ENOENT, "a folder was taken away", place.location)


def _candidates(place: FolderLocation, root_fd: int) -> Iterator[str]:
    yield place.location
    yield from (location for location, inode in locations(root_fd) if inode == place.inode)
