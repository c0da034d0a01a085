"""Remove everything that shows erased faces from the people tree, also what reviewers put there.

A portrait is recognised by its mark (XMP) and by its last bytes, under any name and in any place
below the root, so copies that reviewers made are removed as well. A montage that may show an erased
face is removed, and so are questions to reviewers, and pages and tables that say who appears when;
the next publish makes them again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from portraitd.media.xmp import Mark, read_mark
from portraitd.model.fingerprints import ENDING_BYTES, hash_ending
from portraitd.model.ignored_names import is_clutter
from portraitd.people.tree.asked_pictures import erase_answers
from portraitd.people.tree.card_folder import erase_cards
from portraitd.people.tree.folder_fs import (
    OWN_PREFIX,
    UNFINISHED,
    inode_of,
    open_folder,
    open_parent,
    open_regular,
    open_root,
    raise_as_publish_error,
    replace_file,
)
from portraitd.people.tree.manifest import (
    MANIFEST_NAMES,
    PERSON_MANIFEST,
    ROOT_MANIFEST,
    FolderManifest,
    face_of,
    read_note,
)
from portraitd.people.tree.reserved_folders import is_reserved
from portraitd.people.tree.scan import SKIPPED_ERRORS, UNREADABLE

PICTURES = (".jpg", ".jpeg", ".jpe", ".png", ".webp")

GALLERY = ("gallery", "gallery/data", "gallery/appearances")
"""Folders with pages and tables that say who appears where."""

GALLERY_MANIFEST = f"{OWN_PREFIX}gallery"
STATUS_MANIFEST = f"{OWN_PREFIX}status"

_DATA_FILES = (".js", ".csv")

_ERASED = "erased"
"""Identity in a manifest of a file that is about to be removed. A review does not read the missing
file as an edit."""


class ErasureTarget(NamedTuple):
    """What to erase.

    Attributes:
        face_ids: Faces whose published files are removed even if a reviewer changed them.
        endings: Hashes that identify their portraits; see ``hash_ending``.
        is_forgotten: Returns whether a picture with this mark shows an erased face.
        person_ids: People whose names are removed from every manifest.
    """

    face_ids: Collection[int]
    endings: Collection[bytes]
    is_forgotten: Callable[[Mark], bool]
    person_ids: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased.

    Attributes:
        removed: Number of files removed.
        left: Paths of the files that reviewers put beside them, which were not removed.
        unavailable: What is wrong with each folder that could not be erased, by its path.
    """

    removed: int
    left: tuple[str, ...]
    unavailable: Mapping[str, str] = field(default_factory=dict)


def erase_portraits(root: Path, target: ErasureTarget) -> Erased:
    """Remove every file below a people tree that shows one of these faces.

    A folder that cannot be read or written stops the erasure in no other one.

    Raises:
        PublishError: The root cannot be read or written.
    """
    removed, left, emptied = 0, [], {}
    unavailable: dict[str, str] = {}
    with raise_as_publish_error(root), open_root(root) as root_fd:
        for location, fd, names in _walk(root_fd, unavailable):
            try:
                if location in (".", *GALLERY):
                    removed += _erase_pages(fd, names)
                unavailable |= _find_unreadable(location, fd, names)
                here = _erase_in(fd, names, target)
                removed += len(here)
                if is_reserved(location):
                    removed += erase_cards(fd) + erase_answers(fd)
                if _redact_manifest(fd, location, target) or here:
                    left += [f"{location}/{name}" for name in _foreign(fd)]
                if _is_emptied(fd):
                    emptied[location] = inode_of(fd)
            except OSError as error:
                if error.errno not in SKIPPED_ERRORS:
                    raise
                unavailable[location] = error.strerror or str(error)
        unavailable |= _remove_folders(root_fd, emptied)
    return Erased(removed, tuple(left), unavailable)


def _walk(root_fd: int, unavailable: dict[str, str]) -> Iterator[tuple[str, int, list[str]]]:
    """Yield location, descriptor and names of every folder below the root.

    Args:
        unavailable: Receives the folders that cannot be read.
    """
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        location = "/".join(parts) or "."
        with _noting_unreadable(location, unavailable), open_folder(location, root_fd) as fd:
            names = sorted(os.listdir(fd))
            waiting += [(*parts, name) for name in names if _is_folder(fd, name)]
            yield location, fd, names


@contextlib.contextmanager
def _noting_unreadable(location: str, unavailable: dict[str, str]) -> Iterator[None]:
    """Note a folder that cannot be read or written.

    One that was moved just now is met in its new place. An error of the whole tree passes through.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in SKIPPED_ERRORS:
            raise
        if error.errno in UNREADABLE:
            unavailable[location] = error.strerror or str(error)


def _is_folder(fd: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _erase_pages(fd: int, names: Collection[str]) -> int:
    """Remove data and tables of the gallery, and the status, which names people in edits.

    What is missing is written again.
    """
    gallery, status = read_note(fd, GALLERY_MANIFEST), read_note(fd, STATUS_MANIFEST)
    ours = [name for name in (gallery.files if gallery else ()) if name.endswith(_DATA_FILES)]
    ours += status.files if status else ()
    present = [name for name in ours if name in names]
    for name in present:
        os.unlink(name, dir_fd=fd)
    return len(present)


def _erase_in(fd: int, names: Collection[str], target: ErasureTarget) -> list[str]:
    """Erase in one folder, and update its manifest; return the names of the removed files."""
    manifest = read_note(fd, PERSON_MANIFEST)
    files = manifest.files if manifest else {}
    published = {name: entry.identity for name, entry in files.items()}
    erased = [
        name
        for name in names
        if name not in MANIFEST_NAMES
        and not _is_folder(fd, name)
        and (
            _is_published_for(published.get(name, ""), target)
            or name.startswith(UNFINISHED)
            or _shows(fd, name, target)
        )
    ]
    if not erased:
        return []
    # Also the annotation of each portrait, and what may show it: the montage and the thumbnails
    # that file managers keep.
    erased += [f"{Path(name).stem}.txt" for name in erased if f"{Path(name).stem}.txt" in published]
    erased += [name for name, identity in published.items() if identity.startswith("montage ")]
    erased += [name for name in names if is_clutter(name) and not _is_folder(fd, name)]
    present = [name for name in dict.fromkeys(erased) if name in names]
    if manifest is None:
        _unlink(fd, present)
        return present
    # The manifest must not list a missing file: that would read as a deletion. Nor may it drop one
    # that is still there: for a changed file, it may be all that says whose portrait it was.
    listed = {name: entry for name, entry in manifest.files.items() if name in erased}
    for name, entry in listed.items():
        face = face_of(entry.identity)
        if face is not None:
            manifest.files[name] = replace(entry, identity=f"{_ERASED} {face}")
    manifest.copies = {name: face for name, face in manifest.copies.items() if name not in erased}
    _save(fd, manifest)
    _unlink(fd, present)
    manifest.files = {name: entry for name, entry in manifest.files.items() if name not in erased}
    _save(fd, manifest)
    os.fsync(fd)
    return present


def _redact_manifest(fd: int, location: str, target: ErasureTarget) -> bool:
    """Remove the name of an erased person from a manifest. Return whether it is of such a person.

    In a copy of a folder, or in one that was moved or renamed, the manifest tells the name that
    the folder had. It gets the present one, so that no name is read from it as an edit.
    """
    if location == ".":
        return False
    manifest = read_note(fd, PERSON_MANIFEST)
    if manifest is None or manifest.person not in target.person_ids:
        return False
    files = {
        name: entry
        for name, entry in manifest.files.items()
        if not _is_published_for(entry.identity, target)
    }
    label = location.rpartition("/")[2]
    if (manifest.label, manifest.location, manifest.files) != (label, location, files):
        manifest.label, manifest.location, manifest.files = label, location, files
        _save(fd, manifest)
    return True


def _is_emptied(fd: int) -> bool:
    """Return whether a person's folder has no files left, listed or not."""
    manifest = read_note(fd, PERSON_MANIFEST)
    if manifest is None or manifest.person is None or manifest.files:
        return False
    return all(name in MANIFEST_NAMES or is_clutter(name) for name in os.listdir(fd))


def _remove_folders(root_fd: int, emptied: Mapping[str, int]) -> dict[str, str]:
    """Remove empty folders: their names may be those of erased people.

    Returns:
        What is wrong with each folder that could not be emptied, by its location.
    """
    manifest = read_note(root_fd, ROOT_MANIFEST)
    if not emptied or manifest is None:
        return {}
    # First: a missing folder that is still recorded would read as a deletion.
    inodes = set(emptied.values())
    manifest.folders = {
        number: (at, inode)
        for number, (at, inode) in manifest.folders.items()
        if inode not in inodes and at not in emptied
    }
    _save(root_fd, manifest, ROOT_MANIFEST)
    unavailable: dict[str, str] = {}
    for location, inode in emptied.items():
        with _noting_unreadable(location, unavailable):
            _remove_folder(root_fd, location, inode)
    return unavailable


def _remove_folder(root_fd: int, location: str, inode: int) -> None:
    with open_folder(location, root_fd) as fd:
        names = os.listdir(fd)
        if inode_of(fd) != inode or not _is_emptied(fd):
            # Another one was put in its place, or something into it.
            return
        _unlink(fd, [name for name in names if name in MANIFEST_NAMES or is_clutter(name)])
    with open_parent(location, root_fd) as (fd, name), contextlib.suppress(OSError):
        # A reviewer may have put something in just now: then the folder stays, as theirs.
        os.rmdir(name, dir_fd=fd)


def _find_unreadable(location: str, fd: int, names: Collection[str]) -> dict[str, str]:
    """Return the pictures that may show an erased face and cannot be read, by their path."""
    found = {}
    for name in names:
        if name.lower().endswith(PICTURES) and not os.access(
            name, os.R_OK, dir_fd=fd, effective_ids=True, follow_symlinks=False
        ):
            found[f"{location}/{name}"] = os.strerror(errno.EACCES)
    return found


def _is_published_for(identity: str, target: ErasureTarget) -> bool:
    """Return whether a file was published for one of the faces, or its erasure was interrupted."""
    face = face_of(identity)
    return identity.startswith(f"{_ERASED} ") or (face is not None and face in target.face_ids)


def _shows(fd: int, name: str, target: ErasureTarget) -> bool:
    """Return whether the content of a file shows one of the faces."""
    with open_regular(fd, name) as file:
        if file is None:
            return False
        file.seek(max(0, os.fstat(file.fileno()).st_size - ENDING_BYTES))
        if hash_ending(file.read()) in target.endings:
            return True
        file.seek(0)
        mark = read_mark(file)
        return mark is not None and target.is_forgotten(mark)


def _unlink(fd: int, names: Collection[str]) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)


def _save(fd: int, manifest: FolderManifest, name: str = PERSON_MANIFEST) -> None:
    mode = stat.S_IMODE(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    replace_file(fd, name, manifest.to_bytes(), mode, durable=True)


def _foreign(fd: int) -> list[str]:
    """Return the files in a folder that portraitd did not write."""
    manifest = read_note(fd, PERSON_MANIFEST)
    known = {*MANIFEST_NAMES, *(manifest.files if manifest else ())}
    return [
        name
        for name in sorted(os.listdir(fd))
        if name not in known and not is_clutter(name) and not _is_folder(fd, name)
    ]
