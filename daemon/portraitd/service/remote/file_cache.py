"""Files that were sent to a worker: named by their content, verified, and limited in size."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from portraitd.model.errors import StoreError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileCache:
    """A folder of complete files, and a partial file for each transfer in progress.

    It belongs to one process; folders of processes that have ended are removed.

    Args:
        parent: Contains one folder for each process.
    """

    def __init__(self, parent: Path) -> None:
        self._folder = parent / str(os.getpid())
        self._complete: dict[str, int] = {}
        self._hashes: dict[str, hashlib._Hash] = {}
        self._received: dict[str, int] = {}
        # Chunks arrive in one thread of the worker, jobs read in others.
        self._lock = threading.Lock()
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for other in parent.iterdir():
                if other.name == str(os.getpid()) or not Path(f"/proc/{other.name}").exists():
                    shutil.rmtree(other, ignore_errors=True)
            self._folder.mkdir(mode=0o700)
        except OSError as error:
            raise StoreError(f"{parent} cannot be used: {error.strerror}") from error

    def path(self, sha256: str) -> Path:
        """Return the path of a complete file, and mark it as recently used.

        Raises:
            FileNotFoundError: It was never sent, or was evicted.
        """
        with self._lock:
            if sha256 not in self._complete:
                raise FileNotFoundError(sha256)
            # At the end of the dictionary: the others are evicted first.
            self._complete[sha256] = self._complete.pop(sha256)
        return self._folder / sha256

    def receive(self, sha256: str, size: int, offset: int, data: bytes, limit_bytes: int) -> int:
        """Append a chunk, if it is the next one.

        Args:
            sha256: Of the whole file.
            size: Of the whole file, in bytes.
            offset: Position of the chunk.
            data: The chunk; empty to ask how much has arrived.
            limit_bytes: Total size of all files.

        Returns:
            Number of bytes that have arrived.

        Raises:
            StoreError: The file is larger than the limit, the disk is full, or the content does
                not match ``sha256``: then the transfer starts again.
        """
        if not _SHA256.fullmatch(sha256):
            raise StoreError("not a SHA-256")
        with self._lock:
            return self._receive(sha256, size, offset, data, limit_bytes)

    def _receive(self, sha256: str, size: int, offset: int, data: bytes, limit_bytes: int) -> int:
        if sha256 in self._complete:
            return size
        if size > limit_bytes:
            raise StoreError(
                f"the file has {size / 1e6:.0f} MB; workers.cache_mb allows {limit_bytes / 1e6:.0f}"
            )
        received = self._received.get(sha256, 0)
        if offset != received or not data:
            return received
        self._evict(limit_bytes - size, sha256)
        try:
            self._append(sha256, received, data)
        except OSError as error:
            self._drop(sha256)
            raise StoreError(f"{self._folder} cannot be written: {error.strerror}") from error
        if self._received[sha256] == size:
            self._finish(sha256, size)
        return received + len(data)

    def _append(self, sha256: str, received: int, data: bytes) -> None:
        with (self._folder / f"{sha256}.part").open("ab" if received else "wb") as file:
            file.write(data)
        # Hashed as it arrives: hashing a long video at the end would block the others.
        self._hashes.setdefault(sha256, hashlib.sha256()).update(data)
        self._received[sha256] = received + len(data)

    def _finish(self, sha256: str, size: int) -> None:
        part = self._folder / f"{sha256}.part"
        if self._hashes[sha256].hexdigest() != sha256:
            self._drop(sha256)
            raise StoreError("the received content does not match its SHA-256")
        part.rename(self._folder / sha256)
        del self._hashes[sha256], self._received[sha256]
        self._complete[sha256] = size

    def _evict(self, available: int, incoming: str) -> None:
        """Remove the least recently used files; a job that has one open can still read it."""
        partial = sum(size for name, size in self._received.items() if name != incoming)
        while self._complete and sum(self._complete.values()) + partial > available:
            oldest = next(iter(self._complete))
            del self._complete[oldest]
            (self._folder / oldest).unlink(missing_ok=True)

    def _drop(self, sha256: str) -> None:
        self._hashes.pop(sha256, None)
        self._received.pop(sha256, None)
        with suppress(OSError):
            (self._folder / f"{sha256}.part").unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all files, when the worker ends."""
        shutil.rmtree(self._folder, ignore_errors=True)
