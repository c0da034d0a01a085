"""From what lies in the inbox to files that may be worked on, each with its state and reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from portraitd.config import Settings
from portraitd.ingest.mounts import MARKER, file_system_type, is_marked, mark, needs_polling
from portraitd.ingest.scanner import Found, StabilityTracker, is_ignored, scan_file, scan_folder
from portraitd.ingest.stability import BlockReasons, StabilityPolicy
from portraitd.model.media_file import FileState, Stamp
from portraitd.model.stage import Now, Stage
from portraitd.store.files import INBOX, Files, KnownFile, display_path

log = structlog.get_logger(stage="admission")

PROCESSED = Path("processed")

NO_STAMP = Stamp(0, 0, 0)

STILL_CHANGING = "still being written?"

SCAN_GAP_S = 1.0
"""Events arrive often while a file is copied; one scan a second is enough."""

_MARK_AGAIN = "If this is the inbox, run `portraitd init`"


@dataclass(frozen=True, slots=True)
class InboxPace:
    """How long a file must not have changed before it is taken.

    Attributes:
        quiet_s: On a disk of this machine.
        quiet_remote_s: On a network mount, or where nobody can say whether it is being written.
        unfinished_s: If it lacks something by its own account.
    """

    quiet_s: float
    quiet_remote_s: float = 0.0
    unfinished_s: float = 0.0


def inbox_pace(settings: Settings) -> InboxPace:
    """How long a dropped file must stand still."""
    inbox = settings.inbox
    return InboxPace(inbox.quiet_s, inbox.quiet_remote_s, inbox.unfinished_s)


class Admission(Stage):
    """Scans the inbox, and moves files that have not changed for long enough to ready.

    Args:
        files: Where every file's state is kept.
        inbox_dir: The folder people drop files into.
        pace: How long a file must not have changed.
        after: ``keep`` leaves a done file where it is, ``move`` puts it into processed/.
        scan_s: The longest time between two scans.
        share_error: Returns why the inbox must not even be touched; empty if it may be.
    """

    phase = "faces"

    def __init__(
        self,
        files: Files,
        inbox_dir: Path,
        pace: InboxPace,
        after: str,
        scan_s: float = 10.0,
        share_error: Callable[[], str] = lambda: "",
    ) -> None:
        self._files = files
        self._inbox_dir = inbox_dir
        self._pace = pace
        self._settling = StabilityTracker(pace.quiet_s)
        self._hindrances = BlockReasons(StabilityPolicy(pace.quiet_remote_s, pace.unfinished_s))
        self._after = after
        self._settling_now = 0
        self._away = ""
        self._scan_s = scan_s
        self._share_error = share_error
        self._scanned_s = float("-inf")
        self._is_wanted = True
        self._watches_inbox = True
        self._device = -1
        self._marked = False

    @property
    def pending(self) -> bool:
        """Return whether a file may still be written to, or the inbox was never scanned."""
        return self._settling_now > 0 or (self._watches_inbox and self._scanned_s == float("-inf"))

    def wake(self) -> None:
        """Have the inbox scanned at the next tick: something changed there."""
        self._is_wanted = True

    def leave_inbox(self) -> None:
        """Never scan the inbox; only registered files are processed."""
        self._watches_inbox = False

    def wait_s(self, steady_s: float, soon: bool) -> float:
        """Return the seconds until the next scan is due.

        Args:
            steady_s: The steady clock.
            soon: Whether the service wants a tick soon in any case.
        """
        soon = soon or self._is_wanted or self.pending
        return self._scanned_s + (SCAN_GAP_S if soon else self._scan_s) - steady_s

    @property
    def away(self) -> bool:
        """Whether the inbox is not there: neither its files nor their absence mean anything."""
        # One that hangs is not even asked for its marker.
        return bool(self._share_error() or self._away) or (
            self._marked and not is_marked(self._inbox_dir)
        )

    def has_lost(self, path: Path) -> bool:
        """Whether a file cannot be read because the inbox it lies in is not there."""
        return path.is_relative_to(self._inbox_dir) and self.away

    @property
    def blocked(self) -> str:
        """Why the inbox cannot be looked at; empty if it can."""
        return self._share_error() or (
            f"{display_path(self._inbox_dir)}: {self._away}" if self._away else ""
        )

    def tick(self, now: Now) -> None:
        """Scan the inbox if that is due."""
        soon = self._is_wanted or self.pending
        gap_s = min(SCAN_GAP_S if soon else self._scan_s, self._scan_s)
        if not self._watches_inbox or now.steady_s - self._scanned_s < gap_s:
            return
        # Before the scan: an event that arrives during it asks for another one.
        self._is_wanted = False
        self._scanned_s = now.steady_s
        if not self._share_error():
            self.scan(now)

    def scan(self, now: Now) -> None:
        """Scan the inbox once."""
        now_s, steady_s = now.wall_s, now.steady_s
        known = self._files.below(INBOX)
        stamps: dict[Path, Stamp] = {}
        seen: set[Path] = set()
        for found in scan_folder(self._inbox_dir, skip=(PROCESSED,)):
            if found.path == Path():
                self._note_away(found.reason or "")
                return
            seen.add(found.path)
            if found.stamp is None:
                self._note_unfit(found, known.get(found.path), now_s)
            elif self._is_news(found.stamp, known.get(found.path)):
                stamps[found.path] = found.stamp
        if not self._is_the_inbox(known, seen):
            self._note_away(f"its marker {MARKER} is missing; is the share mounted? {_MARK_AGAIN}")
            return
        self._note_away("")
        self._look_at_mount()
        for path, stamp in stamps.items():
            if path not in known or known[path].state is not FileState.WAITING:
                self._note(path, stamp, FileState.WAITING, now_s, STILL_CHANGING)
        settled = self._settling.observe(stamps, steady_s)
        self._hindrances.forget_all_but({self._inbox_dir / path for path in settled})
        for path in settled:
            self._take(path, stamps[path], known.get(path), now_s, steady_s)
        self._settling_now = len(stamps) - len(settled)
        for path, file in known.items():
            if path not in seen and file.state in (FileState.WAITING, FileState.READY):
                self._files.move_on(file.id, FileState.GONE, now_s, "no longer in the inbox")
                log.info("file_gone", path=display_path(path))
        if self._after == "move":
            self._dispose(known.keys(), seen)

    def register(self, paths: Sequence[Path], now_s: float) -> list[int]:
        """Take files and folders that were named, as they are now.

        A file's source is its path below the folder that was named, or its bare name.

        Returns:
            The ids of their rows.
        """
        taken = []
        for path in paths:
            place = path.absolute()
            if place.is_dir() and not place.is_symlink():
                root, listed = place, list(scan_folder(place))
            else:
                reason = "ignored by its name" if is_ignored(place.name) else "no such file"
                root = place.parent
                listed = [scan_file(place) or Found(Path(place.name), None, reason)]
            taken += [self._register(os.fsencode(root), found, now_s) for found in listed]
        return taken

    def _register(self, root: bytes, found: Found, now_s: float) -> int:
        if found.stamp is None:
            return self._files.note(
                root, found.path, NO_STAMP, FileState.FAILED, now_s, found.reason or ""
            )
        known = self._files.find(root, found.path)
        again = (FileState.FAILED, FileState.GONE)
        if known and known.stamp == found.stamp and known.state not in again:
            return known.id
        return self._files.note(root, found.path, found.stamp, FileState.READY, now_s)

    def _take(
        self, path: Path, stamp: Stamp, known: KnownFile | None, now_s: float, steady_s: float
    ) -> None:
        """Move a file that stands still to ready, unless something still keeps it."""
        place, since_s = self._inbox_dir / path, self._settling.since_s(path)
        reason = self._hindrances.of(place, since_s, steady_s)
        if not reason:
            self._note(path, stamp, FileState.READY, now_s)
            self._settling.forget(path)
        elif known is None or (known.state, known.reason) != (FileState.WAITING, reason):
            self._note(path, stamp, FileState.WAITING, now_s, reason)

    def _is_the_inbox(self, known: Mapping[Path, KnownFile], seen: Collection[Path]) -> bool:
        """Whether this is the folder whose files are known, by its marker.

        A folder without one gets it if nothing is known yet, or something known lies in it.
        """
        self._marked = is_marked(self._inbox_dir)
        if not self._marked:
            if known and not known.keys() & seen:
                return False
            # A share that may only be read stays as it is, and is believed.
            with suppress(OSError):
                mark(self._inbox_dir)
                self._marked = True
        return True

    def _look_at_mount(self) -> None:
        """Choose the quiet time by the file system, again whenever another one is mounted."""
        try:
            device = os.stat(self._inbox_dir).st_dev
        except OSError:
            return
        if device == self._device:
            return
        self._device = device
        kind = file_system_type(self._inbox_dir)
        remote = needs_polling(kind)
        quiet_s = self._pace.quiet_s
        if remote:
            quiet_s = max(quiet_s, self._pace.quiet_remote_s)
        self._settling.quiet_s = quiet_s
        log.info("inbox_mode", file_system=kind, remote=remote, quiet_s=quiet_s)

    def _is_news(self, stamp: Stamp, known: KnownFile | None) -> bool:
        """Whether a path holds something that was not taken yet."""
        if known is None or known.stamp != stamp:
            return True
        return known.state in (FileState.WAITING, FileState.GONE)

    def _note(
        self, path: Path, stamp: Stamp, state: FileState, now_s: float, reason: str = ""
    ) -> None:
        self._files.note(INBOX, path, stamp, state, now_s, reason)
        log.info("file_" + state, path=display_path(path), size=stamp.size, reason=reason)

    def _note_unfit(self, found: Found, known: KnownFile | None, now_s: float) -> None:
        """Not a regular file, or not readable: said once, and again when the reason changes."""
        reason = found.reason or ""
        if known and known.reason == reason:
            return
        # What may not be read today may be tomorrow; a pipe stays a pipe.
        waits = reason.startswith("cannot")
        state = FileState.WAITING if waits else FileState.FAILED
        self._files.note(INBOX, found.path, NO_STAMP, state, now_s, reason)
        log.warning("file_" + state, path=display_path(found.path), reason=reason)

    def _note_away(self, reason: str) -> None:
        if reason and reason != self._away:
            log.error("inbox_away", path=display_path(self._inbox_dir), reason=reason)
        elif self._away and not reason:
            log.info("inbox_back", path=display_path(self._inbox_dir))
        self._away = reason

    def _dispose(self, known: Collection[Path], seen: Collection[Path]) -> None:
        """Move what is done to processed/. Never over another file, nor where one was known."""
        for file in self._files.in_state(FileState.DONE):
            if file.root != INBOX or file.path not in seen:
                continue
            target = self._free(PROCESSED / file.path, known)
            place = self._inbox_dir / target
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                (self._inbox_dir / file.path).rename(place)
            except OSError as error:
                log.warning("file_not_moved", path=display_path(file.path), reason=error.strerror)
                continue
            self._files.rename(file.id, target)
            log.info("file_moved", path=display_path(file.path), to=display_path(target))

    def _free(self, target: Path, known: Collection[Path]) -> Path:
        """The path itself, or the first ``name (2).mp4`` that nobody uses or used."""
        candidate, number = target, 1
        while candidate in known or os.path.lexists(self._inbox_dir / candidate):
            number += 1
            candidate = target.with_name(f"{target.stem} ({number}){target.suffix}")
        return candidate
