"""Removing what shows forgotten faces from folders that people look at, whoever put it there.

A portrait is known by its last bytes, under any name and in any place below the root: a copy
that somebody made goes too. What was made of several portraits (montages) goes where a
forgotten face may be in it; the next publish makes it anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from portraitd.endings import ENDING_BYTES, ending_of
from portraitd.errors import PublishError
from portraitd.people.folder import OWN_PREFIX, opened_root, read_regular, write_whole
from portraitd.people.note import NOTES, PERSON_NOTE, read_note

SETS_NOTE = ".portraitd-dataset.json"
"""What a folder of training sets was made into: all files in it, by path."""

PICTURES = (".jpg", ".jpeg", ".png", ".webp")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasing came to.

    Attributes:
        removed: Files removed.
        left: Pictures beside them that people put there and that were left, by path.
    """

    removed: int
    left: tuple[str, ...]


def erase_portraits(root: Path, face_ids: Collection[int], endings: Collection[bytes]) -> Erased:
    """Remove every file below a people tree that shows one of these faces.

    Args:
        root: The tree.
        face_ids: The faces; what was published for them goes even if somebody changed it.
        endings: What their portraits are known by; see ``ending_of``.

    Raises:
        PublishError: The tree is away, or something in it cannot be removed.
    """
    removed, left = 0, []
    try:
        with opened_root(root) as root_fd:
            for location, fd, names in _walk(root_fd):
                here = _erase_in(fd, names, frozenset(face_ids), frozenset(endings))
                removed += len(here)
                if here:
                    left += [f"{location}/{name}" for name in _foreign(fd)]
    except OSError as error:
        where = root / error.filename if isinstance(error.filename, str) else root
        raise PublishError(f"{where}: {error.strerror or error}") from error
    return Erased(removed, tuple(left))


def erase_sets(root: Path) -> int:
    """Remove every file of training sets; they are made anew, without whom they must not show.

    What somebody else put there is left.

    Returns:
        How many files were removed.

    Raises:
        PublishError: One of them cannot be removed.
    """
    removed = 0
    try:
        # The note goes last: until then it says what is still to be removed.
        for path in [*_files_of_sets(root), *sorted(root.glob("**/*.cache")), root / SETS_NOTE]:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                removed += 1
            with contextlib.suppress(OSError):
                path.parent.rmdir()
    except OSError as error:
        raise PublishError(f"{error.filename or root}: {error.strerror or error}") from error
    return removed


def _files_of_sets(root: Path) -> list[Path]:
    try:
        names = json.loads((root / SETS_NOTE).read_bytes())["files"].keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [root / name for name in sorted(names) if ".." not in Path(name).parts]


def _walk(root_fd: int) -> Iterator[tuple[str, int, list[str]]]:
    """Every folder below the root: where it lies, its descriptor while it is the turn, names."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        fd = os.open(".", _FOLDER, dir_fd=root_fd)
        try:
            for part in parts:
                following = os.open(part, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = following
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


def _erase_in(
    fd: int, names: Collection[str], faces: frozenset[int], endings: frozenset[bytes]
) -> list[str]:
    """Erase in one folder; its note forgets what went."""
    note_data = read_regular(fd, PERSON_NOTE)
    note = read_note(note_data)
    published = {name: record.identity for name, record in note.files.items()} if note else {}
    gone = []
    for name in names:
        if name in NOTES or _is_folder(fd, name):
            continue
        kind, _, rest = published.get(name, "").partition(" ")
        ours = kind == "portrait" and int(rest.partition(" ")[0]) in faces
        if ours or name.startswith(OWN_PREFIX) or _ending(fd, name) in endings:
            gone.append(name)
    if not gone:
        return []
    # The annotation belongs to its portrait, the montage may show it.
    gone += [f"{Path(name).stem}.txt" for name in gone if f"{Path(name).stem}.txt" in published]
    gone += [name for name, identity in published.items() if identity.startswith("montage ")]
    present = [name for name in dict.fromkeys(gone) if name in names]
    for name in present:
        os.unlink(name, dir_fd=fd)
    if note and note_data is not None:
        for name in gone:
            note.files.pop(name, None)
        mode = stat.S_IMODE(os.stat(PERSON_NOTE, dir_fd=fd, follow_symlinks=False).st_mode)
        write_whole(fd, PERSON_NOTE, note.to_bytes(), mode)
    os.fsync(fd)
    return present


def _ending(fd: int, name: str) -> bytes | None:
    """What a file would be known by; None for what is no regular file."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file_fd = os.open(name, flags, dir_fd=fd)
    except OSError:
        return None
    with open(file_fd, "rb") as file:
        facts = os.fstat(file_fd)
        if not stat.S_ISREG(facts.st_mode):
            return None
        file.seek(max(0, facts.st_size - ENDING_BYTES))
        return ending_of(file.read())


def _foreign(fd: int) -> list[str]:
    """Pictures in a folder that portraitd did not write."""
    note = read_note(read_regular(fd, PERSON_NOTE))
    known = note.files.keys() if note else ()
    return [
        name
        for name in sorted(os.listdir(fd))
        if name not in known and name.lower().endswith(PICTURES)
    ]
