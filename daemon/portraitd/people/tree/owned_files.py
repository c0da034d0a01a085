"""Publish portraitd's own files beside the folders of people: pages, data, tables.

The rules are those of person folders (``published_folder``): an up-to-date file is not written,
and a file that a reviewer changed stays, with the new one beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from portraitd.model.errors import PublishError
from portraitd.people.tree.folder_fs import (
    OWN_PREFIX,
    move_folder_aside,
    open_made,
    open_root,
    raise_as_publish_error,
    remove_unfinished,
)
from portraitd.people.tree.manifest import FolderManifest, read_note
from portraitd.people.tree.ownership import read_root_manifest
from portraitd.people.tree.plan import plan_files
from portraitd.people.tree.plan_executor import Modes, PlanExecutor
from portraitd.people.tree.scan import list_names
from portraitd.workers.paths_without_links import open_below

log = structlog.get_logger(stage="pages")

ROOT = "."
"""The root of the tree, as a location."""

_NO_FOLDER = -2
"""Stands in the steps of a plan for the number of a folder."""


@dataclass(frozen=True, slots=True)
class OwnedFilesResult:
    """Numbers of files written and removed."""

    written: int
    removed: int


class OwnedFiles:
    """Publishes files into folders of the tree that belong to no person.

    Two owners may publish into one folder; neither touches the other's files.

    Args:
        root: The root of the tree; it is not created.
        owner: Distinguishes the manifests of several owners in one folder.
        modes: Modes of new files and folders.
        clears_way: Whether a link or a file with the name of a folder gets another name; otherwise
            it is an error.
    """

    def __init__(
        self, root: Path, owner: str, modes: Modes | None = None, *, clears_way: bool = False
    ) -> None:
        self._clears_way = clears_way
        self._root = root
        self._manifest_name = f"{OWN_PREFIX}{owner}"
        self._modes = modes or Modes()

    def publish(
        self, location: str, desired: Mapping[str, str], content: Callable[[str], bytes]
    ) -> OwnedFilesResult:
        """Make a folder hold these files, and no others of this owner.

        Args:
            location: The folder's path below the root, or ``ROOT``. Created if it is missing.
            desired: Identity of the content by name; equal identities mean equal content.
            content: Returns the content of a file; called only for files that are written.

        Raises:
            PublishError: The folder cannot be read or written, or the tree's marker is missing.
        """
        with raise_as_publish_error(self._root / location), open_root(self._root) as root_fd:
            read_root_manifest(root_fd, self._root)
            with ExitStack() as stack:
                fd = self._open(location, root_fd, stack)
                if location != ROOT:
                    # Left by an interrupted write; in the root, the tree removes it.
                    remove_unfinished(fd)
                return self._publish(root_fd, fd, desired, content)

    def _publish(
        self, root_fd: int, fd: int, desired: Mapping[str, str], content: Callable[[str], bytes]
    ) -> OwnedFilesResult:
        manifest = read_note(fd, self._manifest_name) or FolderManifest()
        executor = PlanExecutor(root_fd, {}, self._modes, lambda step: content(step.name))
        published = {name: entry.identity for name, entry in manifest.files.items()}
        present = executor.owners(fd, manifest, list_names(fd))
        steps = plan_files(_NO_FOLDER, desired, published, present)
        if steps:
            executor.change_files(fd, self._manifest_name, manifest, steps)
        return OwnedFilesResult(executor.written, executor.removed)

    def _open(self, location: str, root_fd: int, stack: ExitStack) -> int:
        with suppress(NotADirectoryError, FileNotFoundError):
            return stack.enter_context(open_made(location, root_fd, self._modes.folder))
        if self._clears_way:
            self._clear_way(location, root_fd)
        try:
            return stack.enter_context(open_made(location, root_fd, self._modes.folder))
        except (NotADirectoryError, FileNotFoundError) as error:
            raise PublishError(
                f"{self._root / location}: a part of this path is a link, or not a folder; "
                "remove it, and portraitd creates the folder"
            ) from error

    def _clear_way(self, location: str, root_fd: int) -> None:
        """Give the link or file that has the name of a folder on the way another name."""
        fd = os.dup(root_fd)
        try:
            for part in location.split("/"):
                try:
                    inner_fd = open_below(fd, [part])
                except NotADirectoryError:
                    aside = move_folder_aside(fd, part)
                    log.warning("moved_aside", path=str(self._root / location), name=part, to=aside)
                    return
                os.close(fd)
                fd = inner_fd
        except FileNotFoundError:
            # Removed meanwhile.
            return
        finally:
            os.close(fd)
