"""The database file: made, brought up to date, locked, and all or nothing."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import portraitd
from portraitd.model.errors import (
    AlreadyRunning,
    RefusedRow,
    StoreError,
    UnusableStore,
    is_of_machine,
)
from portraitd.model.reasons import ReasonCode
from portraitd.store.database import APPLICATION_ID, FILE_NAME, Database, StoreLock, newest_schema

MIGRATIONS = sorted((Path(portraitd.__file__).parent / "store" / "migrations").glob("*.sql"))


def scalar(database: Database, sql: str) -> object:
    return database.execute(sql).fetchone()[0]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(tmp_path)


def test_a_new_file_has_the_newest_schema(tmp_path: Path, database: Database) -> None:
    """Every migration was applied, and the file says whose it is."""
    tables = {row[0] for row in database.execute("select name from sqlite_master")}

    assert {"files", "videos", "slices", "faces", "portraits", "people", "grouping_runs"} <= tables
    assert {"tracks", "cannot_link"} <= tables
    assert newest_schema() == scalar(database, "pragma user_version")
    assert APPLICATION_ID == scalar(database, "pragma application_id")
    assert [] == database.problems()


def test_the_file_is_private_and_durable(tmp_path: Path, database: Database) -> None:
    """For the owner alone; a commit survives a power cut; what is deleted is overwritten."""
    assert 0o600 == stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode)
    assert "wal" == scalar(database, "pragma journal_mode")
    assert 2 == scalar(database, "pragma synchronous")
    assert 1 == scalar(database, "pragma foreign_keys")
    assert 1 == scalar(database, "pragma secure_delete")


def test_opening_again_keeps_what_is_there(tmp_path: Path, database: Database) -> None:
    """Migrations that were applied are not applied again."""
    database.execute("insert into people (created_at) values (1.0)")
    database.close()

    again = Database.open(tmp_path)

    assert 1 == scalar(again, "select count(*) from people")


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("insert into people (id, created_at) values (?, 1.0)", (1,)),
        ("insert into people (created_at) values (?)", (None,)),
        ("insert into slices (video_id, start_s, stop_s) values (?, 0.0, 1.0)", (77,)),
        ("insert into people (id, created_at) values (?, 1.0)", ("one",)),
        ("select zeroblob(?)", (1 << 40,)),
    ],
)
def test_a_row_that_is_refused_is_no_fault_of_the_machine(
    database: Database, statement: str, parameters: tuple[object, ...]
) -> None:
    """The database is as good as before; whoever asked for the row has to do without."""
    database.execute("insert into people (id, created_at) values (1, 1.0)")

    with pytest.raises(RefusedRow) as refused, database.transaction():
        database.execute("insert into people (id, created_at) values (2, 1.0)")
        database.execute(statement, parameters).fetchall()

    assert ReasonCode.INVALID_RESULT is refused.value.reason.code
    assert not is_of_machine(refused.value)
    assert 1 == scalar(database, "select count(*) from people")


def test_other_errors_are_of_the_machine(tmp_path: Path, database: Database) -> None:
    """A full disk, and a lock that another program holds."""
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute("begin immediate")
        database.execute("pragma busy_timeout = 0")
        with pytest.raises(StoreError) as locked:
            database.execute("insert into people (created_at) values (1.0)")
    other.close()
    pages = scalar(database, "pragma page_count")
    database.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(StoreError) as full, database.transaction():
        for _ in range(10_000):
            database.execute("insert into people (created_at) values (1.0)")

    assert is_of_machine(locked.value)
    assert is_of_machine(full.value)


def test_a_newer_schema_is_refused(tmp_path: Path, database: Database) -> None:
    """An old program must not touch a file it does not understand, and says what to do."""
    database.execute("pragma user_version = 99")
    database.close()

    with pytest.raises(UnusableStore, match=r"newer portraitd \(schema 99.*install that version"):
        Database.open(tmp_path)
    with pytest.raises(UnusableStore, match=r"newer portraitd \(schema 99.*install that version"):
        Database.open_to_read(tmp_path)


def test_an_older_schema_is_not_read_but_brought_up_to_date(tmp_path: Path) -> None:
    """Reading changes nothing, so it cannot migrate; opening to write can."""
    sqlite3.connect(tmp_path / FILE_NAME).close()
    with pytest.raises(StoreError, match=r"schema 0.*portraitd run"):
        Database.open_to_read(tmp_path)

    Database.open(tmp_path).close()

    assert [] == Database.open_to_read(tmp_path).problems()


def test_a_missing_file_is_not_read(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    with pytest.raises(StoreError, match="nothing has been processed"):
        Database.open_to_read(tmp_path)

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [b"not a database, but long enough to look like one" * 100])
def test_a_damaged_file_is_the_machines_fault(tmp_path: Path, damage: bytes) -> None:
    """It is named, and nothing is written over it."""
    (tmp_path / FILE_NAME).write_bytes(damage)

    with pytest.raises(UnusableStore, match=FILE_NAME):
        Database.open(tmp_path)
    with pytest.raises(UnusableStore, match=FILE_NAME):
        Database.open_to_read(tmp_path)
    assert damage == (tmp_path / FILE_NAME).read_bytes()


def test_a_state_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """Both doors say which path."""
    with pytest.raises(StoreError, match="away"):
        Database.open(tmp_path / "away")
    with pytest.raises(StoreError, match="away"), StoreLock(tmp_path / "away"):
        pass


def test_a_reader_cannot_write(tmp_path: Path, database: Database) -> None:
    """``status`` and ``faces`` run beside the daemon."""
    reader = Database.open_to_read(tmp_path)

    with pytest.raises(StoreError, match="readonly"):
        reader.execute("insert into people (created_at) values (1.0)")


def test_a_reader_sees_what_is_committed_meanwhile(tmp_path: Path, database: Database) -> None:
    """WAL: neither waits for the other."""
    reader = Database.open_to_read(tmp_path)
    with database.transaction():
        database.execute("insert into people (created_at) values (1.0)")
        assert 0 == scalar(reader, "select count(*) from people")

    assert 1 == scalar(reader, "select count(*) from people")


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    """All or nothing, whatever the error."""
    with pytest.raises(KeyboardInterrupt), database.transaction():
        database.execute("insert into people (created_at) values (1.0)")
        raise KeyboardInterrupt

    assert 0 == scalar(database, "select count(*) from people")


def test_the_next_transaction_works(database: Database) -> None:
    """One that failed does not stay open."""
    with pytest.raises(StoreError), database.transaction():
        database.execute("insert into nothing values (1)")

    with database.transaction():
        database.execute("insert into people (created_at) values (1.0)")

    assert 1 == scalar(database, "select count(*) from people")


def test_a_commit_that_fails_is_rolled_back(database: Database) -> None:
    """A constraint that is only checked at the end fails the commit, not all that follow."""
    database.execute(
        "create table late (id integer references people (id) deferrable initially deferred)"
    )
    with pytest.raises(StoreError, match="FOREIGN KEY"), database.transaction():
        database.execute("insert into late values (7)")

    with database.transaction():
        database.execute("insert into people (created_at) values (1.0)")

    assert 0 == scalar(database, "select count(*) from late")
    assert 1 == scalar(database, "select count(*) from people")


def test_a_rollback_that_fails_is_made_up_for(database: Database) -> None:
    """Otherwise every later transaction would be one within a transaction."""
    forbidden = {"ROLLBACK"}

    def allow(action: int, what: str | None, *_: object) -> int:
        refused = action == sqlite3.SQLITE_TRANSACTION and what in forbidden
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

    database._connection.set_authorizer(allow)
    with pytest.raises(StoreError, match="nothing"), database.transaction():
        database.execute("insert into people (created_at) values (1.0)")
        database.execute("insert into nothing values (1)")
    with pytest.raises(StoreError, match="not authorized"), database.transaction():
        pass
    assert 1 == database.read_row("select count(*) from people")[0]
    forbidden.clear()

    with database.transaction():
        assert 0 == database.read_row("select count(*) from people")[0]
        database.execute("insert into people (created_at) values (2.0)")

    assert [2.0] == [row[0] for row in database.execute("select created_at from people")]


PEOPLE = "select count(*) from people where id < ?"


def test_a_row_is_read_again_when_something_was_written(database: Database) -> None:
    """Also within a transaction, and when that is rolled back."""
    found = [database.read_row(PEOPLE, (9,))[0]]
    with pytest.raises(KeyboardInterrupt), database.transaction():
        database.execute("insert into people (created_at) values (1.0)")
        found.append(database.read_row(PEOPLE, (9,))[0])
        database.executemany("insert into people (created_at) values (?)", [(2.0,), (3.0,)])
        found.append(database.read_row(PEOPLE, (9,))[0])
        found.append(database.read_row(PEOPLE, (3,))[0])
        raise KeyboardInterrupt
    found.append(database.read_row(PEOPLE, (9,))[0])

    assert [0, 1, 3, 2, 0] == found
    assert database.read_row("select id from people") is None


def test_a_row_is_read_once_until_something_is_written(database: Database) -> None:
    """The stages of the service ask the same at every tick."""
    asked: list[str] = []
    database._connection.set_trace_callback(asked.append)
    for _ in range(3):
        database.read_row(PEOPLE, (9,))
    with database.transaction():
        pass
    database.read_row(PEOPLE, (9,))

    assert 1 == sum("people" in sql for sql in asked)


def test_a_reader_reads_a_row_again_each_time(tmp_path: Path, database: Database) -> None:
    """It does not know what the service writes."""
    reader = Database.open_to_read(tmp_path)
    before = reader.read_row(PEOPLE, (9,))[0]
    database.execute("insert into people (created_at) values (1.0)")

    assert (0, 1) == (before, reader.read_row(PEOPLE, (9,))[0])


def test_a_transaction_within_a_transaction_is_refused(database: Database) -> None:
    """It would end the outer one, or be undone with it. The outer one is all or nothing."""
    with pytest.raises(StoreError, match="within a transaction"), database.transaction():
        database.execute("insert into people (created_at) values (1.0)")
        with database.transaction():
            pass

    assert 0 == scalar(database, "select count(*) from people")


def test_a_full_disk_is_the_machines_fault_and_passes(database: Database) -> None:
    """While there is no room nothing is half written; then the same connection goes on."""
    pages = scalar(database, "pragma page_count")
    database.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"), database.transaction():
        for _ in range(10):
            database.execute(
                """
                insert into grouping_runs (parameters, last_id, faces, people, unassigned, churn,
                    seconds, finished_at)
                values (?, 1, 1, 1, 1, 1, 1, 1)
                """,
                ("x" * 9000,),
            )
    database.execute("pragma max_page_count = 1000000")

    with database.transaction():
        database.execute("insert into people (created_at) values (1.0)")

    assert 0 == scalar(database, "select count(*) from grouping_runs")
    assert 1 == scalar(database, "select count(*) from people")


def test_deleted_bytes_are_gone(tmp_path: Path, database: Database) -> None:
    """What was erased is in no free page of the file."""
    mark = b"a face that was erased" * 20
    database.execute("insert into people (name, created_at) values (?, 1.0)", (mark.decode(),))
    database.execute("pragma wal_checkpoint(truncate)")
    assert mark in (tmp_path / FILE_NAME).read_bytes()

    database.execute("delete from people")
    database.execute("pragma wal_checkpoint(truncate)")

    assert mark not in (tmp_path / FILE_NAME).read_bytes()


def test_problems_name_a_row_that_lost_its_video(database: Database) -> None:
    """SQLite's own checks are asked, foreign keys too."""
    database.execute("pragma foreign_keys = off")
    database.execute(
        "insert into slices (video_id, start_s, stop_s, state) values (9, 0, 1, 'done')"
    )

    (problem,) = database.problems()

    assert "slices" in problem


def test_space_for_the_shared_memory_is_reserved(tmp_path: Path, database: Database) -> None:
    """All blocks of the file are there, more of them as the journal grows, and no lock is lost."""
    file = tmp_path / f"{FILE_NAME}-shm"

    def reserved() -> int:
        facts = file.stat()
        assert facts.st_size <= facts.st_blocks * 512
        return facts.st_size

    small = reserved()
    database.execute("pragma wal_autocheckpoint = 0")
    journal = tmp_path / f"{FILE_NAME}-wal"
    # As long as one that a reader keeps from being emptied.
    os.truncate(journal, 200 << 20)
    with database.transaction():
        database.execute("insert into people (created_at) values (1.0)")
    assert small < reserved()

    again = Database.open_to_read(tmp_path)
    again.close()
    # Another process is the last one to close it, were the locks of this one gone: then it would
    # empty the journal and remove both files.
    code = (
        "import pathlib, sys; from portraitd.store.database import Database\n"
        "Database.open_to_read(pathlib.Path(sys.argv[1])).close()"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert file.exists()
    assert journal.exists()


def test_a_second_lock_is_refused_with_the_holders_number(tmp_path: Path) -> None:
    """The line says who, where, and what to do instead."""
    said = rf"process {os.getpid()}\) is using {tmp_path}; drop files into its inbox"

    with StoreLock(tmp_path), pytest.raises(AlreadyRunning, match=said), StoreLock(tmp_path):
        pass


def test_a_lock_can_be_taken_again(tmp_path: Path) -> None:
    """After it was given back, and after an attempt that was refused."""
    with StoreLock(tmp_path):
        with pytest.raises(AlreadyRunning), StoreLock(tmp_path):
            pass
        with pytest.raises(AlreadyRunning), StoreLock(tmp_path):
            pass

    with StoreLock(tmp_path):
        assert f"{os.getpid()}\n" == (tmp_path / "lock").read_text()


def test_a_dead_process_holds_no_lock(tmp_path: Path) -> None:
    """The lock ends with the process, not with what it wrote into the file."""
    code = (
        "import os, pathlib, sys; from portraitd.store.database import StoreLock\n"
        "with StoreLock(pathlib.Path(sys.argv[1])): os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)

    assert 9 == ended.returncode
    with StoreLock(tmp_path):
        assert f"{os.getpid()}\n" == (tmp_path / "lock").read_text()
