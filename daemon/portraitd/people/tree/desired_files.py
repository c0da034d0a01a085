"""Decide which files each desired folder holds, given what reviewers did with the present ones.

A portrait that a reviewer renamed, or moved to where it belongs, is the desired one: it keeps the
name it has, and no second one is put beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from portraitd.media.xmp import with_mark
from portraitd.model.person import PublishedFace
from portraitd.people.names import folded
from portraitd.people.tree.darknet import darknet_line
from portraitd.people.tree.desired import DesiredFolder, montage_identity
from portraitd.people.tree.folder_faults import FolderFaults
from portraitd.people.tree.folder_fs import (
    MAX_ANNOTATION_BYTES,
    MAX_PORTRAIT_BYTES,
    WrittenFile,
    digest,
    entry_exists,
    holds,
    is_unchanged,
    read_regular,
    stat_written,
)
from portraitd.people.tree.folder_state import MONTAGE_NAME, FolderState
from portraitd.people.tree.manifest import ManifestEntry, face_of
from portraitd.people.tree.ownership import reopen_folder
from portraitd.people.tree.plan import WriteFile, names_beside

_MARK_VERSION = "1"
"""Raised when the mark inside a portrait is written differently."""

ACCEPTED = WrittenFile("", 0, 0)
"""Stands for a file that is accepted as it is, and never overwritten."""


@dataclass(slots=True)
class DesiredFiles:
    """Fills in the files of desired folders, and accepts portraits that reviewers moved.

    Attributes:
        folders: The observed folders by number; updated when a portrait is moved.
        store: The store the faces belong to.
        content: Returns the JPEG of a face as it was cropped.
        montages: JPEG by person.
        changed: Numbers of the folders whose manifest changed.
    """

    folders: dict[int, FolderState]
    root_fd: int
    store: str
    content: Callable[[int], bytes]
    montages: Mapping[int, bytes]
    changed: set[int] = field(default_factory=set)
    _places: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    _marks: dict[int, tuple[PublishedFace, str | None]] = field(default_factory=dict)
    _entries: dict[int, list[ManifestEntry]] = field(default_factory=dict)
    _texts: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number, folder in self.folders.items():
            for name, entry in folder.manifest.files.items():
                face_id = face_of(entry.identity)
                if face_id is not None:
                    self._entries.setdefault(face_id, []).append(entry)
                    if name in folder.names:
                        self._places.setdefault(face_id, []).append((number, name))
                elif name.endswith(".txt"):
                    self._texts.add((name, entry.written.sha256))

    def move_changed(
        self, desired: Sequence[DesiredFolder], pending: Collection[int], faults: FolderFaults
    ) -> None:
        """Move portraits that a reviewer changed into the folder their face now belongs to."""
        for one in desired:
            for face in one.faces:
                places = self._places.get(face.face_id, [])
                is_there = any(number == one.number for number, _ in places)
                if one.number in self.folders and face.face_id not in pending and not is_there:
                    for number, name in places:
                        source = self.folders[number]
                        # A portrait that was moved just now is not listed here any more.
                        entry = source.manifest.files.get(name)
                        if entry is not None and not self._is_owned(source, name, entry):
                            # A folder that cannot be written is found out when it is.
                            with faults.ignoring():
                                self._move(number, name, one.number)
                            break

    def _move(self, source_number: int, name: str, target_number: int) -> None:
        source, target = self.folders[source_number], self.folders[target_number]
        taken = target.folded_names
        new_name = next(one for one in names_beside(name) if folded(one) not in taken)
        with (
            reopen_folder(source, self.root_fd) as old_fd,
            reopen_folder(target, self.root_fd) as new_fd,
        ):
            if entry_exists(new_fd, new_name):
                return
            os.rename(name, new_name, src_dir_fd=old_fd, dst_dir_fd=new_fd)
        entry = source.manifest.files.pop(name)
        target.manifest.files[new_name] = ManifestEntry(entry.identity, ACCEPTED)
        self.folders[source_number] = source.without_file(name)
        self.folders[target_number] = target.with_file(new_name)
        self.changed |= {source_number, target_number}

    def fill(self, one: DesiredFolder, pending: Collection[int]) -> DesiredFolder:
        """Return a desired folder with its files. The identity of an annotation is its text.

        Args:
            pending: Faces that are left alone until a review has read what happened to them.
        """
        state = self.folders.get(one.number)
        files: dict[str, str] = {}
        present = _names_by_face(state) if state else {}
        for face in one.faces:
            if face.face_id in pending:
                continue
            name, identity = self._choose_portrait(face, one, state, present.get(face.face_id, []))
            files[name] = identity
            if one.class_number is not None:
                files[annotation_of(name)] = darknet_line(one.class_number, face.box, face.area)
        published = published_montage(state)
        if one.number in self.montages and one.faces:
            files[MONTAGE_NAME] = montage_identity(one.faces)
        elif published is not None and one.number > 0:
            files[MONTAGE_NAME] = published
        return replace(one, files=files)

    def data(self, step: WriteFile) -> bytes:
        """Return the content of a desired file."""
        if step.name == MONTAGE_NAME:
            return self.montages[step.folder]
        face_id = face_of(step.identity)
        return step.identity.encode() if face_id is None else self._mark(face_id)

    def _mark(self, face_id: int) -> bytes:
        face, name = self._marks[face_id]
        return with_mark(self.content(face_id), face, name, self.store)

    def _choose_portrait(
        self,
        face: PublishedFace,
        one: DesiredFolder,
        state: FolderState | None,
        present: Sequence[str],
    ) -> tuple[str, str]:
        """Return the name under which a portrait is desired, and its identity."""
        self._marks[face.face_id] = face, one.name
        identity = f"{_picture_identity(face)} {_mark_identity(one.name, self.store)}"
        usual = f"{face.face_id:06d}.jpg"
        if state is None:
            return usual, identity
        for name in sorted(present, key=lambda name: (name != usual, name)):
            entry = state.manifest.files.get(name)
            if entry is None:
                entry = self._accept(face, identity, state, name)
            if entry.identity == identity or self._is_owned(state, name, entry):
                return name, identity
            if f"{entry.identity} ".startswith(f"{_picture_identity(face)} "):
                # A reviewer changed it: its mark stays as it is, too.
                return name, entry.identity
        files = state.manifest.files
        if usual in state.names and usual not in files and self._is_leftover(face, state):
            self._accept(face, identity, state, usual)
            return usual, identity
        entry = files.get(usual)
        if entry is not None and not entry.identity and self._is_owned(state, usual, entry):
            # A power cut emptied it, or it was about to be removed.
            return usual, identity
        taken = state.folded_names
        return next(name for name in names_beside(usual) if folded(name) not in taken), identity

    def _accept(
        self, face: PublishedFace, identity: str, state: FolderState, name: str
    ) -> ManifestEntry:
        """List a portrait that a reviewer moved to where it belongs, and its annotation with it."""
        entry = ManifestEntry(identity, ACCEPTED)
        files = state.manifest.files
        with reopen_folder(state, self.root_fd) as fd:
            data = read_regular(fd, name, MAX_PORTRAIT_BYTES) or b""
            written = stat_written(fd, name, data)
            for known in self._entries.get(face.face_id, ()):
                if known.written.sha256 == written.sha256:
                    entry = ManifestEntry(known.identity, written)
            if entry.written == ACCEPTED and data == self._mark(face.face_id):
                entry = ManifestEntry(identity, written)
            text = annotation_of(name)
            if text in state.names and text not in files:
                content = read_regular(fd, text, MAX_ANNOTATION_BYTES) or b""
                if (text, digest(content)) in self._texts:
                    files[text] = ManifestEntry("", stat_written(fd, text, content))
        files[name] = entry
        assert state.number is not None
        self.changed.add(state.number)
        return entry

    def _is_leftover(self, face: PublishedFace, state: FolderState) -> bool:
        """Return whether an interrupted publish wrote this portrait without listing it."""
        usual = f"{face.face_id:06d}.jpg"
        with reopen_folder(state, self.root_fd) as fd:
            return holds(fd, usual, self._mark(face.face_id))

    def _is_owned(self, state: FolderState, name: str, entry: ManifestEntry) -> bool:
        try:
            with reopen_folder(state, self.root_fd) as fd:
                return is_unchanged(fd, name, entry.written)
        except FileNotFoundError:
            # The folder was moved away.
            return False


def published_montage(state: FolderState | None) -> str | None:
    """Return the identity of the montage that is present, if there is one."""
    if state is None or not state.montage:
        return None
    entry = state.manifest.files.get(MONTAGE_NAME)
    return entry.identity if entry else None


def _names_by_face(state: FolderState) -> dict[int, list[str]]:
    """Return the names under which the portrait of each face is present."""
    names: dict[int, list[str]] = {}
    present = set(state.names)
    for name, face_id in state.portraits.items():
        if name in present:
            names.setdefault(face_id, []).append(name)
    for name, face_id in state.pictures.items():
        # Listed portraits come first; a copy beside one means nothing.
        if not any(known in state.manifest.files for known in names.get(face_id, ())):
            names.setdefault(face_id, []).append(name)
    return names


def annotation_of(name: str) -> str:
    """Return the name of the annotation beside a portrait."""
    return name.rpartition(".")[0] + ".txt"


def _picture_identity(face: PublishedFace) -> str:
    return f"portrait {face.face_id} {','.join(map(str, face.area))}"


def _mark_identity(name: str | None, store: str) -> str:
    return digest(repr((_MARK_VERSION, name, store)).encode())[:12]
