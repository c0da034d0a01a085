"""Read every folder of the tree: one directory listing each, and no file twice.

A manifest or a picture is read again only when its size, time or inode has changed, so scanning
a tree in which nothing happened costs one listing per folder.
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
    inode_of,
    open_folder,
    open_regular,
    remove_unfinished,
)
from portraitd.people.tree.folder_state import FolderState
from portraitd.people.tree.manifest import (
    MANIFEST_NAMES,
    PERSON_MANIFEST,
    FolderManifest,
    read_note,
)

MAX_DEPTH = 6
"""Folders deeper below the root are not scanned."""

# The entry is not a folder, or may not be read. Any other error, such as a share that
# disconnected, ends the scan.
SKIPPED_ERRORS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM})
UNREADABLE = frozenset({errno.EACCES, errno.EPERM})

_PICTURES = (".jpg", ".jpeg", ".jpe")


@dataclass(frozen=True, slots=True)
class TreeScan:
    """All folders below a root, as read; whose they are is not known yet.

    Attributes:
        folders: The root first, then every folder in it, each before those inside it.
        unreadable: Locations of folders that may not be read.
        too_deep: Locations of folders whose own folders are not scanned.
    """

    folders: tuple[FolderState, ...]
    unreadable: frozenset[str]
    too_deep: frozenset[str] = frozenset()


@dataclass(slots=True)
class ScanCache:
    """What earlier scans have read.

    Attributes:
        store: The store whose faces count; pictures of another store are ignored.
        manifests: Stamp and content by inode.
        pictures: Stamp and face, or None, by inode.
        checks_sizes: Whether the next scan also asks for the size of every listed file. It does
            after a start, until the first publish: a power cut may have emptied files.
    """

    store: str
    manifests: dict[int, tuple[Stamp, FolderManifest | None]] = field(default_factory=dict)
    pictures: dict[int, tuple[Stamp, int | None]] = field(default_factory=dict)
    checks_sizes: bool = True


def scan_tree(root_fd: int, cache: ScanCache, *, sweeps: bool = False) -> TreeScan:
    """Read every folder that may belong to portraitd, or hold portraits. Links are not followed.

    Args:
        sweeps: Whether to remove what an interrupted publish left unfinished. Only for the
            process that publishes: what another one is writing looks the same.

    Raises:
        OSError: If the tree becomes unreadable during the scan.
    """
    scanner = _Scanner(cache, sweeps)
    scanner.scan("", root_fd, 0)
    # Entries that were not met again are dropped.
    cache.manifests, cache.pictures = scanner.manifests, scanner.pictures
    cache.checks_sizes = cache.checks_sizes and not sweeps
    return TreeScan(
        tuple(scanner.folders), frozenset(scanner.unreadable), frozenset(scanner.too_deep)
    )


def iter_locations(root_fd: int) -> Iterator[tuple[str, int]]:
    """Yield location and inode of every folder below the root that a scan enters."""
    yield from _iter_below(root_fd, "", 1)


def list_names(fd: int) -> tuple[str, ...]:
    """Return all entries of a folder in order, except manifests, clutter and unfinished files."""
    return tuple(sorted(name for name in os.listdir(fd) if _counts(name)))


def _counts(name: str) -> bool:
    return name not in MANIFEST_NAMES and not name.startswith(OWN_PREFIX) and not is_clutter(name)


def _is_scanned(entry: os.DirEntry[str], parent: str) -> bool:
    if entry.name.startswith(".") or is_server_folder(entry.name):
        return False
    # The static pages: portraitd's own, and without portraits.
    if not parent and entry.name == "gallery":
        return False
    return entry.is_dir(follow_symlinks=False)


def _iter_below(fd: int, parent: str, depth: int) -> Iterator[tuple[str, int]]:
    with os.scandir(fd) as entries:
        found = sorted((e.name, e.inode()) for e in entries if _is_scanned(e, parent))
    for name, inode in found:
        location = f"{parent}/{name}" if parent else name
        yield location, inode
        if depth < MAX_DEPTH:
            try:
                with open_folder(name, fd) as inner_fd:
                    yield from _iter_below(inner_fd, location, depth + 1)
            except OSError as error:
                if error.errno not in SKIPPED_ERRORS:
                    raise


class _Scanner:
    def __init__(self, cache: ScanCache, sweeps: bool) -> None:
        self._cache = cache
        self._sweeps = sweeps
        self.folders: list[FolderState] = []
        self.unreadable: set[str] = set()
        self.too_deep: set[str] = set()
        self.manifests: dict[int, tuple[Stamp, FolderManifest | None]] = {}
        self.pictures: dict[int, tuple[Stamp, int | None]] = {}

    def scan(self, location: str, fd: int, depth: int) -> None:
        with os.scandir(fd) as entries:
            listed = {entry.name: entry for entry in entries}
        if self._sweeps and any(name.startswith(UNFINISHED) for name in listed):
            remove_unfinished(fd)
        folders = [name for name in sorted(listed) if _is_scanned(listed[name], location)]
        self.folders.append(self._read_folder(location, fd, listed, set(folders)))
        if depth == MAX_DEPTH:
            self.too_deep |= {location} if folders else set()
            return
        for name in folders:
            inner = f"{location}/{name}" if location else name
            try:
                with open_folder(name, fd) as inner_fd:
                    self.scan(inner, inner_fd, depth + 1)
            except OSError as error:
                if error.errno in UNREADABLE:
                    self.unreadable.add(inner)
                elif error.errno not in SKIPPED_ERRORS:
                    raise

    def _read_folder(
        self, location: str, fd: int, listed: Mapping[str, os.DirEntry[str]], inner: set[str]
    ) -> FolderState:
        manifest = self._read_manifest(fd, listed.get(PERSON_MANIFEST)) if location else None
        known = manifest.files if manifest else {}
        pictures: dict[str, int] = {}
        unknown: dict[str, int] = {}
        emptied = set()
        for name, entry in listed.items():
            if name in known:
                if self._cache.checks_sizes and _size_of(entry) == 0:
                    emptied.add(name)
            elif name not in inner and name.lower().endswith(_PICTURES) and _counts(name):
                stamp = _stamp_of(entry)
                face_id = self._read_face(fd, name, stamp) if stamp else None
                if face_id is not None:
                    pictures[name] = face_id
                elif stamp:
                    unknown[name] = stamp.size
        return FolderState(
            location,
            inode_of(fd),
            tuple(sorted(name for name in listed if _counts(name))),
            manifest or FolderManifest(),
            has_manifest=manifest is not None,
            pictures=pictures,
            unknown=unknown,
            emptied=frozenset(emptied),
        )

    def _read_manifest(self, fd: int, entry: os.DirEntry[str] | None) -> FolderManifest | None:
        stamp = _stamp_of(entry) if entry else None
        if stamp is None:
            return None
        cached = self._cache.manifests.get(stamp.inode)
        if cached is None or cached[0] != stamp:
            cached = stamp, read_note(fd, PERSON_MANIFEST)
        self.manifests[stamp.inode] = cached
        manifest = cached[1]
        return manifest and replace(
            manifest, files=dict(manifest.files), copies=dict(manifest.copies)
        )

    def _read_face(self, fd: int, name: str, stamp: Stamp) -> int | None:
        cached = self._cache.pictures.get(stamp.inode)
        if cached is None or cached[0] != stamp:
            cached = stamp, read_face(fd, name, self._cache.store)
        self.pictures[stamp.inode] = cached
        return cached[1]


def read_face(fd: int, name: str, store: str) -> int | None:
    """Return the face of this store that a picture says it shows, if any."""
    with open_regular(fd, name) as file:
        mark = read_mark(file) if file else None
    return mark.face_id if mark and mark.store == store else None


def _stamp_of(entry: os.DirEntry[str]) -> Stamp | None:
    """Return what changes with the content; None if it is not a regular file."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Stamp.of(facts)


def _size_of(entry: os.DirEntry[str]) -> int | None:
    stamp = _stamp_of(entry)
    return stamp.size if stamp else None
