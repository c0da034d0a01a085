"""Which files were seen where, and what became of each."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from portraitd.model.media_file import FileState, Source, Stamp
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.store.database import Database
from portraitd.store.partial_copies import Beginnings

INBOX = b""
"""The root of files in the inbox, so that a home can be moved."""


def display_path(path: bytes | Path) -> str:
    """A path as text that can be printed, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A row of ``files``."""

    id: int
    root: bytes
    path: Path
    stamp: Stamp
    state: FileState
    reason: Reason
    attempts: int
    video_id: int | None


class Files:
    """The files of the inbox and of ``process``."""

    def __init__(self, database: Database, inbox_dir: Path) -> None:
        self._db = database
        self._inbox_dir = inbox_dir

    def get(self, file_id: int) -> KnownFile:
        """One file.

        Raises:
            KeyError: There is no such row.
        """
        row = self._db.execute("select * from files where id = ?", (file_id,)).fetchone()
        if row is None:
            raise KeyError(file_id)
        return _known(row)

    def find(self, root: bytes, path: Path) -> KnownFile | None:
        """What is known of a path, if anything."""
        row = self._db.execute(
            "select * from files where root = ? and path = ?", (root, os.fsencode(path))
        ).fetchone()
        return _known(row) if row else None

    def below(self, root: bytes) -> dict[Path, KnownFile]:
        """Every file known below a root, by its path below it."""
        rows = self._db.execute("select * from files where root = ?", (root,))
        return {known.path: known for known in map(_known, rows)}

    def note(
        self,
        root: bytes,
        path: Path,
        stamp: Stamp,
        state: FileState,
        now_s: float,
        reason: Reason = NO_REASON,
    ) -> int:
        """Write down what a path is now; an older content under the same path is forgotten.

        What was found in that stays, unless there is more to find and nowhere left to look.
        """
        with self._db.transaction():
            row = self._db.execute(
                """
                insert into files
                    (root, path, size, mtime_ns, inode, state, reason, reason_code, seen_at,
                        changed_at)
                values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                on conflict (root, path) do update set
                    size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
                    state = excluded.state, reason = excluded.reason,
                    reason_code = excluded.reason_code, attempts = 0, video_id = null,
                    changed_at = excluded.changed_at
                returning id
                """,
                (
                    root,
                    os.fsencode(path),
                    *_signed(stamp),
                    state,
                    reason.text,
                    reason.code,
                    now_s,
                    now_s,
                ),
            ).fetchone()
            orphans = self._db.execute(
                """
                select id, replaces from videos where state = 'queued' and not exists (
                    select 1 from files where video_id = coalesce(videos.replaces, videos.id)
                        and (state <> 'duplicate' or reason_code = ?))
                """,
                (ReasonCode.DUPLICATE_OF,),
            ).fetchall()
            for orphan in orphans:
                if orphan["replaces"]:
                    # It cannot be looked at again; what was found in it before stays.
                    self._db.execute("delete from videos where id = ?", (orphan["id"],))
                # Of a beginning that was being completed, what was found in it stays.
                elif not Beginnings(self._db).revert(orphan["id"]):
                    self._forget_unnamed(orphan["id"])
        return int(row["id"])

    def _forget_unnamed(self, video_id: int) -> None:
        """A content that no file has any more, under any name."""
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
    ) -> None:
        """One file, one state further; a video id once given is kept."""
        self._db.execute(
            """
            update files set state = ?, reason = ?, reason_code = ?, changed_at = ?,
                video_id = coalesce(?, video_id)
            where id = ?
            """,
            (state, reason.text, reason.code, now_s, video_id, file_id),
        )

    def rename(self, file_id: int, path: Path) -> None:
        """The file lies elsewhere below its root now."""
        self._db.execute("update files set path = ? where id = ?", (os.fsencode(path), file_id))

    def claim(self, now_s: float) -> KnownFile | None:
        """Take the oldest file that nobody has looked into, counting the attempt before it."""
        row = self._db.execute(
            """
            update files set state = 'probing', attempts = attempts + 1, changed_at = ?
            where id = (select id from files where state = 'ready' order by id limit 1)
            returning *
            """,
            (now_s,),
        ).fetchone()
        return _known(row) if row else None

    def release(self, file_id: int) -> None:
        """Give a claimed file back unattempted: the daemon stopped before its turn came."""
        self._db.execute(
            """
            update files set state = 'ready', attempts = attempts - 1
            where id = ? and state = 'probing'
            """,
            (file_id,),
        )

    def reclaim(self) -> None:
        """After a restart: what was being looked into is looked into again."""
        self._db.execute("update files set state = 'ready' where state = 'probing'")

    def retry(self, now_s: float) -> int:
        """Failed files become ready again. Returns how many."""
        return self._db.execute(
            """
            update files set state = 'ready', reason = '', reason_code = '', attempts = 0,
                changed_at = ?
            where state = 'failed' and video_id is null
            """,
            (now_s,),
        ).rowcount

    def source(self, known: KnownFile) -> Source:
        """Where to read a file, and the stamp it must still have."""
        return Source(self.place(known), known.stamp)

    def place(self, known: KnownFile) -> Path:
        """The absolute path of a file."""
        root = Path(os.fsdecode(known.root)) if known.root else self._inbox_dir
        return root / known.path

    def of_video(self, video_id: int) -> list[KnownFile]:
        """The names under which a content was seen; the one that was read comes first."""
        rows = self._db.execute(
            "select * from files where video_id = ? order by state = 'duplicate', id", (video_id,)
        )
        return [_known(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Files by state."""
        rows = self._db.execute("select state, count(*) as n from files group by state")
        return {row["state"]: row["n"] for row in rows}

    def in_state(self, state: FileState) -> Iterator[KnownFile]:
        """The files in one state, oldest first."""
        rows = self._db.execute("select * from files where state = ? order by id", (state,))
        return map(_known, rows.fetchall())

    def oldest_open_s(self) -> float:
        """When the oldest file that still has a way to go was first seen; 0 for none."""
        row = self._db.execute(
            """
            select min(seen_at) as oldest from files
            where state in ('ready', 'probing', 'encoding')
            """
        ).fetchone()
        return float(row["oldest"] or 0.0)

    def any_open(self) -> bool:
        """Whether a file still has a way to go."""
        row = self._db.execute(
            "select 1 from files where state in ('ready', 'probing', 'encoding') limit 1"
        ).fetchone()
        return row is not None


def _signed(stamp: Stamp) -> Stamp:
    """SQLite's integers are signed; some network file systems number inodes beyond that."""
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
        video_id=row["video_id"],
    )


def reason_of(row: sqlite3.Row) -> Reason:
    """Return the reason in the columns ``reason_code`` and ``reason``."""
    return Reason(ReasonCode(row["reason_code"]), row["reason"])
