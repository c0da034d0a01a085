"""Backups of the database: make, check and restore them."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from portraitd.media.fs import replacing, sync, unfinished_path
from portraitd.model.errors import ConfigError, StoreError
from portraitd.store.database import APPLICATION_ID, FILE_NAME, Database, newest_schema
from portraitd.store.erasure.derived_files import PATTERNS, private
from portraitd.store.erasure.eraser import RETENTION, Eraser
from portraitd.store.erasure.retention_record import read_record
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.shared_memory import SharedMemory
from portraitd.store.state_owner import give_to_owner

LIST_NAME = "backups.jsonl"
"""List of all backups, one line each; an erasure tells which of them still hold the data."""

COUNTED = ("files", "videos", "faces", "people")

PAGES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A backup that was checked.

    Attributes:
        path: The file.
        size: In bytes.
        counts: Rows by table.
    """

    path: Path
    size: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What a restore did.

    Attributes:
        counts: Rows by table in the restored database.
        previous: Where the previous database is now; None if there was none.
        erased: Faces in the backup that had been erased since, and were erased again.
    """

    counts: dict[str, int]
    previous: Path | None
    erased: int


def back_up(state_dir: Path, target: Path, now_s: float) -> BackupFile:
    """Copy the database as it is at one moment, also while a service writes to it.

    The copy gets a temporary name, is checked, and renamed: if anything fails, an existing backup
    stays.

    Args:
        state_dir: The state folder of a home.
        target: The backup file; an existing one is replaced if it is a backup.
        now_s: When, for the list of backups.

    Raises:
        ConfigError: The target is a folder, or a file that is not a backup.
        StoreError: The database cannot be read, or the target cannot be written.
    """
    source = state_dir / FILE_NAME
    if not source.is_file():
        raise StoreError(f"{source}: nothing has been processed in this home yet")
    _require_replaceable(target)
    try:
        SharedMemory(source).reserve()
        with replacing(target, durable=True) as unfinished:
            with _reading(source) as original, closing(sqlite3.connect(unfinished)) as copy:
                original.backup(copy, pages=PAGES_AT_ONCE, sleep=0.01)
                # A backup is one file: it must need no journal beside it.
                copy.execute("pragma journal_mode = delete")
            done = inspect(unfinished)
        with open(state_dir / LIST_NAME, "a", encoding="utf-8", opener=private) as file:
            give_to_owner(file.fileno(), state_dir)
            file.write(json.dumps({"path": os.fspath(target.absolute()), "at": now_s}) + "\n")
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{source}: {error}; the copy was not made") from error
    except OSError as error:
        raise StoreError(f"{error.filename or target}: {error.strerror}") from error
    return BackupFile(target, done.size, done.counts)


def inspect(path: Path) -> BackupFile:
    """Check a backup.

    Raises:
        StoreError: It is not a database of portraitd, is damaged, or is from a newer version.
    """
    try:
        size = path.stat().st_size
        with _reading(path) as copy:
            if _pragma(copy, "application_id") != APPLICATION_ID:
                raise StoreError(f"{path}: not a database of portraitd")
            schema = _pragma(copy, "user_version")
            if schema > newest_schema():
                raise StoreError(
                    f"{path}: written by a newer portraitd (schema {schema}, this one knows "
                    f"{newest_schema()}); install that version first"
                )
            found = [str(row[0]) for row in copy.execute("pragma integrity_check(5)")]
            broken = copy.execute("pragma foreign_key_check").fetchall()
            if found != ["ok"] or broken:
                reason = (
                    "; ".join(found)
                    if found != ["ok"]
                    else f"{len(broken)} rows refer to missing ones"
                )
                raise StoreError(f"{path}: damaged ({reason}); use an older backup")
            return BackupFile(path, size, {table: _count(copy, table) for table in COUNTED})
    except (OSError, sqlite3.DatabaseError) as error:
        raise StoreError(f"{path}: {error}") from error


def restore(state_dir: Path, source: Path, now_s: float) -> RestoreResult:
    """Restore a backup. The caller holds the ``StoreLock``.

    The previous database is renamed, not removed. What was erased since the backup was made is
    erased again. Derived files are removed: the next grouping makes new ones.

    Raises:
        StoreError: The backup is damaged, or a file cannot be written; then nothing has changed.
    """
    inspect(source)
    current = state_dir / FILE_NAME
    stamp = f"{datetime.fromtimestamp(now_s, UTC):%Y%m%dT%H%M%SZ}"
    beside = unfinished_path(current)
    try:
        # A journal that an interrupted restore left would be applied to the new file.
        _remove(beside)
        with replacing(current, durable=True):
            with _reading(source) as copy, closing(sqlite3.connect(beside)) as new:
                copy.backup(new)
            erased = _erase_again(beside, current, state_dir, now_s)
            done = inspect(beside)
            sync(beside)
            previous = _set_aside(current, state_dir / f"{FILE_NAME}.old-{stamp}")
        for pattern in PATTERNS:
            for path in state_dir.glob(pattern):
                path.unlink()
        sync(state_dir)
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{source}: {error}") from error
    except OSError as error:
        raise StoreError(f"{error.filename or state_dir}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            _remove(beside)
    return RestoreResult(done.counts, previous, erased)


def list_backups(state_dir: Path) -> list[Path]:
    """Return the backups that still exist where they were made."""
    try:
        lines = (state_dir / LIST_NAME).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    paths = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            paths.append(Path(json.loads(line)["path"]))
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def _erase_again(beside: Path, current: Path, state_dir: Path, now_s: float) -> int:
    """Migrate a restored database, and erase in it what was erased since."""
    with Database.open_file(beside) as database:
        if current.is_file():
            # A database too damaged to be opened has no tombstones to give. Closing it empties
            # its journal, which must not stay beside another database.
            with (
                suppress(StoreError),
                Database.open(state_dir) as before,
                database.transaction(),
            ):
                Tombstones(database).adopt(before)
        eraser = Eraser(database)
        scope = eraser.restored()
        if scope:
            eraser.erase(scope, now_s)
        # Kept for too long since: all videos of a backup are from before it was made.
        expired = eraser.before(read_record(state_dir).forgotten_before_s, RETENTION)
        if expired:
            eraser.erase(expired, now_s)
        # The tree was published from another database: have it published again.
        database.execute("update publications set render_version = ''")
        database.execute("update grouping_runs set snapshot = ''")
        eraser.truncate_journal()
        database.execute("pragma journal_mode = delete")
    return len(scope.face_ids) + len(expired.face_ids)


def _set_aside(current: Path, aside: Path) -> Path | None:
    """Give the current database a second name, so that there is one at every moment."""
    if not current.is_file():
        return None
    first = aside
    for number in count(2):
        try:
            os.link(current, aside)
            break
        except FileExistsError:
            # A second restore within one second.
            aside = first.with_name(f"{first.name}-{number}")
    # Only a database that could not be opened still has its journal, which belongs to it.
    for ending in ("-wal", "-shm"):
        journal = current.with_name(current.name + ending)
        if journal.exists():
            journal.replace(aside.with_name(aside.name + ending))
    return aside


def _require_replaceable(target: Path) -> None:
    try:
        facts = target.lstat()
    except FileNotFoundError:
        if not target.absolute().parent.is_dir():
            raise ConfigError(f"{target.parent}: folder not found") from None
        return
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(f"{target}: not a regular file; name a file")
    with suppress(sqlite3.DatabaseError), _reading(target) as old:
        if facts.st_size == 0 or _pragma(old, "application_id") == APPLICATION_ID:
            return
    raise ConfigError(f"{target}: exists and is not a backup; name another file")


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection that cannot write, and that needs no journal beside a backup."""
    # as_uri: a name may hold a question mark.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10.0)
    try:
        yield connection
    finally:
        connection.close()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"pragma {name}").fetchone()[0])


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"select count(*) from {table}").fetchone()[0])  # noqa: S608


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
