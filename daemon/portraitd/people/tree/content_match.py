"""Recognise portraits without a mark by their content.

Portraits of an older portraitd carry no mark, and some programs remove it with the other metadata
of a picture. Where a portrait is missing, pictures of the same size are compared with it.
"""

from __future__ import annotations

from dataclasses import replace

from portraitd.people.tree.folder_fs import MAX_PORTRAIT_BYTES, digest, open_folder, read_regular
from portraitd.people.tree.folder_state import FolderState
from portraitd.people.tree.manifest import face_of
from portraitd.people.tree.scan import SKIPPED_ERRORS, TreeScan


def match_by_content(scan: TreeScan, root_fd: int) -> TreeScan:
    """Return the scan with the face of more pictures known."""
    missing: dict[int, dict[str, int]] = {}
    for folder in scan.folders:
        for name, entry in folder.manifest.files.items():
            face_id = face_of(entry.identity)
            if face_id is not None and name not in folder.names:
                missing.setdefault(entry.written.size, {})[entry.written.sha256] = face_id
    if not missing:
        return scan
    return replace(scan, folders=tuple(_match(one, missing, root_fd) for one in scan.folders))


def _match(folder: FolderState, missing: dict[int, dict[str, int]], root_fd: int) -> FolderState:
    candidates = [name for name, size in folder.unknown.items() if size in missing]
    if not candidates:
        return folder
    pictures = dict(folder.pictures)
    try:
        with open_folder(folder.location or ".", root_fd) as fd:
            for name in candidates:
                data = read_regular(fd, name, MAX_PORTRAIT_BYTES)
                if data is not None and (by_content := missing.get(len(data))):
                    face_id = by_content.get(digest(data))
                    if face_id is not None:
                        pictures[name] = face_id
    except OSError as error:
        if error.errno not in SKIPPED_ERRORS:
            raise
    return replace(folder, pictures=pictures)
