"""Names and hashes by which files that show faces are found again, for instance to erase them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

ENDING_BYTES = 1024
"""How many bytes at the end of a portrait are hashed: metadata written later is before them."""

ERASED_MARGIN_S = 0.5
"""Minimum time from an erased face; its position in the frame is unknown, so it cannot be
blurred."""


def hash_ending(data: bytes) -> bytes:
    """Return the SHA-256 of the last bytes of a file, from which no picture can be restored."""
    return hashlib.sha256(data[-ENDING_BYTES:]).digest()


def content_stem(sha256: str) -> str:
    """Return the beginning of the names of all pictures of a video or photo in training sets."""
    return f"{sha256[:12]}-"


def make_video_key(sha256: str) -> str:
    """Return the split key of a whole video or photo."""
    return f"video {sha256}"


def split_key_parts(sha256: str) -> tuple[str, str]:
    """Return substrings, one of which is in every split key of a video or photo.

    Split keys are ``video HASH``, ``stretch HASH start`` and ``track`` with the name of a picture.
    """
    return f" {sha256}", f"track {content_stem(sha256)}"


def frame_stem(sha256: str, t_s: float) -> str:
    """Return the name of a frame, which is the same in every home."""
    return f"{content_stem(sha256)}{round(t_s * 1000):09d}"


_FRAME = re.compile(r"(?<![0-9a-f])([0-9a-f]{12})-(\d{9})(?!\d)")


class ErasedFrames:
    """Recognises pictures of erased frames, and of frames beside them, by their file names.

    An erased person is still visible shortly before and after the frames in which they were found.

    Args:
        stems: ``frame_stem`` of each frame, ``content_stem`` of each whole video or photo.
    """

    def __init__(self, stems: Collection[str]) -> None:
        # By content: a person may have thousands of frames, and a set a hundred thousand names.
        self._stems: dict[str, list[str]] = {}
        self._seconds: dict[str, set[int]] = {}
        for stem in stems:
            self._stems.setdefault(stem[:12], []).append(stem)
            seconds = self._seconds.setdefault(stem[:12], set())
            if found := _FRAME.match(stem):
                seconds.add(int(found[2]) // 1000)

    def may_have(self, content: str) -> bool:
        """Return whether frames of a content were erased, given the start of its SHA-256."""
        return content[:12] in self._seconds

    def shows(self, name: str) -> bool:
        """Return whether the picture with this file name must be erased."""
        for found in _FRAME.finditer(name):
            t_s = int(found[2]) / 1000
            first, last = (int((t_s + step) // 1) for step in (-ERASED_MARGIN_S, ERASED_MARGIN_S))
            if not self._seconds.get(found[1], set()).isdisjoint(range(first, last + 1)):
                return True
        return any(
            stem in name
            for content, stems in self._stems.items()
            if content in name
            for stem in stems
        )
