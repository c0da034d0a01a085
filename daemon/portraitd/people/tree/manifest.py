"""The manifest in each folder: whose folder it is, and what portraitd wrote into it.

The manifest is a hidden file that travels with its folder, so a folder is recognised under any
name and in any place, and publishing five changed people writes five manifests, however many
people there are. Reviewers can write to it as well, so no value in it may lead out of its folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from portraitd.model.edit import Placement
from portraitd.people.tree.folder_fs import (
    MAX_NOTE_BYTES,
    WrittenFile,
    move_folder_aside,
    read_regular,
    replace_file,
)

PERSON_MANIFEST = ".person.json"
ROOT_MANIFEST = ".portraitd-root"
"""Also marks the root: where it is missing, the share is probably not mounted."""

MANIFEST_NAMES = frozenset({PERSON_MANIFEST, ROOT_MANIFEST})

FolderIndex = Mapping[int, tuple[str, int]]
"""Location and inode of each folder after the last publish, by the folder's number."""

_END = 1 << 63
"""No number in a manifest is as large, nor in the database."""

_MAX_NAME_BYTES = 255

_OLD_NUMBERS = {-2: int(Placement.IGNORED)}
"""Version 0.1 used another number for ``_ignored``."""


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A file that portraitd wrote: the identity of its content, and the file as written."""

    identity: str
    written: WrittenFile


@dataclass(slots=True)
class FolderManifest:
    """What portraitd last published into one folder, stored in that folder.

    Attributes:
        person: The person whose folder it is; None for the root, ``_unsorted`` and ``_ignored``.
        label: The label the folder was last named for.
        location: Where portraitd last put or accepted the folder, below the root. If the folder
            is elsewhere, a reviewer moved it.
        inode: Inode of the folder when the manifest was written; a copy has another one.
        files: Every file portraitd wrote, by name.
        copies: Face of each picture in the folder that is known to mean nothing, by file name: a
            copy beside an original, or an old portrait that a reviewer changed.
        store: In the root: the store that the faces and people belong to.
        folders: In the root: where each folder was, and its inode, by number.
        publication: In the root: grouping run and last ledger entry that the tree shows; None if
            it was last published by version 0.1.
    """

    person: int | None = None
    label: str = ""
    location: str = ""
    inode: int = 0
    files: dict[str, ManifestEntry] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    store: str = ""
    folders: dict[int, tuple[str, int]] = field(default_factory=dict)
    publication: tuple[int, int] | None = None

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON, with one line per file."""
        # The keys are those of version 0.1: "folder", "strays" and "homes" included.
        facts: dict[str, object] = {"portraitd": 1, "person": self.person, "label": self.label}
        facts |= {"folder": self.location, "inode": self.inode}
        if self.copies:
            facts["strays"] = dict(sorted(self.copies.items()))
        if self.store:
            facts["store"] = self.store
        if self.folders:
            facts["homes"] = {str(number): at for number, at in sorted(self.folders.items())}
        if self.publication is not None:
            facts["publication"] = self.publication
        head = json.dumps(facts)[:-1]
        lines = [
            f"{json.dumps(name)}: {json.dumps([entry.identity, *entry.written])}"
            for name, entry in sorted(self.files.items())
        ]
        return "".join([head, ', "files": {\n', ",\n".join(lines), "\n}}\n"]).encode()


def read_manifest(data: bytes | None) -> FolderManifest | None:
    """Return the manifest; None if it is missing, damaged or from another program.

    Anybody who may write to the tree can write anything into it: every value is checked.
    """
    try:
        # There are no fractions in a manifest, and no infinities.
        facts = json.loads(data or b"", parse_float=_refuse, parse_constant=_refuse)
        person, files = facts["person"], facts["files"]
        if facts["portraitd"] != 1:
            return None
        return FolderManifest(
            None if person is None else _number(person, 1),
            _text(facts["label"]),
            _text(facts["folder"]),
            _number(facts["inode"], 0, 1 << 64),
            {name: _read_entry(entry) for name, entry in files.items() if _is_plain(name)},
            {
                name: _number(face)
                for name, face in facts.get("strays", {}).items()
                if _is_plain(name)
            },
            _text(facts.get("store", "")),
            dict(_read_place(*one) for one in facts.get("homes", {}).items()),
            _read_publication(facts.get("publication")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def read_note(fd: int, name: str) -> FolderManifest | None:
    """Return the manifest in a file of an open folder; None as ``read_manifest`` does."""
    return read_manifest(read_regular(fd, name, MAX_NOTE_BYTES))


def write_note(fd: int, name: str, manifest: FolderManifest, mode: int) -> None:
    """Write a manifest durably into an open folder; a folder that has the name is moved aside."""
    data = manifest.to_bytes()
    try:
        replace_file(fd, name, data, mode, durable=True)
    except IsADirectoryError:
        move_folder_aside(fd, name)
        replace_file(fd, name, data, mode, durable=True)


def face_of(identity: str) -> int | None:
    """Return the face whose portrait an entry is; None for an annotation or a montage."""
    kind, _, rest = identity.partition(" ")
    number = rest.partition(" ")[0]
    # Anybody may write to a manifest: a number beyond the range of face ids is not a face.
    is_number = kind == "portrait" and number.isascii() and number.isdigit() and len(number) < 19
    return int(number) if is_number else None


def _read_entry(entry: object) -> ManifestEntry:
    if not isinstance(entry, list):
        raise TypeError("an entry is a list")
    identity, sha256, size, mtime_ns = entry
    written = WrittenFile(_text(sha256), _number(size), _number(mtime_ns, -_END))
    return ManifestEntry(_text(identity), written)


def _read_place(key: str, place: object) -> tuple[int, tuple[str, int]]:
    number = int(key) if len(key) < 20 else _END
    if str(number) != key or not isinstance(place, list):
        raise ValueError("a folder is listed by its number, with location and inode")
    location, inode = place
    number = _OLD_NUMBERS.get(number, number)
    return _number(number, -_END), (_text(location), _number(inode, 0, 1 << 64))


def _read_publication(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise TypeError("a publication is two numbers")
    grouping_run, entry = value
    return _number(grouping_run), _number(entry)


def _number(value: object, start: int = 0, end: int = _END) -> int:
    """Return a whole number in a range.

    Raises:
        TypeError: It is something else.
        ValueError: It is outside of the range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    if not start <= value < end:
        raise ValueError("out of range")
    return value


def _text(value: object) -> str:
    """Return a text that a file name can hold.

    Raises:
        TypeError: It is not a text.
        ValueError: It contains half of a surrogate pair, or a null character.
    """
    if not isinstance(value, str):
        raise TypeError("not a text")
    os.fsencode(value)
    if "\0" in value:
        raise ValueError("a null character")
    return value


def _refuse(literal: str) -> float:
    raise ValueError(literal)


def _is_plain(name: str) -> bool:
    """Return whether a name stays inside its folder and is not that of a manifest."""
    if not name or set(name) & {"/", "\0"} or name in {".", "..", *MANIFEST_NAMES}:
        return False
    try:
        return len(os.fsencode(name)) <= _MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False
