"""``portraitd explain``: what became of a file, why, and what happens next."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from portraitd.config import Settings
from portraitd.ingest.mounts import MARKER, is_marked
from portraitd.ingest.scanner import Found, is_ignored, scan_file
from portraitd.model.errors import StoreError
from portraitd.model.media_file import FileState, Stamp
from portraitd.store.database import Database
from portraitd.store.files import INBOX, Files, KnownFile, display_path
from portraitd.store.media_history import ContentHistory, History, Step


def explain(settings: Settings, path: Path) -> Iterator[str]:
    """Lines for whoever dropped a file and wonders. Reads beside a running service.

    Args:
        settings: What is in force.
        path: As somebody types it: absolute, from here, or below the inbox.
    """
    place = _place(settings, path)
    yield display_path(place)
    found = scan_file(place)
    known, content, steps = _known(settings, place)
    if known is None:
        yield from _of_unknown(settings, place, found)
        return
    yield f"state    {known.state}" + (f": {known.reason}" if known.reason else "")
    if content:
        yield f"content  {_described(content)}"
    yield f"next     {_next(settings, known, content, found, steps.ahead)}"
    if place.is_relative_to(settings.inbox_dir) and not is_marked(settings.inbox_dir):
        yield f"but      {_no_marker(settings)}"
    if steps.lines:
        yield "history"
        yield from steps.lines


class _Steps:
    """What the store tells besides: lines to print, and how many files come before."""

    def __init__(self, lines: list[str], ahead: int) -> None:
        self.lines, self.ahead = lines, ahead


def _place(settings: Settings, path: Path) -> Path:
    below = settings.inbox_dir / path
    return below if not path.is_absolute() and os.path.lexists(below) else path.absolute()


def _known(
    settings: Settings, place: Path
) -> tuple[KnownFile | None, ContentHistory | None, _Steps]:
    nothing = None, None, _Steps([], 0)
    try:
        database = Database.open_to_read(settings.state_dir)
    except StoreError:
        # A home in which nothing was processed yet knows no file.
        if (settings.state_dir / "portraitd.sqlite3").exists():
            raise
        return nothing
    try:
        files, history = Files(database, settings.inbox_dir), History(database)
        known = _find(files, settings.inbox_dir, place)
        if known is None:
            return nothing
        content = history.of_content(known.video_id) if known.video_id else None
        lines = [_line(step) for step in history.of_file(known.id)]
        return known, content, _Steps(lines, history.ready_before(known.id))
    finally:
        database.close()


def _find(files: Files, inbox_dir: Path, place: Path) -> KnownFile | None:
    """The row of a path: of the inbox, or of any folder that was named to ``process``."""
    if place.is_relative_to(inbox_dir):
        known = files.find(INBOX, place.relative_to(inbox_dir))
        if known:
            return known
    for root in place.parents:
        known = files.find(os.fsencode(root), place.relative_to(root))
        if known:
            return known
    return None


def _of_unknown(settings: Settings, place: Path, found: Found | None) -> Iterator[str]:
    """Why nothing is known of a path."""
    inside = place.is_relative_to(settings.inbox_dir)
    name = place.relative_to(settings.inbox_dir).as_posix() if inside else place.name
    if is_ignored(name):
        yield "state    ignored: its name says that it is hidden, temporary or litter"
        yield "next     nothing; rename it to have it taken"
    elif not os.path.lexists(place):
        yield "state    unknown: there is no such file, and there never was one that was taken"
    elif not inside:
        yield f"state    unknown: it does not lie in the inbox, {display_path(settings.inbox_dir)}"
        yield "next     nothing; drop it there, or name it to `portraitd process`"
    elif not is_marked(settings.inbox_dir):
        yield f"state    unknown: {_no_marker(settings)}"
    elif place.is_dir() and not place.is_symlink():
        yield "state    a folder; the files in it are taken each by itself"
    else:
        reason = found.reason if found and found.reason else "not looked at yet"
        yield f"state    unknown: {reason}"
        yield f"next     a running service looks every {settings.inbox.scan_s:.0f} s"


def _no_marker(settings: Settings) -> str:
    return (
        f"the inbox has no marker {MARKER}: is the share mounted? If {display_path(settings.inbox_dir)} "
        "is the inbox, run `portraitd init`"
    )


def _described(content: ContentHistory) -> str:
    length = (
        f"{content.duration_s:.1f} s" if math.isfinite(content.duration_s) else "of unknown length"
    )
    parts = [
        content.kind if content.kind == "photo" else f"{content.kind}, {length}",
        f"{content.width_px}x{content.height_px}",
        f"{content.slices_done} of {content.slices} slices done",
        f"{content.faces} faces",
        f"SHA-256 {content.sha256[:12]}",
    ]
    return ", ".join(parts)


def _next(
    settings: Settings,
    known: KnownFile,
    content: ContentHistory | None,
    found: Found | None,
    ahead: int,
) -> str:
    inbox, attempts = settings.inbox, settings.workers.attempts
    if known.state is FileState.WAITING:
        return _next_of_waiting(settings, known.reason)
    if _has_changed(known, found.stamp if found else None):
        return f"it has changed since; taken anew when it has stood still for {inbox.quiet_s:g} s"
    after = {
        FileState.READY: f"looked into when a worker is free; {ahead} files come before it",
        FileState.PROBING: f"being looked into, attempt {known.attempts} of {attempts}",
        FileState.FAILED: "nothing; `portraitd retry` tries again, a changed file is taken anew",
        FileState.GONE: "taken anew when it is there again",
    }
    if content and known.state is FileState.ENCODING:
        blocked = f"; lost last: {content.blocked}" if content.blocked else ""
        tries = f"attempt {content.attempts} of {attempts}"
        return f"{content.slices_running} slices are being worked on, {tries}{blocked}"
    return after.get(known.state, "nothing; a changed file is taken anew")


def _next_of_waiting(settings: Settings, reason: str) -> str:
    inbox = settings.inbox
    for beginning, then in (
        (
            "not whole",
            f"when it is whole, or as it is after {inbox.unfinished_s:g} s without change",
        ),
        ("nobody can say", f"when it has stood still for {inbox.quiet_remote_s:g} s"),
        ("another program", "when that program has closed it"),
        ("cannot", "when it can be read"),
    ):
        if reason.startswith(beginning):
            return f"taken {then}"
    return f"taken when it has stood still for {inbox.quiet_s:g} s"


def _has_changed(known: KnownFile, stamp: Stamp | None) -> bool:
    # A finished file that was taken away is not missed; one that cannot be read has no stamp.
    return stamp is not None and known.stamp.size > 0 and stamp != known.stamp


def _line(step: Step) -> str:
    moment = datetime.fromtimestamp(step.at_s, UTC).isoformat(sep=" ", timespec="seconds")
    return f"  {moment}  {step.state:<9}  {step.size:>13,} bytes  {step.reason}".rstrip()
