"""The database file: open, migrate, transactions, and the lock that allows one writer."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from portraitd.media.fs import locked
from portraitd.model.errors import AlreadyRunning, RefusedRow, StoreError, UnusableStore
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.store.shared_memory import SharedMemory
from portraitd.store.state_owner import give_to_owner

FILE_NAME = "portraitd.sqlite3"
LOCK_NAME = "lock"
APPLICATION_ID = 0x706F7274  # "port"

_OF_VALUES = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)
"""Errors that come from the values to be stored, and not from the disk, the file or its locks."""

QUICK_CHECK_MAX_BYTES = 256 << 20
"""A database up to this size is checked at every start, within a second; `check` has no limit."""

DAMAGE_ADVICE = (
    "; the file is damaged: `portraitd restore` your last backup (the videos are not harmed)"
)

SQLITE_VERSION = sqlite3.sqlite_version


class StoreLock:
    """Lock of the one process that may write. The system releases it when the process ends."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / LOCK_NAME
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            AlreadyRunning: Another process holds the lock; its id is in the message.
            StoreError: The state folder cannot be written.
        """
        try:
            fd = self._lock.enter_context(locked(self._path))
        except BlockingIOError:
            holder = self._path.read_bytes()[:32].decode("ascii", "replace").strip()
            raise AlreadyRunning(
                f"another portraitd (process {holder or 'unknown'}) is using {self._path.parent}; "
                "drop files into its inbox, or stop it first"
            ) from None
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error
        try:
            give_to_owner(fd, self._path.parent)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self._lock.close()
            raise StoreError(f"{self._path}: {error.strerror}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()


class _Cursor(sqlite3.Cursor):
    """A cursor whose reads raise ``StoreError``: a statement may fail at any of its rows."""

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except sqlite3.DatabaseError as error:
            raise _unusable(error) from error

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        try:
            return super().fetchmany(size)
        except sqlite3.DatabaseError as error:
            raise _unusable(error) from error

    def fetchall(self) -> list[Any]:
        try:
            return super().fetchall()
        except sqlite3.DatabaseError as error:
            raise _unusable(error) from error

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except sqlite3.DatabaseError as error:
            raise _unusable(error) from error


class Database:
    """One connection to the database. Only the holder of the ``StoreLock`` writes."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        shared_memory: SharedMemory | None = None,
        *,
        is_only_writer: bool = True,
    ) -> None:
        self._connection = connection
        self._shared_memory = shared_memory
        self._is_only_writer = is_only_writer
        self._rollbacks = 0
        self._is_in_transaction = False
        self._rows: dict[tuple[object, ...], Any] = {}
        self._rows_read_at = -1

    @classmethod
    def open(cls, state_dir: Path) -> Self:
        """Open for writing; create the file, and migrate it to the newest schema.

        Raises:
            UnusableStore: The file is damaged, or from a newer portraitd.
            StoreError: It cannot be written.
        """
        path = state_dir / FILE_NAME
        database = cls.open_file(path)
        try:
            if path.stat().st_size <= QUICK_CHECK_MAX_BYTES:
                database._quick_check(path)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open_file(cls, path: Path) -> Self:
        """Open a database under any path, as ``open`` does."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                give_to_owner(fd, path.parent)
            finally:
                os.close(fd)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        with _connected(path) as connection:
            for pragma in (
                "journal_mode = wal",
                # FULL: a few commits a minute cost nothing, and power loss loses none of them.
                "synchronous = full",
                "foreign_keys = on",
                # What is deleted is overwritten: faces must not stay in free pages.
                "secure_delete = on",
                "trusted_schema = off",
            ):
                connection.execute(f"pragma {pragma}")
            # Only now: the first connection empties the shared memory when it opens it.
            shared_memory = SharedMemory(path)
            database = cls(connection, shared_memory)
            database._reserve_shared_memory()
            database._migrate(path)
        return database

    @classmethod
    def open_to_read(cls, state_dir: Path) -> Self:
        """Open for reading beside a running service.

        Raises:
            StoreError: There is no database yet, or it cannot be read.
        """
        path = state_dir / FILE_NAME
        if not path.is_file():
            raise StoreError(f"{path}: nothing has been processed in this home yet")
        with _connected(path) as connection:
            connection.execute("pragma query_only = on")
            # A worker cannot write temporary files.
            connection.execute("pragma temp_store = memory")
            version, newest = _version(connection), len(_migrations())
            if version > newest:
                raise UnusableStore(_newer_schema(path, version))
            if version < newest:
                raise StoreError(
                    f"{path}: schema {version}, this portraitd reads {newest}; "
                    "start `portraitd run` once to bring it up to date"
                )
            # If no service runs, this connection has just emptied the shared memory.
            reader = cls(connection, SharedMemory(path), is_only_writer=False)
            reader._reserve_shared_memory()
        return reader

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The random name of this database, by which its people tree knows it."""
        return str(self.execute("select name from store_name").fetchone()["name"])

    @property
    def folder(self) -> Path:
        """The folder of its file."""
        row = self.execute("select file from pragma_database_list where name = 'main'").fetchone()
        return Path(row["file"]).parent

    @property
    def changes(self) -> int:
        """Count of written rows and rollbacks; while it is the same, so is the database."""
        return self._connection.total_changes + self._rollbacks

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement.

        Raises:
            StoreError: The machine is at fault (disk full, I/O error, damaged file).
        """
        try:
            return self._connection.cursor(_Cursor).execute(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise _unusable(error) from error

    def read_row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the first row of a query, as ``fetchone`` does; kept until something is written.

        For what several stages ask at every tick.

        Raises:
            StoreError: As for ``execute``.
        """
        if not self._is_only_writer or self._rows_read_at != self.changes:
            self._rows.clear()
            self._rows_read_at = self.changes
        question = (sql, *parameters)
        if question not in self._rows:
            self._rows[question] = self.execute(sql, parameters).fetchone()
        return self._rows[question]

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row.

        Raises:
            StoreError: As for ``execute``.
        """
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.DatabaseError as error:
            raise _unusable(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything or nothing.

        Immediate: a transaction that starts with a read would fail as busy at its first write.

        Raises:
            StoreError: As for ``execute``; then nothing was written.
        """
        if not self._is_in_transaction:
            # A rollback that failed, on a disk that fails: without another one, no transaction
            # could ever begin again.
            self._roll_back()
        self._reserve_shared_memory()
        self.execute("begin immediate")
        self._is_in_transaction = True
        try:
            yield
            self.execute("commit")
        except BaseException as error:
            self._rollbacks += 1
            try:
                self._roll_back()
            except StoreError as failure:
                error.add_note(f"it could not be rolled back: {failure}")
            raise
        finally:
            self._is_in_transaction = False

    def _roll_back(self) -> None:
        # SQLite has already rolled back by itself after some errors (disk full).
        if self._connection.in_transaction:
            self.execute("rollback")
            self._rollbacks += 1

    def _reserve_shared_memory(self) -> None:
        if self._shared_memory is None:
            return
        try:
            self._shared_memory.reserve()
        except OSError as error:
            raise StoreError(f"the database cannot be used: {error.strerror}") from error

    def problems(self) -> list[str]:
        """Return what SQLite finds wrong with the file; empty if it is sound."""
        found = [str(row[0]) for row in self.execute("pragma integrity_check(20)")]
        broken = [f"{row[0]} row {row[1]}" for row in self.execute("pragma foreign_key_check")]
        return [line for line in found if line != "ok"] + broken

    def _quick_check(self, path: Path) -> None:
        """Raise ``StoreError`` if the file is damaged: the sooner, the less is lost."""
        found = [str(row[0]) for row in self.execute("pragma quick_check(1)")]
        if found != ["ok"]:
            raise UnusableStore(f"{path}: {'; '.join(found)}{DAMAGE_ADVICE}")

    def _migrate(self, path: Path) -> None:
        version, migrations = _version(self._connection), _migrations()
        if version > len(migrations):
            raise UnusableStore(_newer_schema(path, version))
        for number in range(version + 1, len(migrations) + 1):
            with self.transaction():
                # One statement at a time: executescript would commit the open transaction.
                for statement in _statements(migrations[number - 1]):
                    self.execute(statement)
                self.execute(f"pragma user_version = {number}")
                self.execute(f"pragma application_id = {APPLICATION_ID}")


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection; close it if it cannot be used."""
    try:
        SharedMemory(path).reserve()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    try:
        connection.row_factory = sqlite3.Row
        yield connection
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError):
            raise _error_of(error, str(path)) from error
        raise


def _unusable(error: sqlite3.DatabaseError) -> StoreError:
    return _error_of(error, "the database cannot be used")


def _error_of(error: sqlite3.DatabaseError, what: str) -> StoreError:
    """Return the error to raise, with what the operator can do where only one thing helps."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _OF_VALUES:
        return RefusedRow(Reason.of(ReasonCode.INVALID_RESULT, error=error))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return UnusableStore(f"{what}: {error}{DAMAGE_ADVICE}")
    return StoreError(f"{what}: {error}")


def _newer_schema(path: Path, version: int) -> str:
    return (
        f"{path}: written by a newer portraitd (schema {version}, this one knows "
        f"{len(_migrations())}); install that version again"
    )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def new_in_memory() -> sqlite3.Connection:
    """Return an empty database in memory with the newest schema, to compare others with."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for script in _migrations():
        for statement in _statements(script):
            connection.execute(statement)
    return connection


def newest_schema() -> int:
    """Return the schema version that this portraitd writes."""
    return len(_migrations())


@lru_cache(maxsize=1)
def _migrations() -> list[str]:
    """Return the scripts in order; the first is number 1. Read once: a sealed worker cannot."""
    folder = resources.files("portraitd.store") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(folder / name).read_text(encoding="utf-8") for name in names]


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
