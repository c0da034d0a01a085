"""Every folder of the tree as it lies there: one listing each, and nothing read twice.

A note or a picture that was read once is read again only when its size, its time or its inode
has changed, so looking at a tree in which nothing happened costs a listing per folder.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from portraitd.media.xmp import read_mark
from portraitd.model.ignored_names import is_clutter, is_server_folder
from portraitd.model.media_file import Stamp
from portraitd.people.tree.folder_fs import (
    OWN_PREFIX,
    UNFINISHED,
    identity,
    opened,
    read_regular,
    reading,
    sweep,
)
from portraitd.people.tree.manifest import NOTES, PERSON_NOTE, FolderManifest, read_note

DEEPEST = 6
"""Folders farther below the root are not looked into."""

# What is no folder, or one that we may not read. Everything else, such as a share that broke
# off, ends the look.
NOT_OURS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM})
_CLOSED = frozenset({errno.EACCES, errno.EPERM})

_PICTURES = (".jpg", ".jpeg", ".jpe")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as it lies there.

    Attributes:
        location: Its path below the root; empty for the root.
        inode: What stays when it is renamed.
        names: Everything in it but notes, clutter and what is being written, in order.
        note: What portraitd noted in it, if anything.
        pictures: The face of each picture in it that the note does not list and that says, in
            its own bytes, which face it is.
        unknown: Size in bytes of each other picture that the note does not list.
        emptied: Files in the note that have no content.
    """

    location: str
    inode: int
    names: tuple[str, ...]
    note: FolderManifest | None
    pictures: Mapping[str, int]
    unknown: Mapping[str, int]
    emptied: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.location.rpartition("/")[2]

    @property
    def parent(self) -> str:
        return self.location.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Ground:
    """What lies below a root.

    Attributes:
        folders: The root first, then every folder in it, each before those in it.
        closed: Folders that may not be read, by location.
    """

    folders: tuple[Folder, ...]
    closed: frozenset[str]


@dataclass(slots=True)
class Memory:
    """What was read in earlier looks, by what would have changed with the content.

    Attributes:
        store: Whose faces count; pictures of another store's are none of ours.
        notes: By the note's inode.
        pictures: The face a picture shows, or None, by its inode.
        is_thorough: Whether the next look asks for the size of every file too. So it does after a
            start, until the first publish: a power cut may have left files empty.
    """

    store: str
    notes: dict[int, tuple[Stamp, FolderManifest | None]] = field(default_factory=dict)
    pictures: dict[int, tuple[Stamp, int | None]] = field(default_factory=dict)
    is_thorough: bool = True


def walked(root_fd: int, memory: Memory, *, sweeps: bool = False) -> Ground:
    """Look at every folder that may be ours, or hold something of ours. Links are not followed.

    Args:
        sweeps: Whether to remove what an interrupted publish left unfinished; for whoever
            publishes alone, since what another process is writing looks the same.

    Raises:
        OSError: If the tree breaks off while it is looked at.
    """
    walk = _Walk(memory, sweeps)
    walk.into("", root_fd, 0)
    # What was not met again is gone.
    memory.notes, memory.pictures = walk.notes, walk.pictures
    memory.is_thorough = memory.is_thorough and not sweeps
    return Ground(tuple(walk.folders), frozenset(walk.closed))


def locations(root_fd: int) -> Iterator[tuple[str, int]]:
    """Every folder below the root that is looked into, with its inode."""
    yield from _below(root_fd, "", 1)


def names_in(fd: int) -> tuple[str, ...]:
    """Everything in a folder but notes, clutter and unfinished files, in order."""
    return tuple(sorted(name for name in os.listdir(fd) if _counts(name)))


def _counts(name: str) -> bool:
    return name not in NOTES and not name.startswith(OWN_PREFIX) and not is_clutter(name)


def _is_looked_into(entry: os.DirEntry[str], parent: str) -> bool:
    if entry.name.startswith(".") or is_server_folder(entry.name):
        return False
    # The static pages are ours, and hold no portraits.
    if not parent and entry.name == "gallery":
        return False
    return entry.is_dir(follow_symlinks=False)


def _below(fd: int, parent: str, depth: int) -> Iterator[tuple[str, int]]:
    with os.scandir(fd) as entries:
        found = sorted((e.name, e.inode()) for e in entries if _is_looked_into(e, parent))
    for name, inode in found:
        location = f"{parent}/{name}" if parent else name
        yield location, inode
        if depth < DEEPEST:
            try:
                with opened(name, fd) as inner_fd:
                    yield from _below(inner_fd, location, depth + 1)
            except OSError as error:
                if error.errno not in NOT_OURS:
                    raise


class _Walk:
    def __init__(self, memory: Memory, sweeps: bool) -> None:
        self._memory = memory
        self._sweeps = sweeps
        self.folders: list[Folder] = []
        self.closed: set[str] = set()
        self.notes: dict[int, tuple[Stamp, FolderManifest | None]] = {}
        self.pictures: dict[int, tuple[Stamp, int | None]] = {}

    def into(self, location: str, fd: int, depth: int) -> None:
        with os.scandir(fd) as entries:
            listed = {entry.name: entry for entry in entries}
        if self._sweeps and any(name.startswith(UNFINISHED) for name in listed):
            sweep(fd)
        folders = [name for name in sorted(listed) if _is_looked_into(listed[name], location)]
        self.folders.append(self._folder(location, fd, listed, set(folders)))
        if depth == DEEPEST:
            return
        for name in folders:
            inner = f"{location}/{name}" if location else name
            try:
                with opened(name, fd) as inner_fd:
                    self.into(inner, inner_fd, depth + 1)
            except OSError as error:
                if error.errno in _CLOSED:
                    self.closed.add(inner)
                elif error.errno not in NOT_OURS:
                    raise

    def _folder(
        self, location: str, fd: int, listed: Mapping[str, os.DirEntry[str]], inner: set[str]
    ) -> Folder:
        note = self._note(fd, listed.get(PERSON_NOTE)) if location else None
        known = note.files if note else {}
        pictures: dict[str, int] = {}
        unknown: dict[str, int] = {}
        emptied = set()
        for name, entry in listed.items():
            if name in known:
                if self._memory.is_thorough and _size(entry) == 0:
                    emptied.add(name)
            elif name not in inner and name.lower().endswith(_PICTURES) and _counts(name):
                stamp = _stamp(entry)
                face_id = self._face(fd, name, stamp) if stamp else None
                if face_id is not None:
                    pictures[name] = face_id
                elif stamp:
                    unknown[name] = stamp.size
        names = tuple(sorted(name for name in listed if _counts(name)))
        return Folder(location, identity(fd), names, note, pictures, unknown, frozenset(emptied))

    def _note(self, fd: int, entry: os.DirEntry[str] | None) -> FolderManifest | None:
        stamp = _stamp(entry) if entry else None
        if stamp is None:
            return None
        before = self._memory.notes.get(stamp.inode)
        if before is None or before[0] != stamp:
            before = stamp, read_note(read_regular(fd, PERSON_NOTE))
        self.notes[stamp.inode] = before
        note = before[1]
        return note and replace(note, files=dict(note.files), strays=dict(note.strays))

    def _face(self, fd: int, name: str, stamp: Stamp) -> int | None:
        before = self._memory.pictures.get(stamp.inode)
        if before is None or before[0] != stamp:
            before = stamp, face_in(fd, name, self._memory.store)
        self.pictures[stamp.inode] = before
        return before[1]


def face_in(fd: int, name: str, store: str) -> int | None:
    """Which face of this store a picture says it is."""
    with reading(fd, name) as file:
        mark = read_mark(file) if file else None
    return mark.face_id if mark and mark.store == store else None


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    """What would change with the content; None for what is no regular file."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Stamp.of(facts)


def _size(entry: os.DirEntry[str]) -> int | None:
    stamp = _stamp(entry)
    return stamp.size if stamp else None
