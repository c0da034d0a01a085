"""The pool of pictures that were cut for training sets, below the state.

A set's folders hold links to these where the file system can do that, so on one disk a picture
takes its room once, in however many formats it is. A picture is named by its content and by
how it has to look, so what is there need not be cut again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from portraitd.media.fs import write_atomically
from portraitd.model.errors import PublishError
from portraitd.model.fingerprints import frame_stem

RENDER_VERSION = "1"
"""Raised when pictures of the same name come to look different."""


_JPEG = b"\xff\xd8\xff"


def frame_name(sha256: str, t_s: float) -> str:
    """The name of a frame as it was seen."""
    return f"{frame_stem(sha256, t_s)}.jpg"


class FrameCache:
    """A folder of pictures, in one folder for each recording.

    Args:
        state_dir: The state of a home.
    """

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "frames" / RENDER_VERSION

    def path(self, sha256: str, name: str) -> Path:
        """Where a picture lies, if it is there."""
        return self.folder / sha256[:16] / name

    def has(self, sha256: str, name: str) -> bool:
        return self.path(sha256, name).is_file()

    def names(self, sha256: str) -> set[str]:
        """The pictures of a recording."""
        try:
            return set(os.listdir(self.folder / sha256[:16]))
        except FileNotFoundError:
            return set()

    def put(self, sha256: str, name: str, data: bytes) -> None:
        """Write a picture beside and rename it: it is whole, or not there.

        Raises:
            PublishError: It is no JPEG, the disk is full, or the folder cannot be written.
        """
        # A worker made it that had seen a foreign file, and others will read it.
        if not data.startswith(_JPEG):
            raise PublishError(f"{name} is no picture")
        path = self.path(sha256, name)
        try:
            for folder in (self.folder.parent, self.folder, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise PublishError(f"{path} cannot be written: {error.strerror}") from error
        # As readable as the set is to be: a link has the mode of what it links to.
        write_atomically(path, data, mode=0o644, concurrent=True, error=PublishError)

    def keep(self, sha256: str, frames: Sequence[tuple[float, bytes]]) -> None:
        """Put frames there as they were seen, for sets that are built when their video is gone."""
        # A full disk must not fail the video: while it is there, its frames can be cut again.
        for t_s, jpeg in frames:
            if math.isfinite(t_s):
                with suppress(PublishError):
                    self.put(sha256, frame_name(sha256, t_s), jpeg)

    def discard(self, stems: Collection[str]) -> int:
        """Remove every picture of some frames, by what their names begin with.

        Raises:
            PublishError: One of them cannot be removed.
        """
        removed = 0
        try:
            for stem in stems:
                # A folder's name is a little longer than what the pictures in it say of it.
                for path in self.folder.parent.glob(f"*/{stem[:12]}*/*{stem}*"):
                    path.unlink(missing_ok=True)
                    removed += 1
                    # Where it is the last one: a folder is named by the content.
                    with suppress(OSError):
                        path.parent.rmdir()
        except OSError as error:
            raise PublishError(f"{self.folder}: {error.strerror}") from error
        return removed

    def sweep(self, wanted: Collection[tuple[str, str]], keep_frames_of: Collection[str]) -> int:
        """Remove what nobody wants any more.

        Args:
            wanted: Content and name of the pictures to keep.
            keep_frames_of: Contents whose plain frames stay in any case.

        Returns:
            How many were removed.
        """
        names: dict[str, set[str]] = {}
        for sha256, name in wanted:
            names.setdefault(sha256[:16], set()).add(name)
        keeping = {sha256[:16] for sha256 in keep_frames_of}
        removed = 0
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            for picture in list(folder.iterdir()):
                is_plain = picture.stem.count("-") == 1 and not picture.name.startswith(".")
                if picture.name in names.get(folder.name, ()):
                    continue
                if not (is_plain and folder.name in keeping):
                    picture.unlink(missing_ok=True)
                    removed += 1
            if not any(folder.iterdir()):
                folder.rmdir()
        return removed
