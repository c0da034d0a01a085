"""Recordings whose files get new metadata: recognised by their pictures, they stay what they are.

``videos.sha256`` is the hash of the content in which a recording was read first. Everything that
outlives a file hangs on it: corrections, splits, names of training images, tombstones. It stays
when tags are written into the file; what the file contains now is in ``files.content_sha256``.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from portraitd.model.media_file import FileState, MediaFacts, VideoState
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.recording_time import RecordingTime
from portraitd.store.database import Database
from portraitd.store.files import Files, KnownFile, display_path, reason_of

IsUnchanged = Callable[[KnownFile], bool]
"""Returns whether a file is still there as it was read."""

SAME_DURATION_S = 0.25
"""Another container rounds times differently; a video that plays slower is another recording."""

_BESIDE = (FileState.DUPLICATE, FileState.GONE, FileState.FORGOTTEN)
"""States of files that hold a recording without being its file."""


class Undescribed(NamedTuple):
    """A recording that an earlier version read: its picture hash is unknown.

    Attributes:
        files: The files that hold it, the one that is read first.
    """

    video_id: int
    sha256: str
    files: list[KnownFile]


class Recordings:
    """Finds the recording of a content, and moves it to another file."""

    def __init__(self, database: Database, files: Files) -> None:
        self._db = database
        self._files = files

    def find(
        self, file: KnownFile, facts: MediaFacts, is_unchanged: IsUnchanged
    ) -> sqlite3.Row | None:
        """Return the row of the recording that a file holds; None if it is a new one.

        A file that failed says nothing about another one with its pictures: what is wrong may be
        its container.
        """
        exact = self._db.execute(
            """
            select * from videos where sha256 = ?1 or id in
                (select video_id from files where content_sha256 = ?1 and id <> ?2)
            order by sha256 <> ?1, id limit 1
            """,
            (facts.sha256, file.id),
        ).fetchone()
        if exact is not None or not facts.picture_hash:
            return exact  # type: ignore[no-any-return]
        rows = self._db.execute(
            """
            select * from videos where picture_hash = ? and kind = ? and replaces is null
            order by id = ? desc, id
            """,
            (facts.picture_hash, facts.kind, file.earlier_video_id or 0),
        )
        return next(
            (
                row
                for row in rows
                if _lasts_as_long(row, facts)
                and not (
                    row["state"] == VideoState.FAILED
                    and file.earlier_video_id != row["id"]
                    and any(map(is_unchanged, self._holders(row["id"], file)))
                )
            ),
            None,
        )

    def admit(
        self,
        file: KnownFile,
        facts: MediaFacts,
        known: sqlite3.Row,
        is_unchanged: IsUnchanged,
        now_s: float,
    ) -> FileState:
        """Make a file the one of a known recording, or a duplicate. In the caller's transaction.

        It becomes the recording's file if it was that before it was written to, or if that file
        is not there any more. Faces, corrections and splits stay as they are.

        Args:
            file: The file.
            facts: Its facts.
            known: The recording that it holds.
            is_unchanged: Whether another file is still there as it was read.
            now_s: When.
        """
        holders = self._holders(known["id"], file)
        present = [other for other in holders if is_unchanged(other)]
        was_its_file = file.earlier_video_id == known["id"]
        is_first_content = facts.sha256 == known["sha256"]
        if was_its_file and not holders and known["state"] == VideoState.QUEUED:
            # It changed in no byte while it was processed; all others are its duplicates.
            self._files.move_on(
                file.id, FileState.ENCODING, now_s, NO_REASON, known["id"], facts.sha256
            )
            return FileState.ENCODING
        may_hold = (was_its_file or not present) and known["state"] != VideoState.QUEUED
        if not may_hold or (known["state"] == VideoState.FAILED and is_first_content):
            state, reason = self._duplicate(file, facts, known)
            self._files.move_on(file.id, state, now_s, reason, known["id"], facts.sha256)
            if is_first_content:
                self._fill(known["id"], facts, now_s)
            return state
        for other in holders:
            if other in present:
                reason = _same_as(file, facts.sha256, _content_of(other, known))
                self._files.move_on(other.id, FileState.DUPLICATE, now_s, reason)
            else:
                self._files.part(other.id, now_s)
        self._describe(known["id"], facts, now_s)
        before = holders[0] if holders and not was_its_file else file
        return self._hold(file, facts, known, before, now_s)

    def fill(self, video_id: int, facts: MediaFacts, now_s: float) -> None:
        """Store facts of a recording that an earlier version did not read."""
        with self._db.transaction():
            self._fill(video_id, facts, now_s)

    def undescribed(self) -> list[int]:
        """Return the recordings whose picture hash is unknown, the newest first."""
        rows = self._db.execute(
            """
            select id from videos where picture_hash = '' and state <> 'queued'
                and replaces is null and not is_reference order by id desc
            """
        )
        return [row["id"] for row in rows]

    def get_undescribed(self, video_id: int) -> Undescribed | None:
        """Return a recording whose picture hash is unknown; None if it is known by now."""
        row = self._db.execute(
            "select sha256 from videos where id = ? and picture_hash = '' and state <> 'queued'",
            (video_id,),
        ).fetchone()
        return row and Undescribed(video_id, row["sha256"], self._files.of_video(video_id))

    def show_dates(self, now_s: float) -> None:
        """Have the pages show dates that were filled in."""
        with self._db.transaction():
            self._db.execute(
                "update videos set described_at = ? where id = (select max(id) from videos)",
                (now_s,),
            )

    def _holders(self, video_id: int, file: KnownFile) -> list[KnownFile]:
        """Return the other files of a recording that are not beside its file."""
        return [
            other
            for other in self._files.of_video(video_id)
            if other.id != file.id and other.state not in _BESIDE
        ]

    def _hold(
        self,
        file: KnownFile,
        facts: MediaFacts,
        known: sqlite3.Row,
        before: KnownFile,
        now_s: float,
    ) -> FileState:
        """Make a file the one of a recording, and say why nothing is processed."""
        is_same = facts.sha256 == _content_of(before, known)
        code = ReasonCode.RECORDING_MOVED if is_same else ReasonCode.METADATA_CHANGED
        is_touched = is_same and before.id == file.id
        reason = NO_REASON if is_touched else Reason.of(code, name=display_path(before.path))
        if known["state"] == VideoState.FAILED:
            # It could not be read before; another container may be the remedy.
            self._retry(known["id"])
            state = FileState.ENCODING
        else:
            state = FileState.DONE
        self._files.move_on(file.id, state, now_s, reason, known["id"], facts.sha256)
        if state is FileState.DONE and (own := reason_of(known)):
            self._files.move_on(file.id, state, now_s, own)
        return state

    def _retry(self, video_id: int) -> None:
        self._db.execute(
            """
            update slices set state = 'queued', attempts = 0, reason = '', reason_code = ''
            where video_id = ? and state = 'failed'
            """,
            (video_id,),
        )
        self._db.execute(
            "update videos set state = 'queued', reason = '', reason_code = '' where id = ?",
            (video_id,),
        )

    def _duplicate(
        self, file: KnownFile, facts: MediaFacts, known: sqlite3.Row
    ) -> tuple[FileState, Reason]:
        others = [other for other in self._files.of_video(known["id"]) if other.id != file.id]
        if known["state"] == VideoState.FAILED:
            if file.earlier_video_id == known["id"]:
                # It is the one that failed.
                return FileState.FAILED, reason_of(known)
            name = display_path(others[0].path) if others else "an earlier file"
            failed = Reason.of(ReasonCode.DUPLICATE_OF_FAILED, name=name, cause=known["reason"])
            return FileState.FAILED, failed
        if not others:
            return FileState.DUPLICATE, Reason.of(ReasonCode.DUPLICATE_OF, name="an earlier file")
        return FileState.DUPLICATE, _same_as(others[0], _content_of(others[0], known), facts.sha256)

    def _describe(self, video_id: int, facts: MediaFacts, now_s: float) -> None:
        """Store what a recording's new file says of it; what it does not say stays."""
        recorded = credible_time(facts, now_s)
        self._db.execute(
            """
            update videos set described_at = ?1, picture_hash = iif(?2 = '', picture_hash, ?2),
                recorded_offset_min = iif(?3 is null, recorded_offset_min, ?4),
                recorded_at = coalesce(?3, recorded_at)
            where id = ?5
            """,
            (now_s, facts.picture_hash, *recorded, video_id),
        )

    def _fill(self, video_id: int, facts: MediaFacts, now_s: float) -> None:
        recorded = credible_time(facts, now_s)
        self._db.execute(
            """
            update videos set picture_hash = iif(picture_hash = '', ?1, picture_hash),
                recorded_offset_min = iif(recorded_at is null, ?3, recorded_offset_min),
                recorded_at = coalesce(recorded_at, ?2)
            where id = ?4
            """,
            (facts.picture_hash, *recorded, video_id),
        )


def recording_time_of(row: sqlite3.Row) -> RecordingTime | None:
    """Return when a recording was made, by its row of ``videos``; None if unknown."""
    if row["recorded_at"] is None:
        return None
    return RecordingTime(row["recorded_at"], row["recorded_offset_min"])


def credible_time(facts: MediaFacts, now_s: float) -> tuple[float | None, int | None]:
    """Return the values of ``recorded_at`` and ``recorded_offset_min``."""
    recorded = facts.recorded
    if recorded is None or not recorded.is_credible(now_s):
        return None, None
    return recorded.at_s, recorded.offset_min


def _content_of(file: KnownFile, known: sqlite3.Row) -> str:
    """Return the content that a file of a recording had when it was read last."""
    return file.content_sha256 or str(known["sha256"])


def _same_as(file: KnownFile, its_sha256: str, sha256: str) -> Reason:
    code = ReasonCode.DUPLICATE_OF if its_sha256 == sha256 else ReasonCode.SAME_PICTURES_AS
    return Reason.of(code, name=display_path(file.path))


def _lasts_as_long(row: sqlite3.Row, facts: MediaFacts) -> bool:
    one, other = row["duration_s"], facts.duration_s
    if not (math.isfinite(one) and math.isfinite(other)):
        # Without a usable duration in one of the containers, the packets alone must do.
        return True
    return bool(abs(one - other) <= SAME_DURATION_S)
