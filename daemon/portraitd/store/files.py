"""Files by root and path, with state, reason and content."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from portraitd.model.errors import ConfigError
from portraitd.model.media_file import FileState, Source, Stamp
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.wording import escape_unprintable, join_names
from portraitd.store.database import Database
from portraitd.store.partial_copies import PartialCopies
from portraitd.workers.paths_without_links import open_file_below

INBOX = b""
"""The root of files in the inbox; not a path, so that a home can be moved."""

SUSPECT_INTERRUPTIONS = 3
"""A job during which the service ended so often may be the cause. It runs last, and alone, so that
others do not share its fate."""

_FEW = SUSPECT_INTERRUPTIONS - 1

_MAX_LISTED = 5
"""Names in an error; a shell's pattern can give thousands."""

_NO_INODE = (1 << 64) - 1
"""The inode of no file."""


def display_path(path: bytes | Path) -> str:
    """Return a path as printable text on one line, whatever bytes it contains."""
    return escape_unprintable(os.fsencode(path).decode("utf-8", "backslashreplace"))


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A row of ``files``.

    Attributes:
        video_id: The recording that the file holds; None until it was read.
        content_sha256: Hash of the content that was read last; empty if none was, or by an
            earlier version.
        interruptions: How often the service ended while a worker read it.
        earlier_video_id: The recording whose file this path was before it was written to.
        is_reference: Whether it is a reference picture in the people folder.
    """

    id: int
    root: bytes
    path: Path
    stamp: Stamp
    state: FileState
    reason: Reason
    attempts: int
    interruptions: int
    video_id: int | None
    content_sha256: str
    earlier_video_id: int | None
    is_reference: bool = False


_NOTE = """
    insert into files
        (root, path, size, mtime_ns, inode, state, reason, reason_code, seen_at, changed_at,
            is_reference)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (root, path) do update set
        size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
        state = excluded.state, reason = excluded.reason, reason_code = excluded.reason_code,
        attempts = 0, video_id = null, interruptions = 0, changed_at = excluded.changed_at,
        earlier_video_id = coalesce(
            iif(files.state = 'duplicate', null, files.video_id), files.earlier_video_id)
"""


class FoundFile(NamedTuple):
    """A file that was found at a path, with the state to record."""

    path: Path
    stamp: Stamp
    state: FileState
    reason: Reason = NO_REASON


class Files:
    """The files in the inbox, and those named to ``process``."""

    def __init__(self, database: Database, inbox_dir: Path) -> None:
        self._db = database
        self._inbox_dir = inbox_dir

    def get(self, file_id: int) -> KnownFile:
        """Return one file.

        Raises:
            KeyError: There is no such row.
        """
        row = self._db.execute("select * from files where id = ?", (file_id,)).fetchone()
        if row is None:
            raise KeyError(file_id)
        return _known(row)

    def find(self, root: bytes, path: Path) -> KnownFile | None:
        """Return the row of a path; None without one."""
        row = self._db.execute(
            "select * from files where root = ? and path = ?", (root, os.fsencode(path))
        ).fetchone()
        return _known(row) if row else None

    def below(self, root: bytes) -> dict[Path, KnownFile]:
        """Return every known file below a root, by its path below it."""
        return {known.path: known for batch in self.batches_below(root) for known in batch}

    def batches_below(self, root: bytes, size: int = 1000) -> Iterator[list[KnownFile]]:
        """Yield the known files below a root in batches."""
        last_id = 0
        while rows := self._db.execute(
            "select * from files where root = ? and id > ? order by id limit ?",
            (root, last_id, size),
        ).fetchall():
            last_id = rows[-1]["id"]
            yield [_known(row) for row in rows]

    def note(
        self,
        root: bytes,
        path: Path,
        stamp: Stamp,
        state: FileState,
        now_s: float,
        reason: Reason = NO_REASON,
    ) -> int:
        """Record the file at a path; see ``note_all``."""
        return self.note_all(root, [FoundFile(path, stamp, state, reason)], now_s)[0]

    def note_references(self, root: bytes, found: Sequence[FoundFile], now_s: float) -> None:
        """Record reference pictures at some paths; see ``note_all``."""
        self._note(root, found, now_s, is_reference=True)

    def references(self) -> list[KnownFile]:
        """Return every known reference picture, by id."""
        rows = self._db.execute("select * from files where is_reference order by id")
        return [_known(row) for row in rows.fetchall()]

    def move_references(self, root: bytes) -> None:
        """Record that the people folder has another path, with the same pictures in it."""
        self._db.execute(
            "update or ignore files set root = ? where is_reference and root <> ?", (root, root)
        )

    def note_all(self, root: bytes, found: Sequence[FoundFile], now_s: float) -> list[int]:
        """Record the files at some paths; each replaces an earlier content of its path.

        The faces of an earlier content are kept if all of it was processed. Otherwise they are
        deleted, unless the content has another path where the rest can be read.

        Returns:
            The ids of their rows.
        """
        return self._note(root, found, now_s, is_reference=False)

    def record_all(self, root: bytes, found: Sequence[FoundFile], now_s: float) -> None:
        """Record the files at some paths, as ``note_all`` does, where no ids are needed."""
        with self._noting(root, found):
            self._db.executemany(_NOTE, [_note_values(root, file, now_s, False) for file in found])

    def _note(
        self, root: bytes, found: Sequence[FoundFile], now_s: float, *, is_reference: bool
    ) -> list[int]:
        with self._noting(root, found):
            return [self._note_one(root, file, now_s, is_reference) for file in found]

    @contextmanager
    def _noting(self, root: bytes, found: Sequence[FoundFile]) -> Iterator[None]:
        """Open a transaction; at its end, delete what no file holds any more."""
        with self._db.transaction():
            paths = [os.fsencode(file.path) for file in found]
            marks = ",".join("?" * len(paths))
            was_read = self._db.execute(
                f"""
                select 1 from files where root = ? and path in ({marks}) and video_id is not null
                limit 1
                """,  # noqa: S608 - question marks
                (root, *paths),
            ).fetchone()
            yield
            if was_read:
                self._delete_orphans()

    def _note_one(self, root: bytes, file: FoundFile, now_s: float, is_reference: bool) -> int:
        values = _note_values(root, file, now_s, is_reference)
        row = self._db.execute(f"{_NOTE} returning id", values).fetchone()
        return int(row["id"])

    def _delete_orphans(self) -> None:
        """Delete the unfinished videos that no file holds any more."""
        orphans = self._db.execute(
            """
            select id, replaces from videos where state = 'queued' and not exists (
                select 1 from files where video_id = coalesce(videos.replaces, videos.id)
                    and (state <> 'duplicate' or reason_code in (?, ?)))
            """,
            (ReasonCode.DUPLICATE_OF, ReasonCode.SAME_PICTURES_AS),
        ).fetchall()
        for orphan in orphans:
            if orphan["replaces"]:
                # It cannot be reprocessed; the faces found before are kept.
                self._db.execute("delete from videos where id = ?", (orphan["id"],))
            # The faces of a partial copy that was being continued are kept.
            elif not PartialCopies(self._db).revert(orphan["id"]):
                self._delete_without_file(orphan["id"])

    def _delete_without_file(self, video_id: int) -> None:
        """Delete a video whose content no file has any more."""
        self._db.execute(
            """
            delete from videos where id = ?
                and not exists (select 1 from files where video_id = videos.id)
            """,
            (video_id,),
        )

    def move_on(
        self,
        file_id: int,
        state: FileState,
        now_s: float,
        reason: Reason = NO_REASON,
        video_id: int | None = None,
        content_sha256: str | None = None,
    ) -> None:
        """Change the state of a file; without new video id and hash it keeps its old ones."""
        self._db.execute(
            """
            update files set state = ?1, reason = ?2, reason_code = ?3, changed_at = ?4,
                video_id = coalesce(?5, video_id),
                earlier_video_id = iif(?5 is null, earlier_video_id, null),
                content_sha256 = coalesce(?6, content_sha256)
            where id = ?7
            """,
            (state, reason.text, reason.code, now_s, video_id, content_sha256, file_id),
        )

    def miss(self, file_ids: Sequence[int], now_s: float) -> set[int]:
        """Record that files are not there any more, unless a worker has them meanwhile.

        Returns:
            The ids of those that are recorded as gone.
        """
        reason = Reason.of(ReasonCode.REMOVED)
        with self._db.transaction():
            return {
                file_id
                for file_id in file_ids
                if self._db.execute(
                    """
                    update files set state = 'gone', reason = ?, reason_code = ?, changed_at = ?
                    where id = ? and state in ('waiting', 'ready')
                    """,
                    (reason.text, reason.code, now_s, file_id),
                ).rowcount
            }

    def dismiss(self, names: Sequence[str], now_s: float) -> list[str]:
        """Dismiss failed files: they are counted as ignored, and only a change tries them again.

        Args:
            names: Paths below the inbox or another root, or absolute ones, as ``display_path``
                writes them; none for every failed file.
            now_s: When.

        Returns:
            The paths of the files that were dismissed.

        Raises:
            ConfigError: A name is not that of a failed file; none was dismissed.
        """
        with self._db.transaction():
            files = list(self.in_state(FileState.FAILED))
            failed: dict[str, set[int]] = {}
            for file in files:
                for name in (display_path(file.path), display_path(self.place(file))):
                    failed.setdefault(name, set()).add(file.id)
            if unknown := [name for name in names if name not in failed]:
                raise ConfigError(
                    f"not among the failed files: {join_names(unknown, _MAX_LISTED)}; "
                    "nothing was dismissed; `portraitd status` lists them"
                )
            chosen = set().union(*(failed[name] for name in names or failed))
            dismissed = [file for file in files if file.id in chosen]
            for file in dismissed:
                self.move_on(file.id, FileState.IGNORED, now_s, file.reason)
        return [display_path(file.path) for file in dismissed]

    def read_marker(self) -> str | None:
        """Return the token in the marker of the inbox; None if no marker was read yet."""
        row = self._db.execute("select token from inbox_marker").fetchone()
        return str(row["token"]) if row else None

    def record_marker(self, token: str) -> None:
        """Record the token in the marker of the inbox."""
        with self._db.transaction():
            self._db.execute("delete from inbox_marker")
            self._db.execute("insert into inbox_marker (token) values (?)", (token,))

    def part(self, file_id: int, now_s: float) -> None:
        """Record that a file was removed, and that another file now holds its recording."""
        self.move_on(file_id, FileState.GONE, now_s, Reason.of(ReasonCode.REMOVED))
        self._db.execute("update files set video_id = null where id = ?", (file_id,))

    def rename(self, file_id: int, path: Path) -> None:
        """Record a new path of a file below its root."""
        self._db.execute("update files set path = ? where id = ?", (os.fsencode(path), file_id))

    def claim(self, now_s: float, interrupted: int = 0) -> KnownFile | None:
        """Take the oldest ready file, counting the attempt before it is made.

        Args:
            now_s: When.
            interrupted: Take only one that was interrupted at least as often; 0 takes only those
                that were interrupted less than ``SUSPECT_INTERRUPTIONS`` times.
        """
        # Ordered by id alone where many wait: that is a step in an index.
        order, most = ("interruptions, id", 1 << 62) if interrupted else ("id", _FEW)
        row = self._db.execute(
            f"""
            update files set state = 'probing', attempts = attempts + 1, changed_at = ?
            where id = (select id from files where state = 'ready'
                and interruptions between ? and ? order by {order} limit 1)
            returning *
            """,  # noqa: S608 - one of two constants
            (now_s, interrupted, most),
        ).fetchone()
        return _known(row) if row else None

    def release(self, file_id: int) -> None:
        """Give a claimed file back and do not count the attempt: the service is stopping."""
        self._db.execute(
            """
            update files set state = 'ready', attempts = attempts - 1
            where id = ? and state = 'probing'
            """,
            (file_id,),
        )

    def reclaim(self) -> None:
        """Make probing files ready again, after a service that did not give them back."""
        self._db.execute(
            """
            update files set state = 'ready', attempts = max(attempts - 1, 0),
                interruptions = interruptions + 1
            where state = 'probing'
            """
        )

    def retry(self, now_s: float) -> int:
        """Make failed files ready again. Return how many."""
        return self._db.execute(
            """
            update files set state = 'ready', reason = '', reason_code = '', attempts = 0,
                interruptions = 0, changed_at = ?
            where state = 'failed' and video_id is null
            """,
            (now_s,),
        ).rowcount

    def source(self, known: KnownFile) -> Source:
        """Return where to read a file, and the stamp it must still have."""
        stamp = known.stamp if known.stamp.inode else self._numbered(known)
        return Source(self.place(known), stamp, self._root_of(known))

    def _numbered(self, known: KnownFile) -> Stamp:
        """Return the stamp of a file whose inode was not stored, with the one that it has now.

        By its inode a reader knows that no folder on the way was replaced by a link meanwhile.
        """
        try:
            fd = open_file_below(self._root_of(known), known.path)
        except OSError:
            return known.stamp._replace(inode=_NO_INODE)
        try:
            found = Stamp.of(os.fstat(fd))
        finally:
            os.close(fd)
        return found if found.is_same(known.stamp) else known.stamp._replace(inode=_NO_INODE)

    def place(self, known: KnownFile) -> Path:
        """Return the absolute path of a file."""
        return self._root_of(known) / known.path

    def _root_of(self, known: KnownFile) -> Path:
        return Path(os.fsdecode(known.root)) if known.root else self._inbox_dir

    def of_video(self, video_id: int) -> list[KnownFile]:
        """Return the files with a content; the one that is read comes first."""
        rows = self._db.execute(
            "select * from files where video_id = ? order by state = 'duplicate', id", (video_id,)
        )
        return [_known(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Return the number of files by state, without reference pictures."""
        rows = self._db.execute(
            "select state, count(*) as n from files where not is_reference group by state"
        )
        return {row["state"]: row["n"] for row in rows}

    def in_state(self, state: FileState) -> Iterator[KnownFile]:
        """Return the files in one state, the oldest first, without reference pictures."""
        rows = self._db.execute(
            "select * from files where state = ? and not is_reference order by id", (state,)
        )
        return map(_known, rows.fetchall())

    def oldest_open_s(self) -> float:
        """Return when the oldest admitted, unfinished file was first seen; 0 for none."""
        row = self._db.execute(
            """
            select min(seen_at) as oldest from files
            where state in ('ready', 'probing', 'encoding')
            """
        ).fetchone()
        return float(row["oldest"] or 0.0)

    def any_open(self) -> bool:
        """Return whether an admitted file is unfinished."""
        row = self._db.read_row(
            "select 1 from files where state in ('ready', 'probing', 'encoding') limit 1"
        )
        return row is not None


def _note_values(
    root: bytes, file: FoundFile, now_s: float, is_reference: bool
) -> tuple[object, ...]:
    """Return the values of ``_NOTE``."""
    return (
        root,
        os.fsencode(file.path),
        *_signed(file.stamp),
        file.state,
        file.reason.text,
        file.reason.code,
        now_s,
        now_s,
        is_reference,
    )


def _signed(stamp: Stamp) -> Stamp:
    """Map the inode to a signed integer, as SQLite's are; some network inodes exceed them."""
    inode = stamp.inode if stamp.inode < 1 << 63 else stamp.inode - (1 << 64)
    return stamp._replace(inode=inode)


def _known(row: sqlite3.Row) -> KnownFile:
    inode = row["inode"]
    return KnownFile(
        id=row["id"],
        root=row["root"],
        path=Path(os.fsdecode(row["path"])),
        stamp=Stamp(
            row["size"],
            row["mtime_ns"],
            inode if inode >= 0 else inode + (1 << 64),
        ),
        state=FileState(row["state"]),
        reason=reason_of(row),
        attempts=row["attempts"],
        interruptions=row["interruptions"],
        video_id=row["video_id"],
        content_sha256=row["content_sha256"],
        earlier_video_id=row["earlier_video_id"],
        is_reference=bool(row["is_reference"]),
    )


def reason_of(row: sqlite3.Row) -> Reason:
    """Return the reason in the columns ``reason_code`` and ``reason``."""
    return Reason(ReasonCode(row["reason_code"]), row["reason"])
