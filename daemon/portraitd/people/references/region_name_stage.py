"""Take the names that other programs wrote around faces in photos of the inbox.

A face with such a name represents the person, as the face of a reference picture does. What a
reviewer said about a face counts more, and what was undone is not taken again. What portraitd wrote
itself, into a sidecar, says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import NamedTuple

import structlog

from portraitd.media.face_regions import FaceRegion
from portraitd.media.xml_tree import UnmergeableFile
from portraitd.media.xmp_sidecar import read_foreign_regions
from portraitd.model.edit import NameRegion
from portraitd.model.errors import PortraitdError, StoreError, WorkersUnavailable
from portraitd.model.photo_tags import PhotoTags
from portraitd.model.review_notice import ReviewNotice
from portraitd.model.sidecar import SidecarKind
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.people.references.region_matching import MatchedRegions, match_regions
from portraitd.people.sidecars import photo_tag_jobs
from portraitd.people.sidecars.sidecar_files import SidecarFiles
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.replay import Corrections
from portraitd.store.files import Files, KnownFile, display_path
from portraitd.store.region_readings import RegionReadings
from portraitd.store.review_notices import ReviewNotices

log = structlog.get_logger(stage="region_names")

AT_ONCE = 16
"""Photos that workers read at a time."""

SEARCH_S = 5.0
"""How often photos are searched for; while files are processed, there is a new one all the time."""

MAX_FOUND = 1000
"""Photos whose names wait for the tree to be read."""


class _Reading(NamedTuple):
    """A photo whose header a worker has."""

    file: KnownFile
    tags: Future[PhotoTags]


class _Found(NamedTuple):
    """A photo that was read, and the names of its faces."""

    file: KnownFile
    names: dict[int, str]


class RegionNameStage(Stage):
    """Reads each photo once, after its faces were found, and again after it was written to.

    Args:
        is_wanted: Whether names are taken at all.
        readings: Which photos were read, and their faces.
        files: The photos.
        sidecar_files: Reads the sidecars beside them.
        recorder: Records edits.
        notices: Says what was not understood.
        executor: Reads the headers of photos.
        wake: Called, from any thread, when one was read.
        is_read: Returns whether the tree was read in this tick and shows no edit that waits.
        is_unavailable: Returns whether the inbox cannot be read now.
    """

    phase = "faces"
    updates_tree = True

    def __init__(
        self,
        is_wanted: bool,
        readings: RegionReadings,
        files: Files,
        sidecar_files: SidecarFiles,
        recorder: EditRecorder,
        notices: ReviewNotices,
        executor: Executor,
        wake: Callable[[], None],
        is_read: Callable[[Now], bool],
        is_unavailable: Callable[[], bool],
    ) -> None:
        self._is_wanted = is_wanted
        self._readings = readings
        self._files = files
        self._sidecar_files = sidecar_files
        self._recorder = recorder
        self._notices = notices
        self._executor = executor
        self._wake = wake
        self._is_read = is_read
        self._is_unavailable = is_unavailable
        self._searched: int | None = None
        self._reading: list[_Reading] = []
        self._found: dict[int, _Found] = {}
        self._pause = BackOff(SEARCH_S)
        self._has_inbox = True

    @property
    def pending(self) -> bool:
        """Return whether a photo can still be read, or its names are to be recorded."""
        return bool(self._reading or self._found) or (self._may_have_unread and self._has_inbox)

    @property
    def _may_have_unread(self) -> bool:
        return self._is_wanted and self._searched != self._readings.version()

    @property
    def has_names(self) -> bool:
        """Return whether names wait for the tree to be read."""
        return bool(self._found)

    def release(self) -> None:
        """Drop the photos that workers have; they are read again."""
        self._searched, self._reading, self._found = None, [], {}

    def tick(self, now: Now) -> None:
        """Record what was read, and have more photos read."""
        try:
            self._collect(now)
            if self._found and self._is_read(now):
                self._record(now)
            if len(self._found) < MAX_FOUND and self._pause.ready(now):
                self._search(now)
        except StoreError:
            # What was not recorded is read again.
            self.release()
            raise

    def _search(self, now: Now) -> None:
        """Have photos read that were not read as they are."""
        if not self._may_have_unread:
            return
        self._has_inbox = not self._is_unavailable()
        if not self._has_inbox:
            return
        version = self._readings.version()
        known = self._found.keys() | {one.file.id for one in self._reading}
        unread = self._readings.unread(AT_ONCE + len(known))
        new = [file_id for file_id in unread if file_id not in known]
        for file_id in new[: AT_ONCE - len(self._reading)]:
            self._begin(file_id)
        if not new:
            self._searched = version
            self._pause.start(now)

    def _begin(self, file_id: int) -> None:
        file = self._files.get(file_id)
        tags = self._executor.submit(photo_tag_jobs.read_photo_tags, self._files.source(file))
        self._reading.append(_Reading(file, tags))
        tags.add_done_callback(lambda _: self._wake())

    def _collect(self, now: Now) -> None:
        """Take what workers have read; a photo without names is done."""
        ready = [one for one in self._reading if one.tags.done()]
        self._reading = [one for one in self._reading if one not in ready]
        for file, future in ready:
            try:
                names, faults = self._read(file, future.result())
            except (StoreError, WorkersUnavailable):
                # Neither is the fault of the photo.
                self._searched = None
                continue
            except PortraitdError as error:
                if self._is_unavailable():
                    self._searched = None
                    continue
                # It is read again when it has been written to.
                log.info("regions_not_read", path=display_path(file.path), reason=str(error))
                names, faults = MatchedRegions({}, set())
            notices = [ReviewNotice.of(code, display_path(file.path)) for code in sorted(faults)]
            self._notices.record(notices, now.wall_s)
            if names:
                self._found[file.id] = _Found(file, names)
            else:
                self._readings.record([file])

    def _record(self, now: Now) -> None:
        """Record the names that say something new."""
        found, self._found = self._found, {}
        corrections = self._readings.corrections()
        # A photo may have copies.
        edits = {
            face_id: NameRegion(face_id, name)
            for one in found.values()
            for face_id, name in one.names.items()
            if _is_open(face_id, name, corrections)
        }
        recorded = self._recorder.record([*edits.values()], now.wall_s) if edits else []
        self._readings.record(one.file for one in found.values())
        for one in recorded:
            log.info("edit", entry=one.entry_id, what="NameRegion", person=one.person_id)

    def _read(self, file: KnownFile, tags: PhotoTags) -> MatchedRegions:
        """Return the names in a photo, or in the sidecar beside it if there are any."""
        size_px = tags.width_px, tags.height_px
        found: list[FaceRegion] = []
        for xmp in (self._read_sidecar(file), tags.xmp):
            try:
                found = found or read_foreign_regions(xmp, size_px)
            except UnmergeableFile as error:
                log.info("regions_not_read", path=display_path(file.path), reason=str(error))
        if not found or file.video_id is None:
            return MatchedRegions({}, set())
        photo = self._readings.faces_of(file.video_id)
        faces = {
            face_id: FaceRegion.of("", box, photo.width_px, photo.height_px)
            for face_id, box in photo.boxes.items()
        }
        return match_regions((one.turned(tags.orientation) for one in found), faces)

    def _read_sidecar(self, file: KnownFile) -> bytes:
        try:
            path = self._sidecar_files.locate(file.path, SidecarKind.XMP)
            return self._sidecar_files.read(path) or b""
        except (OSError, UnmergeableFile):
            return b""


def _is_open(face_id: int, name: str, corrections: Corrections) -> bool:
    """Return whether a region may say whose a face is.

    Not where a reviewer has said so, nor where the last region said the same, even if that was
    undone.
    """
    correction = corrections.by_face.get(face_id)
    if correction is not None and not correction.is_exemplar:
        return False
    last = corrections.references.get(face_id)
    if last is None or last.person_id is None:
        return True
    person_id = corrections.current_person(last.person_id)
    return name not in (last.name, corrections.names.get(person_id))
