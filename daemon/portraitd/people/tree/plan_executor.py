"""Carrying out the steps of a plan in the tree's folders.

Between planning and doing, a human may have done something too. So each step looks once more
at what it is about to replace or remove, and leaves it for the next publish if it changed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from portraitd.model.ignored_names import is_clutter
from portraitd.people.names import folded
from portraitd.people.tree.folder_fs import (
    as_written,
    digest,
    exists,
    identity,
    is_as_written,
    make_hidden,
    opened,
    read_regular,
    write_whole,
)
from portraitd.people.tree.inventory import FolderLocation, Listing, reopened
from portraitd.people.tree.manifest import PERSON_NOTE, FolderManifest, ManifestEntry
from portraitd.people.tree.plan import (
    Forget,
    MakeFolder,
    Owner,
    Release,
    Remove,
    RemoveFolder,
    RenameFolder,
    Step,
    Write,
)
from portraitd.people.tree.scan import names_in


@dataclass(frozen=True, slots=True)
class Modes:
    """Rights in the tree; set outright, whatever the umask of the service.

    Attributes:
        file: Owner and group read and write.
        folder: The same, and new files belong to the folder's group.
    """

    file: int = 0o660
    folder: int = 0o2770


class Carrier:
    """Carries out steps in one root during one publish, and counts.

    Attributes:
        written: Files written so far.
        removed: Files removed so far.
        saved: Folders whose note was written.
        inodes: Of each folder by its number, also of those made during the publish.
        notes: Likewise.
    """

    def __init__(
        self,
        root_fd: int,
        places: Mapping[int, FolderLocation],
        modes: Modes,
        data_of: Callable[[Write], bytes],
    ) -> None:
        self._root_fd = root_fd
        self._places = dict(places)
        self._modes = modes
        self._data_of = data_of
        self.written = 0
        self.removed = 0
        self.saved: set[int] = set()
        self.inodes = {number: place.inode for number, place in places.items()}
        self.notes = {number: place.note for number, place in places.items()}

    def carry_out(self, number: int, steps: Sequence[Step]) -> None:
        """Do the steps of one folder."""
        first, last = steps[0], steps[-1]
        if isinstance(first, MakeFolder):
            self._make(first, steps[1:])
            return
        place = self._places[number]
        for step in steps:
            if isinstance(step, RenameFolder):
                self._rename(place, step)
                place = self._places[number]
        changes = [step for step in steps if isinstance(step, Write | Remove | Forget)]
        try:
            with reopened(place, self._root_fd) as fd:
                if changes:
                    self.change(fd, PERSON_NOTE, place.note, changes)
                    self.saved.add(number)
                is_empty = isinstance(last, RemoveFolder) and not names_in(fd)
                if is_empty:
                    _clear(fd)
                if is_empty or isinstance(last, Release):
                    os.unlink(PERSON_NOTE, dir_fd=fd)
                    self.inodes.pop(number)
        except FileNotFoundError as error:
            if error.filename != place.location:
                raise
            # Taken away since we looked. The next publish sees what became of it.
            return
        if isinstance(last, RemoveFolder):
            # A human may have put something in just now: then it stays, as theirs.
            with contextlib.suppress(OSError), self._parent(place.location) as (fd, name):
                os.rmdir(name, dir_fd=fd)

    def save_note(self, number: int) -> None:
        """Write the note of a folder that is not to be changed otherwise."""
        place = self._places[number]
        with (
            contextlib.suppress(FileNotFoundError),
            reopened(place, self._root_fd) as fd,
        ):
            self.save(fd, PERSON_NOTE, place.note)

    def change(
        self,
        fd: int,
        note_name: str,
        note: FolderManifest,
        steps: Iterable[Write | Remove | Forget],
    ) -> None:
        """Do steps within one open folder, and bring its note up to date.

        Whatever happens in between, the note never lists a portrait that is not there: its
        absence would be taken for a human's word. So a file is there before the note lists it,
        and no longer listed before it goes.
        """
        removes = []
        for step in steps:
            if isinstance(step, Write):
                self._write(fd, note, step)
            elif isinstance(step, Remove):
                removes.append(step)
                if step.target in note.files:
                    note.files[step.target] = replace(note.files[step.target], identity="")
            else:
                note.files.pop(step.target, None)
        # Their contents may be lost in a power cut, and are found empty then; their names not.
        os.fsync(fd)
        self.save(fd, note_name, note)
        if removes:
            os.fsync(fd)
            for step in removes:
                self._remove(fd, note, step)
            self.save(fd, note_name, note)

    def save(self, fd: int, note_name: str, note: FolderManifest) -> None:
        """Write a note, and make it last."""
        write_whole(fd, note_name, note.to_bytes(), self._modes.file, lasts=True)

    def listing(self, fd: int, note: FolderManifest, names: Sequence[str]) -> Listing:
        """Whose the files of an open folder are."""

        def owner_of(name: str) -> Owner:
            return Owner.OURS if self._is_ours(fd, note, name) else Owner.THEIRS

        return Listing(names, owner_of)

    @contextlib.contextmanager
    def _parent(self, location: str) -> Iterator[tuple[int, str]]:
        """The descriptor of the folder in which a location is, and its name there."""
        parent, _, name = location.rpartition("/")
        with opened(parent or ".", self._root_fd) as fd:
            yield fd, name

    def _make(self, step: MakeFolder, writes: Sequence[Step]) -> None:
        """Build a folder out of sight and show it when it is complete."""
        hidden = make_hidden(step.folder, self._root_fd, self._modes.folder)
        with opened(hidden, self._root_fd) as fd:
            inode = identity(fd)
            person = None if step.folder <= 0 else step.folder
            note = FolderManifest(person, step.label, step.location, inode)
            self.change(fd, PERSON_NOTE, note, [one for one in writes if isinstance(one, Write)])
        with self._parent(step.location) as (parent_fd, name):
            if exists(parent_fd, name):
                # A human took the name meanwhile. The next publish builds it under another.
                return
            os.rename(hidden, name, src_dir_fd=self._root_fd, dst_dir_fd=parent_fd)
            os.fsync(parent_fd)
        self.inodes[step.folder] = inode
        self.notes[step.folder] = note

    def _rename(self, place: FolderLocation, step: RenameFolder) -> None:
        old, new = step.old_location, step.new_location
        with self._parent(old) as (old_fd, old_name), self._parent(new) as (new_fd, new_name):
            is_case_only = folded(old) == folded(new)
            if old != new and not is_case_only and exists(new_fd, new_name):
                return
            try:
                if old != new:
                    os.rename(old_name, new_name, src_dir_fd=old_fd, dst_dir_fd=new_fd)
            except FileNotFoundError:
                # A human renamed it just now: then it keeps their name.
                return
        place = self._places[place.number] = replace(place, location=new)
        place.note.label, place.note.name = step.label, new
        with contextlib.suppress(FileNotFoundError), reopened(place, self._root_fd) as fd:
            self.save(fd, PERSON_NOTE, place.note)

    def _write(self, fd: int, note: FolderManifest, step: Write) -> None:
        data = self._data_of(step)
        if step.target != step.name and read_regular(fd, step.name) == data:
            # Ours after all: the note was lost, or a publish ended before it was written.
            note.files[step.name] = ManifestEntry(step.identity, as_written(fd, step.name, data))
            self._remove(fd, note, Remove(step.folder, step.target))
            return
        if exists(fd, step.target):
            if not self._is_ours(fd, note, step.target):
                return
            known = note.files[step.target].written
            if known.sha256 == digest(data):
                note.files[step.target] = ManifestEntry(step.identity, known)
                return
        written = write_whole(fd, step.target, data, self._modes.file)
        note.files[step.target] = ManifestEntry(step.identity, written)
        self.written += 1

    def _remove(self, fd: int, note: FolderManifest, step: Remove) -> None:
        if self._is_ours(fd, note, step.target):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(step.target, dir_fd=fd)
                self.removed += 1
        note.files.pop(step.target, None)

    @staticmethod
    def _is_ours(fd: int, note: FolderManifest, name: str) -> bool:
        record = note.files.get(name)
        return record is not None and is_as_written(fd, name, record.written)


def _clear(fd: int) -> None:
    """Remove what file managers left in a folder that is to go; they would make it anew."""
    for name in os.listdir(fd):
        if is_clutter(name):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)
