"""Looking through a people tree for what neither a publish nor a human leaves like that.

A portrait or a folder that is gone is no fault: somebody took it away, and the service takes
that for their word.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from portraitd.model.errors import PublishError
from portraitd.people.tree.desired import MONTAGE_NAME
from portraitd.people.tree.folder_fs import UNFINISHED, opened, opened_root
from portraitd.people.tree.inventory import root_note, surveyed
from portraitd.people.tree.scan import Memory, locations, walked


@dataclass(slots=True)
class Seen:
    """What is not as it was left, a line each.

    Attributes:
        without_note: Folders that lost the note that says whose they are.
        emptied: Folders with files that lost their content, as a power cut leaves them.
        without_montage: Folders of people whose montage is gone.
        unfinished: Files that were never finished.
    """

    without_note: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    without_montage: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def survey_tree(root: Path, store: str) -> Seen:
    """Look through a tree.

    Args:
        root: The tree.
        store: Whose faces count.

    Raises:
        PublishError: The tree is away.
    """
    seen = Seen()
    try:
        with opened_root(root) as root_fd:
            note = root_note(root_fd, root)
            ground = walked(root_fd, Memory(store))
            places = surveyed(ground, note.homes).places
            seen.emptied += [
                f"{folder.location}: {len(folder.emptied)} files are empty"
                for folder in ground.folders
                if folder.emptied
            ]
            for number, place in sorted(places.items()):
                if not place.has_note:
                    line = f"{place.location} lost the note that says whose it is"
                    seen.without_note.append(line)
                published = MONTAGE_NAME in place.note.files
                if number > 0 and published and MONTAGE_NAME not in place.names:
                    seen.without_montage.append(f"{place.location} has no montage")
            for location in (".", *(found for found, _ in locations(root_fd))):
                with opened(location, root_fd) as fd:
                    seen.unfinished += [
                        f"{location}/{name} was never finished"
                        for name in sorted(os.listdir(fd))
                        if name.startswith(UNFINISHED)
                    ]
    except OSError as error:
        raise PublishError(f"{root}: {error.strerror or error}") from error
    return seen
