"""A home of version 0.1.0 is opened, migrated, and loses nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.erasure_stage import REQUEST
from portraitd.service.status import read_status
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import FILE_NAME, Database, StoreLock
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.maintenance.backup import inspect, restore
from support.byte_search import secrets_of, surviving
from support.home import START_S, Home, connect
from support.home_0_1_0 import (
    ANN,
    ANN_AGAIN,
    BOB,
    DEE,
    ERASED_CONTENT,
    ERASED_FACE,
    EVA,
    EVE,
    FOLDERS,
    LEDGER,
    MERGED_TRACKS,
    STORE,
    TRACKS,
    faces_of,
    make_home_0_1_0,
    portrait,
)
from support.old_schemas import column_of_today, table_of_today

QUIET: dict[str, dict[str, Any]] = {"inbox": {"quiet_s": 0.0}}


@pytest.fixture
def old(tmp_path: Path) -> Home:
    """The home as 0.1.0 left it, with the service stopped."""
    home = Home(tmp_path / "home", **QUIET)
    make_home_0_1_0(home.settings.home_dir)
    return home


@pytest.fixture
def home(old: Home) -> Home:
    """The same, after today's service had nothing more to do in it."""
    old.run()
    return old


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """As ``home``, for tests that change nothing."""
    home = Home(tmp_path_factory.mktemp("upgraded") / "home", **QUIET)
    make_home_0_1_0(home.settings.home_dir)
    home.run()
    return home


def columns_by_table(path: Path) -> dict[str, list[str]]:
    """Return the columns of every table that holds what a home knows."""
    with closing(sqlite3.connect(path)) as db:
        tables = db.execute(
            """
            select name from sqlite_master where type = 'table' and name not like 'sqlite_%'
                and name not in ('store_name', 'being_forgotten')
            """
        ).fetchall()
        return {
            table: [row[1] for row in db.execute(f"pragma table_info({table})")]
            for (table,) in tables
        }


def content(path: Path, tables: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of these tables, without other columns."""
    with closing(sqlite3.connect(path)) as db:
        return {
            table: db.execute(f"select {', '.join(columns)} from {table} order by 1, 2").fetchall()
            for table, columns in tables.items()
        }


def tree(home: Home) -> dict[str, tuple[int, int]]:
    """Inode and time of every file in the folders of people, and of their montages."""
    return {
        str(path.relative_to(home.people)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in home.people.rglob("*")
        if path.suffix in (".jpg", ".txt") and path.parent != home.people
    }


def persons(home: Home) -> dict[int, int | None]:
    with closing(connect(home.settings.state_dir)) as db:
        return dict(db.execute("select id, person_id from faces").fetchall())


def locations(home: Home) -> dict[int, str]:
    """Where each person's folder is, as its manifest says."""
    found = {}
    for path in home.people.rglob(".person.json"):
        facts = json.loads(path.read_bytes())
        if facts["person"] is not None:
            found[facts["person"]] = str(path.parent.relative_to(home.people))
            assert facts["folder"] == found[facts["person"]]
    return found


def ask(home: Home, *request: object) -> str:
    """As a command does; the service works until it is idle."""
    requests = ControlFiles(home.settings.requests_dir)
    name = requests.leave(ControlRequest(*request))  # type: ignore[arg-type]
    home.run()
    answer = requests.answer_to(name)
    assert answer
    assert answer[1], answer[0]
    return answer[0]


def undo(home: Home, entry: int) -> None:
    home.steady_s += 100.0
    ask(home, "undo", entry)


def test_every_row_is_there_after_the_migration(old: Home) -> None:
    """Under the names of today. Only roles of faces have other words, and one file is dropped."""
    path = old.settings.state_dir / FILE_NAME
    tables = columns_by_table(path)
    before = content(path, tables)
    assert all(before.values()), "the recipe fills every table"

    Database.open(old.settings.state_dir).close()

    today = {
        table_of_today(table): [column_of_today(table, name) for name in columns]
        for table, columns in tables.items()
    }
    after = content(path, today)
    roles = {"anchor": "exemplar", "against": "cannot-link"}
    for table, rows in before.items():
        expected = rows
        if table == "ledger_faces":
            expected = [tuple(roles.get(str(value), value) for value in row) for row in rows]
        if table == "censuses":
            memory = tables[table].index("memory")
            expected = [(*row[:memory], "", *row[memory + 1 :]) for row in rows]
        assert sorted(expected, key=repr) == sorted(after[table_of_today(table)], key=repr), table
    assert inspect(path).counts["faces"] == 2 * len(TRACKS)
    with closing(Database.open_to_read(old.settings.state_dir)) as database:
        assert STORE == database.name


def test_people_names_and_faces_stay_as_they_are(old: Home) -> None:
    """Although everything is grouped again: the new version groups by settings of its own."""
    before = persons(old)

    old.run()

    assert before == persons(old)
    people = {row["id"]: row for row in old.rows("people")}
    assert {ANN: "Ann", EVE: "Eve"} == {
        one: row["name"] for one, row in people.items() if row["name"]
    }
    assert [DEE] == [one for one, row in people.items() if row["ignored"]]
    assert ANN == people[ANN_AGAIN]["merged_into"]
    hidden = {row["id"]: row["hidden"] for row in old.rows("faces") if row["hidden"]}
    assert dict.fromkeys(faces_of(16), 1) | dict.fromkeys(faces_of(25), 2) == hidden
    (first, *later) = old.rows("grouping_runs")
    assert 26 == first["tracks"]
    assert all((0, 0, 0) == (one["churn"], one["names_lost"], one["violations"]) for one in later)


def test_no_file_of_a_person_is_written_again(old: Home) -> None:
    """Portraits, annotations and montages stay as they are, in folders that stay where they are."""
    before = tree(old)

    old.run()

    erased = {"_unsorted/holiday.jpg"}
    assert {name: at for name, at in before.items() if name not in erased} == {
        name: at
        for name, at in tree(old).items()
        # What belongs to no person.
        if not name.startswith(("gallery/", "_edits/", "_questions/"))
    }
    assert {person: location for person, (_, location) in FOLDERS.items()} == locations(old)
    root = json.loads((old.people / ".portraitd-root").read_bytes())
    assert STORE == root["store"]
    assert {"-1", "0", *map(str, FOLDERS)} == set(root["homes"])


def test_the_ledger_says_what_it_said(upgraded: Home) -> None:
    """Every kind of entry, with the faces it moved, and what was undone."""
    with closing(Database.open_to_read(upgraded.settings.state_dir)) as database:
        entries = Ledger(database).summaries()
        corrections = Ledger(database).corrections()

    said = [(one.kind, one.person_id, one.into_id, one.name, one.undoes) for one in entries]
    assert list(LEDGER) == said
    assert [11] == [one.id for one in entries if one.is_undone]
    assert {3: 2, 4: 2, 5: 4, 6: 2, 7: 2} == {one.id: one.faces for one in entries if one.faces}
    assert all(one.faces == one.recognised for one in entries)
    assert {ANN_AGAIN: ANN} == corrections.merged
    assert {BOB: {15, 17, 19, 21}} == corrections.cannot_link[faces_of(12)[0]]
    assert {ANN, DEE, EVA} == set(corrections.exemplars.values())


@pytest.mark.parametrize(
    ("entry", "tracks", "person"),
    [
        (2, MERGED_TRACKS, ANN_AGAIN),
        (3, (12,), BOB),
        (4, (13,), BOB),
        (5, (14, 15), BOB),
        (6, (16,), BOB),
    ],
)
def test_an_old_entry_can_be_undone(
    home: Home, entry: int, tracks: tuple[int, ...], person: int
) -> None:
    """The faces go back to whose they were, and so do their portraits."""
    before = persons(home)

    undo(home, entry)

    after = persons(home)
    assert dict.fromkeys(faces_of(tracks), person) == {
        face: after[face] for face in faces_of(tracks)
    }
    others = before.keys() - set(faces_of(tracks))
    assert {face: before[face] for face in others} == {face: after[face] for face in others}
    folder = home.people / f"person-{person:04d}"
    for face in faces_of(tracks):
        assert (folder / f"{face:06d}.jpg").is_file()


@pytest.mark.parametrize(
    ("entry", "person", "location"),
    [(1, ANN, "person-0001"), (8, DEE, "person-0004"), (12, BOB, "Bob")],
)
def test_a_folder_moves_back_when_its_entry_is_undone(
    home: Home, entry: int, person: int, location: str
) -> None:
    """A name, an ignored person, and an undo."""
    undo(home, entry)

    assert location == locations(home)[person]


def test_an_edit_in_the_old_tree_is_read(old: Home) -> None:
    """What was done while the service was stopped for the upgrade counts."""
    (old.people / "person-0002").rename(old.people / "Robert")
    (old.people / "person-0005" / "000041.jpg").unlink()

    old.run()

    assert "Robert" == {row["id"]: row["name"] for row in old.rows("people")}[BOB]
    assert {1} == {row["hidden"] for row in old.rows("faces") if row["id"] in faces_of(21)}
    assert "Robert" == locations(old)[BOB]


def test_classes_splits_and_copies_are_kept(upgraded: Home) -> None:
    """Class numbers for ever, with all who held them; and what a file is part of."""
    assert [(0, "unknown"), (1, "person"), (2, "person")] == [
        (row["id"], row["kind"]) for row in upgraded.rows("classes")
    ]
    assert [(0, "unknown"), (1, "Anna"), (2, "Eve"), (1, "Ann")] == [
        (row["class_id"], row["name"]) for row in upgraded.rows("class_holders")
    ]
    with closing(connect(upgraded.settings.state_dir)) as db:
        assert ["train", "train", "val"] == sorted(
            row["split"] for row in db.execute("select split from splits")
        )
        assert 1 == db.execute("select count(*) from partial_copies").fetchone()[0]


def test_a_begun_erasure_is_finished_and_the_old_ones_hold(upgraded: Home) -> None:
    """A copy of an erased portrait is removed; an erased content is still known."""
    assert not (upgraded.people / "_unsorted" / "holiday.jpg").exists()
    assert portrait(ERASED_FACE)[-200:] not in b"".join(
        path.read_bytes() for path in upgraded.people.rglob("*.jpg")
    )
    assert [] == [row["id"] for row in upgraded.rows("erasures") if row["finished_at"] is None]
    with closing(Database.open_to_read(upgraded.settings.state_dir)) as database:
        assert Tombstones(database).has_content(ERASED_CONTENT)


def test_the_status_is_that_of_a_healthy_home(upgraded: Home) -> None:
    """Files are in the states they had, nothing is worked on, and nothing is blocked.

    The text that was called failed is none of portraitd's files.
    """
    snapshot = read_status(upgraded.settings).snapshot

    assert {
        "done": 26, "duplicate": 2, "failed": 1, "ignored": 1, "forgotten": 1, "gone": 1
    } == snapshot.files  # fmt: skip
    assert {} == snapshot.blocked_stages
    assert not snapshot.publication_pending
    assert not snapshot.erasure_pending
    assert ["broken.mp4"] == [file.path for file in snapshot.failed]


def test_an_erasure_reaches_everything_that_the_old_version_wrote(old: Home) -> None:
    """Also its files of embeddings, the people tree, and the names in the ledger."""
    secrets = secrets_of(old, f"person_id = {ANN}") | {b"Ann\x00", b'"Ann"', b">Ann<", b"/Ann<"}
    shutil.copyfile(
        old.people / "Ann" / "000001.jpg", old.people / "person-0002" / "anniversary.jpg"
    )
    assert surviving(old, secrets)

    ask(old, REQUEST, None, ("person", "Ann"))

    assert {} == surviving(old, secrets)
    assert [] == [face for face, person in persons(old).items() if person == ANN]
    assert ANN not in locations(old)
    assert {BOB, DEE, EVA, EVE} == set(locations(old))


def test_an_old_backup_can_be_restored(old: Home, tmp_path: Path) -> None:
    """It is migrated, and what was erased since it was made is erased in it as well."""
    state_dir, backup = old.settings.state_dir, tmp_path / "old.sqlite3"
    shutil.copyfile(state_dir / FILE_NAME, backup)
    ask(old, REQUEST, None, ("person", "Ann"))

    with StoreLock(state_dir):
        done = restore(state_dir, backup, START_S + 9000.0)

    assert len(TRACKS) * 2 - done.erased == done.counts["faces"]
    assert done.erased > 0
    old.run()
    assert ANN not in locations(old)
    assert {"Eve"} == {row["name"] for row in old.rows("people") if row["name"]}
