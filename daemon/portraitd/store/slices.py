"""The queue of slices: videos cut into stretches that workers process one by one."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from portraitd.faces.reference_face import find_main_face
from portraitd.model.face import SliceFaces
from portraitd.model.media_file import FileState, JobState, MediaFacts, MediaKind, Slice, VideoState
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.store.corrections.face_fingerprints import (
    CONTENT_SQL,
    pictures_key,
    reference_key,
    without_reference_key,
)
from portraitd.store.database import Database
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.faces import FaceWriter
from portraitd.store.files import (
    SUSPECT_INTERRUPTIONS,
    Files,
    KnownFile,
    display_path,
    reason_of,
)
from portraitd.store.partial_copies import PartialCopies
from portraitd.store.recordings import IsUnchanged, Recordings, credible_time
from portraitd.store.slice_order import SUSPECT_PRIORITY, SliceOrder


@dataclass(frozen=True, slots=True)
class ClaimedSlice:
    """A slice taken from the queue, with the row that its result belongs to.

    Attributes:
        recording_sha256: Identifies the recording; ``slice.sha256`` is what its file contains now.
        interruptions: How often the service ended while a worker had it.
    """

    slice_id: int
    video_id: int
    attempts: int
    slice: Slice
    recording_sha256: str
    interruptions: int = 0


@dataclass(frozen=True, slots=True)
class VideoOutcome:
    """The final state of a video."""

    video_id: int
    state: VideoState
    reason: Reason
    faces: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Seconds of known footage, done and to do, and seconds of work spent."""

    footage_done_s: float
    footage_open_s: float
    work_s: float

    @property
    def speed(self) -> float:
        """Return the seconds of footage that a worker processes per second; 0 if unknown."""
        return self.footage_done_s / self.work_s if self.work_s else 0.0

    def eta_s(self, processes: int) -> float | None:
        """Return the seconds of work left on all workers; None if the speed is unknown."""
        if not self.footage_open_s:
            return 0.0
        pace = self.speed * processes
        return self.footage_open_s / pace if pace else None


SAME_TIME_S = 0.002
"""Times of one frame differ by less: they are rounded where they are stored."""

MANY_SLICES = 100
"""A video of any size may have so many slices."""

BYTES_PER_SLICE = 1_000_000
"""Content that deserves another slice. A few packets may claim to last for a month."""


def cut(facts: MediaFacts, slice_s: float, size: float = math.inf) -> list[tuple[float, float]]:
    """Cut a video into equal stretches of about ``slice_s``; the last one has no end.

    Without a valid duration it is one slice that is read to the end.

    Args:
        facts: Those of the content.
        slice_s: Seconds of footage in a slice; more where that gives too many slices.
        size: Of the file, in bytes.
    """
    if facts.kind is MediaKind.PHOTO or not math.isfinite(facts.duration_s):
        return [(0.0, math.inf)]
    most = max(MANY_SLICES, size / BYTES_PER_SLICE)
    count = max(1, round(min(facts.duration_s / slice_s, most)))
    starts = [index * facts.duration_s / count for index in range(count)]
    return list(zip(starts, [*starts[1:], math.inf], strict=True))


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A file to be probed, with size and SHA-256 of the contents it may start with."""

    file: KnownFile
    partial_copies: tuple[tuple[int, str], ...]


class SliceQueue:
    """The queue of slices.

    Args:
        database: The store.
        files: The files with their contents.
        refuse_forgotten: Whether a content that was erased as a whole is refused. If it is
            accepted, the faces that were erased from it are left out.
    """

    def __init__(self, database: Database, files: Files, refuse_forgotten: bool = True) -> None:
        self._db = database
        self._files = files
        self._order = SliceOrder(database)
        self._partial_copies = PartialCopies(database)
        self._recordings = Recordings(database, files)
        self._refuse_forgotten = refuse_forgotten
        self._tombstones = Tombstones(database)
        self._face_writer = FaceWriter(database, self._tombstones)

    def claim_file(self, now_s: float, suspects: bool = False) -> ClaimedFile | None:
        """Take the oldest ready file, counting the attempt before it is made.

        Args:
            now_s: When.
            suspects: Take only one that was interrupted ``SUSPECT_INTERRUPTIONS`` times.
        """
        with self._db.transaction():
            file = self._files.claim(now_s, SUSPECT_INTERRUPTIONS if suspects else 0)
            return (
                ClaimedFile(file, self._partial_copies.candidates(file.stamp.size))
                if file
                else None
            )

    def admit(
        self,
        file: KnownFile,
        facts: MediaFacts,
        slice_s: float,
        now_s: float,
        priority: int = 0,
        is_unchanged: IsUnchanged = lambda known: True,
    ) -> FileState:
        """Turn a probed file into a video with slices, or into the file of a known one.

        Args:
            file: The file.
            facts: What the probe found.
            slice_s: Seconds of footage in a slice.
            now_s: When.
            priority: Of its slices.
            is_unchanged: Returns whether another file is still there as it was read.
        """
        contents = [facts]
        if file.is_reference:
            if facts.kind is not MediaKind.PHOTO:
                no_photo = Reason.of(ReasonCode.NOT_A_PHOTO)
                self._files.move_on(file.id, FileState.FAILED, now_s, no_photo)
                return FileState.FAILED
            # The same picture in the inbox is another recording.
            facts = replace(facts, sha256=reference_key(facts.sha256), extends="", picture_hash="")
            contents.append(facts)
        with self._db.transaction():
            known = self._recordings.find(file, facts, is_unchanged)
            if known:
                return self._recordings.admit(file, facts, known, is_unchanged, now_s)
            if self._refuse_forgotten and any(map(self._is_forgotten, contents)):
                erased = Reason.of(ReasonCode.ERASED_EARLIER)
                self._files.move_on(file.id, FileState.FORGOTTEN, now_s, erased)
                return FileState.FORGOTTEN
            if whole := self._partial_copies.full_video_of(facts.sha256):
                reason = _partial_copy_of(self._name(whole, file))
                self._files.move_on(
                    file.id, FileState.DUPLICATE, now_s, reason, whole, facts.sha256
                )
                return FileState.DUPLICATE
            stretches = cut(facts, slice_s, file.stamp.size)
            if facts.extends and (
                whole := self._partial_copies.extend(facts, file.stamp.size, stretches)
            ):
                for earlier in self._files.of_video(whole):
                    reason = _partial_copy_of(display_path(file.path))
                    self._files.move_on(earlier.id, FileState.DUPLICATE, now_s, reason)
                self._files.move_on(
                    file.id, FileState.ENCODING, now_s, NO_REASON, whole, facts.sha256
                )
                return FileState.ENCODING
            video_id = self._db.execute(
                """
                insert into videos
                    (sha256, kind, duration_s, fps, width_px, height_px, content_size, state,
                        added_at, is_reference, picture_hash, recorded_at, recorded_offset_min)
                values (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?)
                """,
                (
                    facts.sha256,
                    facts.kind,
                    facts.duration_s,
                    facts.fps,
                    facts.width_px,
                    facts.height_px,
                    file.stamp.size,
                    now_s,
                    file.is_reference,
                    facts.picture_hash,
                    *credible_time(facts, now_s),
                ),
            ).lastrowid
            self._db.executemany(
                """
                insert into slices (video_id, start_s, stop_s, state, priority)
                values (?, ?, ?, 'queued', ?)
                """,
                [(video_id, start, stop, priority) for start, stop in stretches],
            )
            self._files.move_on(
                file.id, FileState.ENCODING, now_s, NO_REASON, video_id, facts.sha256
            )
            return FileState.ENCODING

    def claim(self, suspects: bool = True) -> ClaimedSlice | None:
        """Take the next slice, counting the attempt before it is made.

        Args:
            suspects: Whether it may be one that was interrupted ``SUSPECT_INTERRUPTIONS`` times;
                those come last.
        """
        with self._db.transaction():
            slice_id = self._order.pick(suspects)
            if slice_id is None:
                return None
            row = self._db.execute(
                """
                update slices set state = 'running', attempts = attempts + 1 where id = ?
                returning id, video_id, attempts, interruptions, start_s, stop_s
                """,
                (slice_id,),
            ).fetchone()
            # A video that is reprocessed has the content of the one it will replace.
            video = self._db.execute(
                f"""
                select kind, {CONTENT_SQL} as sha256, coalesce(replaces, id) as origin
                from videos where id = ?
                """,  # noqa: S608 - a constant
                (row["video_id"],),
            ).fetchone()
            file = self._files.of_video(video["origin"])[0]
            also_s = self._list_harvested(video["origin"], row["start_s"], row["stop_s"])
        video_slice = Slice(
            self._files.source(file),
            MediaKind(video["kind"]),
            row["start_s"],
            row["stop_s"],
            without_reference_key(file.content_sha256 or video["sha256"]),
            also_s,
        )
        return ClaimedSlice(
            row["id"],
            row["video_id"],
            row["attempts"],
            video_slice,
            video["sha256"],
            row["interruptions"],
        )

    def _list_harvested(self, video_id: int, start_s: float, stop_s: float) -> tuple[float, ...]:
        """Return the times of the frames of a stretch that were searched in addition."""
        rows = self._db.execute(
            """
            select distinct t_s from faces
            where video_id = ? and harvested and t_s >= ? and t_s < ? order by t_s
            """,
            (video_id, start_s, stop_s),
        )
        return tuple(row["t_s"] for row in rows)

    def release(self, claimed: ClaimedSlice) -> None:
        """Give a slice back and do not count the attempt: the service is stopping."""
        self._db.execute(
            """
            update slices set state = 'queued', attempts = attempts - 1
            where id = ? and state = 'running'
            """,
            (claimed.slice_id,),
        )

    def suspects(self) -> tuple[int | None, int | None]:
        """Return the fewest interruptions of a file and of a slice that run last; None for none."""
        row = self._db.execute(
            """
            select (select min(interruptions) from files
                    where state = 'ready' and interruptions >= ?),
                (select min(interruptions) from slices where state = 'queued' and priority = ?)
            """,
            (SUSPECT_INTERRUPTIONS, SUSPECT_PRIORITY),
        ).fetchone()
        return row[0], row[1]

    def interrupt(self, claimed: ClaimedSlice) -> None:
        """Give a slice back because no worker could be reached; not counted as an attempt."""
        self._interrupt("id = ?", (claimed.slice_id,))

    def reclaim(self) -> int:
        """Queue running slices again, after a service that did not give them back.

        Returns:
            How many.
        """
        return self._interrupt("true", ())

    def _interrupt(self, which: str, parameters: tuple[int, ...]) -> int:
        return self._db.execute(
            f"""
            update slices set state = 'queued', attempts = max(attempts - 1, 0),
                interruptions = interruptions + 1,
                priority = iif(interruptions + 1 < ?, priority, ?)
            where state = 'running' and {which}
            """,  # noqa: S608 - one of two constants
            (SUSPECT_INTERRUPTIONS, SUSPECT_PRIORITY, *parameters),
        ).rowcount

    def record(
        self, claimed: ClaimedSlice, result: SliceFaces, encoder: str, now_s: float
    ) -> VideoOutcome | None:
        """Record the result of a slice in one transaction; a second result is ignored.

        Returns:
            The video's outcome if this was its last slice.
        """
        with self._db.transaction():
            taken = self._db.execute(
                """
                update slices set state = 'done', reason = '', reason_code = '', sampled = ?,
                    decoded = ?, ended_s = ?, seconds = ?, finished_at = ?
                where id = ? and state = 'running'
                """,
                (
                    result.sampled,
                    result.decoded,
                    result.ended_s,
                    result.seconds,
                    now_s,
                    claimed.slice_id,
                ),
            )
            if taken.rowcount == 0:
                return None
            self._face_writer.add(claimed.video_id, claimed.slice_id, result, encoder, now_s)
            if also_s := claimed.slice.also_s:
                self._db.executemany(
                    "update faces set harvested = 1 where slice_id = ? and abs(t_s - ?) < ?",
                    [(claimed.slice_id, t_s, SAME_TIME_S) for t_s in also_s],
                )
            return self._finish(claimed.video_id, now_s, result)

    def lose(
        self, claimed: ClaimedSlice, reason: Reason, attempts: int, now_s: float
    ) -> VideoOutcome | None:
        """Record a lost worker: queue the slice again, or fail it after the last attempt."""
        with self._db.transaction():
            given_up = claimed.attempts >= attempts
            self._db.execute(
                """
                update slices set state = ?, reason = ?, reason_code = ?
                where id = ? and state = 'running'
                """,
                (
                    JobState.FAILED if given_up else JobState.QUEUED,
                    reason.text,
                    reason.code,
                    claimed.slice_id,
                ),
            )
            return self._finish(claimed.video_id, now_s) if given_up else None

    def reject(self, claimed: ClaimedSlice, reason: Reason, now_s: float) -> VideoOutcome | None:
        """Record that the content is at fault: its queued slices fail with the same reason."""
        with self._db.transaction():
            self._db.execute(
                """
                update slices set state = 'failed', reason = ?, reason_code = ?
                where video_id = ? and (id = ? or state = 'queued')
                """,
                (reason.text, reason.code, claimed.video_id, claimed.slice_id),
            )
            return self._finish(claimed.video_id, now_s)

    def discard_changed(
        self, claimed: ClaimedSlice, state: FileState, reason: Reason, now_s: float
    ) -> None:
        """Discard the video of a file that was written or removed while it was read."""
        with self._db.transaction():
            names = self._files.of_video(claimed.video_id)
            if not self._partial_copies.revert(claimed.video_id):
                self._db.execute("delete from videos where id = ?", (claimed.video_id,))
            for known in names:
                other_name = known.state is FileState.DUPLICATE
                self._files.move_on(
                    known.id,
                    FileState.READY if other_name else state,
                    now_s,
                    NO_REASON if other_name else reason,
                )

    def retry(self, now_s: float) -> int:
        """Queue failed videos again, only their failed slices. Return how many videos.

        Those whose failure was dismissed stay as they are.
        """
        dismissed = """
            (select video_id from files where state = 'ignored' and video_id is not null
                except select video_id from files where state = 'failed')
            """
        with self._db.transaction():
            self._db.execute(
                f"""
                update slices set state = 'queued', attempts = 0, interruptions = 0,
                    priority = iif(interruptions < ?, priority, 0), reason = '', reason_code = ''
                where state = 'failed' and video_id not in {dismissed}
                """,  # noqa: S608 - a constant
                (SUSPECT_INTERRUPTIONS,),
            )
            self._db.execute(
                """
                update files set state = 'encoding', reason = '', reason_code = '', changed_at = ?
                where state = 'failed'
                    and video_id in (select id from videos where state = 'failed')
                """,
                (now_s,),
            )
            return self._db.execute(
                f"""
                update videos set state = 'queued', reason = '', reason_code = '', announced = 0
                where state = 'failed' and id not in {dismissed}
                """  # noqa: S608 - a constant
            ).rowcount

    def any_open(self) -> bool:
        """Return whether a slice is queued or running."""
        row = self._db.execute(
            "select 1 from slices where state in ('queued', 'running') limit 1"
        ).fetchone()
        return row is not None

    def counts(self) -> dict[str, int]:
        """Return the number of videos by state."""
        rows = self._db.execute(
            """
            select state, count(*) as n from videos
            where replaces is null and not is_reference group by state
            """
        )
        return {row["state"]: row["n"] for row in rows}

    def count_done(self) -> tuple[int, int]:
        """Return the number of videos, and of photos, that are done."""
        row = self._db.execute(
            """
            select count(*) filter (where kind <> ?1), count(*) filter (where kind = ?1)
            from videos where state = 'done' and replaces is null and not is_reference
            """,
            (MediaKind.PHOTO,),
        ).fetchone()
        return int(row[0]), int(row[1])

    def progress(self) -> Progress:
        """Return how much footage is done and how much is left."""
        row = self._db.execute(
            """
            select
                total(length_s) filter (where state = 'done') as done,
                total(length_s) filter (where state in ('queued', 'running')) as left_over,
                total(seconds) as work
            from (select slices.state, slices.seconds, max(0.5,
                    min(stop_s, iif(duration_s < 9e99, duration_s, start_s + 60)) - start_s)
                        as length_s
                  from slices join videos on videos.id = slices.video_id)
            """
        ).fetchone()
        return Progress(row["done"], row["left_over"], row["work"])

    def unwanted(self, claimed: ClaimedSlice, times_s: Sequence[float]) -> list[float]:
        """Return the timestamps of a slice whose frames must not be kept, because of erasure.

        All of them if the video was erased while a worker processed it.
        """
        if not self.is_queued(claimed):
            return list(times_s)
        contents = self._face_writer.contents(claimed.video_id)
        is_erased = self._tombstones.has_moment
        return [t for t in times_s if any(is_erased(sha256, t) for sha256 in contents)]

    def is_queued(self, claimed: ClaimedSlice) -> bool:
        """Return whether a claimed slice still exists."""
        found = self._db.execute("select 1 from slices where id = ?", (claimed.slice_id,))
        return found.fetchone() is not None

    def _is_forgotten(self, facts: MediaFacts) -> bool:
        """Return whether a content was erased as a whole, be it with other metadata."""
        return self._tombstones.has_content(facts.sha256) or (
            facts.picture_hash != ""
            and self._tombstones.has_content(pictures_key(facts.picture_hash))
        )

    def _name(self, video_id: int, file: KnownFile) -> str:
        """Return another file name of a content, for a sentence."""
        names = [known for known in self._files.of_video(video_id) if known.id != file.id]
        return display_path(names[0].path) if names else "an earlier file"

    def _finish(
        self, video_id: int, now_s: float, result: SliceFaces | None = None
    ) -> VideoOutcome | None:
        """Finish a video and its files if its last slice, with this result, has ended."""
        slices = self._db.execute("select * from slices where video_id = ?", (video_id,)).fetchall()
        # No slice at all: the video was erased while this one was processed.
        if not slices or any(job["state"] in (JobState.QUEUED, JobState.RUNNING) for job in slices):
            return None
        video = self._db.execute("select * from videos where id = ?", (video_id,)).fetchone()
        state, reason = _judge(video, slices)
        if video["is_reference"] and result is not None:
            reason = _judge_reference(result) or reason
        self._db.execute(
            """
            update videos set state = ?, reason = ?, reason_code = ?, finished_at = ?, tracked = 0
            where id = ?
            """,
            (state, reason.text, reason.code, now_s, video_id),
        )
        self._db.execute(
            """
            update files set state = ?, reason = ?, reason_code = ?, changed_at = ?
            where video_id = ? and state = 'encoding'
            """,
            (state, reason.text, reason.code, now_s, video_id),
        )
        faces = self._db.execute(
            "select count(*) from faces where video_id = ?", (video_id,)
        ).fetchone()[0]
        return VideoOutcome(video_id, state, reason, faces, sum(job["seconds"] for job in slices))


def _judge(video: sqlite3.Row, slices: Sequence[sqlite3.Row]) -> tuple[VideoState, Reason]:
    """Return failed with a slice's reason, or done, with a reason if the end was not reached."""
    failed = [job for job in slices if job["state"] == JobState.FAILED]
    if failed:
        return VideoState.FAILED, reason_of(failed[0])
    if video["kind"] == MediaKind.PHOTO and any(job["ended_s"] is None for job in slices):
        return VideoState.DONE, Reason.of(ReasonCode.PHOTO_CUT_SHORT)
    ended = max((job["ended_s"] for job in slices if job["ended_s"] is not None), default=0.0)
    duration = video["duration_s"]
    frame_s = 1.0 / video["fps"] if video["fps"] > 0 else 1.0
    if math.isfinite(duration) and ended + 2 * frame_s < 0.95 * duration:
        partly = Reason.of(ReasonCode.PARTLY_DECODED, decoded_s=ended, duration_s=duration)
        return VideoState.DONE, partly
    return VideoState.DONE, NO_REASON


def _judge_reference(result: SliceFaces) -> Reason:
    """Return why a reference picture shows no exemplar; ``NO_REASON`` if it shows one."""
    boxes = [one.face.box for one in result.detections]
    if find_main_face(boxes) is not None:
        return NO_REASON
    if not boxes:
        return Reason.of(ReasonCode.NO_FACE)
    return Reason.of(ReasonCode.SEVERAL_FACES, count=len(boxes))


def _partial_copy_of(name: str) -> Reason:
    return Reason.of(ReasonCode.PARTIAL_COPY_OF, name=name)
