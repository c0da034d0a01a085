"""``portraitd explain``: what happened to a file, why, and what happens next."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from portraitd.config import Settings
from portraitd.faces.models.model_registry import wanted_detector
from portraitd.faces.search_scales import limits_of, smallest_face_px
from portraitd.ingest.admission import marker_missing
from portraitd.ingest.dispatcher import encode_options
from portraitd.ingest.mounts import is_marked
from portraitd.ingest.scanner import Found, scan_file
from portraitd.model.errors import StoreError
from portraitd.model.ignored_names import is_ignored
from portraitd.model.media_file import FileState, MediaKind, Stamp
from portraitd.model.reasons import INACCESSIBLE, INCOMPLETE, NO_REASON, Reason, ReasonCode
from portraitd.model.recording_time import DateKind, RecordingDate
from portraitd.model.wording import counted
from portraitd.store.database import Database
from portraitd.store.files import INBOX, Files, KnownFile, display_path
from portraitd.store.media_history import ContentHistory, History, Step

UNKNOWN, IGNORED = "unknown", "ignored"


class FaceSearch(NamedTuple):
    """How the pictures of a content are searched for faces, by the current settings.

    Attributes:
        detector: The detector in use.
        smallest_face_px: Faces from this width on are found nearly always, in source pixels.
    """

    detector: str
    smallest_face_px: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about one path.

    Attributes:
        path: Absolute, as text.
        state: A file state, or ``ignored`` or ``unknown``.
        reason: Why it is in that state.
        content: Its content and the progress; None if nothing was read.
        sha256: Hash of what the file contains now; empty if nothing was read.
        next: What happens next.
        warning: Why nothing happens at present although ``next`` says so.
        search: How its pictures are searched for faces; None if nothing was read.
        history: The state changes, the oldest first.
    """

    path: str
    state: str
    reason: Reason
    next: str
    content: ContentHistory | None = None
    warning: Reason = NO_REASON
    search: FaceSearch | None = None
    history: tuple[Step, ...] = ()
    sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as an object for JSON; times are seconds since 1970."""
        return {
            "path": self.path,
            "state": self.state,
            "reason_code": self.reason.code,
            "reason": self.reason.text,
            "next": self.next,
            "warning_code": self.warning.code,
            "warning": self.warning.text,
            "content": _content_as_json(self.content, self.sha256) if self.content else None,
            "search": self.search._asdict() if self.search else None,
            "history": [
                {
                    "at": step.at_s,
                    "state": step.state,
                    "reason_code": step.reason.code,
                    "reason": step.reason.text,
                    "size": step.size,
                }
                for step in self.history
            ],
        }

    def lines(self) -> Iterator[str]:
        """Return the explanation as lines for a terminal."""
        yield self.path
        yield f"state    {self.state}" + (f": {self.reason}" if self.reason else "")
        if self.content:
            yield f"content  {_described(self.content, self.sha256)}"
            yield f"date     {_dated(self.content.date)}"
        if self.search:
            smallest_px, detector = self.search.smallest_face_px, self.search.detector
            yield f"search   faces from {smallest_px} px on (detector {detector})"
        yield f"next     {self.next}"
        if self.warning:
            yield f"but      {self.warning}"
        if self.history:
            yield "history"
            yield from map(_line, self.history)


def explain(settings: Settings, path: Path) -> Explanation:
    """Explain the state of a file. Reads the store beside a running service.

    Args:
        settings: The current settings.
        path: Absolute, relative to the working directory, or relative to the inbox.

    Raises:
        StoreError: The database cannot be read.
    """
    place = _place(settings, path)
    found = scan_file(place)
    try:
        database = Database.open_to_read(settings.state_dir)
    except StoreError:
        # A home in which nothing was processed yet has no database.
        if (settings.state_dir / "portraitd.sqlite3").exists():
            raise
        return _of_unknown(settings, place, found)
    with database:
        known = _find(Files(database, settings.inbox_dir), settings.inbox_dir, place)
        if known is None:
            return _of_unknown(settings, place, found)
        return _of_known(settings, place, known, found, History(database))


def _place(settings: Settings, path: Path) -> Path:
    below = settings.inbox_dir / path
    return below if not path.is_absolute() and os.path.lexists(below) else path.absolute()


def _find(files: Files, inbox_dir: Path, place: Path) -> KnownFile | None:
    """Return the row of a path: in the inbox, or in a folder named to ``process``."""
    if place.is_relative_to(inbox_dir):
        known = files.find(INBOX, place.relative_to(inbox_dir))
        if known:
            return known
    for root in place.parents:
        known = files.find(os.fsencode(root), place.relative_to(root))
        if known:
            return known
    return None


def _of_known(
    settings: Settings, place: Path, known: KnownFile, found: Found | None, history: History
) -> Explanation:
    content = history.of_content(known.video_id) if known.video_id else None
    unmarked = place.is_relative_to(settings.inbox_dir) and not is_marked(settings.inbox_dir)
    return Explanation(
        display_path(place),
        known.state,
        known.reason,
        _next(settings, known, content, found, history.ready_before(known.id)),
        content,
        marker_missing(settings.inbox_dir) if unmarked else NO_REASON,
        _search(settings, content) if content else None,
        tuple(history.of_file(known.id)),
        known.content_sha256 or (content.sha256 if content else ""),
    )


def _of_unknown(settings: Settings, place: Path, found: Found | None) -> Explanation:
    """Explain why the store has no row for a path."""
    inside = place.is_relative_to(settings.inbox_dir)
    name = place.relative_to(settings.inbox_dir).as_posix() if inside else place.name
    state = UNKNOWN
    if is_ignored(name):
        state, reason = IGNORED, Reason.of(ReasonCode.IGNORED_NAME)
        then = "nothing; rename the file to have it processed"
    elif not os.path.lexists(place):
        reason, then = Reason.of(ReasonCode.NO_SUCH_FILE), "nothing until the file exists"
    elif not inside:
        inbox = display_path(settings.inbox_dir)
        reason = Reason.of(ReasonCode.NOT_IN_INBOX, inbox=inbox)
        then = "nothing; copy the file to the inbox, or run `portraitd process` on it"
    elif not is_marked(settings.inbox_dir):
        reason = marker_missing(settings.inbox_dir)
        then = "nothing until the inbox has its marker"
    elif place.is_dir() and not place.is_symlink():
        reason = Reason.of(ReasonCode.IS_FOLDER)
        then = "run `portraitd explain` on a file in it"
    else:
        reason = (found.reason if found else NO_REASON) or Reason.of(ReasonCode.NOT_SCANNED_YET)
        then = f"a running service scans the inbox every {settings.inbox.scan_s:.0f} s"
    return Explanation(display_path(place), state, reason, then)


def _search(settings: Settings, content: ContentHistory) -> FaceSearch:
    encoder = encode_options(settings).encoder
    detector = wanted_detector(encoder.detector, encoder.kind, encoder.models_dir)
    smallest_px = smallest_face_px(
        content.width_px,
        content.height_px,
        encoder,
        limits_of(detector, encoder.upsample),
        is_photo=content.kind == MediaKind.PHOTO,
    )
    return FaceSearch(detector, smallest_px)


def _described(content: ContentHistory, sha256: str) -> str:
    length = (
        f"{content.duration_s:.1f} s" if math.isfinite(content.duration_s) else "unknown length"
    )
    parts = [
        content.kind if content.kind == "photo" else f"{content.kind}, {length}",
        f"{content.width_px}x{content.height_px}",
        f"{content.slices_done} of {counted(content.slices, 'slice')} done",
        counted(content.faces, "face"),
        f"SHA-256 {sha256[:12]}",
    ]
    return ", ".join(parts)


def _dated(date: RecordingDate) -> str:
    when = date.time.iso().replace("T", " ")
    if date.kind is DateKind.DROPPED:
        return f"dropped {when}; the file does not say when it was recorded"
    return f"recorded {when}" + (" local time" if date.time.offset_min is None else "")


def _content_as_json(content: ContentHistory, sha256: str) -> dict[str, Any]:
    return {
        "sha256": sha256,
        "first_sha256": content.sha256,
        "date": content.date.time.iso(),
        "date_is": content.date.kind,
        "kind": content.kind,
        "duration_s": content.duration_s if math.isfinite(content.duration_s) else None,
        "width_px": content.width_px,
        "height_px": content.height_px,
        "slices": content.slices,
        "slices_done": content.slices_done,
        "slices_running": content.slices_running,
        "attempts": content.attempts,
        "failure_code": content.failure.code,
        "failure": content.failure.text,
        "faces": content.faces,
    }


def _next(
    settings: Settings,
    known: KnownFile,
    content: ContentHistory | None,
    found: Found | None,
    ahead: int,
) -> str:
    attempts = settings.workers.attempts
    if known.state is FileState.WAITING:
        return _next_of_waiting(settings, known.reason.code)
    if _has_changed(known, found.stamp if found else None):
        quiet_s = settings.inbox.quiet_s
        return f"the file has changed; processed again once unchanged for {quiet_s:g} s"
    if content and known.state is FileState.ENCODING:
        failed = f"; the last attempt failed: {content.failure}" if content.failure else ""
        running = counted(content.slices_running, "slice")
        return f"{running} being processed, attempt {content.attempts} of {attempts}{failed}"
    after = {
        FileState.READY: f"probed when a worker is free; {counted(ahead, 'file')} before it",
        FileState.PROBING: f"being probed, attempt {known.attempts} of {attempts}",
        FileState.FAILED: "nothing; `portraitd retry` tries it again, and so does a changed file",
        FileState.GONE: "processed when the file is back",
    }
    return after.get(known.state, "nothing; the file is processed again if it changes")


def _next_of_waiting(settings: Settings, code: ReasonCode) -> str:
    inbox = settings.inbox
    if code in INCOMPLETE:
        as_it_is = f"as it is once unchanged for {inbox.unfinished_s:g} s"
        return f"processed when it is complete, or {as_it_is}"
    if code in INACCESSIBLE:
        return "processed when the service can read it"
    if code is ReasonCode.OPEN_FOR_WRITING:
        return "processed when the other program has closed it"
    remote = code is ReasonCode.CANNOT_TELL_IF_OPEN
    quiet_s = inbox.quiet_remote_s if remote else inbox.quiet_s
    return f"processed once unchanged for {quiet_s:g} s"


def _has_changed(known: KnownFile, stamp: Stamp | None) -> bool:
    # A done file may be removed; a file that could not be read has no stamp.
    return stamp is not None and known.stamp.size > 0 and not stamp.is_same(known.stamp)


def _line(step: Step) -> str:
    moment = datetime.fromtimestamp(step.at_s, UTC).isoformat(sep=" ", timespec="seconds")
    return f"  {moment}  {step.state:<9}  {step.size:>13,} bytes  {step.reason}".rstrip()
