"""Where people's folders and portraits lie now, whatever humans call the folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from portraitd.model.errors import PublishError
from portraitd.people.names import folder_name
from portraitd.people.tree.desired import MONTAGE_NAME
from portraitd.people.tree.folder_fs import opened_root
from portraitd.people.tree.inventory import FolderLocation, root_note, surveyed
from portraitd.people.tree.manifest import face_of
from portraitd.people.tree.plan import IGNORED_NAME
from portraitd.people.tree.scan import Memory, walked


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A person's folder as it lies there.

    Attributes:
        location: Its path below the root.
        name: What it is called, if a human called it that; empty for ``person-0001``.
        portraits: The file of each portrait in it, by face.
        montage: The file of the montage, empty if there is none.
    """

    location: str
    name: str
    portraits: Mapping[int, str]
    montage: str


def find_people(root: Path, memory: Memory) -> dict[int, Whereabouts]:
    """The folder of every person in sight, by the person's number.

    Args:
        root: Of the tree.
        memory: What was read at the last look; what has not changed is not read again.

    Raises:
        PublishError: The tree cannot be read.
    """
    try:
        with opened_root(root) as root_fd:
            note = root_note(root_fd, root)
            memory.store = note.store
            places = surveyed(walked(root_fd, memory), note.homes).places
    except OSError as error:
        raise PublishError(f"{root}: {error.strerror or error}") from error
    return {
        number: _whereabouts(number, place)
        for number, place in places.items()
        if number > 0 and not place.location.startswith(f"{IGNORED_NAME}/")
    }


def _whereabouts(number: int, place: FolderLocation) -> Whereabouts:
    names = set(place.names)
    found = {
        face_of(record.identity): name for name, record in place.note.files.items() if name in names
    }
    return Whereabouts(
        place.location,
        "" if place.name == folder_name(number, None) else place.name,
        {face_id: name for face_id, name in found.items() if face_id},
        MONTAGE_NAME if MONTAGE_NAME in names else "",
    )
