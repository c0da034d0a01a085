"""The folder of pictures that reviewers ask about, with an answer beside each.

The pictures are the reviewers' own, and only read. The answers are portraitd's.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from portraitd.model.errors import PublishError
from portraitd.model.media_file import Stamp
from portraitd.people.names import folded
from portraitd.people.tree.folder_fs import (
    OWN_PREFIX,
    digest,
    entry_exists,
    open_folder,
    open_root,
)
from portraitd.people.tree.manifest import PERSON_MANIFEST, read_note
from portraitd.people.tree.owned_files import OwnedFiles
from portraitd.people.tree.plan import names_beside
from portraitd.people.tree.reference_pictures import is_picture_name, stamp_picture
from portraitd.people.tree.reserved_folders import WHO_NAME
from portraitd.people.tree.scan import SKIPPED_ERRORS

MAX_ASKED = 100
"""How many pictures are answered: the first by name."""

_OWNER = "answers"

_MAX_NAME_BYTES = 200
"""Longest name of a picture that its answer repeats; file systems allow 255."""


class AskedPictures:
    """Reads the pictures, and writes the answers.

    Args:
        root: The root of the tree.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._owned = OwnedFiles(root, _OWNER)

    def read(self) -> tuple[dict[str, Stamp], dict[str, str]] | None:
        """Return the pictures, and the identity of the answer to each that has one.

        Answers to pictures that are gone are among them. None without such a folder, or where the
        folder of a person has this name.

        Raises:
            PublishError: The tree cannot be read.
        """
        try:
            with open_root(self._root) as root_fd, open_folder(WHO_NAME, root_fd) as fd:
                if entry_exists(fd, PERSON_MANIFEST):
                    return None
                manifest = read_note(fd, f"{OWN_PREFIX}{_OWNER}")
                present = set(os.listdir(fd))
                pictures = {
                    name: stamp
                    for name in sorted(filter(is_picture_name, present))
                    if (stamp := stamp_picture(fd, name)) is not None
                }
        except OSError as error:
            if error.errno in SKIPPED_ERRORS:
                return None
            raise PublishError(f"{self._root}: {error.strerror or error}") from error
        files = manifest.files if manifest else {}
        written = {name: one.identity for name, one in files.items() if name in present}
        asked = dict(list(pictures.items())[:MAX_ASKED])
        return asked, _name_answers(asked, written, present)

    def publish(self, answers: Mapping[str, str], texts: Mapping[str, bytes]) -> None:
        """Write the answers that are new, and remove those whose picture is gone.

        Args:
            answers: Identity of each answer by name of its file.
            texts: Content of those that are not written yet.

        Raises:
            PublishError: The folder cannot be written.
        """
        self._owned.publish(WHO_NAME, answers, lambda name: texts[name])


def answer_name(picture: str) -> str:
    """Return the name of the answer to a picture."""
    encoded = os.fsencode(picture)
    if len(encoded) > _MAX_NAME_BYTES:
        start = encoded[: _MAX_NAME_BYTES - 12].decode(errors="ignore")
        picture = f"{start}… {digest(encoded)[:8]}"
    return f"{picture}.txt"


def erase_answers(fd: int) -> int:
    """Remove all answers in a folder, which name people. Return how many there were.

    Those about pictures that are still there are written again.

    Raises:
        OSError: One cannot be removed.
    """
    manifest = read_note(fd, f"{OWN_PREFIX}{_OWNER}")
    removed = 0
    for name in manifest.files if manifest else ():
        with suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(name, dir_fd=fd)
            removed += 1
    return removed


def _name_answers(
    pictures: Collection[str], written: Mapping[str, str], present: Collection[str]
) -> dict[str, str]:
    """Return the answers by the names that they should have.

    An answer has another name where a file of a reviewer has that one.
    """
    taken = {folded(name) for name in present}
    answers = dict(written)
    for wanted in map(answer_name, pictures):
        beside = takewhile(lambda name: folded(name) in taken, names_beside(wanted))
        found = next((name for name in beside if name in written), wanted)
        if found != wanted:
            answers[wanted] = answers.pop(found)
    return answers
