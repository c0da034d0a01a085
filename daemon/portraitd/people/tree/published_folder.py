"""One published folder: files that portraitd owns, and the manifest that remembers them.

Person folders, the gallery's pages and training sets all work this way. A file is written beside
its target and renamed. The manifest keeps the identity of each file's content, and the file's
size and time as written. So a file that is up to date is not written again, a file that is no
longer wanted can be removed, and a file that a reviewer changed is recognised and never
overwritten. What to do about such a file is the caller's decision.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from portraitd.people.tree.folder_fs import (
    WrittenFile,
    create_unfinished,
    digest,
    entry_exists,
    holds,
    is_unchanged,
    open_parent,
    replace_file,
    set_mode,
    stat_written,
    unfinished_name,
)
from portraitd.people.tree.manifest import ManifestEntry
from portraitd.people.tree.plan import Owner, RemoveFile, UnlistFile, WriteFile


class PublishedFolder:
    """One open folder and the entries of its manifest.

    Attributes:
        files: Entries by file name, or by path below the folder; changed in place.
        written: Files written so far.
        removed: Files removed so far.

    Args:
        fd: Descriptor of the folder.
        files: The entries of the manifest.
        save: Writes the manifest.
        file_mode: Mode of the files.
    """

    def __init__(
        self,
        fd: int,
        files: dict[str, ManifestEntry],
        save: Callable[[], None],
        file_mode: int,
    ) -> None:
        self.files = files
        self.written = 0
        self.removed = 0
        self._fd = fd
        self._save = save
        self._file_mode = file_mode

    def is_owned(self, name: str) -> bool:
        """Return whether a file is present and still as portraitd wrote it."""
        entry = self.files.get(name)
        if entry is None:
            return False
        try:
            with open_parent(name, self._fd) as (fd, leaf):
                return is_unchanged(fd, leaf, entry.written)
        except OSError:
            # A folder on the way is missing, or a link.
            return False

    def is_current(self, name: str, identity: str) -> bool:
        """Return whether a file has this content and is still as portraitd wrote it."""
        entry = self.files.get(name)
        return entry is not None and entry.identity == identity and self.is_owned(name)

    def owners(self, names: Iterable[str]) -> FileOwners:
        """Return the owner of each of these files."""
        return FileOwners(names, lambda name: Owner.OURS if self.is_owned(name) else Owner.THEIRS)

    def write(self, name: str, identity: str, data: bytes, *, hashes: bool = True) -> None:
        """Write a file and list it.

        Args:
            hashes: Whether to list the content's hash as well, so that a file whose time changed
                is still recognised.
        """
        with open_parent(name, self._fd) as (fd, leaf):
            written = replace_file(fd, leaf, data, self._file_mode)
        if not hashes:
            written = written._replace(sha256="")
        self.files[name] = ManifestEntry(identity, written)
        self.written += 1

    def link(self, name: str, identity: str, source: Path) -> None:
        """Link a file to a source, or copy it where links are not possible, and list it."""
        with open_parent(name, self._fd) as (fd, leaf):
            beside = _link_beside(fd, leaf, source, self._file_mode)
            os.rename(beside, leaf, src_dir_fd=fd, dst_dir_fd=fd)
            # Renaming one link over another link to the same file does nothing.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=fd)
            facts = os.stat(leaf, dir_fd=fd, follow_symlinks=False)
        self.files[name] = ManifestEntry(
            identity, WrittenFile("", facts.st_size, facts.st_mtime_ns)
        )
        self.written += 1

    def remove(self, name: str) -> bool:
        """Remove a file if it is still as portraitd wrote it, and unlist it in any case.

        Returns:
            Whether it was removed.
        """
        is_removed = False
        if self.is_owned(name):
            with (
                contextlib.suppress(FileNotFoundError),
                open_parent(name, self._fd) as (fd, leaf),
            ):
                os.unlink(leaf, dir_fd=fd)
                is_removed = True
        self.files.pop(name, None)
        self.removed += is_removed
        return is_removed

    def save(self) -> None:
        """Write the manifest."""
        self._save()

    def carry_out(
        self,
        steps: Iterable[WriteFile | RemoveFile | UnlistFile],
        content: Callable[[WriteFile], bytes],
    ) -> None:
        """Carry out the steps of a plan, and bring the manifest up to date.

        At no moment does the manifest list a portrait that is not there: a missing portrait
        would be read as a deletion. So a file is written before it is listed, and unlisted
        before it is removed. Each step checks again what it replaces or removes, and skips it
        if it was changed after planning.
        """
        removes = []
        for step in steps:
            if isinstance(step, WriteFile):
                self._write_step(step, content)
            elif isinstance(step, RemoveFile):
                removes.append(step)
                if step.target in self.files:
                    entry = self.files[step.target]
                    self.files[step.target] = replace(entry, identity="")
            else:
                self.files.pop(step.target, None)
        # A power cut may empty files, which is detected later; it must not lose their names.
        os.fsync(self._fd)
        self.save()
        if removes:
            os.fsync(self._fd)
            for step in removes:
                self.remove(step.target)
            self.save()

    def _write_step(self, step: WriteFile, content: Callable[[WriteFile], bytes]) -> None:
        data = content(step)
        if step.target != step.name and holds(self._fd, step.name, data):
            # The file is portraitd's: the manifest was lost, or a publish ended before saving it.
            written = stat_written(self._fd, step.name, data)
            self.files[step.name] = ManifestEntry(step.identity, written)
            self.remove(step.target)
            return
        if entry_exists(self._fd, step.target):
            if not self.is_owned(step.target):
                return
            known = self.files[step.target].written
            if known.sha256 == digest(data):
                self.files[step.target] = ManifestEntry(step.identity, known)
                return
        self.write(step.target, step.identity, data)


def _link_beside(fd: int, name: str, source: Path, mode: int) -> str:
    """Link a source under an unfinished name, or copy it where links are not possible."""
    beside = unfinished_name(name)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=fd)
        os.link(source, beside, dst_dir_fd=fd)
    except OSError:
        # Another disk, or a file system without links.
        beside, beside_fd = create_unfinished(fd, name)
        with source.open("rb") as original, open(beside_fd, "wb") as copy:
            shutil.copyfileobj(original, copy)
            set_mode(beside_fd, mode)
    return beside


class FileOwners(Mapping[str, Owner]):
    """Owner of each file in a folder, found out only for the files that are asked for."""

    def __init__(self, names: Iterable[str], owner_of: Callable[[str], Owner]) -> None:
        self._names: Collection[str] = dict.fromkeys(names)
        self._owner_of = owner_of

    def __getitem__(self, name: str) -> Owner:
        if name not in self._names:
            raise KeyError(name)
        return self._owner_of(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
