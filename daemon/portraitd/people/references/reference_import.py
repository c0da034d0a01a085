"""Put pictures of known people into their folders, many at once.

A source has one folder per person (as an ImageFolder), or files named after them (``Anna.jpg``,
``Anna_2.jpg``). The pictures are copied; from then on they are references like any other. Whether a
picture shows one face is found out when it is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from portraitd.model.errors import ConfigError, PublishError
from portraitd.model.ignored_names import is_ignored
from portraitd.people.names import OWN_NAMES, folded, number_in, safe_name
from portraitd.people.tree.folder_fs import (
    digest,
    open_folder,
    open_made,
    open_parent,
    open_regular,
    open_root,
    read_regular,
    replace_file,
)
from portraitd.people.tree.folder_state import FolderState
from portraitd.people.tree.locations import find_person_folders
from portraitd.people.tree.plan_executor import Modes
from portraitd.people.tree.reference_pictures import (
    MAX_REFERENCE_BYTES,
    MAX_REFERENCES_PER_FOLDER,
    is_picture_name,
)
from portraitd.people.tree.reserved_folders import RESERVED_FOLDERS
from portraitd.people.tree.scan import ScanCache

_COUNTED = re.compile(r"(?P<name>.*\S)(?:[ _-]+\(?[0-9]{1,4}\)?|\([0-9]{1,4}\))")
"""A file name without its ending; the number at its end is left out."""

_OWN_NAMES = frozenset(map(folded, {*OWN_NAMES, *RESERVED_FOLDERS}))


class Outcome(StrEnum):
    """What becomes of a file of the source."""

    TAKEN = "taken"
    THERE = "there"
    NO_PICTURE = "no_picture"
    NO_FILE = "no_file"
    TOO_LARGE = "too_large"
    NO_NAME = "no_name"
    TOO_MANY = "too_many"


class ImportedPicture(NamedTuple):
    """A file of the source, and what becomes of it.

    Attributes:
        source: Its path below the source.
        name: The person it is about; empty without a usable name.
        target: Where it is, below the root of the tree; empty if it was not taken.
    """

    source: str
    name: str
    outcome: Outcome
    target: str = ""


@dataclass(slots=True)
class _PersonFolder:
    """The folder that the pictures of a person go into.

    Attributes:
        names: The names in it, in the form of ``names.folded``.
        digests: Hashes of the pictures in it.
    """

    location: str
    names: set[str]
    digests: set[str]


def name_of_file(stem: str) -> str:
    """Return the name of a person by that of a file, without a number: ``Anna`` for ``Anna_2``."""
    counted = _COUNTED.fullmatch(stem)
    return usable_name(counted["name"] if counted else stem)


def usable_name(name: str) -> str:
    """Return the safe part of a name; empty if portraitd uses the name, or its safe part, itself.

    ``_questions`` is not a person called ``questions``.
    """
    safe = safe_name(name)
    return "" if not _OWN_NAMES.isdisjoint((folded(name), folded(safe))) else safe


def import_references(source: Path, root: Path, *, dry_run: bool = False) -> list[ImportedPicture]:
    """Copy the pictures of a source into the folders of the people they show.

    A person who has a folder keeps it, wherever it is. A picture that is in it already is not
    copied again. Nothing in the tree is overwritten.

    Args:
        source: The folder with the pictures; links in it are not followed.
        root: The root of the people tree.
        dry_run: Whether to copy nothing, and only say what would be done.

    Raises:
        ConfigError: The source is no folder, or cannot be read.
        PublishError: The tree cannot be read or written.
    """
    try:
        with open_root(source) as source_fd:
            found = list(_list_source(source_fd))
            return list(_Import(source_fd, root, dry_run).run(found))
    except NotADirectoryError as error:
        raise ConfigError(f"{source} is not a folder") from error
    except FileNotFoundError as error:
        raise ConfigError(f"there is no folder {source}") from error


def _list_source(source_fd: int) -> Iterator[tuple[str, str]]:
    """Yield the path of each file, and the name of the person it is about."""
    with os.scandir(source_fd) as entries:
        listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in listed:
        if is_ignored(name):
            continue
        if not is_folder:
            yield name, name_of_file(name.rpartition(".")[0] or name)
            continue
        with open_folder(name, source_fd) as fd:
            inner = sorted(os.listdir(fd))
        for file_name in inner:
            if not is_ignored(file_name):
                yield f"{name}/{file_name}", usable_name(name)


class _Import:
    def __init__(self, source_fd: int, root: Path, dry_run: bool) -> None:
        self._source_fd = source_fd
        self._root = root
        self._dry_run = dry_run
        self._modes = Modes()
        self._known: dict[str, FolderState] = {}
        self._folders: dict[str, _PersonFolder] = {}

    def run(self, found: Sequence[tuple[str, str]]) -> Iterator[ImportedPicture]:
        """Yield what becomes of each file, after that was done."""
        for folder in find_person_folders(self._root, ScanCache("")).values():
            self._known.setdefault(folded(safe_name(folder.name)), folder)
        try:
            with open_root(self._root) as root_fd:
                for path, name in found:
                    yield self._take(path, name, root_fd)
        except OSError as error:
            raise PublishError(f"{self._root}: {error.strerror or error}") from error

    def _take(self, path: str, name: str, root_fd: int) -> ImportedPicture:
        if not is_picture_name(path):
            return ImportedPicture(path, name, Outcome.NO_PICTURE)
        if not name or number_in(name) is not None:
            return ImportedPicture(path, "", Outcome.NO_NAME)
        data = self._read(path)
        if isinstance(data, Outcome):
            return ImportedPicture(path, name, data)
        key = folded(name)
        if key not in self._folders:
            self._folders[key] = _look_into(name, self._known.get(key), root_fd)
        folder = self._folders[key]
        hashed = digest(data)
        if hashed in folder.digests:
            return ImportedPicture(path, name, Outcome.THERE)
        if len(folder.digests) >= MAX_REFERENCES_PER_FOLDER:
            return ImportedPicture(path, name, Outcome.TOO_MANY)
        file_name = _unique_file_name(path.rpartition("/")[2], folder.names)
        if not self._dry_run:
            with open_made(folder.location, root_fd, self._modes.folder) as fd:
                replace_file(fd, file_name, data, self._modes.file)
        folder.names.add(folded(file_name))
        folder.digests.add(hashed)
        return ImportedPicture(path, name, Outcome.TAKEN, f"{folder.location}/{file_name}")

    def _read(self, path: str) -> bytes | Outcome:
        with open_parent(path, self._source_fd) as (fd, name), open_regular(fd, name) as file:
            if file is None:
                return Outcome.NO_FILE
            data = file.read(MAX_REFERENCE_BYTES + 1)
        return data if len(data) <= MAX_REFERENCE_BYTES else Outcome.TOO_LARGE


def _look_into(name: str, known: FolderState | None, root_fd: int) -> _PersonFolder:
    """Return what is in the folder of a person: one that they have, or else one of this name."""
    folder = _PersonFolder(known.location if known else name, set(), set())
    portraits = known.manifest.files if known else {}
    # Without one, it is made with the first picture.
    with suppress(FileNotFoundError), open_folder(folder.location, root_fd) as fd:
        names = set(os.listdir(fd))
        folder.names.update(map(folded, names))
        for picture in filter(is_picture_name, names - portraits.keys()):
            data = read_regular(fd, picture, MAX_REFERENCE_BYTES)
            if data is not None:
                folder.digests.add(digest(data))
    return folder


def _unique_file_name(name: str, taken: set[str]) -> str:
    """Return a name for a file beside others: the same one, or one with a number."""
    stem, dot, ending = name.rpartition(".")
    number = 1
    candidate = name
    while folded(candidate) in taken:
        number += 1
        candidate = f"{stem} ({number}){dot}{ending}"
    return candidate
