"""The note in each folder: whose it is, and what portraitd has written there.

The note travels with its folder, so a folder is known under any name and in any place; and
to publish five changed people costs five notes, however many people there are. It lies where
humans write, so nothing in it is believed that could lead out of its folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from portraitd.model.edit import Placement
from portraitd.people.tree.folder_fs import Written

PERSON_NOTE = ".person.json"
ROOT_NOTE = ".portraitd-root"
"""Marks the root as well: where it is missing, the share is away."""

NOTES = frozenset({PERSON_NOTE, ROOT_NOTE})

_IGNORED_BEFORE = {-2: int(Placement.IGNORED)}
"""portraitd 0.1 wrote another number for ``_ignored``."""


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A file we wrote: which content it was meant to have, and how it then lay there."""

    identity: str
    written: Written


@dataclass(slots=True)
class FolderManifest:
    """What portraitd remembers about one folder, in that folder.

    Attributes:
        person: Whose folder it is; None for the root and for the faces of nobody.
        label: The label it was last named for.
        name: Where it last lay for portraitd, below the root. Elsewhere, a human moved it.
        inode: Of the folder when the note was written; another one in a copy of the folder.
        files: Every file portraitd wrote, by name.
        strays: The face of each portrait that lay here, though not as a portrait of the person,
            when portraitd last wrote here.
        store: In the root: whose faces and people these are.
        homes: In the root: where each folder lay, and its inode, by its number.
    """

    person: int | None
    label: str
    name: str
    inode: int
    files: dict[str, ManifestEntry] = field(default_factory=dict)
    strays: dict[str, int] = field(default_factory=dict)
    store: str = ""
    homes: dict[int, tuple[str, int]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The note as JSON, one line per file."""
        facts: dict[str, object] = {"portraitd": 1, "person": self.person, "label": self.label}
        facts |= {"folder": self.name, "inode": self.inode}
        if self.strays:
            facts["strays"] = dict(sorted(self.strays.items()))
        if self.store:
            facts["store"] = self.store
        if self.homes:
            facts["homes"] = {str(number): home for number, home in sorted(self.homes.items())}
        head = json.dumps(facts)[:-1]
        lines = [
            f"{json.dumps(name)}: {json.dumps([record.identity, *record.written])}"
            for name, record in sorted(self.files.items())
        ]
        return "".join([head, ', "files": {\n', ",\n".join(lines), "\n}}\n"]).encode()


def read_note(data: bytes | None) -> FolderManifest | None:
    """The note, or None where it is missing, damaged or not ours: a human's folder then."""
    try:
        facts = json.loads(data or b"")
        person, files = facts["person"], facts["files"]
        if facts["portraitd"] != 1 or not (person is None or _is_person(person)):
            return None
        return FolderManifest(
            person,
            str(facts["label"]),
            str(facts["folder"]),
            int(facts["inode"]),
            {name: _record(entry) for name, entry in files.items() if _is_plain(name)},
            {name: int(face) for name, face in facts.get("strays", {}).items() if _is_plain(name)},
            str(facts.get("store", "")),
            {
                _IGNORED_BEFORE.get(int(number), int(number)): (str(at), int(inode))
                for number, (at, inode) in facts.get("homes", {}).items()
            },
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def face_of(identity: str) -> int | None:
    """The face whose portrait a record is; None for a text or a montage."""
    kind, _, rest = identity.partition(" ")
    number = rest.partition(" ")[0]
    # Notes lie where anybody may write: what no store would count to is no face.
    is_number = kind == "portrait" and number.isascii() and number.isdigit() and len(number) < 19
    return int(number) if is_number else None


def _record(entry: list[object]) -> ManifestEntry:
    identity, sha256, size, mtime_ns = entry
    if not isinstance(size, int) or not isinstance(mtime_ns, int):
        raise TypeError("size and time are whole numbers")
    return ManifestEntry(str(identity), Written(str(sha256), size, mtime_ns))


def _is_person(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_plain(name: str) -> bool:
    """Whether it names something in the folder itself, and no note."""
    return bool(name) and not set(name) & {"/", "\0"} and name not in {".", "..", *NOTES}
