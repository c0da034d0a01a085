"""Copies of the store that can be trusted, and going back to one."""

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
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.erasure.tombstones import Tombstones

LIST_NAME = "backups.jsonl"
"""Where copies were made, one line each; a forgetting names those that still hold it."""

COUNTED = ("files", "videos", "faces", "people")

PAGES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A copy of the store that was looked through.

    Attributes:
        path: Where it lies.
        size: In bytes.
        counts: Rows by table.
    """

    path: Path
    size: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What going back came to.

    Attributes:
        counts: Rows by table in the store that is in force now.
        aside: Where the store lies that was in force before; None if there was none.
        forgotten: Faces in the copy that had been forgotten since, and were again.
    """

    counts: dict[str, int]
    aside: Path | None
    forgotten: int


def back_up(state_dir: Path, target: Path, now_s: float) -> BackupFile:
    """Copy the store as it is at one moment, also while a service writes to it.

    The copy is made beside, checked and renamed: it is sound, or the old one stays.

    Args:
        state_dir: The state of a home.
        target: A file; one that is there is replaced if it is a store.
        now_s: When, for the list.

    Raises:
        ConfigError: The target is a folder, or something that is no copy of a store.
        StoreError: The store cannot be read, or the target not be written.
    """
    source = state_dir / FILE_NAME
    if not source.is_file():
        raise StoreError(f"{source}: nothing has been processed in this home yet")
    _require_replaceable(target)
    try:
        with replacing(target, durable=True) as unfinished:
            with _reading(source) as original, closing(sqlite3.connect(unfinished)) as copy:
                original.backup(copy, pages=PAGES_AT_ONCE, sleep=0.01)
                # One file, whole by itself: its journal would be left behind.
                copy.execute("pragma journal_mode = delete")
            done = inspect(unfinished)
        with open(state_dir / LIST_NAME, "a", encoding="utf-8", opener=private) as file:
            file.write(json.dumps({"path": os.fspath(target.absolute()), "at": now_s}) + "\n")
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{source}: {error}; the copy was not made") from error
    except OSError as error:
        raise StoreError(f"{error.filename or target}: {error.strerror}") from error
    return BackupFile(target, done.size, done.counts)


def inspect(path: Path) -> BackupFile:
    """Look through a copy of a store.

    Raises:
        StoreError: It is no store, is damaged, or was written by a newer portraitd.
    """
    try:
        size = path.stat().st_size
        with _reading(path) as copy:
            if _pragma(copy, "application_id") != APPLICATION_ID:
                raise StoreError(f"{path}: not a store of portraitd")
            schema = _pragma(copy, "user_version")
            if schema > newest_schema():
                raise StoreError(
                    f"{path}: written by a newer portraitd (schema {schema}, this one knows "
                    f"{newest_schema()}); install that version first"
                )
            found = [str(row[0]) for row in copy.execute("pragma integrity_check(5)")]
            broken = copy.execute("pragma foreign_key_check").fetchall()
            if found != ["ok"] or broken:
                reason = "; ".join(found) if found != ["ok"] else f"{len(broken)} rows lost theirs"
                raise StoreError(f"{path}: damaged ({reason}); take an older copy")
            return BackupFile(path, size, {table: _count(copy, table) for table in COUNTED})
    except (OSError, sqlite3.DatabaseError) as error:
        raise StoreError(f"{path}: {error}") from error


def restore(state_dir: Path, source: Path, now_s: float) -> RestoreResult:
    """Put a copy in force. The caller holds the store's lock.

    What is in force now is put aside, not removed. What was forgotten since the copy was made is
    forgotten in it as well. Copies of embeddings are dropped: the next grouping makes them anew.

    Raises:
        StoreError: The copy is not sound, or something cannot be written; then nothing changed.
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
            forgotten = _forget_again(beside, current, state_dir, now_s)
            done = inspect(beside)
            sync(beside)
            aside = _put_aside(current, state_dir / f"{FILE_NAME}.old-{stamp}")
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
    return RestoreResult(done.counts, aside, forgotten)


def listed(state_dir: Path) -> list[Path]:
    """Copies that were made and are still where they were made."""
    try:
        lines = (state_dir / LIST_NAME).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    paths = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            paths.append(Path(json.loads(line)["path"]))
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def _forget_again(beside: Path, current: Path, state_dir: Path, now_s: float) -> int:
    """Bring the copy's schema up to date, and forget in it what was forgotten since."""
    with closing(Database.open_file(beside)) as database:
        if current.is_file():
            # A store too damaged to be opened has no tombstones to give either. Closing it
            # empties its journal, which must not lie beside another store.
            with (
                suppress(StoreError),
                closing(Database.open(state_dir)) as before,
                database.transaction(),
            ):
                Tombstones(database).adopt(before)
        eraser = Eraser(database)
        scope = eraser.restored()
        if scope:
            eraser.erase(scope, now_s)
        # The tree was made from another store: it is out of date whatever it shows.
        database.execute("update publications set render_version = ''")
        database.execute("update grouping_runs set snapshot = ''")
        eraser.truncate_journal()
        database.execute("pragma journal_mode = delete")
    return len(scope.face_ids)


def _put_aside(current: Path, aside: Path) -> Path | None:
    """Give the store in force a second name, so that there is one at every moment."""
    if not current.is_file():
        return None
    first = aside
    for number in count(2):
        try:
            os.link(current, aside)
            break
        except FileExistsError:
            # Twice in a second.
            aside = first.with_name(f"{first.name}-{number}")
    # Only one that could not be opened still has a journal; it belongs to it.
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
            raise ConfigError(f"{target.parent}: there is no such folder") from None
        return
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(f"{target}: name a file; this is something else")
    with suppress(sqlite3.DatabaseError), _reading(target) as old:
        if facts.st_size == 0 or _pragma(old, "application_id") == APPLICATION_ID:
            return
    raise ConfigError(f"{target}: is there already, and is no store; name another file")


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write; one of a copy needs no journal beside it."""
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
