"""Admit files from the inbox: scan, wait until a file is stable, register it with its state."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from portraitd.config import InboxSettings
from portraitd.ingest.mounts import MARKER, file_system_type, is_marked, mark, needs_polling
from portraitd.ingest.scanner import Found, scan_file, scan_folder
from portraitd.ingest.stability import BlockReasons, StabilityPolicy, StabilityTracker
from portraitd.model.ignored_names import is_ignored
from portraitd.model.media_file import FileState, Stamp
from portraitd.model.reasons import INACCESSIBLE, NO_REASON, Reason, ReasonCode
from portraitd.model.stage import Now, Stage
from portraitd.store.files import INBOX, Files, KnownFile, display_path

log = structlog.get_logger(stage="admission")

PROCESSED = Path("processed")

NO_STAMP = Stamp(0, 0, 0)

SCAN_GAP_S = 1.0
"""Events arrive often while a file is copied; one scan a second is enough."""


class Admission(Stage):
    """Scans the inbox, and moves files that have not changed for long enough to ready.

    Args:
        files: The store of files and their states.
        inbox_dir: The folder into which people drop files.
        settings: How long a file must not have changed, how often to scan, and what to do with
            a done file.
        share_error: Returns why the inbox must not even be touched; ``NO_REASON`` if it may be.
    """

    phase = "faces"

    def __init__(
        self,
        files: Files,
        inbox_dir: Path,
        settings: InboxSettings,
        share_error: Callable[[], Reason] = lambda: NO_REASON,
    ) -> None:
        self._files = files
        self._inbox_dir = inbox_dir
        self._settings = settings
        self._stability = StabilityTracker(settings.quiet_s)
        self._block_reasons = BlockReasons(
            StabilityPolicy(settings.quiet_remote_s, settings.unfinished_s)
        )
        self._unstable = 0
        self._unavailable = NO_REASON
        self._share_error = share_error
        self._scanned_s = float("-inf")
        self._has_failed = False
        self._is_wanted = True
        self._watches_inbox = True
        self._device = -1
        self._marked = False

    @property
    def pending(self) -> bool:
        """Return whether a file may still be written to, or the inbox was never scanned."""
        return self._unstable > 0 or (self._watches_inbox and self._scanned_s == float("-inf"))

    @property
    def defers(self) -> bool:
        """Return whether a scan that failed waits to be repeated."""
        return self._has_failed

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
        return self._scanned_s + (SCAN_GAP_S if soon else self._settings.scan_s) - steady_s

    @property
    def is_unavailable(self) -> bool:
        """Return whether the inbox is not mounted or does not respond.

        Then neither the files in it nor the missing ones mean anything.
        """
        # The marker is not read on a share that hangs.
        return bool(self._share_error() or self._unavailable) or (
            self._marked and not is_marked(self._inbox_dir)
        )

    def has_lost(self, path: Path) -> bool:
        """Return whether a file cannot be read because the inbox is unavailable."""
        return path.is_relative_to(self._inbox_dir) and self.is_unavailable

    @property
    def blocked(self) -> Reason:
        """Return why the inbox cannot be scanned; ``NO_REASON`` if it can."""
        return self._share_error() or self._unavailable

    def tick(self, now: Now) -> None:
        """Scan the inbox if that is due."""
        soon = self._is_wanted or self.pending or self._has_failed
        gap_s = min(SCAN_GAP_S if soon else self._settings.scan_s, self._settings.scan_s)
        if not self._watches_inbox or now.steady_s - self._scanned_s < gap_s:
            return
        # Before the scan: an event that arrives during it asks for another one.
        self._is_wanted = False
        self._scanned_s = now.steady_s
        if not self._share_error():
            self._has_failed = True
            self.scan(now)
            self._has_failed = False

    def scan(self, now: Now) -> None:
        """Scan the inbox once."""
        now_s, steady_s = now.wall_s, now.steady_s
        self._scanned_s = steady_s
        known = self._files.below(INBOX)
        stamps: dict[Path, Stamp] = {}
        seen: set[Path] = set()
        for found in scan_folder(self._inbox_dir, skip=(PROCESSED,)):
            if found.path == Path():
                inbox = display_path(self._inbox_dir)
                self._note_availability(
                    Reason.of(ReasonCode.INBOX_UNAVAILABLE, inbox=inbox, cause=found.reason)
                )
                return
            seen.add(found.path)
            if found.stamp is None:
                self._note_irregular(found, known.get(found.path), now_s)
            elif self._is_new(found.stamp, known.get(found.path)):
                stamps[found.path] = found.stamp
        if not self._is_the_inbox(known, seen):
            self._note_availability(marker_missing(self._inbox_dir))
            return
        self._note_availability(NO_REASON)
        self._choose_quiet_time()
        still_changing = Reason.of(ReasonCode.STILL_CHANGING)
        for path, stamp in stamps.items():
            if path not in known or known[path].state is not FileState.WAITING:
                self._note(path, stamp, FileState.WAITING, now_s, still_changing)
        stable = self._stability.observe(stamps, steady_s)
        self._block_reasons.keep_only({self._inbox_dir / path for path in stable})
        for path in stable:
            self._admit(path, stamps[path], known.get(path), now_s, steady_s)
        self._unstable = len(stamps) - len(stable)
        for path, file in known.items():
            if path not in seen and file.state in (FileState.WAITING, FileState.READY):
                reason = Reason.of(ReasonCode.REMOVED)
                self._files.move_on(file.id, FileState.GONE, now_s, reason)
                log.info(
                    "file_gone",
                    path=display_path(path),
                    reason=reason.text,
                    reason_code=reason.code,
                )
        if self._settings.after == "move":
            self._move_done(known.keys(), seen)

    def register(
        self,
        paths: Sequence[Path],
        now_s: float,
        leave_out: Callable[[Path], Collection[Path]] = lambda path: (),
    ) -> list[int]:
        """Register files and folders named on the command line, as they are now.

        A file is stored with its path below the named folder, or with its bare name.

        Args:
            paths: The files and folders.
            now_s: The current time.
            leave_out: Returns the folders below one of the paths that are not read.

        Returns:
            The ids of their rows.
        """
        file_ids = []
        for path in paths:
            place = path.absolute()
            if place.is_dir() and not place.is_symlink():
                root, listed = place, list(scan_folder(place, leave_out(path)))
            else:
                ignored = is_ignored(place.name)
                code = ReasonCode.IGNORED_NAME if ignored else ReasonCode.NO_SUCH_FILE
                root = place.parent
                listed = [scan_file(place) or Found(Path(place.name), None, Reason.of(code))]
            file_ids += [self._register(os.fsencode(root), found, now_s) for found in listed]
        return file_ids

    def _register(self, root: bytes, found: Found, now_s: float) -> int:
        if found.stamp is None:
            return self._files.note(
                root, found.path, NO_STAMP, FileState.FAILED, now_s, found.reason
            )
        known = self._files.find(root, found.path)
        again = (FileState.FAILED, FileState.GONE)
        if known and known.stamp == found.stamp and known.state not in again:
            return known.id
        return self._files.note(root, found.path, found.stamp, FileState.READY, now_s)

    def _admit(
        self, path: Path, stamp: Stamp, known: KnownFile | None, now_s: float, steady_s: float
    ) -> None:
        """Move a stable file to ready, unless it has a block reason."""
        place, since_s = self._inbox_dir / path, self._stability.since_s(path)
        reason = self._block_reasons.of(place, since_s, steady_s, now_s)
        if not reason:
            self._note(path, stamp, FileState.READY, now_s)
            self._stability.forget(path)
        elif known is None or (known.state, known.reason) != (FileState.WAITING, reason):
            self._note(path, stamp, FileState.WAITING, now_s, reason)

    def _is_the_inbox(self, known: Mapping[Path, KnownFile], seen: Collection[Path]) -> bool:
        """Return whether this folder is the inbox, and not an empty mount point, by its marker.

        A folder without a marker gets one if no file is known yet, or a known file is in it.
        """
        self._marked = is_marked(self._inbox_dir)
        if not self._marked:
            if known and not known.keys() & seen:
                return False
            # A read-only share stays as it is; without a marker it counts as the inbox.
            with suppress(OSError):
                mark(self._inbox_dir)
                self._marked = True
        return True

    def _choose_quiet_time(self) -> None:
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
        quiet_s = self._settings.quiet_s
        if remote:
            quiet_s = max(quiet_s, self._settings.quiet_remote_s)
        self._stability.quiet_s = quiet_s
        log.info("inbox_mode", file_system=kind, remote=remote, quiet_s=quiet_s)

    def _is_new(self, stamp: Stamp, known: KnownFile | None) -> bool:
        """Return whether a path has content that was not admitted yet."""
        if known is None or known.stamp != stamp:
            return True
        return known.state in (FileState.WAITING, FileState.GONE)

    def _note(
        self,
        path: Path,
        stamp: Stamp,
        state: FileState,
        now_s: float,
        reason: Reason = NO_REASON,
    ) -> None:
        self._files.note(INBOX, path, stamp, state, now_s, reason)
        log.info(
            "file_" + state,
            path=display_path(path),
            size=stamp.size,
            reason=reason.text,
            reason_code=reason.code,
        )

    def _note_irregular(self, found: Found, known: KnownFile | None, now_s: float) -> None:
        """Record what is not a readable regular file, once, and again if the reason changes."""
        reason = found.reason
        if known and known.reason == reason:
            return
        # Permissions can change at any time; a pipe stays a pipe.
        state = FileState.WAITING if reason.code in INACCESSIBLE else FileState.FAILED
        self._files.note(INBOX, found.path, NO_STAMP, state, now_s, reason)
        log.warning(
            "file_" + state,
            path=display_path(found.path),
            reason=reason.text,
            reason_code=reason.code,
        )

    def _note_availability(self, reason: Reason) -> None:
        if reason and reason != self._unavailable:
            log.error(
                "inbox_unavailable",
                path=display_path(self._inbox_dir),
                reason=reason.text,
                reason_code=reason.code,
            )
        elif self._unavailable and not reason:
            log.info("inbox_available", path=display_path(self._inbox_dir))
        self._unavailable = reason

    def _move_done(self, known: Collection[Path], seen: Collection[Path]) -> None:
        """Move done files to processed/, never over another file or to a path that was used."""
        for file in self._files.in_state(FileState.DONE):
            if file.root != INBOX or file.path not in seen:
                continue
            target = self._unused_path(PROCESSED / file.path, known)
            place = self._inbox_dir / target
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                (self._inbox_dir / file.path).rename(place)
            except OSError as error:
                log.warning("file_not_moved", path=display_path(file.path), reason=error.strerror)
                continue
            self._files.rename(file.id, target)
            log.info("file_moved", path=display_path(file.path), to=display_path(target))

    def _unused_path(self, target: Path, known: Collection[Path]) -> Path:
        """Return the path itself, or the first ``name (2).mp4`` that was never used."""
        candidate, number = target, 1
        while candidate in known or os.path.lexists(self._inbox_dir / candidate):
            number += 1
            candidate = target.with_name(f"{target.stem} ({number}){target.suffix}")
        return candidate


def marker_missing(inbox_dir: Path) -> Reason:
    """Return the reason for an inbox without a marker."""
    return Reason.of(ReasonCode.INBOX_MARKER_MISSING, marker=MARKER, inbox=display_path(inbox_dir))
