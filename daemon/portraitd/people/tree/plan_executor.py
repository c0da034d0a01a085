"""Carry out the steps of a plan in the folders of the tree.

Between planning and doing, a reviewer may have changed something too. So each step checks again
what it is about to replace or remove, and leaves it to the next publish if it changed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from portraitd.model.ignored_names import is_clutter
from portraitd.people.names import folded
from portraitd.people.tree.folder_fs import (
    entry_exists,
    inode_of,
    make_hidden,
    open_folder,
    open_parent,
)
from portraitd.people.tree.folder_state import FolderState, carry_location
from portraitd.people.tree.manifest import PERSON_MANIFEST, FolderManifest, write_note
from portraitd.people.tree.ownership import reopen_folder
from portraitd.people.tree.plan import (
    MakeFolder,
    ReleaseFolder,
    RemoveFile,
    RemoveFolder,
    RenameFolder,
    Step,
    UnlistFile,
    WriteFile,
)
from portraitd.people.tree.published_folder import FileOwners, PublishedFolder
from portraitd.people.tree.scan import list_names


@dataclass(frozen=True, slots=True)
class Modes:
    """Modes of files and folders in the tree; set explicitly, whatever the service's umask.

    Attributes:
        file: Owner and group can read and write.
        folder: The same, and new files belong to the folder's group.
    """

    file: int = 0o660
    folder: int = 0o2770


class PlanExecutor:
    """Carries out steps in one root during one publish, and counts.

    Attributes:
        written: Files written so far.
        removed: Files removed so far.
        saved: Numbers of the folders whose manifest was written.
        inodes: Inode of each folder by number, including those made during the publish.
        manifests: Likewise.
    """

    def __init__(
        self,
        root_fd: int,
        folders: Mapping[int, FolderState],
        modes: Modes,
        content: Callable[[WriteFile], bytes],
    ) -> None:
        self._root_fd = root_fd
        self._folders = dict(folders)
        self._modes = modes
        self._content = content
        self.written = 0
        self.removed = 0
        self.saved: set[int] = set()
        self.inodes = {number: folder.inode for number, folder in folders.items()}
        self.manifests = {number: folder.manifest for number, folder in folders.items()}

    def carry_out(self, number: int, steps: Sequence[Step]) -> None:
        """Carry out the steps of one folder."""
        first, last = steps[0], steps[-1]
        if isinstance(first, MakeFolder):
            self._make(first, steps[1:])
            return
        for step in steps:
            if isinstance(step, RenameFolder):
                self._rename(number, step)
        folder = self._folders[number]
        changes = [step for step in steps if isinstance(step, WriteFile | RemoveFile | UnlistFile)]
        try:
            with reopen_folder(folder, self._root_fd) as fd:
                if changes:
                    self.change_files(fd, PERSON_MANIFEST, folder.manifest, changes)
                    self.saved.add(number)
                is_empty = isinstance(last, RemoveFolder) and not list_names(fd)
                if is_empty:
                    _remove_clutter(fd)
                if is_empty or isinstance(last, ReleaseFolder):
                    os.unlink(PERSON_MANIFEST, dir_fd=fd)
                    self.inodes.pop(number)
        except FileNotFoundError as error:
            if error.filename != folder.location:
                raise
            # The folder was moved away since the scan. The next publish sees what happened.
            return
        if isinstance(last, RemoveFolder):
            # A reviewer may have put something in just now: then the folder stays, as theirs.
            with (
                contextlib.suppress(OSError),
                open_parent(folder.location, self._root_fd) as (fd, name),
            ):
                os.rmdir(name, dir_fd=fd)

    def save_manifest(self, number: int) -> None:
        """Write the manifest of a folder in which nothing else changes."""
        folder = self._folders[number]
        with (
            contextlib.suppress(FileNotFoundError),
            reopen_folder(folder, self._root_fd) as fd,
        ):
            self.save(fd, PERSON_MANIFEST, folder.manifest)

    def change_files(
        self,
        fd: int,
        manifest_name: str,
        manifest: FolderManifest,
        steps: Sequence[WriteFile | RemoveFile | UnlistFile],
    ) -> None:
        """Carry out steps within one open folder; see ``PublishedFolder.carry_out``."""
        published = PublishedFolder(
            fd, manifest.files, lambda: self.save(fd, manifest_name, manifest), self._modes.file
        )
        try:
            published.carry_out(steps, self._content)
        finally:
            self.written += published.written
            self.removed += published.removed

    def save(self, fd: int, manifest_name: str, manifest: FolderManifest) -> None:
        """Write a manifest durably."""
        write_note(fd, manifest_name, manifest, self._modes.file)

    def owners(self, fd: int, manifest: FolderManifest, names: Sequence[str]) -> FileOwners:
        """Return the owner of each file in an open folder."""
        return PublishedFolder(fd, manifest.files, lambda: None, self._modes.file).owners(names)

    def _make(self, step: MakeFolder, steps: Sequence[Step]) -> None:
        """Build a folder under a hidden name, and rename it when it is complete."""
        hidden = make_hidden(step.folder, self._root_fd, self._modes.folder)
        with open_folder(hidden, self._root_fd) as fd:
            inode = inode_of(fd)
            person = None if step.folder <= 0 else step.folder
            manifest = FolderManifest(person, step.label, step.location, inode)
            writes = [one for one in steps if isinstance(one, WriteFile)]
            self.change_files(fd, PERSON_MANIFEST, manifest, writes)
        with open_parent(step.location, self._root_fd) as (parent_fd, name):
            if entry_exists(parent_fd, name):
                # A reviewer took the name meanwhile. The next publish uses another one.
                return
            os.rename(hidden, name, src_dir_fd=self._root_fd, dst_dir_fd=parent_fd)
            os.fsync(parent_fd)
        self.inodes[step.folder] = inode
        self.manifests[step.folder] = manifest

    def _rename(self, number: int, step: RenameFolder) -> None:
        old, new = step.old_location, step.new_location
        try:
            with (
                open_parent(old, self._root_fd) as (old_fd, old_name),
                open_parent(new, self._root_fd) as (new_fd, new_name),
            ):
                is_case_only = folded(old) == folded(new)
                if old != new and not is_case_only and entry_exists(new_fd, new_name):
                    return
                if old != new:
                    os.rename(old_name, new_name, src_dir_fd=old_fd, dst_dir_fd=new_fd)
        except FileNotFoundError:
            # A reviewer renamed it just now: it keeps their name. Or the folder around it was
            # renamed, also by this publish.
            return
        folder = self._folders[number] = replace(self._folders[number], location=new)
        self._carry_inner(old, folder.manifest.location, new)
        folder.manifest.label, folder.manifest.location = step.label, new
        self.save_manifest(number)

    def _carry_inner(self, old: str, published: str, new: str) -> None:
        """Record where the folders inside a renamed one are now, before the renamed one does.

        Otherwise they would seem to have been moved into it by a reviewer.

        Args:
            old: Where the renamed folder was on disk.
            published: Where its manifest said it was.
            new: Where it is.
        """
        for number, inner in self._folders.items():
            manifest = inner.manifest
            location = carry_location(inner.location, old, new)
            at = carry_location(manifest.location, published, new)
            if location != inner.location:
                self._folders[number] = replace(inner, location=location)
            if inner.has_manifest and at != manifest.location:
                manifest.location = at
                self.save_manifest(number)


def _remove_clutter(fd: int) -> None:
    """Remove what file managers left in a folder that is about to be removed."""
    for name in os.listdir(fd):
        if is_clutter(name):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)
