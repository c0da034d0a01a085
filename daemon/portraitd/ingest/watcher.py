"""The doorbell, and who rings it when something happens in a folder.

The only module that imports watchdog. Events are hints: they shorten the wait until the next
look and decide nothing. On a network mount there are none, and the look alone does it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
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

from portraitd.ingest.mounts import file_system_type, needs_polling

log = structlog.get_logger(stage="watcher")

WatchMode = Literal["auto", "events", "poll", "scan"]
"""``auto``: events except on network mounts. ``poll`` and ``scan``: the periodic look alone."""

# Not opened, closed without writing, or a folder "modified": our own looking causes the first
# two, and the third only repeats what happened to the file inside.
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


class _Ringer(FileSystemEventHandler):
    def __init__(self, doorbell: Wakeable) -> None:
        self._doorbell = doorbell

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._doorbell.wake(event.event_type)


@dataclass(frozen=True, slots=True)
class _Watched:
    """An observer and the very folder it was set on, which may since have been replaced."""

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
    """Rings a doorbell when something changes below some folders.

    A folder that cannot be watched (missing, limit of watches reached) is no error: the
    periodic look finds its files, and ``ensure`` tries again.
    """

    def __init__(self, roots: Sequence[Path], doorbell: Wakeable, mode: WatchMode = "auto") -> None:
        self._roots = tuple(roots)
        self._doorbell = doorbell
        self._mode = mode
        self._watched: dict[Path, _Watched] = {}
        self._wanted: tuple[Path, ...] = ()
        self._unheard: set[Path] = set()

    @property
    def event_roots(self) -> tuple[Path, ...]:
        """The folders whose events are asked for; the others are only looked at."""
        return self._wanted

    def start(self) -> None:
        """Watch every folder that can be watched."""
        self._wanted = tuple(root for root in self._roots if self._wants_events(root))
        self.ensure()

    def stop(self) -> None:
        """Stop every observer and wait for its threads."""
        self._wanted = ()
        for watched in self._watched.values():
            watched.stop()
        self._watched.clear()

    def alive(self) -> bool:
        """Whether every folder that should be watched is; True where none should be."""
        return all(
            root in self._watched and self._watched[root].is_sound(root) for root in self._wanted
        )

    def ensure(self) -> list[Path]:
        """Set up again what no longer works: a dead thread, a folder that was replaced.

        Rings when something was set up, for nothing is known of the time in between.

        Returns:
            The folders that are watched anew.
        """
        renewed = []
        for root in self._wanted:
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
            return not needs_polling(file_system_type(root))
        return self._mode == "events"

    def _watch(self, root: Path) -> _Watched | None:
        folder = _identity(root)
        if folder is None:
            return None
        observer: BaseObserver | None = None
        try:
            observer = Observer()
            observer.schedule(
                _Ringer(self._doorbell), os.fspath(root), recursive=True, event_filter=_INTERESTING
            )
            observer.start()
        except OSError as error:
            # Nothing left to watch with, or the folder went away just now: the look still finds
            # its files.
            if observer is not None:
                observer.unschedule_all()
            if root not in self._unheard:
                log.warning("folder_not_watched", path=str(root), reason=str(error))
                self._unheard.add(root)
            return None
        self._unheard.discard(root)
        return _Watched(observer, folder)


def _identity(root: Path) -> tuple[int, int] | None:
    """Device and inode of a folder, None if there is no such folder."""
    try:
        facts = os.stat(root)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


class Wakeable(Protocol):
    """What can be rung from any thread."""

    def wake(self, reason: str) -> None:
        """Something happened."""
