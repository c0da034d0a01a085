"""Removing what shows forgotten faces from the folders that people look at, whoever put it there.

A portrait is known by what it says of itself (XMP) and by its last bytes, under any name and in
any place below the root: a copy that somebody made goes too. What was made of several portraits
(montages) goes where a forgotten face may be in it, and so do pages and tables that say who was
seen when; the next publish makes them anew.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from portraitd.media.fs import open_below
from portraitd.media.xmp import Mark, read_mark
from portraitd.model.errors import PublishError
from portraitd.model.fingerprints import ENDING_BYTES, hash_ending
from portraitd.model.ignored_names import is_clutter
from portraitd.people.tree.folder_fs import (
    OWN_PREFIX,
    identity,
    opened,
    opened_root,
    read_regular,
    reading,
    write_whole,
)
from portraitd.people.tree.manifest import (
    NOTES,
    PERSON_NOTE,
    ROOT_NOTE,
    FolderManifest,
    face_of,
    read_note,
)

PICTURES = (".jpg", ".jpeg", ".jpe", ".png", ".webp")

GALLERY = ("gallery", "gallery/data", "gallery/appearances")
"""Where the pages lie that say who was seen where."""

GALLERY_NOTE = f"{OWN_PREFIX}gallery"

_TELLING = (".js", ".csv")

_ERASED = "erased"
"""What a note says of a file that is about to go: a look in between takes it for nobody's word."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ErasureTarget(NamedTuple):
    """What an erasing looks for.

    Attributes:
        face_ids: What was published for them goes even if somebody changed it.
        endings: What their portraits are known by; see ``hash_ending``.
        is_forgotten: Whether a picture is of a forgotten face, by what it says of itself.
    """

    face_ids: Collection[int]
    endings: Collection[bytes]
    is_forgotten: Callable[[Mark], bool]


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasing came to.

    Attributes:
        removed: Files removed.
        left: Pictures beside them that people put there and that were left, by path.
    """

    removed: int
    left: tuple[str, ...]


def erase_portraits(root: Path, wanted: ErasureTarget) -> Erased:
    """Remove every file below a people tree that shows one of these faces.

    Raises:
        PublishError: The tree is away, or something in it cannot be removed.
    """
    removed, left, emptied = 0, [], {}
    try:
        with opened_root(root) as root_fd:
            for location, fd, names in _walk(root_fd):
                if location in GALLERY:
                    removed += _erase_pages(fd, names)
                here = _erase_in(fd, names, wanted)
                removed += len(here)
                if here:
                    left += [f"{location}/{name}" for name in _foreign(fd)]
                if _is_emptied(fd):
                    emptied[location] = identity(fd)
            _remove_folders(root_fd, emptied)
    except OSError as error:
        where = root / error.filename if isinstance(error.filename, str) else root
        raise PublishError(f"{where}: {error.strerror or error}") from error
    return Erased(removed, tuple(left))


def _walk(root_fd: int) -> Iterator[tuple[str, int, list[str]]]:
    """Every folder below the root: where it lies, its descriptor while it is the turn, names."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        try:
            fd = open_below(root_fd, parts)
        except (FileNotFoundError, NotADirectoryError):
            # It was moved just now, and is met where it went.
            continue
        try:
            names = sorted(os.listdir(fd))
            waiting += [(*parts, name) for name in names if _is_folder(fd, name)]
            yield "/".join(parts) or ".", fd, names
        except (FileNotFoundError, NotADirectoryError):
            # Moved away just now; where it went, it is met.
            continue
        finally:
            os.close(fd)


def _is_folder(fd: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _erase_pages(fd: int, names: Collection[str]) -> int:
    """Remove scripts and tables of the gallery; it writes them anew where they are missing."""
    note = read_note(read_regular(fd, GALLERY_NOTE))
    ours = [name for name in (note.files if note else ()) if name.endswith(_TELLING)]
    present = [name for name in ours if name in names]
    for name in present:
        os.unlink(name, dir_fd=fd)
    return len(present)


def _erase_in(fd: int, names: Collection[str], wanted: ErasureTarget) -> list[str]:
    """Erase in one folder; its note forgets what went."""
    note = read_note(read_regular(fd, PERSON_NOTE))
    published = {name: record.identity for name, record in note.files.items()} if note else {}
    gone = [
        name
        for name in names
        if name not in NOTES
        and not _is_folder(fd, name)
        and (
            _is_published_for(published.get(name, ""), wanted)
            or name.startswith(f"{OWN_PREFIX}new-")
            or _shows(fd, name, wanted)
        )
    ]
    if not gone:
        return []
    # The annotation belongs to its portrait, the montage may show it, and so may the small
    # pictures that file managers keep.
    gone += [f"{Path(name).stem}.txt" for name in gone if f"{Path(name).stem}.txt" in published]
    gone += [name for name, identity in published.items() if identity.startswith("montage ")]
    gone += [name for name in names if is_clutter(name) and not _is_folder(fd, name)]
    present = [name for name in dict.fromkeys(gone) if name in names]
    if note is None:
        _unlink(fd, present)
        return present
    # A note never lists what is not there: that would look as if a human had removed it. Nor is
    # it silent before they are gone: it may be all that tells whose a changed file was.
    listed = {name: record for name, record in note.files.items() if name in gone}
    for name, record in listed.items():
        face = face_of(record.identity)
        if face is not None:
            note.files[name] = replace(record, identity=f"{_ERASED} {face}")
    note.strays = {name: face for name, face in note.strays.items() if name not in gone}
    _save(fd, note)
    _unlink(fd, present)
    note.files = {name: record for name, record in note.files.items() if name not in gone}
    _save(fd, note)
    os.fsync(fd)
    return present


def _is_emptied(fd: int) -> bool:
    """Whether a person's folder lists nothing and holds nothing, a human's neither."""
    note = read_note(read_regular(fd, PERSON_NOTE))
    if note is None or note.person is None or note.files:
        return False
    return all(name in NOTES or is_clutter(name) for name in os.listdir(fd))


def _remove_folders(root_fd: int, emptied: Mapping[str, int]) -> None:
    """Remove folders that nothing is left in: they may be called what somebody was called."""
    note = read_note(read_regular(root_fd, ROOT_NOTE))
    if not emptied or note is None:
        return
    # First: a folder that is missed looks as if a human had taken it away.
    inodes = set(emptied.values())
    note.homes = {
        number: (at, inode)
        for number, (at, inode) in note.homes.items()
        if inode not in inodes and at not in emptied
    }
    _save(root_fd, note, ROOT_NOTE)
    for location in emptied:
        with opened(location, root_fd) as fd:
            _unlink(fd, [name for name in os.listdir(fd) if name in NOTES or is_clutter(name)])
        parent, _, name = location.rpartition("/")
        with opened(parent or ".", root_fd) as fd, contextlib.suppress(OSError):
            # Somebody may have put something in just now: then it stays, as theirs.
            os.rmdir(name, dir_fd=fd)


def _is_published_for(identity: str, wanted: ErasureTarget) -> bool:
    """Whether a note says that a file was published for one of the faces, or was to go already."""
    face = face_of(identity)
    return identity.startswith(f"{_ERASED} ") or (face is not None and face in wanted.face_ids)


def _shows(fd: int, name: str, wanted: ErasureTarget) -> bool:
    """Whether a file shows one of the faces, by its own bytes."""
    with reading(fd, name) as file:
        if file is None:
            return False
        file.seek(max(0, os.fstat(file.fileno()).st_size - ENDING_BYTES))
        if hash_ending(file.read()) in wanted.endings:
            return True
        file.seek(0)
        mark = read_mark(file)
        return mark is not None and wanted.is_forgotten(mark)


def _unlink(fd: int, names: Collection[str]) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)


def _save(fd: int, note: FolderManifest, name: str = PERSON_NOTE) -> None:
    mode = stat.S_IMODE(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    write_whole(fd, name, note.to_bytes(), mode, lasts=True)


def _foreign(fd: int) -> list[str]:
    """Pictures in a folder that portraitd did not write."""
    note = read_note(read_regular(fd, PERSON_NOTE))
    known = note.files.keys() if note else ()
    return [
        name
        for name in sorted(os.listdir(fd))
        if name not in known and name.lower().endswith(PICTURES)
    ]
