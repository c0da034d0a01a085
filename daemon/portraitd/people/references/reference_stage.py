"""Take pictures of the reviewers' own as references: each says who the person of its folder is.

A reference is read like a photo of the inbox, by the same workers. The picture stays the
reviewer's: it is never written, moved or removed. What a picture says is compared with the last
ledger entry about its face, so an undo lasts until the picture or its folder changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from portraitd.config import InboxSettings, ReviewSettings
from portraitd.ingest.stability import BlockReasons, StabilityPolicy, StabilityTracker
from portraitd.model.edit import AddReference, ReferenceEdit, RemoveReference
from portraitd.model.media_file import FileState, Stamp
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.review_notice import ReviewNotice
from portraitd.model.stage import Now, Stage
from portraitd.people.names import number_in
from portraitd.people.tree.reference_pictures import ReferencePlace, ReferenceScan
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.replay import Corrections
from portraitd.store.files import Files, FoundFile, KnownFile
from portraitd.store.reference_faces import ReferenceFace, ReferenceFaces
from portraitd.store.review_notices import ReviewNotices

log = structlog.get_logger(stage="references")

NOTICE_CODES = frozenset({
    ReasonCode.REFERENCE_WITHOUT_FACE, ReasonCode.REFERENCE_OF_SEVERAL,
    ReasonCode.REFERENCE_UNREADABLE, ReasonCode.REFERENCE_OF_TWO,
    ReasonCode.REFERENCE_WITHOUT_NAME, ReasonCode.TOO_MANY_REFERENCES,
    ReasonCode.REFERENCE_UNDONE,
})  # fmt: skip

_WITHOUT_FACE = {
    ReasonCode.NO_FACE: ReasonCode.REFERENCE_WITHOUT_FACE,
    ReasonCode.SEVERAL_FACES: ReasonCode.REFERENCE_OF_SEVERAL,
}

_IN_WORK = frozenset({FileState.PROBING, FileState.ENCODING})


class ReferenceTree(Protocol):
    """What the stage needs of the people tree."""

    def find_references(self) -> ReferenceScan:
        """Return the reference pictures, as of the last reading of the tree.

        Raises:
            PublishError: The tree cannot be read.
        """

    def adopt(self, location: str, person_id: int) -> None:
        """Make a folder that a reviewer made this person's."""

    def release(self, location: str, person_id: int) -> None:
        """Make a folder that holds no portraits of this person the reviewers' own again."""


class ReferenceStage(Stage):
    """Turns settled reference pictures into files to read, and read ones into edits.

    Args:
        tree: The people tree.
        root: Its folder.
        files: The files to read.
        faces: What was found in them.
        recorder: Records edits.
        notices: Says what was not understood.
        inbox: When a file is settled.
        review: How long a picture must be missing before it counts as removed.
        is_read: Returns whether the tree was read in this tick and shows no edit that waits.
        is_remote: Returns whether the kernel cannot tell who writes to the tree.
    """

    phase = "faces"
    updates_tree = True

    def __init__(
        self,
        tree: ReferenceTree,
        root: Path,
        files: Files,
        faces: ReferenceFaces,
        recorder: EditRecorder,
        notices: ReviewNotices,
        inbox: InboxSettings,
        review: ReviewSettings,
        is_read: Callable[[Now], bool],
        is_remote: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tree = tree
        self._root = os.fsencode(root)
        self._files = files
        self._faces = faces
        self._recorder = recorder
        self._notices = notices
        self._inbox = inbox
        self._review = review
        self._is_read = is_read
        self._is_remote = is_remote
        self._stability = StabilityTracker(inbox.quiet_s)
        self._block_reasons = BlockReasons(
            StabilityPolicy(inbox.quiet_remote_s, inbox.unfinished_s), root
        )
        self._missing_since_s: dict[int, float] = {}
        self._unsettled = 0
        self._compared: tuple[int, int] | None = None
        self._is_moved = False
        self._adopted: set[tuple[str, int]] = set()

    @property
    def pending(self) -> bool:
        """Whether a picture is not settled, or was read and is not recorded yet."""
        return self._unsettled > 0 or self._compared not in (None, self._faces.version())

    def tick(self, now: Now) -> None:
        """Compare the pictures with what is known of them, whenever the tree was read."""
        if not self._is_read(now):
            return
        if not self._is_moved:
            # The people folder may have been moved while no service was running.
            self._files.move_references(self._root)
            self._is_moved = True
        scan = self._tree.find_references()
        known = {str(file.path): file for file in self._files.references()}
        known = self._follow_renamed(scan.pictures, known)
        self._admit(scan.pictures, known, now)
        self._miss(scan, known, now)
        self._record(scan, now)
        self._unsettled += len(self._missing_since_s)

    def _follow_renamed(
        self, found: Mapping[str, ReferencePlace], known: Mapping[str, KnownFile]
    ) -> dict[str, KnownFile]:
        """Give a file that was renamed or moved, with or without its folder, its new path."""
        missing = {
            (file.stamp.inode, file.stamp.size, file.stamp.mtime_ns): path
            for path, file in known.items()
            if path not in found and file.stamp.inode and file.state is not FileState.GONE
        }
        followed = dict(known)
        for path, place in found.items():
            before = missing.get((place.stamp.inode, place.stamp.size, place.stamp.mtime_ns))
            # Where another picture had the path before, its row stays, and this one is read again.
            if before is not None and path not in known:
                file = followed.pop(before)
                self._files.rename(file.id, Path(path))
                followed[path] = file
        return followed

    def _admit(
        self, found: Mapping[str, ReferencePlace], known: Mapping[str, KnownFile], now: Now
    ) -> None:
        """Have settled pictures read that are new or were changed."""
        new = {
            Path(path): place.stamp
            for path, place in found.items()
            if _is_new(known.get(path), place.stamp)
        }
        self._stability.quiet_s = self._inbox.quiet_time_s(is_remote=self._is_remote())
        stable = self._stability.observe(new, now.steady_s)
        self._block_reasons.keep_only(set(stable))
        ready, waiting = [], 0
        for path in stable:
            since_s = self._stability.since_s(path)
            stamp = new[path]
            if self._block_reasons.of(path, since_s, now.steady_s, now.wall_s, stamp):
                waiting += 1
                continue
            ready.append(FoundFile(path, stamp, FileState.READY))
            self._stability.forget(path)
        if ready:
            self._files.note_references(self._root, ready, now.wall_s)
            for one in ready:
                log.info("reference_found", size=one.stamp.size)
        # A picture that has to wait longer is not work that can be done now.
        self._unsettled = len(new) - len(ready) - waiting

    def _miss(self, scan: ReferenceScan, known: Mapping[str, KnownFile], now: Now) -> None:
        """Record which pictures are not there any more, when two readings agree."""
        missing = {}
        for path, file in known.items():
            is_hidden = any(path.startswith(f"{at}/") for at in scan.unreadable)
            is_gone = file.state in (FileState.GONE, FileState.FORGOTTEN, *_IN_WORK)
            if path in scan.pictures or is_hidden or is_gone:
                continue
            since_s = self._missing_since_s.get(file.id, now.steady_s)
            if now.steady_s - since_s < self._review.settle_s:
                missing[file.id] = since_s
                continue
            self._files.move_on(file.id, FileState.GONE, now.wall_s, Reason.of(ReasonCode.REMOVED))
            log.info("reference_gone", file=file.id)
        self._missing_since_s = missing

    def _record(self, scan: ReferenceScan, now: Now) -> None:
        """Record what the pictures say that the ledger does not."""
        notices = list(scan.notices)
        corrections = self._faces.corrections()
        edits: list[tuple[ReferenceEdit, str]] = []
        for face in self._faces.all():
            places = {
                str(path): scan.pictures[str(path)]
                for path in face.pictures
                if str(path) in scan.pictures
            }
            if not places:
                is_gone = not face.pictures and not face.is_read_again
                if is_gone and _was_added(face, corrections):
                    edits.append((RemoveReference(face.face_id), ""))
                continue
            owners = {(place.person_id, place.name) for place in places.values()}
            if len({owner[0] or owner[1] for owner in owners}) > 1:
                notices += [
                    ReviewNotice.of(ReasonCode.REFERENCE_OF_TWO, path) for path in sorted(places)
                ]
                continue
            place = next(iter(places.values()))
            if not _says_the_same(face, place, corrections):
                edit = AddReference(face.face_id, place.person_id, place.name)
                edits.append((edit, place.location))
            elif face.person_id is None:
                self._release(places.values(), corrections)
                notices += [
                    ReviewNotice.of(ReasonCode.REFERENCE_UNDONE, path) for path in sorted(places)
                ]
            elif place.person_id is None:
                # The service may have stopped after the entry and before the folder's manifest.
                self._adopt(place.location, face.person_id)
        locations: dict[ReferenceEdit, str] = dict(edits)
        # Without an edit, nothing is written.
        found = self._recorder.record(list(locations), now.wall_s) if edits else []
        for recorded in found:
            made = recorded.edit
            if isinstance(made, AddReference) and recorded.person_id is not None:
                self._adopt(locations[made], recorded.person_id)
            log.info(
                "edit",
                entry=recorded.entry_id,
                what=type(made).__name__,
                person=recorded.person_id,
            )
        self._compared = self._faces.version()
        notices += self._notices_of_files(scan)
        self._notices.record(notices, now.wall_s)
        self._notices.keep_only(notices, NOTICE_CODES)

    def _adopt(self, location: str, person_id: int) -> None:
        """Make a folder a person's; a person with another folder keeps that one."""
        if (location, person_id) not in self._adopted:
            self._adopted.add((location, person_id))
            self._tree.adopt(location, person_id)

    def _release(self, places: Iterable[ReferencePlace], corrections: Corrections) -> None:
        """Give up the folders of people who were known by an undone picture only.

        A reviewer made and named such a folder. As a person's, it would be renamed to a number.
        """
        for place in places:
            person_id = place.person_id
            if person_id is not None:
                is_named = corrections.names.get(person_id) is not None
                if not is_named and number_in(place.name) is None:
                    self._tree.release(place.location, person_id)
            # Where the undo is undone, the folder is adopted again.
            self._adopted = {one for one in self._adopted if one[0] != place.location}

    def _notices_of_files(self, scan: ReferenceScan) -> list[ReviewNotice]:
        notices = []
        for file in self._files.references():
            path = str(file.path)
            if path not in scan.pictures:
                continue
            if file.state is FileState.FAILED:
                notices.append(
                    ReviewNotice.of(ReasonCode.REFERENCE_UNREADABLE, path, cause=file.reason.text)
                )
            elif file.reason.code in _WITHOUT_FACE:
                notices.append(ReviewNotice.of(_WITHOUT_FACE[file.reason.code], path))
        return notices


def _is_new(known: KnownFile | None, stamp: Stamp) -> bool:
    """Return whether a path has a content that was not read yet."""
    if known is None or known.state in (FileState.WAITING, FileState.GONE):
        return True
    if known.state in _IN_WORK:
        return False
    return not known.stamp.is_same(stamp)


def _was_added(face: ReferenceFace, corrections: Corrections) -> bool:
    """Return whether the last entry about a face, even an undone one, assigns it to a person."""
    decision = corrections.references.get(face.face_id)
    return decision is not None and decision.person_id is not None


def _says_the_same(face: ReferenceFace, place: ReferencePlace, corrections: Corrections) -> bool:
    """Return whether the last entry about a face, even an undone one, says what the folder says."""
    decision = corrections.references.get(face.face_id)
    if decision is None or decision.person_id is None:
        return False
    person_id = corrections.current_person(decision.person_id)
    if place.person_id is not None:
        return corrections.current_person(place.person_id) == person_id
    return place.name in (decision.name, corrections.names.get(person_id))
