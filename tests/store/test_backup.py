"""A backup is sound and can be restored."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from portraitd.model.errors import ConfigError, StoreError
from portraitd.store.database import FILE_NAME, Database, newest_schema
from portraitd.store.erasure.eraser import Eraser, ErasureScope
from portraitd.store.maintenance.backup import back_up, inspect, list_backups, restore
from support.old_schemas import first_store
from support.store import Store, embedding


class Two(NamedTuple):
    """A state, the store in it, and a place for copies."""

    state: Path
    store: Store
    copy: Path


@pytest.fixture
def two(tmp_path: Path) -> Two:
    """A store with two faces of two videos."""
    state = tmp_path / "state"
    state.mkdir()
    store = Store(Database.open(state))
    store.see(embedding(1))
    store.see(embedding(2))
    return Two(state, store, tmp_path / "copy.sqlite3")


def faces_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("select count(*) from faces").fetchone()[0])


def test_a_copy_is_whole_private_and_in_the_list(two: Two) -> None:
    """One file, made beside a connection that is open; nothing unfinished stays."""
    done = back_up(two.state, two.copy, 5.0)

    assert {"files": 2, "videos": 2, "faces": 2, "people": 0} == done.counts
    assert 2 == faces_in(two.copy)
    assert 0o600 == stat.S_IMODE(two.copy.stat().st_mode)
    assert [two.copy] == list_backups(two.state)
    assert {"state", "copy.sqlite3"} == {path.name for path in two.copy.parent.iterdir()}


def test_a_copy_is_made_while_the_service_writes(two: Two) -> None:
    """What is not committed is not in it; what comes later harms neither."""
    with two.store.database.transaction():
        two.store.database.execute("delete from faces")
        back_up(two.state, two.copy, 5.0)
    two.store.see(embedding(3))

    assert 2 == faces_in(two.copy)
    assert [] == two.store.database.problems()


def test_an_older_copy_is_replaced_and_nothing_else(two: Two) -> None:
    """Any other file is kept."""
    back_up(two.state, two.copy, 5.0)
    two.store.see(embedding(3))
    back_up(two.state, two.copy, 6.0)
    letter = two.copy.with_name("letter.txt")
    letter.write_text("Dear Ann")

    assert 3 == faces_in(two.copy)
    for target in (letter, two.state, two.copy.parent / "missing" / "copy"):
        with pytest.raises(ConfigError):
            back_up(two.state, target, 7.0)
    assert "Dear Ann" == letter.read_text()


def test_a_damaged_store_gives_no_copy(two: Two) -> None:
    """The copy that was there stays."""
    back_up(two.state, two.copy, 5.0)
    two.store.see(*(embedding(seed) for seed in range(40)))
    two.store.database.close()
    path = two.state / FILE_NAME
    data = bytearray(path.read_bytes())
    data[8 * 4096 : 12 * 4096] = bytes(range(256)) * 64
    path.write_bytes(data)

    with pytest.raises(StoreError):
        back_up(two.state, two.copy, 6.0)
    assert 2 == faces_in(two.copy)
    assert ["copy.sqlite3", "state"] == sorted(path.name for path in two.copy.parent.iterdir())


def test_a_restored_store_is_the_one_that_was_copied(two: Two) -> None:
    """The newer one is kept aside; what grouping_runs remember is dropped."""
    back_up(two.state, two.copy, 5.0)
    two.store.see(embedding(3))
    two.store.database.close()
    for name in ("tracks.f32", "grouping-1.npz"):
        (two.state / name).write_bytes(b"old")
    done = restore(two.state, two.copy, 86_400.0)

    assert 2 == faces_in(two.state / FILE_NAME)
    assert done.previous == two.state / f"{FILE_NAME}.old-19700102T000000Z"
    assert 3 == faces_in(done.previous)
    assert {FILE_NAME, done.previous.name, "backups.jsonl"} == {p.name for p in two.state.iterdir()}
    assert 0o600 == stat.S_IMODE((two.state / FILE_NAME).stat().st_mode)


def test_a_copy_can_be_restored_into_an_empty_state(two: Two, tmp_path: Path) -> None:
    """As on a new machine."""
    back_up(two.state, two.copy, 5.0)
    (tmp_path / "new").mkdir()

    assert restore(tmp_path / "new", two.copy, 6.0).previous is None
    assert 2 == faces_in(tmp_path / "new" / FILE_NAME)


@pytest.mark.parametrize("damage", ["text", "cut", "flipped", "newer", "another", "missing"])
def test_what_is_no_sound_copy_changes_nothing(two: Two, damage: str) -> None:
    """It is refused with a reason, and the current database stays."""
    two.store.see(*(embedding(seed) for seed in range(40)))
    back_up(two.state, two.copy, 5.0)
    data = bytearray(two.copy.read_bytes())
    if damage == "text":
        data = bytearray(b"Dear Ann, " * 1000)
    elif damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[8 * 4096 : 12 * 4096] = bytes(range(256)) * 64
    two.copy.write_bytes(data)
    if damage in ("newer", "another"):
        with closing(sqlite3.connect(two.copy)) as db:
            name = "user_version" if damage == "newer" else "application_id"
            db.execute(f"pragma {name} = 4711")
    if damage == "missing":
        two.copy.unlink()
    two.store.database.close()

    with pytest.raises(StoreError, match=r"copy\.sqlite3"):
        restore(two.state, two.copy, 6.0)
    assert 42 == faces_in(two.state / FILE_NAME)
    assert {FILE_NAME, "backups.jsonl"} == {path.name for path in two.state.iterdir()}


def test_a_damaged_store_can_be_replaced_by_a_copy(two: Two) -> None:
    """It is kept aside as it was."""
    back_up(two.state, two.copy, 5.0)
    two.store.database.close()
    path = two.state / FILE_NAME
    path.write_bytes(b"damaged" * 1000)
    done = restore(two.state, two.copy, 6.0)

    assert 2 == faces_in(path)
    assert done.previous
    assert b"damaged" * 1000 == done.previous.read_bytes()


def test_what_was_forgotten_since_is_forgotten_in_the_copy(two: Two) -> None:
    """A video and a face of another one; the key comes with the tombstones."""
    extra = two.store.see(embedding(7), embedding(8))
    back_up(two.state, two.copy, 5.0)
    eraser = Eraser(two.store.database)
    (first, *_) = two.store.faces.ids().tolist()
    eraser.erase(eraser.video("video 0.mp4"), 6.0)
    eraser.erase(ErasureScope("person", (extra[0],)), 7.0)
    two.store.database.close()
    done = restore(two.state, two.copy, 8.0)

    with closing(sqlite3.connect(two.state / FILE_NAME)) as db:
        left = {row[0] for row in db.execute("select id from faces")}
    assert 2 == done.erased
    assert {2, extra[1]} == left
    assert first not in left


def test_a_copy_of_every_released_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    """A copy that an older portraitd made is as good."""
    today, old, state = (tmp_path / name for name in ("today", "old", "state"))
    for folder in (today, old, state):
        folder.mkdir()
    store = Store(Database.open(today))
    store.see(embedding(1))
    store.database.execute("pragma wal_checkpoint(truncate)")
    store.database.close()
    first_store(old, today)
    shutil.copyfile(old / FILE_NAME, tmp_path / "copy")
    restore(state, tmp_path / "copy", 5.0)

    with closing(sqlite3.connect(state / FILE_NAME)) as db:
        assert newest_schema() == db.execute("pragma user_version").fetchone()[0]
    assert {"files": 1, "videos": 1, "faces": 1, "people": 0} == inspect(state / FILE_NAME).counts
