"""Files that were sent to a worker: named by their content, checked, and bounded in size."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from portraitd.model.errors import StoreError

_HEX = re.compile(r"[0-9a-f]{64}")


class Received:
    """A folder of whole files, and one that is being written for each content on its way.

    It belongs to one process; what others left behind that have ended is removed.

    Args:
        above: Holds one folder for each process.
    """

    def __init__(self, above: Path) -> None:
        self._folder = above / str(os.getpid())
        self._above = above
        self._whole: dict[str, int] = {}
        self._begun: dict[str, hashlib._Hash] = {}
        self._held: dict[str, int] = {}
        # Pieces come in one thread of the worker, jobs ask in others.
        self._lock = threading.Lock()
        try:
            above.mkdir(mode=0o700, parents=True, exist_ok=True)
            for other in above.iterdir():
                if other.name == str(os.getpid()) or not Path(f"/proc/{other.name}").exists():
                    shutil.rmtree(other, ignore_errors=True)
            self._folder.mkdir(mode=0o700)
        except OSError as error:
            raise StoreError(f"{above} cannot be used: {error.strerror}") from error

    def path(self, sha256: str) -> Path:
        """Where a whole file lies.

        Raises:
            FileNotFoundError: It was never sent, or had to make room.
        """
        with self._lock:
            if sha256 not in self._whole:
                raise FileNotFoundError(sha256)
            # Used last: the others make room first.
            self._whole[sha256] = self._whole.pop(sha256)
        return self._folder / sha256

    def take(self, sha256: str, size: int, offset: int, data: bytes, limit_bytes: int) -> int:
        """Take a piece, if it is the next one.

        Args:
            sha256: Of the whole file.
            size: Of the whole file, in bytes.
            offset: Where the piece begins.
            data: The piece; empty to ask what is held.
            limit_bytes: How much all files together may take.

        Returns:
            How many bytes are held now, from the beginning on.

        Raises:
            StoreError: It is larger than the limit, the disk is full, or the content is not the
                one that was announced: then it is begun anew.
        """
        if not _HEX.fullmatch(sha256):
            raise StoreError("not the name of a content")
        with self._lock:
            return self._take(sha256, size, offset, data, limit_bytes)

    def _take(self, sha256: str, size: int, offset: int, data: bytes, limit_bytes: int) -> int:
        if sha256 in self._whole:
            return size
        if size > limit_bytes:
            raise StoreError(
                f"a file of {size / 1e6:.0f} MB; workers.cache_mb allows {limit_bytes / 1e6:.0f}"
            )
        held = self._held.get(sha256, 0)
        if offset != held or not data:
            return held
        self._make_room(limit_bytes - size, sha256)
        try:
            self._write(sha256, held, data)
        except OSError as error:
            self._drop(sha256)
            raise StoreError(f"{self._folder} cannot be written: {error.strerror}") from error
        if self._held[sha256] == size:
            self._finish(sha256, size)
        return held + len(data)

    def _write(self, sha256: str, held: int, data: bytes) -> None:
        with (self._folder / f"{sha256}.part").open("wb" if held == 0 else "ab") as file:
            file.write(data)
        # Hashed on the way in: hashing a long film at its end would keep everybody waiting.
        self._begun.setdefault(sha256, hashlib.sha256()).update(data)
        self._held[sha256] = held + len(data)

    def _finish(self, sha256: str, size: int) -> None:
        part = self._folder / f"{sha256}.part"
        if self._begun[sha256].hexdigest() != sha256:
            self._drop(sha256)
            raise StoreError("what arrived is not what was announced")
        part.rename(self._folder / sha256)
        del self._begun[sha256], self._held[sha256]
        self._whole[sha256] = size

    def _make_room(self, room: int, coming: str) -> None:
        """Remove what was used longest ago; a job that has it open reads on."""
        begun = sum(held for name, held in self._held.items() if name != coming)
        while self._whole and sum(self._whole.values()) + begun > room:
            oldest = next(iter(self._whole))
            del self._whole[oldest]
            (self._folder / oldest).unlink(missing_ok=True)

    def _drop(self, sha256: str) -> None:
        self._begun.pop(sha256, None)
        self._held.pop(sha256, None)
        with suppress(OSError):
            (self._folder / f"{sha256}.part").unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything: the worker ends."""
        shutil.rmtree(self._folder, ignore_errors=True)
