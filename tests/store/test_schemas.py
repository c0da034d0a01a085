"""A store of every schema there ever was is brought up to date, rows and all."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from portraitd.model.suggestion import Suggestion
from portraitd.store import database as database_module
from portraitd.store.database import APPLICATION_ID, FILE_NAME, Database, newest_schema
from portraitd.store.people import People
from support.old_schemas import column_of_today, table_of_today
from support.store import Store, embedding

SCHEMAS = range(1, newest_schema() + 1)


def scripts() -> list[str]:
    folder = Path(database_module.__file__).parent / "migrations"
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql"))]


def rows(db: sqlite3.Connection, table: str, columns: list[str]) -> list[tuple[object, ...]]:
    # A table of one column has no second one to be sorted by.
    order = "1, 2" if len(columns) > 1 else "1"
    return db.execute(f"select {', '.join(columns)} from {table} order by {order}").fetchall()


def columns_of(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"pragma table_info({table})")]


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with files, videos, slices, faces, tracks, people and a grouping."""
    folder = tmp_path_factory.mktemp("today")
    store = Store(Database.open(folder))
    ann, bob = embedding(1), embedding(2)
    store.see(ann, bob)
    store.see(ann, embedding(3))
    store.track()
    store.group([0, 1, 0, -1])
    store.video("half.mp4", slices=2)
    store.database.execute("update people set name = 'Ann' where id = 1")
    store.database.execute("pragma wal_checkpoint(truncate)")
    store.database.close()
    return folder


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_is_brought_up_to_date(tmp_path: Path, today: Path, schema: int) -> None:
    """What its tables held is what they hold; the schema is as in a store made today."""
    path = tmp_path / FILE_NAME
    before = {}
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        for script in scripts()[:schema]:
            old.executescript(script)
        old.execute(f"pragma user_version = {schema}")
        old.execute(f"pragma application_id = {APPLICATION_ID}")
        old.execute("attach ? as today", (str(today / FILE_NAME),))
        names = [
            row[0]
            for row in old.execute(
                "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
            )
        ]
        for table in names:
            later = table_of_today(table, schema)
            known = [row[1] for row in old.execute(f"pragma today.table_info({later})")]
            columns = {
                name: column_of_today(table, name, schema) for name in columns_of(old, table)
            }
            columns = {name: new for name, new in columns.items() if new in known}
            if list(columns) == columns_of(old, table):
                # What a script put in, such as a store's name, is as it is today.
                old.execute(f"delete from {table}")
                old.execute(
                    f"insert into {table} ({', '.join(columns)}) "
                    f"select {', '.join(columns.values())} from today.{later}"
                )
            before[later] = (list(columns.values()), rows(old, table, list(columns)))
    Database.open(tmp_path).close()

    assert 4 == len(before["faces"][1])
    with (
        closing(sqlite3.connect(path)) as new,
        closing(sqlite3.connect(today / FILE_NAME)) as ideal,
    ):
        for table, (columns, held) in before.items():
            assert held == rows(new, table, columns), table
        schema_of = "select name, sql from sqlite_master where sql is not null order by name"
        assert ideal.execute(schema_of).fetchall() == new.execute(schema_of).fetchall()
        assert newest_schema() == new.execute("pragma user_version").fetchone()[0]
        assert [("ok",)] == new.execute("pragma integrity_check").fetchall()


def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path, today: Path) -> None:
    """Not a byte is written."""
    path = tmp_path / FILE_NAME
    shutil.copyfile(today / FILE_NAME, path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"pragma user_version = {newest_schema() + 1}")
    before = path.read_bytes()

    with pytest.raises(Exception, match="written by a newer portraitd"):
        Database.open(tmp_path)
    assert before == path.read_bytes()


def test_old_suggestions_get_a_probability(tmp_path: Path) -> None:
    """By their distance alone, until the next grouping; those that are rarely right are dropped."""
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as old:
        for script in scripts()[:13]:
            old.executescript(script)
        old.execute("pragma user_version = 13")
        old.execute(f"pragma application_id = {APPLICATION_ID}")
        for person in range(1, 5):
            old.execute("insert into people (id, created_at) values (?, 1.0)", (person,))
        pairs = [(1, 2, 0.546), (1, 3, 0.52), (2, 4, 0.61)]
        old.executemany("insert into merge_candidates values (?, ?, ?)", pairs)
    with closing(Database.open(tmp_path)) as database:
        found = People(database).suggestions()

    assert [Suggestion(1, 3, 0.52, 0.75), Suggestion(1, 2, 0.546, 0.6)] == found
    assert [True, False] == [one.is_likely for one in found]
