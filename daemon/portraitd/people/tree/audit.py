"""Check a people tree for damage that neither a publish nor a reviewer's edit leaves behind.

A missing portrait or folder is not damage: a reviewer removed it, and the service treats that as
an edit.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from portraitd.model.errors import PublishError
from portraitd.model.wording import counted
from portraitd.people.tree.folder_fs import UNFINISHED, open_folder, open_root
from portraitd.people.tree.folder_state import MONTAGE_NAME
from portraitd.people.tree.ownership import assign_owners, read_root_manifest
from portraitd.people.tree.scan import ScanCache, iter_locations, scan_tree


@dataclass(slots=True)
class TreeFindings:
    """What is damaged, one line each.

    Attributes:
        without_manifest: Folders that lost the manifest that identifies them.
        emptied: Folders with files that lost their content, as a power cut leaves them.
        without_montage: Folders of people whose montage is missing.
        unfinished: Files left over from an interrupted write.
        unreadable: Folders that cannot be read.
    """

    without_manifest: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    without_montage: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def audit_tree(root: Path, store: str) -> TreeFindings:
    """Check a tree.

    Args:
        root: The tree.
        store: The store whose faces count.

    Raises:
        PublishError: The tree cannot be read.
    """
    findings = TreeFindings()
    try:
        with open_root(root) as root_fd:
            manifest = read_root_manifest(root_fd, root)
            scan = scan_tree(root_fd, ScanCache(store))
            owned = assign_owners(scan, manifest.folders).owned
            findings.emptied += [
                f"{folder.location}: {counted(len(folder.emptied), 'empty file')}"
                for folder in scan.folders
                if folder.emptied
            ]
            for number, folder in sorted(owned.items()):
                if not folder.has_manifest:
                    findings.without_manifest.append(
                        f"{folder.location} lost the manifest that identifies it"
                    )
                published = MONTAGE_NAME in folder.manifest.files
                if number > 0 and published and not folder.montage:
                    findings.without_montage.append(f"{folder.location} has no montage")
            findings.unreadable += [
                f"{location} cannot be read" for location in sorted(scan.unreadable)
            ]
            for location in _readable(root_fd, scan.unreadable):
                with suppress(FileNotFoundError), open_folder(location, root_fd) as fd:
                    findings.unfinished += [
                        f"{location}/{name} was never finished"
                        for name in sorted(os.listdir(fd))
                        if name.startswith(UNFINISHED)
                    ]
    except OSError as error:
        raise PublishError(f"{root}: {error.strerror or error}") from error
    return findings


def _readable(root_fd: int, unreadable: Collection[str]) -> list[str]:
    """Return the root and every folder that can be read."""
    found = [location for location, _ in iter_locations(root_fd)]
    return [".", *(location for location in found if location not in unreadable)]
