"""Looking through a people tree for what a publish did not leave like that; and mending a note."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portraitd.endings import ending_of
from portraitd.errors import PublishError
from portraitd.people.carrying import Modes
from portraitd.people.folder import OWN_PREFIX, identity, opened, opened_root, read_regular
from portraitd.people.folder import write_whole as write
from portraitd.people.note import NOTES, PERSON_NOTE, ROOT_NOTE, Note, read_note
from portraitd.people.plan import UNSORTED
from portraitd.people.survey import UNSORTED_NAME, find_places, locations, names_in

MONTAGE_NAME = "montage.jpg"


@dataclass(slots=True)
class Seen:
    """What is not as it was left.

    Attributes:
        without_note: By folder, the person most of whose portraits lie in it.
        missing: A line for every person who has no folder, or whose portraits are gone.
        without_montage: A line for every folder whose montage is gone.
        unfinished: A line for every file that was never finished.
    """

    without_note: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    without_montage: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def survey_tree(
    root: Path, wanted: Mapping[int, Sequence[int]], portrait: Callable[[int], bytes]
) -> Seen:
    """Compare a tree with who should be in it.

    Args:
        root: The tree.
        wanted: By person, the faces they have.
        portrait: The picture of a face.

    Raises:
        PublishError: The tree is away.
    """
    seen = Seen()
    try:
        with opened_root(root) as root_fd:
            if read_note(read_regular(root_fd, ROOT_NOTE)) is None:
                raise PublishError(
                    f"{root}: the marker {ROOT_NOTE} is missing; the share may be away. If this "
                    "is the right folder, run `portraitd init`"
                )
            seen.unfinished += _unfinished(root_fd)
            places = find_places(root_fd)
            known = {place.location for place in places.values()}
            lost = {person for person in wanted if person not in places}
            if lost:
                seen.without_note = _without_note(root_fd, known, wanted, portrait)
                lost -= set(seen.without_note.values())
            seen.missing += [f"person {person} has no folder" for person in sorted(lost)]
            for number, place in places.items():
                gone = [
                    name
                    for name in place.note.files
                    if name not in place.names and name != MONTAGE_NAME
                ]
                if gone:
                    seen.missing.append(f"{place.location}: {len(gone)} files are gone")
                if number != UNSORTED and number in wanted and MONTAGE_NAME not in place.names:
                    seen.without_montage.append(f"{place.location} has no montage")
    except OSError as error:
        raise PublishError(f"{root}: {error.strerror or error}") from error
    return seen


def mend_note(root: Path, location: str, person: int) -> None:
    """Say again whose a folder is. Its name is taken for a human's, so it keeps it.

    What lies in it is recognised by the next publish, where it is as it was written.
    """
    with opened_root(root) as root_fd, opened(location, root_fd) as fd:
        note = Note(person, "", "", identity(fd))
        write(fd, PERSON_NOTE, note.to_bytes(), Modes().file)
        os.fsync(fd)


def _without_note(
    root_fd: int,
    known: set[str],
    wanted: Mapping[int, Sequence[int]],
    portrait: Callable[[int], bytes],
) -> dict[str, int]:
    """Folders that are nobody's by their notes, and somebody's by what lies in them."""
    person_of = {
        ending_of(portrait(face)): person for person, faces in wanted.items() for face in faces
    }
    found: dict[str, int] = {}
    for location, _ in locations(root_fd):
        if location in known or location == UNSORTED_NAME:
            continue
        with opened(location, root_fd) as fd:
            endings = (ending_of(read_regular(fd, name) or b"") for name in names_in(fd))
            people = Counter(person_of[one] for one in endings if one in person_of)
        for person, _ in people.most_common(1):
            found.setdefault(location, person)
    # A person has one folder: the one that holds most of them is theirs by its first mention.
    first: dict[int, str] = {}
    for location, person in found.items():
        first.setdefault(person, location)
    return {location: person for person, location in first.items()}


def _unfinished(root_fd: int) -> list[str]:
    lines = []
    for location in (".", *(place for place, _ in locations(root_fd))):
        with opened(location, root_fd) as fd:
            lines += [
                f"{location}/{name} was never finished"
                for name in sorted(os.listdir(fd))
                if name.startswith(OWN_PREFIX) and name not in NOTES
            ]
    return lines
