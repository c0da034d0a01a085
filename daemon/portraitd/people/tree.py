"""The people tree on disk: compares it with what is wanted and carries the difference out.

What was published is remembered in a note in each folder (``note.py``). So a folder that a
human renames or moves takes its memory along, nothing about the tree can disagree with a
database, and a publish writes as many notes as it changes folders.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from portraitd.errors import PublishError
from portraitd.model import PersonFolder, PublishedFace
from portraitd.people.annotations import darknet_line
from portraitd.people.carrying import Carrier, Modes
from portraitd.people.folder import (
    digest,
    opened_root,
    read_regular,
    remove_emptied,
    sweep,
)
from portraitd.people.names import folder_name
from portraitd.people.note import ROOT_NOTE, Note, read_note
from portraitd.people.plan import (
    UNSORTED,
    Remove,
    RemoveFolder,
    Step,
    WantedFolder,
    Write,
    plan,
    plan_files,
)
from portraitd.people.readme import README_NAME, README_TEXT
from portraitd.people.survey import (
    UNSORTED_NAME,
    Place,
    as_seen,
    find_places,
    locations,
    names_in,
)

MONTAGE_NAME = "montage.jpg"

_ROOT = -1
"""The root itself, as a folder of the plan."""


def class_of_person(person_id: int) -> int:
    """The Darknet class of a person: from 0, and the same for ever, like the person's id."""
    return person_id - 1


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did.

    Attributes:
        written: Files written; notes and folders do not count.
        removed: Files removed.
        unchanged: Wanted files that needed no writing.
        portraits: Path of each face's portrait below the root, by the face's id.
        folders: Path of each person's folder below the root, by the person's id.
    """

    written: int
    removed: int
    unchanged: int
    portraits: Mapping[int, str] = field(repr=False)
    folders: Mapping[int, str] = field(repr=False)


class Tree:
    """The folder where people look at portraits and may change what they see.

    Every method raises PublishError if the tree cannot be read or written.
    """

    def __init__(self, root: Path, modes: Modes | None = None) -> None:
        self._root = root
        self._modes = modes or Modes()

    def create(self) -> None:
        """Make the root and mark it as ours; does nothing where that was done before.

        Not part of ``publish``: an empty folder may be the place where a share is missing.
        """
        try:
            if not self._root.is_dir():
                self._root.mkdir(parents=True, exist_ok=True)
                self._root.chmod(self._modes.folder)
            with opened_root(self._root) as root_fd:
                if read_note(read_regular(root_fd, ROOT_NOTE)) is None:
                    carrier = Carrier(root_fd, {}, self._modes, _no_content)
                    carrier.save(root_fd, ROOT_NOTE, Note(None, "", "", 0))
        except OSError as error:
            raise self._failed(error) from error

    def stale_montages(self, folders: Sequence[PersonFolder]) -> list[int]:
        """The people whose montage does not show the faces they have now, in order of folders."""
        try:
            with opened_root(self._root) as root_fd:
                self._root_note(root_fd)
                places = find_places(root_fd)
        except OSError as error:
            raise self._failed(error) from error
        return [
            folder.person_id
            for folder in folders
            if folder.faces
            and _montage_published(places.get(folder.person_id)) != montage_identity(folder.faces)
        ]

    def portraits(self) -> dict[int, str]:
        """Where the portraits lie, by face id: the path below the root, as the notes say."""
        found = {}
        try:
            with opened_root(self._root) as root_fd:
                self._root_note(root_fd)
                for place in find_places(root_fd).values():
                    for name, record in place.note.files.items():
                        kind, _, rest = record.identity.partition(" ")
                        if kind == "portrait" and name in place.names:
                            found[int(rest.partition(" ")[0])] = f"{place.location}/{name}"
        except OSError as error:
            raise self._failed(error) from error
        return found

    def publish(
        self,
        folders: Sequence[PersonFolder],
        unsorted: Sequence[PublishedFace],
        content: Callable[[int], bytes],
        montages: Mapping[int, bytes],
        class_of: Callable[[int], int] = class_of_person,
    ) -> Published:
        """Make the tree show these people; write and remove only what differs.

        An exception from ``content`` ends the publish and passes through. What was written
        until then stays, and the next publish goes on from there.

        Args:
            folders: Every person who is to be seen. One without faces gets no folder.
            unsorted: The faces of nobody. They have no class, so no annotation either.
            content: The JPEG of a face; asked only for portraits that are to be written. The
                portrait of a face id must never change.
            montages: JPEG by person. Needed for ``stale_montages`` only; a person who is not
                among them keeps the montage they have.
            class_of: The Darknet class of a person.
        """
        try:
            with opened_root(self._root) as root_fd:
                root_note = self._root_note(root_fd)
                sweep(root_fd)
                remove_emptied(root_fd)
                places = find_places(root_fd)
                wanted = _wanted(folders, unsorted, montages, places, class_of)
                carrier = Carrier(
                    root_fd, places, self._modes, lambda step: _data(step, content, montages)
                )
                _publish_readme(root_fd, root_note, carrier)
                seen = {number: as_seen(place, root_fd) for number, place in places.items()}
                steps = plan(wanted, seen, os.listdir(root_fd))
                _carry_out(steps, carrier)
                paths = _paths(wanted, carrier.inodes, root_fd)
        except OSError as error:
            raise self._failed(error) from error
        return Published(
            written=carrier.written,
            removed=carrier.removed,
            unchanged=1 + sum(len(folder.files) for folder in wanted.values()) - carrier.written,
            portraits=_portraits(folders, unsorted, paths),
            folders={number: path for number, path in paths.items() if number != UNSORTED},
        )

    def _root_note(self, root_fd: int) -> Note:
        note = read_note(read_regular(root_fd, ROOT_NOTE))
        if note is None:
            raise PublishError(
                f"{self._root}: the marker {ROOT_NOTE} is missing; the share may be away. "
                "If this is the right folder, run `portraitd init`"
            )
        return note

    def _failed(self, error: OSError) -> PublishError:
        where = self._root / error.filename if isinstance(error.filename, str) else self._root
        return PublishError(f"{where}: {error.strerror or error}")


def _carry_out(steps: Sequence[Step], carrier: Carrier) -> None:
    """Carry out steps folder by folder; one that may not be written does not stop the others."""
    denied: PermissionError | None = None
    for (number, removes), group in groupby(steps, key=_folder_and_removal):
        if denied and removes:
            # What could not be written elsewhere may still be here: keep it in sight.
            continue
        try:
            carrier.carry_out(number, list(group))
        except PermissionError as error:
            denied = denied or error
    if denied:
        raise denied


def _folder_and_removal(step: Step) -> tuple[int, bool]:
    return step.folder, isinstance(step, Remove | RemoveFolder)


def montage_identity(faces: Collection[PublishedFace]) -> str:
    """The same for the same set of faces: what a person's montage is made for."""
    numbers = sorted(face.face_id for face in faces)
    return f"montage {digest(repr(numbers).encode())[:16]}"


def _montage_published(place: Place | None) -> str | None:
    """What the montage that lies there was made for."""
    if place is None or MONTAGE_NAME not in place.names:
        return None
    record = place.note.files.get(MONTAGE_NAME)
    return record.identity if record else None


def _wanted(
    folders: Sequence[PersonFolder],
    unsorted: Sequence[PublishedFace],
    montages: Mapping[int, bytes],
    places: Mapping[int, Place],
    class_of: Callable[[int], int],
) -> dict[int, WantedFolder]:
    """The tree as it should be. A text's identity is the text itself."""
    wanted = {}
    for folder in folders:
        number, files = folder.person_id, {}
        if not folder.faces:
            continue
        for face in folder.faces:
            files[_stem(face) + ".jpg"] = _portrait_identity(face)
            files[_stem(face) + ".txt"] = darknet_line(class_of(number), face.box, face.area)
        published = _montage_published(places.get(number))
        if number in montages:
            files[MONTAGE_NAME] = montage_identity(folder.faces)
        elif published is not None:
            files[MONTAGE_NAME] = published
        wanted[number] = WantedFolder(folder_name(number, folder.name), files)
    if unsorted:
        portraits = {_stem(face) + ".jpg": _portrait_identity(face) for face in unsorted}
        wanted[UNSORTED] = WantedFolder(UNSORTED_NAME, portraits)
    return wanted


def _stem(face: PublishedFace) -> str:
    return f"{face.face_id:06d}"


def _portrait_identity(face: PublishedFace) -> str:
    return f"portrait {face.face_id} {','.join(map(str, face.area))}"


def _data(step: Write, content: Callable[[int], bytes], montages: Mapping[int, bytes]) -> bytes:
    if step.folder == _ROOT:
        return README_TEXT.encode()
    if step.name == MONTAGE_NAME:
        return montages[step.folder]
    stem, _, ending = step.name.partition(".")
    return step.identity.encode() if ending == "txt" else content(int(stem))


def _no_content(step: Write) -> bytes:
    raise KeyError(step.name)


def _publish_readme(root_fd: int, note: Note, carrier: Carrier) -> None:
    wanted = {README_NAME: digest(README_TEXT.encode())}
    published = {name: record.identity for name, record in note.files.items()}
    present = carrier.listing(root_fd, note, names_in(root_fd))
    steps = plan_files(_ROOT, wanted, published, present)
    if steps:
        carrier.change(root_fd, ROOT_NOTE, note, steps)


def _paths(
    wanted: Mapping[int, WantedFolder], inodes: Mapping[int, int], root_fd: int
) -> dict[int, str]:
    """Where each wanted folder lies now: a human may have renamed it during the publish."""
    now = {inode: location for location, inode in locations(root_fd)}
    return {number: now[inodes[number]] for number in wanted if inodes.get(number) in now}


def _portraits(
    folders: Sequence[PersonFolder],
    unsorted: Sequence[PublishedFace],
    paths: Mapping[int, str],
) -> dict[int, str]:
    shown = [(folder.person_id, folder.faces) for folder in folders]
    return {
        face.face_id: f"{paths[number]}/{_stem(face)}.jpg"
        for number, faces in [*shown, (UNSORTED, tuple(unsorted))]
        if number in paths
        for face in faces
    }
