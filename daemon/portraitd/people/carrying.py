"""Carrying out the steps of a plan in the tree's folders.

Between planning and doing, a human may have done something too. So each step looks once more
at what it is about to replace or remove, and leaves it for the next publish if it changed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from portraitd.people.folder import (
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
from portraitd.people.note import PERSON_NOTE, Note, Record
from portraitd.people.plan import (
    UNSORTED,
    Forget,
    MakeFolder,
    Owner,
    Remove,
    RemoveFolder,
    RenameFolder,
    Step,
    Write,
)
from portraitd.people.survey import Listing, Place, names_in, reopened


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
        inodes: Of each folder by its number, also of those made during the publish.
    """

    def __init__(
        self,
        root_fd: int,
        places: Mapping[int, Place],
        modes: Modes,
        data_of: Callable[[Write], bytes],
    ) -> None:
        self._root_fd = root_fd
        self._places = places
        self._modes = modes
        self._data_of = data_of
        self.written = 0
        self.removed = 0
        self.inodes = {number: place.inode for number, place in places.items()}
        self._made: dict[int, Note] = {}

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
        changes = [step for step in steps if isinstance(step, Write | Remove | Forget)]
        try:
            with reopened(place, self._root_fd) as fd:
                if changes:
                    self.change(fd, PERSON_NOTE, place.note, changes)
                if isinstance(last, RemoveFolder) and not names_in(fd):
                    os.unlink(PERSON_NOTE, dir_fd=fd)
        except FileNotFoundError as error:
            if error.filename != place.location:
                raise
            # Taken away since we looked. The next publish sees what became of it.
            return
        if isinstance(last, RemoveFolder):
            # A human may have put something in just now: then it stays, as theirs.
            with contextlib.suppress(OSError):
                os.rmdir(place.location, dir_fd=self._root_fd)

    def change(
        self, fd: int, note_name: str, note: Note, steps: Iterable[Write | Remove | Forget]
    ) -> None:
        """Do steps within one open folder, and bring its note up to date."""
        for step in steps:
            if isinstance(step, Write):
                self._write(fd, note, step)
            elif isinstance(step, Remove):
                self._remove(fd, note, step)
            else:
                note.files.pop(step.target, None)
        self.save(fd, note_name, note)

    def save(self, fd: int, note_name: str, note: Note) -> None:
        """Write a note, and make it and all that was renamed before it last."""
        write_whole(fd, note_name, note.to_bytes(), self._modes.file)
        os.fsync(fd)

    def listing(self, fd: int, note: Note, names: Sequence[str]) -> Listing:
        """Whose the files of an open folder are."""

        def owner_of(name: str) -> Owner:
            return Owner.OURS if self._is_ours(fd, note, name) else Owner.THEIRS

        return Listing(names, owner_of)

    def _make(self, step: MakeFolder, writes: Sequence[Step]) -> None:
        """Build a folder out of sight and show it when it is complete."""
        hidden = make_hidden(step.folder, self._root_fd, self._modes.folder)
        with opened(hidden, self._root_fd) as fd:
            inode = identity(fd)
            person = None if step.folder == UNSORTED else step.folder
            note = Note(person, step.label, step.name, inode)
            self.change(fd, PERSON_NOTE, note, [one for one in writes if isinstance(one, Write)])
        if exists(self._root_fd, step.name):
            # A human took the name meanwhile. The next publish builds it under another.
            return
        root_fd = self._root_fd
        os.rename(hidden, step.name, src_dir_fd=root_fd, dst_dir_fd=root_fd)
        os.fsync(root_fd)
        self.inodes[step.folder] = inode

    def _rename(self, place: Place, step: RenameFolder) -> None:
        root_fd = self._root_fd
        moves = step.old_name != step.new_name
        is_case_only = step.old_name.casefold() == step.new_name.casefold()
        if moves and not is_case_only and exists(root_fd, step.new_name):
            return
        try:
            if moves:
                os.rename(step.old_name, step.new_name, src_dir_fd=root_fd, dst_dir_fd=root_fd)
        except FileNotFoundError:
            # A human renamed it just now: then it keeps their name.
            return
        place.note.label, place.note.name = step.label, step.new_name
        with reopened(place, root_fd) as fd:
            self.save(fd, PERSON_NOTE, place.note)

    def _write(self, fd: int, note: Note, step: Write) -> None:
        data = self._data_of(step)
        if step.target != step.name and read_regular(fd, step.name) == data:
            # Ours after all: the note was lost, or a publish ended before it was written.
            note.files[step.name] = Record(step.identity, as_written(fd, step.name, data))
            self._remove(fd, note, Remove(step.folder, step.target))
            return
        if exists(fd, step.target):
            if not self._is_ours(fd, note, step.target):
                return
            known = note.files[step.target].written
            if known.sha256 == digest(data):
                note.files[step.target] = Record(step.identity, known)
                return
        written = write_whole(fd, step.target, data, self._modes.file)
        note.files[step.target] = Record(step.identity, written)
        self.written += 1

    def _remove(self, fd: int, note: Note, step: Remove) -> None:
        if self._is_ours(fd, note, step.target):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(step.target, dir_fd=fd)
                self.removed += 1
        note.files.pop(step.target, None)

    @staticmethod
    def _is_ours(fd: int, note: Note, name: str) -> bool:
        record = note.files.get(name)
        return record is not None and is_as_written(fd, name, record.written)
