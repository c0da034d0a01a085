"""The frame cache: images that were cropped for training sets, below the state folder.

A set contains hard links to these images if the file system allows it, so an image uses disk
space only once for all formats. The name of an image depends on its content and on what is
blurred in it, so a cached image never has to be cropped again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from portraitd.media.fs import write_atomically
from portraitd.model.errors import PublishError
from portraitd.model.fingerprints import ErasedFrames, frame_stem

RENDER_VERSION = "1"
"""Increased when images with the same name would look different."""


_JPEG = b"\xff\xd8\xff"


def make_frame_name(sha256: str, t_s: float) -> str:
    """Return the name of an unchanged frame."""
    return f"{frame_stem(sha256, t_s)}.jpg"


class FrameCache:
    """The folder of cached images, with a subfolder for each recording.

    Args:
        state_dir: The state folder of a home.
    """

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "frames" / RENDER_VERSION

    def path(self, sha256: str, name: str) -> Path:
        """Return the path of an image, whether or not it exists."""
        return self.folder / sha256[:16] / name

    def has(self, sha256: str, name: str) -> bool:
        return self.path(sha256, name).is_file()

    def names(self, sha256: str) -> set[str]:
        """Return the names of the images of a recording."""
        try:
            return set(os.listdir(self.folder / sha256[:16]))
        except FileNotFoundError:
            return set()

    def put(self, sha256: str, name: str, data: bytes) -> None:
        """Write an image atomically.

        Raises:
            PublishError: It is not a JPEG, the disk is full, or the folder cannot be written.
        """
        # It comes from a worker that decoded an untrusted file, and other programs will read it.
        if not data.startswith(_JPEG):
            raise PublishError(f"{name} is not a JPEG")
        path = self.path(sha256, name)
        try:
            for folder in (self.folder.parent, self.folder, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise PublishError(f"{path} cannot be written: {error.strerror}") from error
        # For the group, like the set: a hard link shares the mode of its file.
        write_atomically(path, data, mode=0o640, concurrent=True, error=PublishError)

    def keep(self, sha256: str, frames: Sequence[tuple[float, bytes]]) -> None:
        """Store unchanged frames, for sets that are built after their video was deleted."""
        # A full disk must not fail the video: its frames can be cropped from it later.
        for t_s, jpeg in frames:
            if math.isfinite(t_s):
                with suppress(PublishError):
                    self.put(sha256, make_frame_name(sha256, t_s), jpeg)

    def discard(self, frames: ErasedFrames) -> int:
        """Remove every image that shows erased frames. Return how many there were.

        Raises:
            PublishError: An image cannot be removed.
        """
        removed = 0
        try:
            for folder in self.folder.parent.glob("*/*/"):
                # The folder has a longer prefix of the content hash than the images in it.
                if not frames.may_have(folder.name):
                    continue
                for name in os.listdir(folder):
                    if frames.shows(name):
                        (folder / name).unlink(missing_ok=True)
                        removed += 1
                # The name of an empty folder would still reveal the content hash.
                with suppress(OSError):
                    folder.rmdir()
        except OSError as error:
            raise PublishError(f"{self.folder}: {error.strerror}") from error
        return removed

    def sweep(self, wanted: Collection[tuple[str, str]], keep_frames_of: Collection[str]) -> int:
        """Remove images that no set needs.

        Args:
            wanted: Content hash and name of the images to keep.
            keep_frames_of: Content hashes of recordings whose unchanged frames stay.

        Returns:
            The number of removed images.
        """
        names: dict[str, set[str]] = {}
        for sha256, name in wanted:
            names.setdefault(sha256[:16], set()).add(name)
        keeping = {sha256[:16] for sha256 in keep_frames_of}
        removed = 0
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            for image in list(folder.iterdir()):
                is_plain = image.stem.count("-") == 1 and not image.name.startswith(".")
                if image.name in names.get(folder.name, ()):
                    continue
                if not (is_plain and folder.name in keeping):
                    image.unlink(missing_ok=True)
                    removed += 1
            if not any(folder.iterdir()):
                folder.rmdir()
        return removed
