"""Watch folders for changes, and wake the service when one changes.

The only module that imports watchdog. Events are hints: they shorten the wait until the next scan
and decide nothing. Network mounts send no events; there, the periodic scan finds every change.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from portraitd.ingest.mounts import is_on_share

log = structlog.get_logger(stage="watcher")

RETRY_S = 60.0
"""How long a folder that could not be watched is only scanned."""

WatchMode = Literal["auto", "events", "poll"]
"""``auto``: events except on network mounts. ``poll``: the periodic scan only."""

# Not "opened", "closed without writing" or "folder modified": our own scans cause the first two,
# and the third only repeats what happened to the file inside.
_INTERESTING: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]


class Wakeable(Protocol):
    """Something that any thread can wake, such as the doorbell of the service."""

    def wake(self, reason: str) -> None:
        """Wake the waiting thread: something happened."""


class _Waker(FileSystemEventHandler):
    def __init__(self, doorbell: Wakeable) -> None:
        self._doorbell = doorbell

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._doorbell.wake(event.event_type)


@dataclass(frozen=True, slots=True)
class _Watched:
    """An observer, and the identity of the folder it watches; the path may have another one now."""

    observer: BaseObserver
    folder: tuple[int, int]

    def is_sound(self, root: Path) -> bool:
        # The observer outlives its emitter, and an emitter follows a folder that was renamed.
        return (
            self.observer.is_alive()
            and all(emitter.is_alive() for emitter in self.observer.emitters)
            and self.folder == _identity(root)
        )

    def stop(self) -> None:
        self.observer.stop()
        self.observer.join()


class Watch:
    """Wakes the service when something changes below some folders.

    A folder that cannot be watched (missing, limit of watches reached) is not an error: the
    periodic scan finds its files, and ``ensure`` tries again after a pause.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        doorbell: Wakeable,
        mode: WatchMode = "auto",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._roots = tuple(roots)
        self._doorbell = doorbell
        self._mode = mode
        self._watched: dict[Path, _Watched] = {}
        self._event_roots: tuple[Path, ...] = ()
        self._unwatched: dict[Path, float] = {}

    @property
    def event_roots(self) -> tuple[Path, ...]:
        """Return the folders whose events are requested; the others are only scanned."""
        return self._event_roots

    def start(self) -> None:
        """Watch every folder that can be watched."""
        self._event_roots = tuple(root for root in self._roots if self._wants_events(root))
        self.ensure()

    def stop(self) -> None:
        """Stop every observer and wait for its threads."""
        self._event_roots = ()
        for watched in self._watched.values():
            watched.stop()
        self._watched.clear()

    def alive(self) -> bool:
        """Return whether every requested folder is watched; True if none is requested."""
        return all(
            root in self._watched and self._watched[root].is_sound(root)
            for root in self._event_roots
        )

    def ensure(self) -> list[Path]:
        """Restart broken observers: a dead thread, a folder that was replaced.

        Wakes the service after a restart, because events may have been lost.

        Returns:
            The folders whose observer was started.
        """
        renewed = []
        for root in self._event_roots:
            watched = self._watched.get(root)
            if watched is not None and watched.is_sound(root):
                continue
            if watched is not None:
                del self._watched[root]
                watched.stop()
            fresh = self._watch(root)
            if fresh is not None:
                self._watched[root] = fresh
                renewed.append(root)
        if renewed:
            self._doorbell.wake("watching")
        return renewed

    def _wants_events(self, root: Path) -> bool:
        if self._mode == "auto":
            return not is_on_share(root)
        return self._mode == "events"

    def _watch(self, root: Path) -> _Watched | None:
        folder = _identity(root)
        if folder is None or self._clock() < self._unwatched.get(root, 0.0):
            return None
        observer: BaseObserver | None = None
        try:
            observer = Observer()
            observer.schedule(
                _Waker(self._doorbell), os.fspath(root), recursive=True, event_filter=_INTERESTING
            )
            observer.start()
        except (OSError, RecursionError) as error:
            # No inotify watch is left, the folder was removed, or it is deeper than watchdog goes:
            # the scan still finds its files.
            if observer is not None:
                observer.unschedule_all()
            if root not in self._unwatched:
                log.warning("folder_not_watched", path=str(root), reason=str(error))
            # Every attempt looks into every folder.
            self._unwatched[root] = self._clock() + RETRY_S
            return None
        self._unwatched.pop(root, None)
        return _Watched(observer, folder)


def _identity(root: Path) -> tuple[int, int] | None:
    """Return device and inode of a folder; None without a folder."""
    try:
        facts = os.stat(root)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
