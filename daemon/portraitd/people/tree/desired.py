"""What each folder should hold, in the words of the plan.

A portrait that a human renamed or moved to where it belongs is the wanted one: it keeps the
name it has there, and no second one is put beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from portraitd.media.xmp import with_mark
from portraitd.model.edit import Placement
from portraitd.model.person import PersonFolder, PublishedFace
from portraitd.people.names import folded, folder_name
from portraitd.people.tree.darknet import darknet_line
from portraitd.people.tree.folder_fs import (
    Written,
    as_written,
    digest,
    exists,
    is_as_written,
    read_regular,
)
from portraitd.people.tree.inventory import FolderLocation, reopened
from portraitd.people.tree.manifest import ManifestEntry, face_of
from portraitd.people.tree.plan import (
    IGNORED_NAME,
    UNSORTED_NAME,
    WantedFolder,
    Write,
    names_beside,
)

MONTAGE_NAME = "montage.jpg"

_MARK = "1"
"""Raised when what a portrait says about itself comes to look different."""

HUMANS = Written("", 0, 0)
"""Of a file that is accepted as it is, and never to be overwritten."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A folder that is to be seen.

    Attributes:
        number: The person's id, ``Placement.UNSORTED`` or ``Placement.IGNORED``.
        name: The person's.
        class_number: For the annotations; None for those that have none.
    """

    number: int
    name: str | None
    faces: Sequence[PublishedFace]
    class_number: int | None = None
    is_ignored: bool = False

    @property
    def label(self) -> str:
        own: dict[int, str] = {Placement.UNSORTED: UNSORTED_NAME, Placement.IGNORED: IGNORED_NAME}
        return own.get(self.number) or folder_name(self.number, self.name)


def shown(
    folders: Sequence[PersonFolder],
    unsorted: Sequence[PublishedFace],
    ignored: Sequence[PersonFolder],
    ignored_faces: Sequence[PublishedFace],
    class_of: Callable[[int], int],
) -> list[Shown]:
    """Every folder there should be. A person without faces gets none."""
    people = [(folder, False) for folder in folders] + [(folder, True) for folder in ignored]
    return [
        Shown(Placement.IGNORED, None, ignored_faces),
        Shown(Placement.UNSORTED, None, unsorted),
        *(
            Shown(one.person_id, one.name, one.faces, class_of(one.person_id), is_ignored)
            for one, is_ignored in people
            if one.faces
        ),
    ]


def resting(
    folders: Sequence[PersonFolder], ignored: Sequence[PersonFolder]
) -> dict[int, WantedFolder]:
    """What the folders of people without faces are called, where something keeps them."""
    people = [(folder, False) for folder in folders] + [(folder, True) for folder in ignored]
    return {
        one.person_id: WantedFolder(folder_name(one.person_id, one.name), {}, is_ignored)
        for one, is_ignored in people
        if not one.faces
    }


def montage_identity(faces: Collection[PublishedFace]) -> str:
    """The same for the same set of faces: what a person's montage is made for."""
    numbers = sorted(face.face_id for face in faces)
    return f"montage {digest(repr(numbers).encode())[:16]}"


def montage_published(place: FolderLocation | None) -> str | None:
    """What the montage that lies there was made for."""
    if place is None or MONTAGE_NAME not in place.names:
        return None
    record = place.note.files.get(MONTAGE_NAME)
    return record.identity if record else None


@dataclass(slots=True)
class Wants:
    """Builds the wanted folders, and accepts what people moved to where it belongs.

    Attributes:
        store: Whose faces these are.
        content: The JPEG of a face, as it was cut.
        montages: JPEG by person.
        changed: Numbers of the places whose note changed on the way.
    """

    places: dict[int, FolderLocation]
    root_fd: int
    store: str
    content: Callable[[int], bytes]
    montages: Mapping[int, bytes]
    changed: set[int] = field(default_factory=set)
    _lie_in: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    _says: dict[int, tuple[PublishedFace, str | None]] = field(default_factory=dict)
    _records: dict[int, list[ManifestEntry]] = field(default_factory=dict)
    _texts: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for place in self.places.values():
            for name, record in place.note.files.items():
                face_id = face_of(record.identity)
                if face_id is not None:
                    self._records.setdefault(face_id, []).append(record)
                    if name in place.names:
                        self._lie_in.setdefault(face_id, []).append((place.number, name))
                elif name.endswith(".txt"):
                    self._texts.add((name, record.written.sha256))

    def bring_along(self, everything: Sequence[Shown], unread: Collection[int]) -> None:
        """Move portraits that a human changed to where their faces are wanted now."""
        for one in everything:
            for face in one.faces:
                lies_in = self._lie_in.get(face.face_id, [])
                is_there = any(number == one.number for number, _ in lies_in)
                if one.number in self.places and face.face_id not in unread and not is_there:
                    for number, name in lies_in:
                        source = self.places[number]
                        if not self._is_ours(source, name, source.note.files[name]):
                            self._bring(face, source, name, self.places[one.number])
                            break

    def _bring(
        self, face: PublishedFace, source: FolderLocation, name: str, target: FolderLocation
    ) -> None:
        taken = {folded(present) for present in target.names}
        new_name = next(one for one in names_beside(name) if folded(one) not in taken)
        with reopened(source, self.root_fd) as old_fd, reopened(target, self.root_fd) as new_fd:
            if exists(new_fd, new_name):
                return
            os.rename(name, new_name, src_dir_fd=old_fd, dst_dir_fd=new_fd)
        record = source.note.files.pop(name)
        target.note.files[new_name] = ManifestEntry(record.identity, HUMANS)
        self.places[source.number] = without_name(source, name)
        self.places[target.number] = with_name(target, new_name)
        self.changed |= {source.number, target.number}

    def folder(self, one: Shown, unread: Collection[int]) -> WantedFolder:
        """A folder as it should be. A text's identity is the text itself.

        Args:
            one: Which.
            unread: Faces that are left alone: what became of their portraits is not read yet.
        """
        place = self.places.get(one.number)
        files: dict[str, str] = {}
        lying = _lying(place) if place else {}
        for face in one.faces:
            if face.face_id in unread:
                continue
            name, identity = self._portrait(face, one, place, lying.get(face.face_id, []))
            files[name] = identity
            if one.class_number is not None:
                text = name.rpartition(".")[0] + ".txt"
                files[text] = darknet_line(one.class_number, face.box, face.area)
        published = montage_published(place)
        if one.number in self.montages and one.faces:
            files[MONTAGE_NAME] = montage_identity(one.faces)
        elif published is not None and one.number > 0:
            files[MONTAGE_NAME] = published
        return WantedFolder(one.label, files, one.is_ignored)

    def data(self, step: Write) -> bytes:
        """The bytes of a wanted file."""
        if step.name == MONTAGE_NAME:
            return self.montages[step.folder]
        face_id = face_of(step.identity)
        return step.identity.encode() if face_id is None else self._marked(face_id)

    def _marked(self, face_id: int) -> bytes:
        face, name = self._says[face_id]
        return with_mark(self.content(face_id), face, name, self.store)

    def _portrait(
        self, face: PublishedFace, one: Shown, place: FolderLocation | None, lying: Sequence[str]
    ) -> tuple[str, str]:
        """Under which name a portrait is wanted, and its identity."""
        self._says[face.face_id] = face, one.name
        identity = f"{_picture(face)} {_saying(one.name, self.store)}"
        usual = f"{face.face_id:06d}.jpg"
        if place is None:
            return usual, identity
        for name in sorted(lying, key=lambda lying_name: (lying_name != usual, lying_name)):
            record = place.note.files.get(name)
            if record is None:
                record = self._accept(face, identity, place, name)
            if record.identity == identity or self._is_ours(place, name, record):
                return name, identity
            if f"{record.identity} ".startswith(f"{_picture(face)} "):
                # A human changed it: what it says about itself stays as well.
                return name, record.identity
        if usual in place.names and usual not in place.note.files and self._is_left(face, place):
            record = self._accept(face, identity, place, usual)
            return usual, identity
        left = place.note.files.get(usual)
        if left is not None and not left.identity and self._is_ours(place, usual, left):
            # A power cut emptied it, or it was about to be removed.
            return usual, identity
        names = {folded(name) for name in place.names}
        return next(name for name in names_beside(usual) if folded(name) not in names), identity

    def _accept(
        self, face: PublishedFace, identity: str, place: FolderLocation, name: str
    ) -> ManifestEntry:
        """Note a portrait that a human put where it belongs, and its annotation with it."""
        record = ManifestEntry(identity, HUMANS)
        with reopened(place, self.root_fd) as fd:
            data = read_regular(fd, name) or b""
            written = as_written(fd, name, data)
            for known in self._records.get(face.face_id, ()):
                if known.written.sha256 == written.sha256:
                    record = ManifestEntry(known.identity, written)
            if record.written == HUMANS and data == self._marked(face.face_id):
                record = ManifestEntry(identity, written)
            text = name.rpartition(".")[0] + ".txt"
            if text in place.names and text not in place.note.files:
                content = read_regular(fd, text) or b""
                if (text, digest(content)) in self._texts:
                    place.note.files[text] = ManifestEntry("", as_written(fd, text, content))
        place.note.files[name] = record
        self.changed.add(place.number)
        return record

    def _is_left(self, face: PublishedFace, place: FolderLocation) -> bool:
        """Whether an earlier publish wrote a portrait and did not come to noting it."""
        usual = f"{face.face_id:06d}.jpg"
        with reopened(place, self.root_fd) as fd:
            return read_regular(fd, usual) == self._marked(face.face_id)

    def _is_ours(self, place: FolderLocation, name: str, record: ManifestEntry) -> bool:
        with reopened(place, self.root_fd) as fd:
            return is_as_written(fd, name, record.written)


def without_name(place: FolderLocation, name: str) -> FolderLocation:
    """A place after something was taken out of it."""
    return replace(place, names=tuple(one for one in place.names if one != name))


def with_name(place: FolderLocation, name: str) -> FolderLocation:
    """A place after something was put into it."""
    return replace(place, names=tuple(sorted([*place.names, name])))


def _lying(place: FolderLocation) -> dict[int, list[str]]:
    """Under which names the portrait of each face lies in a place."""
    names: dict[int, list[str]] = {}
    present = set(place.names)
    for name, face_id in place.portraits.items():
        if name in present:
            names.setdefault(face_id, []).append(name)
    for name, face_id in place.pictures.items():
        # What the note lists comes first; a copy beside it means nothing.
        if not any(known in place.note.files for known in names.get(face_id, ())):
            names.setdefault(face_id, []).append(name)
    return names


def _picture(face: PublishedFace) -> str:
    return f"portrait {face.face_id} {','.join(map(str, face.area))}"


def _saying(name: str | None, store: str) -> str:
    return digest(repr((_MARK, name, store)).encode())[:12]
