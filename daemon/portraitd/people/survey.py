"""Finding portraitd's folders in the tree, whatever they are called by now."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from portraitd.errors import PublishError
from portraitd.people.folder import (
    OWN_PREFIX,
    identity,
    is_as_written,
    opened,
    read_regular,
    sweep,
)
from portraitd.people.note import NOTES, PERSON_NOTE, ROOT_NOTE, Note, read_note
from portraitd.people.plan import UNSORTED, Owner, SeenFolder

UNSORTED_NAME = "_unsorted"
IGNORED_NAME = "_ignored"
"""A human may put folders in here; they are found there and stay there."""

# What is no folder of ours, or one that we may not read: not ours to publish in. Everything
# else, such as a share that broke off, ends the publish.
_NOT_OURS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Place:
    """One of portraitd's folders: where it lies, its note, and the names of what is in it."""

    location: str
    inode: int
    note: Note
    has_note: bool
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.location.rpartition("/")[2]


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


def root_note(root_fd: int, root: Path) -> Note:
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


def find_places(root_fd: int) -> dict[int, Place]:
    """Every folder of a person by the person's number, and that of the unsorted faces.

    Of a folder and its copies the original counts; a copy is a human's. What an interrupted
    publish left unfinished is swept on the way.

    Raises:
        OSError: If the tree breaks off while it is looked at.
    """
    found: dict[int, list[Place]] = {}
    for location, _ in locations(root_fd):
        place = _place_at(location, root_fd)
        if place is not None:
            found.setdefault(place.note.person or UNSORTED, []).append(place)
    return {number: min(places, key=_strangeness) for number, places in found.items()}


def locations(root_fd: int) -> Iterator[tuple[str, int]]:
    """Every folder where one of portraitd's may lie, with its inode, in the order of names."""
    for name, inode in _folders(root_fd):
        if name != IGNORED_NAME:
            yield name, inode
            continue
        with opened(name, root_fd) as fd:
            inner = list(_folders(fd))
        yield from ((f"{name}/{inner_name}", inner_inode) for inner_name, inner_inode in inner)


def names_in(fd: int) -> tuple[str, ...]:
    """Everything in a folder but portraitd's notes and unfinished files, in order."""
    return tuple(
        sorted(
            name for name in os.listdir(fd) if name not in NOTES and not name.startswith(OWN_PREFIX)
        )
    )


def as_seen(place: Place, root_fd: int) -> SeenFolder:
    """A place as the plan wants it."""

    def owner_of(name: str) -> Owner:
        record = place.note.files.get(name)
        if record is None:
            return Owner.THEIRS
        with reopened(place, root_fd) as fd:
            same = is_as_written(fd, name, record.written)
        return Owner.OURS if same else Owner.THEIRS

    is_person = place.note.person is not None
    return SeenFolder(
        name=place.name,
        label=place.note.label,
        renamable=is_person and place.location == place.note.name,
        removable=place.has_note,
        published={name: record.identity for name, record in place.note.files.items()},
        present=Listing(place.names, owner_of),
    )


@contextmanager
def reopened(place: Place, root_fd: int) -> Iterator[int]:
    """The descriptor of a place, wherever a human moved it since it was found.

    Raises:
        FileNotFoundError: If it is nowhere in the tree any more.
    """
    with ExitStack() as stack:
        for location in _candidates(place, root_fd):
            try:
                fd = stack.enter_context(opened(location, root_fd))
            except OSError as error:
                if error.errno in _NOT_OURS:
                    continue
                raise
            if identity(fd) == place.inode:
                yield fd
                return
    raise FileNotFoundError(errno.ENOENT, "a folder was taken away", place.location)


def _candidates(place: Place, root_fd: int) -> Iterator[str]:
    yield place.location
    yield from (location for location, inode in locations(root_fd) if inode == place.inode)


def _folders(fd: int) -> list[tuple[str, int]]:
    with os.scandir(fd) as entries:
        return sorted(
            (entry.name, entry.inode())
            for entry in entries
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        )


def _place_at(location: str, root_fd: int) -> Place | None:
    try:
        with opened(location, root_fd) as fd:
            note = read_note(read_regular(fd, PERSON_NOTE))
            if note is None and location != UNSORTED_NAME:
                return None
            sweep(fd)
            inode = identity(fd)
            fallback = Note(None, UNSORTED_NAME, UNSORTED_NAME, inode)
            return Place(location, inode, note or fallback, note is not None, names_in(fd))
    except OSError as error:
        if error.errno in _NOT_OURS:
            return None
        raise


def _strangeness(place: Place) -> tuple[bool, bool, str]:
    """Least for the original of a folder, more for its copies."""
    return place.inode != place.note.inode, place.location != place.note.name, place.location
