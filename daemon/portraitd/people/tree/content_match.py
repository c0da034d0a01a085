"""Pictures that do not say who they are, known by their bytes.

Portraits of an older portraitd carry no mark, and some programs take it away when they are told
to remove what a picture says about itself. Where one of ours is missing, a picture that has its
size is looked at.
"""

from __future__ import annotations

from dataclasses import replace

from portraitd.people.tree.folder_fs import digest, opened, read_regular
from portraitd.people.tree.manifest import face_of
from portraitd.people.tree.scan import NOT_OURS, Folder, Ground


def recognised(ground: Ground, root_fd: int) -> Ground:
    """The same ground, with more pictures known."""
    missing: dict[int, dict[str, int]] = {}
    for folder in ground.folders:
        for name, record in folder.note.files.items() if folder.note else ():
            face_id = face_of(record.identity)
            if face_id is not None and name not in folder.names:
                missing.setdefault(record.written.size, {})[record.written.sha256] = face_id
    if not missing:
        return ground
    return replace(ground, folders=tuple(_known(one, missing, root_fd) for one in ground.folders))


def _known(folder: Folder, missing: dict[int, dict[str, int]], root_fd: int) -> Folder:
    candidates = [name for name, size in folder.unknown.items() if size in missing]
    if not candidates:
        return folder
    pictures = dict(folder.pictures)
    try:
        with opened(folder.location or ".", root_fd) as fd:
            for name in candidates:
                data = read_regular(fd, name)
                if data is not None and (by_content := missing.get(len(data))):
                    face_id = by_content.get(digest(data))
                    if face_id is not None:
                        pictures[name] = face_id
    except OSError as error:
        if error.errno not in NOT_OURS:
            raise
    return replace(folder, pictures=pictures)
