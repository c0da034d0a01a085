"""Admit files from the inbox: scan, wait until a file is stable, register it with its state."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import structlog

from portraitd.config import InboxSettings
from portraitd.ingest.mounts import (
    MARKER,
    file_system_type,
    is_folder_of,
    mark,
    needs_polling,
    read_token,
    renumbers_files,
)
from portraitd.ingest.processed_folder import PROCESSED, ProcessedFolder
from portraitd.ingest.refusal import state_of_refused
from portraitd.ingest.scanner import Found, is_unchanged, scan_file, scan_folder, scan_in_steps
from portraitd.ingest.stability import BlockReasons, StabilityPolicy, StabilityTracker
from portraitd.model.ignored_names import is_ignored
from portraitd.model.media_file import FileState, Stamp
from portraitd.model.reasons import INACCESSIBLE, NO_REASON, Reason, ReasonCode
from portraitd.model.stage import Now, Stage
from portraitd.store.files import INBOX, Files, FoundFile, KnownFile, display_path

log = structlog.get_logger(stage="admission")

NO_STAMP = Stamp(0, 0, 0)

SCAN_GAP_S = 1.0
"""Events arrive often while a file is copied; one scan a second is enough."""

TURN_S = 1.0
"""How long one tick may scan; then the other stages, and the watchdog, have their turn."""

BATCH = 500
"""Files that are recorded in one transaction."""

MAX_LOOKED_UP = 100


class Admission(Stage):
    """Scans the inbox, and moves files that have not changed for long enough to ready.

    A scan takes as many ticks as it needs: a tick ends after ``TURN_S`` whatever the inbox holds.

    Args:
        files: The store of files and their states.
        inbox_dir: The folder into which people drop files.
        settings: How long a file must not have changed, how often to scan, and what to do with
            a done file.
        share_error: Returns why the inbox must not even be touched; ``NO_REASON`` if it may be.
        clock: A clock that never goes back, for the length of a tick.
    """

    phase = "faces"

    def __init__(
        self,
        files: Files,
        inbox_dir: Path,
        settings: InboxSettings,
        share_error: Callable[[], Reason] = lambda: NO_REASON,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._inbox_dir = inbox_dir
        self._settings = settings
        self._stability = StabilityTracker(settings.quiet_s)
        self._block_reasons = BlockReasons(
            StabilityPolicy(settings.quiet_remote_s, settings.unfinished_s), inbox_dir
        )
        self._processed = ProcessedFolder(inbox_dir)
        self._unstable = 0
        self._unavailable = NO_REASON
        self._share_error = share_error
        self._clock = clock
        self._scan: Iterator[None] | None = None
        self._now = Now(0.0, 0.0)
        self._work_s = 0.0
        self._last_work_s = 0.0
        self._scanned_s = float("-inf")
        self._is_wanted = True
        self._watches_inbox = True
        self._device = -1
        self._identity = (0, 0)
        self._renumbers = False
        self._token: str | None = None

    @property
    def pending(self) -> bool:
        """Return whether a file may still be written to, or the inbox is not scanned yet."""
        return (
            self._unstable > 0
            or self._scan is not None
            or (self._watches_inbox and self._scanned_s == float("-inf"))
        )

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
        if self._scan is not None:
            return 0.0
        soon = soon or self._is_wanted or self.pending
        return self._scanned_s + (self._gap_s if soon else self._settings.scan_s) - steady_s

    @property
    def is_unavailable(self) -> bool:
        """Return whether the inbox is not mounted or does not respond.

        Then neither the files in it nor the missing ones mean anything.
        """
        # The marker is not read on a share that hangs.
        return bool(self._share_error() or self._unavailable) or (
            self._token is not None and read_token(self._inbox_dir) != self._token
        )

    @property
    def lacks_inbox(self) -> bool:
        """Return whether the inbox is unavailable, also before it was scanned."""
        return self.is_unavailable or not is_folder_of(self._inbox_dir, self._files.read_marker())

    def has_lost(self, path: Path) -> bool:
        """Return whether a file cannot be read because the inbox is unavailable."""
        return path.is_relative_to(self._inbox_dir) and self.is_unavailable

    @property
    def blocked(self) -> Reason:
        """Return why the inbox cannot be scanned; ``NO_REASON`` if it can."""
        return self._share_error() or self._unavailable

    def tick(self, now: Now) -> None:
        """Scan the inbox if that is due, or go on with the scan that was begun."""
        if self._scan is None:
            soon = self._is_wanted or self.pending or self._has_failed
            gap_s = min(self._gap_s if soon else self._settings.scan_s, self._settings.scan_s)
            if not self._watches_inbox or now.steady_s - self._scanned_s < gap_s:
                return
            # Before the scan: an event that arrives during it asks for another one.
            self._is_wanted = False
            self._scanned_s = now.steady_s
        if self._share_error():
            self.release()
        else:
            self._advance(now, TURN_S)

    def scan(self, now: Now) -> None:
        """Scan the inbox once, however long it takes."""
        self._scanned_s = now.steady_s
        self._advance(now, float("inf"))

    def release(self) -> None:
        """Give up the scan that was begun; the next one finds everything again."""
        self._scan = None

    @property
    def _gap_s(self) -> float:
        """Return the shortest time between the starts of two scans: other stages need it too."""
        return max(SCAN_GAP_S, 3 * self._last_work_s)

    def _advance(self, now: Now, turn_s: float) -> None:
        """Begin a scan, or go on with it, for a limited time."""
        self._now = now
        began_s = self._clock()
        if self._scan is None:
            self._scan, self._work_s = self._scan_steps(), 0.0
        scan, self._scan = self._scan, None
        has_failed, self._has_failed = self._has_failed, True
        for _ in scan:
            if self._clock() - began_s >= turn_s:
                self._scan = scan
                break
        self._work_s += self._clock() - began_s
        self._has_failed = has_failed and self._scan is not None
        if self._scan is None:
            self._last_work_s = self._work_s

    def _scan_steps(self) -> Iterator[None]:
        """Scan the inbox, and yield wherever the scan can pause."""
        began = self._now
        self._identity = self._identify()
        self._choose_file_system()
        stamps: dict[Path, Stamp] = {}
        irregular: dict[Path, Reason] = {}
        for found in scan_in_steps(self._inbox_dir, skip=(PROCESSED,)):
            if found is None:
                pass
            elif not found.path.parts:
                inbox = display_path(self._inbox_dir)
                self._note_availability(
                    Reason.of(ReasonCode.INBOX_UNAVAILABLE, inbox=inbox, cause=found.reason)
                )
                return
            elif found.stamp is None:
                irregular[found.path] = found.reason
            else:
                inode = 0 if self._renumbers else found.stamp.inode
                stamps[found.path] = found.stamp._replace(inode=inode)
            yield
        ended = self._now
        known: dict[Path, KnownFile] = {}
        for batch in self._files.batches_below(INBOX):
            known.update((file.path, file) for file in batch)
            yield
        if not self._is_the_inbox(known, stamps.keys() | irregular.keys()):
            self._note_availability(marker_missing(self._inbox_dir))
            return
        self._note_availability(NO_REASON)
        yield from self._note_irregular(irregular, known)
        yield from self._admit(stamps, known, began, ended)
        yield from self._miss(known, stamps.keys() | irregular.keys())
        yield from self._ignore_refused(known)
        if self._settings.after == "move":
            yield from self._move_done(known, stamps.keys())

    def _admit(
        self,
        stamps: Mapping[Path, Stamp],
        known: Mapping[Path, KnownFile],
        began: Now,
        ended: Now,
    ) -> Iterator[None]:
        """Record new and changed files, and move those that are stable and complete to ready."""
        new = {path: stamp for path, stamp in stamps.items() if _is_new(stamp, known.get(path))}
        stable = self._stability.observe(new, ended.steady_s, began.steady_s)
        self._unstable = len(new) - len(stable)
        self._block_reasons.keep_only(set(stable))
        yield
        still_changing = Reason.of(ReasonCode.STILL_CHANGING)
        notes = _Notes(self._files)
        for path, stamp in new.items():
            if path not in known or known[path].state is not FileState.WAITING:
                yield from notes.add(self._now, path, stamp, FileState.WAITING, still_changing)
        yield from notes.write(self._now)
        with self._block_reasons.reading_many():
            for path in stable:
                since_s = self._stability.since_s(path)
                now, stamp = self._now, new[path]
                reason = self._block_reasons.of(path, since_s, now.steady_s, now.wall_s, stamp)
                if not reason:
                    yield from notes.add(now, path, stamp, FileState.READY)
                    self._stability.forget(path)
                elif path not in known or (known[path].state, known[path].reason) != (
                    FileState.WAITING,
                    reason,
                ):
                    yield from notes.add(now, path, stamp, FileState.WAITING, reason)
                yield
        yield from notes.write(self._now)

    def _miss(self, known: Mapping[Path, KnownFile], seen: Collection[Path]) -> Iterator[None]:
        """Record which files are not there any more before a worker had them."""
        missing = [
            file
            for path, file in known.items()
            if file.state in (FileState.WAITING, FileState.READY) and path not in seen
        ]
        reason = Reason.of(ReasonCode.REMOVED)
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            gone = self._files.miss([file.id for file in batch], self._now.wall_s)
            for file in batch:
                if file.id in gone:
                    log.info(
                        "file_gone",
                        path=display_path(file.path),
                        reason=reason.text,
                        reason_code=reason.code,
                    )
            yield

    def _ignore_refused(self, known: Mapping[Path, KnownFile]) -> Iterator[None]:
        """Ignore what an earlier version called failed although it is not for portraitd."""
        for file in known.values():
            if file.state is FileState.FAILED:
                state = state_of_refused(file.path, file.reason)
                if state is not FileState.FAILED:
                    self._files.move_on(file.id, state, self._now.wall_s, file.reason)
                    yield

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
            file_ids += self._register(os.fsencode(root), listed, now_s)
        return file_ids

    def _register(self, root: bytes, listed: Sequence[Found], now_s: float) -> list[int]:
        again = (FileState.FAILED, FileState.IGNORED, FileState.GONE)
        file_ids: dict[Path, int] = {}
        notes: list[FoundFile] = []
        for found in listed:
            if found.stamp is None:
                notes.append(FoundFile(found.path, NO_STAMP, FileState.FAILED, found.reason))
                continue
            known = self._files.find(root, found.path)
            if known and known.stamp.is_same(found.stamp) and known.state not in again:
                file_ids[found.path] = known.id
            else:
                notes.append(FoundFile(found.path, found.stamp, FileState.READY))
        for start in range(0, len(notes), BATCH):
            batch = notes[start : start + BATCH]
            noted = self._files.note_all(root, batch, now_s)
            file_ids.update(zip((note.path for note in batch), noted, strict=True))
        return [file_ids[found.path] for found in listed]

    def _is_the_inbox(self, known: Mapping[Path, KnownFile], seen: Collection[Path]) -> bool:
        """Return whether this folder is the inbox, and not an empty mount point, by its marker.

        The folder under the mount point of a share may have a marker, too, from a time when the
        share was not mounted: the token tells them apart. A folder with another token, or without
        a marker, becomes the inbox if no file is known yet, or a known file is in it.
        """
        if self._identify() != self._identity:
            # Another folder has taken its place since the scan began.
            return False
        recorded, token = self._files.read_marker(), read_token(self._inbox_dir)
        if token is None or (recorded is not None and token != recorded):
            is_new_home = not known and (recorded is None or token is not None)
            if not (is_new_home or self._holds_known(known, seen)):
                self._token = None
                return False
        if not token:
            # A read-only share stays as it is; without a marker it counts as the inbox.
            with suppress(OSError):
                token = mark(self._inbox_dir)
        if token is not None and token != recorded:
            self._files.record_marker(token)
        self._token = token
        return True

    def _holds_known(self, known: Mapping[Path, KnownFile], seen: Collection[Path]) -> bool:
        """Return whether a known file is in the inbox; those in processed/ are not scanned."""
        if known.keys() & seen:
            return True
        moved = (path for path in known if path.parts[0] == PROCESSED.name)
        return any(
            is_unchanged(self._inbox_dir / path, known[path].stamp)
            for path in islice(moved, MAX_LOOKED_UP)
        )

    def _identify(self) -> tuple[int, int]:
        """Return the device and the inode of the inbox; zeros if it is missing."""
        try:
            facts = os.stat(self._inbox_dir)
        except OSError:
            return 0, 0
        return facts.st_dev, facts.st_ino

    def _choose_file_system(self) -> None:
        """Choose the quiet time by the file system, again whenever another one is mounted."""
        try:
            device = os.stat(self._inbox_dir).st_dev
        except OSError:
            return
        if device == self._device:
            return
        self._device = device
        kind = file_system_type(self._inbox_dir)
        self._renumbers = renumbers_files(self._inbox_dir)
        remote = needs_polling(kind)
        quiet_s = self._settings.quiet_time_s(is_remote=remote)
        self._stability.quiet_s = quiet_s
        log.info(
            "inbox_mode",
            file_system=kind,
            remote=remote,
            quiet_s=quiet_s,
            stable_inodes=not self._renumbers,
        )

    def _note_irregular(
        self, irregular: Mapping[Path, Reason], known: Mapping[Path, KnownFile]
    ) -> Iterator[None]:
        """Record what is not a readable regular file, once, and again if the reason changes."""
        notes = _Notes(self._files)
        for path, reason in irregular.items():
            file = known.get(path)
            if file is None or file.reason != reason:
                # Permissions can change at any time; a pipe stays a pipe.
                state = FileState.WAITING if reason.code in INACCESSIBLE else FileState.FAILED
                yield from notes.add(self._now, path, NO_STAMP, state, reason)
        yield from notes.write(self._now)

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

    def _move_done(self, known: Mapping[Path, KnownFile], seen: Collection[Path]) -> Iterator[None]:
        """Move done files to processed/."""
        failures: set[str] = set()
        for path, before in known.items():
            if before.state is not FileState.DONE or path not in seen:
                continue
            yield
            try:
                file = self._files.get(before.id)
                if file.state is not FileState.DONE:
                    continue
                target = self._processed.move(path, file.stamp, known.__contains__)
            except (FileNotFoundError, KeyError):
                # It was removed, replaced or erased during the scan.
                continue
            except OSError as error:
                # What is wrong is the same for thousands of files.
                reason = error.strerror or str(error)
                if reason not in failures:
                    log.warning("file_not_moved", path=display_path(path), reason=reason)
                failures.add(reason)
                continue
            self._files.rename(file.id, target)
            log.info("file_moved", path=display_path(path), to=display_path(target))


class _Notes:
    """Files to record, many in one transaction."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._notes: list[FoundFile] = []

    def add(
        self,
        now: Now,
        path: Path,
        stamp: Stamp,
        state: FileState,
        reason: Reason = NO_REASON,
    ) -> Iterator[None]:
        """Note a file; write the notes when there are many."""
        self._notes.append(FoundFile(path, stamp, state, reason))
        if len(self._notes) >= BATCH:
            yield from self.write(now)

    def write(self, now: Now) -> Iterator[None]:
        """Write the notes."""
        notes, self._notes = self._notes, []
        if not notes:
            return
        self._files.record_all(INBOX, notes, now.wall_s)
        for path, stamp, state, reason in notes:
            say = log.warning if stamp == NO_STAMP else log.info
            say(
                "file_" + state,
                path=display_path(path),
                size=stamp.size,
                reason=reason.text,
                reason_code=reason.code,
            )
        yield


def _is_new(stamp: Stamp, known: KnownFile | None) -> bool:
    """Return whether a path has content that was not admitted yet."""
    if known is None or not known.stamp.is_same(stamp):
        return True
    return known.state in (FileState.WAITING, FileState.GONE)


def marker_missing(inbox_dir: Path) -> Reason:
    """Return the reason for an inbox without a marker."""
    return Reason.of(ReasonCode.INBOX_MARKER_MISSING, marker=MARKER, inbox=display_path(inbox_dir))
