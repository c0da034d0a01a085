"""Keep the sidecars of the inbox as the people are: those of photos in XMP, of videos in NFO.

What each should say is compared with what it says, whenever people, names or files have changed.
A worker reads the header of a photo for that. A sidecar that cannot be changed safely is left
alone, and a notice says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor, Future
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import structlog

from portraitd.media.xml_tree import UnmergeableFile
from portraitd.model.errors import PortraitdError, StoreError, WorkersUnavailable
from portraitd.model.photo_tags import PhotoTags
from portraitd.model.reasons import ReasonCode
from portraitd.model.review_notice import ReviewNotice
from portraitd.model.sidecar import NamedRecording, SidecarKey, SidecarKind, WrittenSidecar
from portraitd.model.stage import Now, Stage
from portraitd.people.sidecars import photo_tag_jobs
from portraitd.people.sidecars.sidecar_content import write_sidecar
from portraitd.people.sidecars.sidecar_files import ChangedMeanwhile, SidecarFiles, sidecar_paths
from portraitd.store.files import Files, display_path
from portraitd.store.review_notices import ReviewNotices
from portraitd.store.sidecars import Sidecars

log = structlog.get_logger(stage="sidecars")

BUSY_S = 60.0
"""How often sidecars are compared while faces are being found: people change all the time."""

PER_S = 1000
"""Recordings that are compared in a second, if people change all the time; that takes 0.05 s."""

REPEAT_S = 600.0
"""How often they are compared in any case: files are moved, and a full disk is emptied."""

AT_ONCE = 8
"""Headers that workers read at a time."""

BATCH = 50
"""Sidecars that are looked at in one tick."""


class _Reading(NamedTuple):
    """A photo whose header a worker has."""

    recording: NamedRecording
    tags: Future[PhotoTags]


class SidecarStage(Stage):
    """Writes the sidecars that differ from what they should be.

    Args:
        sidecars: What each should say, and says.
        files: The recordings.
        notices: Says which could not be written.
        sidecar_files: Reads and writes them.
        kinds: Which kinds there should be; portraitd's part is taken out of the others.
        executor: Reads the headers of photos.
        wake: Called, from any thread, when one was read.
        is_busy: Returns whether faces are being found.
        is_unavailable: Returns whether the inbox cannot be written now.
    """

    def __init__(
        self,
        sidecars: Sidecars,
        files: Files,
        notices: ReviewNotices,
        sidecar_files: SidecarFiles,
        kinds: Collection[SidecarKind],
        executor: Executor,
        wake: Callable[[], None],
        is_busy: Callable[[], bool],
        is_unavailable: Callable[[], bool],
    ) -> None:
        self._sidecars = sidecars
        self._files = files
        self._notices = notices
        self._sidecar_files = sidecar_files
        self._kinds = frozenset(kinds)
        self._executor = executor
        self._wake = wake
        self._is_busy = is_busy
        self._is_unavailable = is_unavailable
        self._compared: tuple[int, ...] | None = None
        self._compared_s = float("-inf")
        self._compared_recordings = 0
        self._written: dict[SidecarKey, WrittenSidecar] = {}
        self._waiting: dict[SidecarKey, NamedRecording | None] = {}
        self._left_alone: dict[SidecarKey, str] = {}
        self._noted: set[tuple[ReasonCode, Path]] = set()
        self._reading: list[_Reading] = []
        self._has_inbox = True

    @property
    def pending(self) -> bool:
        """Return whether a sidecar may have to be written, and can be."""
        if self._waiting or self._reading:
            return self._has_inbox
        return self._is_in_use and self._compared != self._sidecars.version()

    def release(self) -> None:
        """Drop what was compared, and the headers that workers have."""
        self._compared, self._waiting, self._reading = None, {}, []

    def tick(self, now: Now) -> None:
        """Compare when something has changed, and write what differs."""
        try:
            if self._is_due(now):
                self._compare(now)
            if self._waiting or self._reading:
                self._advance(now)
        except StoreError:
            # What was not recorded is compared again.
            self.release()
            raise

    def _advance(self, now: Now) -> None:
        """Write some of the sidecars that differ, and have headers read for others."""
        self._has_inbox = not self._is_unavailable()
        if not self._has_inbox:
            return
        self._collect(now)
        for key, recording in list(islice(self._waiting.items(), BATCH)):
            if recording is None or recording.kind is SidecarKind.NFO:
                del self._waiting[key]
                self._write(key, recording, None, now)
            elif len(self._reading) < AT_ONCE:
                del self._waiting[key]
                self._begin(recording, now)

    @property
    def _is_in_use(self) -> bool:
        """Whether sidecars are wanted, or may have been written before."""
        return bool(self._kinds or self._written) or self._compared is None

    def _is_due(self, now: Now) -> bool:
        since_s = now.steady_s - self._compared_s
        if not self._is_in_use:
            return False
        if self._compared == self._sidecars.version():
            return since_s >= REPEAT_S and not (self._waiting or self._reading)
        return since_s >= (BUSY_S if self._is_busy() else self._compared_recordings / PER_S)

    def _compare(self, now: Now) -> None:
        """Note what each sidecar that differs should say."""
        version = self._sidecars.version()
        written = {one.key: one for one in self._sidecars.written()}
        desired = combine_shared(self._sidecars.desired(self._kinds))
        in_work = self._sidecars.in_work()
        # If the store fails before this, they are compared again.
        self._compared, self._compared_s = version, now.steady_s
        self._compared_recordings = len(desired)
        self._written, self._reading = written, []
        removed = [
            key
            for key in self._written.keys() - desired.keys()
            if key[0] not in in_work or key[1] not in self._kinds
        ]
        # First what is removed: a file may get another's name.
        candidates: dict[SidecarKey, NamedRecording | None] = dict.fromkeys(sorted(removed))
        candidates |= desired
        self._waiting = {
            key: recording
            for key, recording in candidates.items()
            if not _says(self._written.get(key), recording)
            and self._left_alone.get(key) != _identity_of(recording)
        }

    def _begin(self, recording: NamedRecording, now: Now) -> None:
        try:
            source = self._files.source(self._files.get(recording.file_id))
        except KeyError:
            self._write(recording.key, None, None, now)
            return
        tags = self._executor.submit(photo_tag_jobs.read_photo_tags, source)
        self._reading.append(_Reading(recording, tags))
        tags.add_done_callback(lambda _: self._wake())

    def _collect(self, now: Now) -> None:
        done = [one for one in self._reading if one.tags.done()]
        self._reading = [one for one in self._reading if one not in done]
        for recording, future in done:
            try:
                tags = future.result()
            except (StoreError, WorkersUnavailable):
                # Neither is the fault of the photo.
                self._waiting[recording.key] = recording
            except PortraitdError as error:
                # One that is being written is read again when its faces are known.
                if error.reason.code is ReasonCode.REMOVED:
                    self._write(recording.key, None, None, now)
            else:
                self._write(recording.key, recording, tags, now)

    def _write(
        self, key: SidecarKey, recording: NamedRecording | None, tags: PhotoTags | None, now: Now
    ) -> None:
        """Write a sidecar, and record that; without a recording, take portraitd's part out."""
        before = self._written.get(key)
        path = before.path if before else Path()
        try:
            if before and (recording is None or path not in _paths_of(recording)):
                self._update(path, key[1])
                self._sidecars.forget(key)
                del self._written[key]
                before = None
            if recording is None:
                return
            path = recording.path
            path = before.path if before else self._sidecar_files.locate(path, key[1])
            self._update(path, key[1], recording, tags)
        except UnmergeableFile as error:
            self._left_alone[key] = _identity_of(recording)
            self._note(ReasonCode.SIDECAR_LEFT_ALONE, path, str(error), now)
        except ChangedMeanwhile:
            self._waiting[key] = recording
        except OSError as error:
            # What is wrong is the same for all in a folder.
            cause = error.strerror or str(error)
            self._note(ReasonCode.SIDECAR_NOT_WRITTEN, path.parent, cause, now)
        else:
            written = WrittenSidecar(recording.file_id, recording.kind, path, recording.identity)
            self._sidecars.record(written)
            self._written[key] = written
            self._withdraw(ReasonCode.SIDECAR_LEFT_ALONE, path)
            self._withdraw(ReasonCode.SIDECAR_NOT_WRITTEN, path.parent)

    def _update(
        self,
        path: Path,
        kind: SidecarKind,
        recording: NamedRecording | None = None,
        tags: PhotoTags | None = None,
    ) -> None:
        write = partial(write_sidecar, kind, recording, tags)
        beside = recording.path.name if recording else ""
        if self._sidecar_files.update(path, write, beside):
            log.info("sidecar_written", path=display_path(path))

    def _note(self, code: ReasonCode, path: Path, cause: str, now: Now) -> None:
        self._notices.record([ReviewNotice.of(code, display_path(path), cause=cause)], now.wall_s)
        self._noted.add((code, path))

    def _withdraw(self, code: ReasonCode, path: Path) -> None:
        """Remove a notice that is not true any more."""
        if (code, path) in self._noted:
            self._noted.remove((code, path))
            self._notices.clear(code, display_path(path))


def combine_shared(recordings: Iterable[NamedRecording]) -> dict[SidecarKey, NamedRecording]:
    """Return recordings by key; of those that have one sidecar, the first with everybody in it."""
    by_path: dict[Path, NamedRecording] = {}
    for one in recordings:
        path = _paths_of(one)[0]
        first = by_path.get(path)
        by_path[path] = first.joined(one) if first else one
    return {one.key: one for one in by_path.values()}


def _says(written: WrittenSidecar | None, recording: NamedRecording | None) -> bool:
    """Return whether a sidecar says what it should, at a place where it may be."""
    if written is None or recording is None:
        return False
    is_there = written.path in _paths_of(recording)
    return is_there and written.identity == recording.identity


def _paths_of(recording: NamedRecording) -> list[Path]:
    return sidecar_paths(recording.path, recording.kind)


def _identity_of(recording: NamedRecording | None) -> str:
    return recording.identity if recording else ""
